"""What happens to a run, seen where a worker is told of it: in its main process, whatever its pool.

Celery's request of a message is told when the pool has begun it and how it ended, also when a process of the pool was
killed or timed out. A class mixed into it notes that for the messages of entries.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import cache
from typing import Any

from billiard.einfo import ExceptionWithTraceback
from billiard.exceptions import Terminated
from celery.exceptions import Ignore, Reject, Retry
from kombu.utils.imports import symbol_by_name

from ..clock import MICROS
from ..errors import mask
from ..messages.headers import HEADER_CLAIM, HEADER_DUE, HEADER_ENTRY, HEADER_ONCE
from .reporter import Noted, Reporter
from .start import Dropped, PutOff, once

_reporter: Reporter | None = None


def report_to(reporter: Reporter | None) -> None:
    """Where requests of this process tell what happens to them."""
    global _reporter
    _reporter = reporter


def watch_requests(task: Any) -> None:
    """Have the requests of a task watched."""
    task.Request = watched(symbol_by_name(task.Request))


@cache
def watched(base: type) -> type:
    """A class of requests that tell what happens to them."""
    return base if issubclass(base, WatchedRequest) else type("WatchedRequest", (WatchedRequest, base), {})


class WatchedRequest:
    """Mixed into a class of Celery's requests."""

    id: str
    name: str
    task: Any
    request_dict: dict[str, Any]
    _already_cancelled: bool
    _already_revoked: bool
    #: When it began (``time.monotonic``).
    _began: float | None = None
    #: It was told how this delivery ended.
    _told = False
    _requeued = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Celery makes a class for each task, whose ``on_success`` calls no other: it is watched, too."""
        super().__init_subclass__(**kwargs)
        if "on_success" in cls.__dict__:
            cls.on_success = _then_told(cls.on_success)  # type: ignore[method-assign]

    def on_accepted(self, pid: int, time_accepted: float) -> None:
        """A process or thread of the pool begins it."""
        super().on_accepted(pid, time_accepted)  # type: ignore[misc]
        if HEADER_ENTRY in self.request_dict:
            self._began = time_accepted
            self._tell("started")

    def on_success(self, outcome: Any, **kwargs: Any) -> Any:
        """It has returned (or failed: then the first of the outcome says so)."""
        result = super().on_success(outcome, **kwargs)  # type: ignore[misc]
        self._succeeded(outcome)
        return result

    def _succeeded(self, outcome: Any) -> None:
        failed, _, runtime = outcome
        if not failed:
            self._end("succeeded", took=runtime)

    def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> Any:
        """It has raised something, or its process is gone."""
        try:
            return super().on_failure(exc_info, *args, **kwargs)  # type: ignore[misc]
        finally:
            self._failed(exc_info.exception)

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """It has taken too long."""
        super().on_timeout(soft, timeout)  # type: ignore[misc]
        if not soft:
            self._end(
                "failed", why=f"TimeLimitExceeded: {timeout}", again=self._comes_again if self._requeued else None
            )

    def reject(self, requeue: bool = False) -> None:
        """Its message goes back to the broker, or is thrown away."""
        super().reject(requeue=requeue)  # type: ignore[misc]
        self._requeued = requeue

    def _announce_revoked(self, reason: str, *args: Any, **kwargs: Any) -> None:
        super()._announce_revoked(reason, *args, **kwargs)  # type: ignore[misc]
        self._end("revoked", why=reason)

    def _failed(self, exc: BaseException) -> None:
        if isinstance(exc, ExceptionWithTraceback):
            exc = exc.exc
        why = f"{type(exc).__name__}: {_said(exc)}"[:300]
        if isinstance(exc, Dropped):
            self._end("dropped", why=_said(exc))
        elif isinstance(exc, Retry):
            self._end("retried", why=_said(exc)[:300], again=_seconds_until(exc.when))
        elif isinstance(exc, PutOff):
            self._end("retried", why=_said(exc)[:300], again=exc.pause)
        elif self._requeued or (isinstance(exc, Terminated | SystemExit) and self._already_cancelled):
            self._end("rejected", why=f"requeued after {why}", again=self._comes_again)
        elif isinstance(exc, Reject):
            self._end("rejected", why=why)
        elif isinstance(exc, Ignore):
            self._end("ignored", why=why)
        else:
            self._end("failed", why=why)

    @property
    def _comes_again(self) -> float | None:
        """When its message runs again, which the broker has once more: not at all where an occurrence begins once."""
        return None if once(self.task, self.request_dict.get(HEADER_ONCE)) else 0.0

    def _end(self, what: str, why: str = "", took: float | None = None, again: float | None = None) -> None:
        if HEADER_ENTRY in self.request_dict and not self._told:
            self._told = True
            if took is None and self._began is not None:
                took = max(0.0, time.monotonic() - self._began)
            self._tell(what, took, again, why)

    def _tell(self, what: str, took: float | None = None, again: float | None = None, why: str = "") -> None:
        if _reporter is None:
            return
        headers = self.request_dict
        try:
            nominal = round(float(headers.get(HEADER_DUE) or 0) * MICROS)
        except (TypeError, ValueError, OverflowError):
            nominal = 0
        entry = str(headers[HEADER_ENTRY])
        claim = entry if headers.get(HEADER_CLAIM) else ""
        _reporter.note(Noted(what, self.id, self.name, entry, nominal, claim, self._began, took, again, why))


def _then_told(on_success: Any) -> Any:
    def told(self: WatchedRequest, outcome: Any, **kwargs: Any) -> Any:
        result = on_success(self, outcome, **kwargs)
        self._succeeded(outcome)
        return result

    return told


def _said(exc: BaseException) -> str:
    """The text of an exception of a task, which may have none to give."""
    try:
        return mask(str(exc))
    except Exception:  # noqa: BLE001 - it is the code of a user, and the worker needs the outcome
        return "(its text cannot be made)"


def _seconds_until(when: Any) -> float:
    """Seconds until a retry, which says a number of them or an instant."""
    if isinstance(when, datetime):
        return max(0.0, (when - datetime.now(UTC if when.tzinfo else None)).total_seconds())
    return float(when) if isinstance(when, int | float) else 0.0
