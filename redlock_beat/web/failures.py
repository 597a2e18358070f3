"""What a visitor is told of an error: what happened and what to do, and nothing of addresses and tracebacks."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from ..errors import (
    AccessDenied,
    BatchFailed,
    EntryExists,
    InvalidSchedule,
    InvalidSetting,
    NoSuchEntry,
    RedisUnavailable,
    RedlockBeatError,
    ScheduleBusy,
    StaleRevision,
    mask,
    traceback_of,
)
from ..log import log
from .guard import Refused

#: Seconds after which a browser tries again while Redis is away.
AGAIN = 5


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as a visitor sees it."""

    status: int
    title: str
    words: str
    headers: tuple[tuple[str, str], ...] = ()
    #: Seconds after which the page is to be loaded again; None for never.
    again: int | None = None

    def json(self) -> dict[str, object]:
        """As JSON-able data."""
        return {"error": self.words, "status": self.status}


_TITLES = {
    401: "Who are you?",
    403: "Not allowed",
    404: "Not found",
    405: "Not possible",
    409: "Somebody was first",
    413: "Too large",
    414: "Too long",
    421: "Another host",
    422: "That does not work",
    501: "Not installed",
}


def failure_of(exc: Exception, *, changing: bool) -> Failure:
    """What to say of an error; *changing*: the request was to change something.

    >>> failure_of(NoSuchEntry("mail"), changing=False).status
    404
    """
    if isinstance(exc, Refused):
        return Failure(exc.status, _TITLES.get(exc.status, "Refused"), exc.why, exc.headers)
    if isinstance(exc, BatchFailed) and not isinstance(exc.cause, RedisUnavailable):
        return Failure(409, "Not all was done", str(exc))
    if isinstance(exc, (RedisUnavailable, BatchFailed)):
        return _away(exc, changing)
    if isinstance(exc, NoSuchEntry):
        return Failure(404, _TITLES[404], f"There is no entry named {exc.name!r}: it was removed, or has another name.")
    if isinstance(exc, EntryExists):
        return Failure(409, "The name is taken", f"An entry named {exc.name!r} exists already; nothing was changed.")
    if isinstance(exc, StaleRevision):
        words = f"Entry {exc.name!r} was edited by somebody else meanwhile. Nothing was changed: look at it again."
        return Failure(409, _TITLES[409], words)
    if isinstance(exc, ScheduleBusy):
        return Failure(503, "Busy", mask(exc))
    if isinstance(exc, (InvalidSchedule, InvalidSetting)):
        return Failure(422, _TITLES[422], mask(exc))
    number = secrets.token_hex(4)
    why = f"{type(exc).__name__}: {mask(exc)}" if isinstance(exc, RedlockBeatError) else traceback_of(exc)
    log.error("web.failed", "A page failed (%(number)s): %(why)s", number=number, why=why)
    words = f"This page failed. The log of the web server has the error under the number {number}."
    return Failure(500, "An error", words)


def _away(exc: RedlockBeatError, changing: bool) -> Failure:
    """Redis does not answer, or refuses: its address is for the log."""
    log.warning("web.redis_away", "The page cannot read the schedule: %(why)s", why=mask(exc))
    retry = (("Retry-After", str(AGAIN)),)
    if isinstance(exc, AccessDenied):
        words = "Redis refuses access to this page's user. The log of the web server has the reason."
        return Failure(503, "No access to Redis", words, retry)
    unknown = getattr(exc, "unknown", False) or isinstance(exc, BatchFailed)
    if not changing:
        words = (
            "Redis, where the schedule is, does not answer. When it is back, beats and this page go on by themselves."
        )
        return Failure(503, "Redis is away", words, retry, again=AGAIN)
    if isinstance(exc, BatchFailed):
        rest = f"of the next {exc.unsure} it is unknown" if exc.unsure else "the others are not"
        words = f"Redis does not answer. Of {exc.total} changes the first {exc.done} are in force; {rest}."
        return Failure(503, "Redis is away", words, retry)
    words = "Redis does not answer. " + (
        "Whether the change took effect is unknown: look at the log of edits before you repeat it."
        if unknown
        else "Nothing was changed: go back and try again."
    )
    return Failure(503, "Redis is away", words, retry)
