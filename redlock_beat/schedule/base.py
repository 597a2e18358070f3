"""What Schedule and AsyncSchedule are made of: settings, patience, and clear words for what Redis does wrong."""

from __future__ import annotations

from typing import Any, TypeVar

import tenacity
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    NoPermissionError,
    OutOfMemoryError,
    RedisClusterException,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ..errors import AccessDenied, InvalidSetting, RedisUnavailable, RedlockBeatError, mask
from ..recurrence.zones import zone
from ..settings import Settings, settings_of
from ..store.client import Target
from ..store.keys import Keys
from ..store.requests import Asking, Request
from .operations import Operations
from .turns import PLACES, News, NoTurn

T = TypeVar("T")


class Base:
    """What both kinds of schedule are made of."""

    def __init__(
        self, app: Any = None, *, settings: Settings | None = None, retry_for: float = 10.0, timezone: str = "UTC"
    ) -> None:
        if app is None and settings is None:
            raise InvalidSetting(
                f"{type(self).__name__} needs a Celery app, or use {type(self).__name__}.from_url('redis://...')."
            )
        self.app = app
        self.settings = settings if settings is not None else settings_of(app)
        self.retry_for = retry_for
        zone(timezone)
        #: Where the schedule's Redis is.
        self.target = Target(self.settings)
        #: What every method does, without a network: ``ask`` does it.
        self.operations = Operations(app, self.settings, self.target.keys, timezone)
        self._news = News()
        # No more callers at a time than there are connections.
        self._places = max(1, min(PLACES, int(self.settings.redis_options.get("max_connections") or PLACES)))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self.target}, prefix {self.settings.prefix}>"

    @property
    def keys(self) -> Keys:
        """The names of the schedule's keys in Redis."""
        return self.target.keys

    def _patience(self) -> dict[str, Any]:
        """Reads change nothing and edits carry a request id: both are repeated while Redis is away."""
        return {
            "retry": tenacity.retry_if_exception(_passing),
            "stop": tenacity.stop_after_delay(self.retry_for),
            "wait": tenacity.wait_random_exponential(multiplier=0.02, max=0.5),
            "reraise": True,
        }

    def _said_clearly(self, exc: Exception, request: Request[Any]) -> RedisUnavailable:
        if isinstance(exc, NoTurn):
            return RedisUnavailable(
                f"Redis at {self.target} answered nobody for {self.retry_for:g} s; this call waited for its turn "
                f"behind {self._places} others and was not made."
            )
        if isinstance(exc, OutOfMemoryError):
            return RedisUnavailable(
                f"Redis at {self.target} is full and refuses writes ({mask(exc)}); nothing was changed. "
                "Free memory or raise maxmemory."
            )
        if _denied(exc):
            return AccessDenied(
                f"Redis at {self.target} refuses access ({mask(exc)}); nothing was changed. Check user and password "
                "in redlock_beat_url and the user's ACL rule; `celery redlock doctor` prints the smallest that will do."
            )
        if isinstance(exc, ResponseError):
            return RedisUnavailable(f"Redis at {self.target} refused the command: {mask(exc)}")
        outcome = "whether the edit took effect is unknown" if request.writes else "nothing was changed"
        error = RedisUnavailable(
            f"Redis at {self.target} did not answer for {self.retry_for:g} s ({mask(exc)}); {outcome}."
        )
        error.unknown = request.writes
        return error


def asking(operation: Asking[T] | Request[T]) -> Asking[T]:
    """An operation; a single request is one, too."""
    return _once(operation) if isinstance(operation, Request) else operation


def _once(request: Request[T]) -> Asking[T]:
    answer: T = yield request
    return answer


#: What a request may meet: Redis and the network, a cluster that cannot be reached, no turn.
TROUBLE = (RedisError, OSError, RedisClusterException, NoTurn)


_REFUSALS = (
    "AuthenticationError", "WRONGPASS", "NOAUTH", "username-password", "ACL failure", "The user executing the script",
)  # fmt: skip


def _denied(exc: BaseException) -> bool:
    """Whether Redis refuses access, also where redis-py tells it in the words of a Sentinel or a cluster."""
    if isinstance(exc, (AuthenticationError, AuthorizationError, NoPermissionError)):
        return True
    return any(word in str(exc) for word in _REFUSALS)


def _passing(exc: BaseException) -> bool:
    """Whether an error is one of those that pass: Redis away, loading, or failing over."""
    if isinstance(exc, RedlockBeatError) or _denied(exc):
        return False
    if isinstance(exc, (RedisConnectionError, RedisTimeoutError, OSError, RedisClusterException)):
        return True
    return isinstance(exc, ResponseError) and str(exc).startswith(("READONLY", "LOADING", "MASTERDOWN", "TRYAGAIN"))
