"""What can go wrong, in words a person can act on.

Every message says what happened, what it means and what to do. Nothing here ever carries a
password: URLs pass through :func:`mask` first.
"""

from __future__ import annotations

import re
import traceback


class RedlockBeatError(Exception):
    """Base of every error this package raises."""

    #: Which change of a batch it is about.
    index: int | None = None


class InvalidSetting(RedlockBeatError, ValueError):
    """A ``redlock_beat_*`` setting has a value that cannot work.

    Raised once, when beat or :class:`~redlock_beat.Schedule` starts; the message names the setting
    and the values it accepts.
    """


class InvalidSchedule(RedlockBeatError, ValueError):
    """An entry cannot be stored: its schedule, arguments or policies are not usable.

    Nothing was changed. The message names the field and says what would be accepted.
    """


class Uncomputable(InvalidSchedule):
    """The slots of an entry cannot be computed in this process: its schedule raises, or its class is not registered."""


class EntryExists(RedlockBeatError):
    """An entry of this name exists already.

    Nothing was changed. Pass ``replace=True`` to replace it, or use ``update()``.
    """

    def __init__(self, name: str) -> None:
        super().__init__(
            f"an entry named {name!r} exists already; nothing was changed. "
            "Pass replace=True to replace it, or use update() to change parts of it."
        )
        self.name = name


class NoSuchEntry(RedlockBeatError, KeyError):
    """There is no entry of this name in the schedule."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"there is no entry named {self.name!r}; `celery redlock list` shows those there are."


class StaleRevision(RedlockBeatError):
    """The entry was edited by somebody else since it was read.

    Nothing was changed. Read the entry again, repeat the edit on it, and pass its new revision.
    """

    def __init__(self, name: str, expected: int, found: int | None) -> None:
        now = "it was removed" if found is None else f"it is at revision {found} now"
        super().__init__(
            f"entry {name!r} was edited since you read revision {expected}: {now}. Nothing was changed. "
            "Read it again, repeat the edit, and pass the new revision."
        )
        self.name, self.expected, self.found = name, expected, found


class ScheduleBusy(RedlockBeatError):
    """An entry changed under our hands each time an edit was made; nothing of this edit is in force. Try again."""

    def __init__(self, name: str, attempts: int) -> None:
        super().__init__(
            f"entry {name!r} was changed by others during each of {attempts} attempts to edit it; nothing of this edit "
            "is in force. Try again, or pause the entry first."
        )


class BatchFailed(RedlockBeatError):
    """A batch was applied in part, or not at all; the message and the fields say exactly what is in force.

    ``done`` changes, the first ones, are in force; the others are not. When Redis did not answer, the
    ``unsure`` changes after those may be, all of them or none. ``cause`` is the error itself.
    """

    def __init__(self, cause: Exception, done: int, total: int, page: int, name: str | None) -> None:
        self.cause, self.done, self.total, self.name = cause, done, total, name
        self.unsure = page if isinstance(cause, RedisUnavailable) and cause.unknown else 0
        force = f"the first {done} of {total} changes are in force" if done else f"none of {total} changes is in force"
        if self.unsure:
            force += f", and whether the {page} after them are is unknown (all of them are, or none)"
        where = f" at {name!r}" if name else ""
        super().__init__(f"the batch stopped{where}: {cause} Of the batch, {force}.")


class UnsupportedServer(RedlockBeatError):
    """The Redis server can never work with this package (older than 6.2, or a needed command is off)."""


class RedisUnavailable(RedlockBeatError, ConnectionError):
    """Redis did not answer within the time allowed; whether the last edit took effect is in the message."""

    #: Whether an edit may have taken effect although nobody said so.
    unknown: bool = False


class AccessDenied(RedisUnavailable):
    """Redis answers and refuses: a wrong password, or a user whose ACL rule forbids the command.

    Nothing was changed. Trying again does not help; ``celery redlock doctor`` prints the rule that is needed.
    """


class Deposed(RedlockBeatError):
    """The term of this beat has ended: another beat leads now. A normal event, never fatal."""


class Replaced(RedlockBeatError):
    """Another server process answers than before, or one that came back older: what is known of it is read again."""

    def __init__(self, older: float | None) -> None:
        super().__init__("another server process answers than before")
        #: Seconds by which it came back older, at least; None when it has lost nothing that is known of.
        self.older = older


class BrokerAway(RedlockBeatError):
    """The broker did not answer while a message was rendered. No entry is at fault: each is still due."""


class Unrenderable(RedlockBeatError):
    """An entry could not be turned into a message; it is retried later, the others are unaffected."""


def traceback_of(exc: BaseException) -> str:
    """The traceback of an error as text, with the passwords of every URL in it hidden."""
    return mask("".join(traceback.format_exception(exc)))


_PASSWORD = re.compile(r"(?P<scheme>[a-z0-9+]+://)(?P<user>[^:@/\s]*):(?P<password>.*?)@(?=[^@\s/]*(?:[/\s?;,]|$))")
_QUERY = re.compile(r"(?i)([?&](?:password|passwd|secret|token)=)[^&\s]+")


def mask(text: object) -> str:
    """Hide the passwords of every URL in *text*.

    >>> mask("cannot reach redis://user:s3cret@host:6379/0")
    'cannot reach redis://user:***@host:6379/0'
    """
    hidden = _PASSWORD.sub(lambda m: f"{m['scheme']}{m['user']}:***@", str(text))
    return _QUERY.sub(r"\1***", hidden)
