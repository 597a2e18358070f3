"""What Schedule and AsyncSchedule share: settings, retries, and clear errors for what goes wrong at Redis."""

from __future__ import annotations

import re
import time
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
from ..store.requests import Operation, Request
from .given import is_number
from .operations import Operations
from .turns import PLACES, News, NoTurn

T = TypeVar("T")

#: Seconds for which an edit is repeated at most: Redis remembers its answer for five minutes.
REPEATED = 240.0


class Base:
    """The part of a schedule that does not wait for a network."""

    def __init__(
        self,
        app: Any = None,
        *,
        settings: Settings | None = None,
        retry_for: float = 10.0,
        timezone: str = "UTC",
        actor: str | None = None,
    ) -> None:
        if app is None and settings is None:
            raise InvalidSetting(
                f"{type(self).__name__} needs a Celery app, or use {type(self).__name__}.from_url('redis://...')."
            )
        self.app = app
        self.settings = settings if settings is not None else settings_of(app)
        if not is_number(retry_for) or not retry_for >= 0:
            raise InvalidSetting(f"retry_for is {retry_for!r}, but must be a number of seconds, 0 or more.")
        self.retry_for = retry_for
        zone(timezone if isinstance(timezone, str) else repr(timezone))
        #: Where the schedule's Redis is.
        self.target = Target(self.settings)
        #: What every method does, as operations: ``ask`` carries one out.
        self.operations = Operations(app, self.settings, self.target.keys, timezone, actor)
        self._news = News()
        # No more callers at a time than connections.
        self._places = max(1, min(PLACES, int(self.settings.redis_options.get("max_connections") or PLACES)))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self.target}, prefix {self.settings.prefix}>"

    @property
    def keys(self) -> Keys:
        """The names of the schedule's keys in Redis."""
        return self.target.keys

    def _patience(self, request: Request[Any]) -> dict[str, Any]:
        """How to retry while Redis is away: reads change nothing, and edits carry a request id."""
        return {
            "before": _while_remembered if request.writes else tenacity.before_nothing,
            "retry": tenacity.retry_if_exception(_passing),
            "stop": tenacity.stop_after_delay(self.retry_for),
            "wait": tenacity.wait_random_exponential(multiplier=0.02, max=0.5),
            "reraise": True,
        }

    def _error_for(self, exc: Exception, request: Request[Any]) -> RedisUnavailable:
        if isinstance(exc, NoTurn):
            return RedisUnavailable(
                f"Redis at {self.target} answered nobody for {self.retry_for:g} s. This call waited for its turn "
                f"behind {self._places} others, and nothing of it reached Redis."
            )
        if isinstance(exc, OutOfMemoryError) or "-OOM " in str(exc):  # Redis 6 says it so from a script
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


def as_operation(operation: Operation[T] | Request[T]) -> Operation[T]:
    """The operation, also of a single request."""
    return _once(operation) if isinstance(operation, Request) else operation


def _once(request: Request[T]) -> Operation[T]:
    answer: T = yield request
    return answer


#: What a request may raise: errors of Redis and of the network, and NoTurn.
TROUBLE = (RedisError, OSError, RedisClusterException, NoTurn)


_REFUSALS = re.compile(
    "AuthenticationError|WRONGPASS|NOAUTH|username-password|ACL failure|The user executing the script"
)


def _while_remembered(state: tenacity.RetryCallState) -> None:
    """Refuse to repeat a request that Redis may have forgotten: it would take effect again."""
    if state.attempt_number > 1 and time.monotonic() - state.start_time > REPEATED:
        raise RedisTimeoutError(f"its last attempt was not answered, and it is not repeated after {REPEATED:g} s")


def _denied(exc: BaseException) -> bool:
    """Whether Redis refuses access, also where redis-py wraps that in the words of a Sentinel or a cluster."""
    if isinstance(exc, (AuthenticationError, AuthorizationError, NoPermissionError)):
        return True
    return _REFUSALS.search(str(exc)) is not None


def _passing(exc: BaseException) -> bool:
    """Whether an error may pass by itself: Redis is away, loading, or failing over."""
    if isinstance(exc, RedlockBeatError) or _denied(exc):
        return False
    if isinstance(exc, (RedisConnectionError, RedisTimeoutError, OSError, RedisClusterException)):
        return True
    return isinstance(exc, ResponseError) and str(exc).startswith(("READONLY", "LOADING", "MASTERDOWN", "TRYAGAIN"))
