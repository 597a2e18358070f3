"""What can go wrong, in words that a person can act on.

Every message says what happened, what it means and what to do. No message holds a password: URLs pass through
:func:`mask` first.
"""

from __future__ import annotations

import re
import traceback

from .words import many


class RedlockBeatError(Exception):
    """Base of every error this package raises."""

    #: The place of the change in a batch that raised it, if it was in one.
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


class InvalidTask(RedlockBeatError, ValueError):
    """An option of a task (``unique_on``, ``cooldown``, ...) cannot work, or its arguments make no key.

    The first is raised when the task is made, the second when it is called; nothing was sent.
    """


class DuplicateCall(RedlockBeatError):
    """A call of a unique task was not sent: one like it waits or runs, and ``unique_duplicate`` is ``"raise"``.

    ``task_id`` is the id of that one.
    """

    def __init__(self, task: str, task_id: str) -> None:
        super().__init__(
            f"a call of {task} like this one waits or runs already, as {task_id}; nothing was sent. Wait for it with "
            f"AsyncResult({task_id!r}), or free its lock with unlock() if it is lost."
        )
        self.task, self.task_id = task, task_id

    def __reduce__(self) -> tuple[type[DuplicateCall], tuple[str, str]]:
        return type(self), (self.task, self.task_id)


class Uncomputable(InvalidSchedule):
    """This process cannot compute the slots of an entry: its schedule raises, or its class is not registered."""


class EntryExists(RedlockBeatError):
    """There is an entry of this name already.

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
        return f"there is no entry named {self.name!r}; `celery redlock list` lists the names."


class StaleRevision(RedlockBeatError):
    """Somebody else has edited the entry since it was read.

    Nothing was changed. Read the entry again, repeat the edit on it, and pass its new revision.
    """

    def __init__(self, name: str, expected: int, found: int | None) -> None:
        now = "it is gone" if found is None else f"it is at revision {found} now"
        super().__init__(
            f"entry {name!r} was edited since you read revision {expected}: {now}. Nothing was changed. "
            "Read it again, repeat the edit, and pass the new revision."
        )
        self.name, self.expected, self.found = name, expected, found


class ScheduleBusy(RedlockBeatError):
    """An entry changed during each attempt to edit it. The edit is not in force; try again."""

    def __init__(self, name: str, attempts: int) -> None:
        super().__init__(
            f"entry {name!r} changed during each of {attempts} attempts to edit it. The edit is not in force. "
            "Try again, or pause the entry first."
        )


class BatchFailed(RedlockBeatError):
    """A batch was applied in part, or not at all; the message and the fields say exactly what is in force.

    The first ``done`` changes are in force; the others are not. ``total`` is how many there are, or None where entries
    were selected: then ``done`` are edited. When Redis did not answer, the next ``unsure`` changes are in force all
    together or not at all. ``cause`` is the error itself.
    """

    def __init__(self, cause: Exception, done: int, total: int | None, page: int, name: str | None) -> None:
        self.cause, self.done, self.total, self.name = cause, done, total, name
        self.unsure = page if isinstance(cause, RedisUnavailable) and cause.unknown else 0
        force = f"the first {done} of {total} changes are in force" if done else f"none of {total} changes is in force"
        if total is None:
            force = f"{many(done, 'entry', 'is', 'are')} edited, and those after that are not"
        if self.unsure:
            force += f", and it is unknown whether the {page} after them are (all of them are, or none)"
        where = f" at {name!r}" if name else ""
        super().__init__(f"the batch stopped{where}: {cause} Of the batch, {force}.")


class UnsupportedServer(RedlockBeatError):
    """The Redis server cannot work with this package: it is older than 6.2, or lacks a command that is needed."""


class RedisUnavailable(RedlockBeatError, ConnectionError):
    """Redis did not answer in time. The message says whether the edit may have taken effect."""

    #: Whether an edit may have taken effect although Redis did not say so.
    unknown: bool = False


class AccessDenied(RedisUnavailable):
    """Redis answers and refuses: the password is wrong, or the user's ACL rule forbids the command.

    Nothing was changed. Trying again does not help; ``celery redlock doctor`` prints the rule that is needed.
    """


class NotKept(RedlockBeatError):
    """A call with a countdown or eta cannot be kept by the schedule, and ``redlock_beat_eta_fallback`` is ``error``."""

    #: Whether it may be kept although nobody said so.
    unknown: bool = False


class Deposed(RedlockBeatError):
    """The term of this beat has ended: another beat leads now. It is a normal event, never fatal."""


class OnHold(RedlockBeatError):
    """Everything is held, so a commit did nothing. It is a normal event: what is due stays due."""


class Replaced(RedlockBeatError):
    """Another server process answers than before, perhaps with older data: beat reads again what it knew of it."""

    def __init__(self, older: float | None) -> None:
        super().__init__("another server process answers than before")
        #: Seconds by which its data is older, at least; None when it has lost nothing that this beat knows of.
        self.older = older


class BrokerAway(RedlockBeatError):
    """The broker did not answer while a message was rendered. No entry is at fault, and each is still due."""


class Unrenderable(RedlockBeatError):
    """An entry could not be turned into a message. Beat tries it again later; others are not affected."""


class Lines(str):
    """A text of several lines that is meant to have them."""

    __slots__ = ()


def traceback_of(exc: BaseException) -> Lines:
    """The traceback of an error as text, with the password of every URL in it hidden."""
    return Lines(mask("".join(traceback.format_exception(exc))))


_PASSWORD = re.compile(r"(?P<scheme>[a-z0-9+]+://)(?P<user>[^:@/\s]*):(?P<password>.*?)@(?=[^@\s/]*(?:[/\s?;,]|$))")
_QUERY = re.compile(r"(?i)([?&](?:password|passwd|secret|token)=)[^&\s]+")


def whole(text: object) -> str:
    """*text* without half characters (lone surrogates), which neither Redis nor a script can read: each is a ``?``.

    >>> whole("a" + chr(0xD800))
    'a?'
    """
    return str(text).encode("utf-8", "replace").decode()


def mask(text: object) -> str:
    """Hide the password of every URL in *text*, of which Redis can carry what is left.

    >>> mask("cannot reach redis://user:s3cret@host:6379/0")
    'cannot reach redis://user:***@host:6379/0'
    """
    hidden = _PASSWORD.sub(lambda m: f"{m['scheme']}{m['user']}:***@", whole(text))
    return _QUERY.sub(r"\1***", hidden)
