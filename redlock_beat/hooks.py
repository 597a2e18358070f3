"""What happens, as frozen values, and the hooks that hear of it.

A hook is a callable that takes an event. Prometheus's is one (:mod:`redlock_beat.beat.metrics`); one of your own takes
a few lines. The loop calls it (for a broker that is not this Redis, the publisher's thread), so it must be quick. What
it raises is logged, and stops nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from .errors import mask
from .log import log


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, *at* a time of Redis's in unix seconds."""

    at: float


@dataclass(frozen=True, slots=True)
class Sent(Event):
    """An occurrence is in the queue; a broker that is not this Redis has accepted it."""

    entry: str
    task: str
    nominal: float
    task_id: str
    epoch: int
    #: ``trigger``, ``backfill`` or ``settled`` for a manual item; None for a slot of the schedule's own.
    source: str | None = None
    #: The labels of the entry; none where another leader has claimed the message.
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def lateness(self) -> float:
        """Seconds from nominal to the moment it was sent."""
        return self.at - self.nominal


@dataclass(frozen=True, slots=True)
class Skipped(Event):
    """An occurrence was not sent, and will not be. *reason* is one of a few texts."""

    entry: str
    reason: str


@dataclass(frozen=True, slots=True)
class Missed(Event):
    """Slots were missed: *count* of them, from *first* to *last* (unix seconds); *reason* is one of a few texts."""

    entry: str
    first: float
    last: float
    count: int
    reason: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failed(Event):
    """An attempt failed; beat tries again. *step* is decode, compute, render, enqueue or publish."""

    entry: str
    step: str
    why: str


@dataclass(frozen=True, slots=True)
class Rendered(Event):
    """Celery rendered the messages of an occurrence, without a template. That is slower. *reason* is one of a few."""

    entry: str
    reason: str


@dataclass(frozen=True, slots=True)
class Run(Event):
    """Something that happened to a run, told in the worker (:func:`redlock_beat.watch`): a hook is added there."""

    entry: str
    task: str
    nominal: float
    task_id: str
    worker: str


@dataclass(frozen=True, slots=True)
class RunStarted(Run):
    """A worker has begun a run. A run that ends very soon has only the event of its end."""


@dataclass(frozen=True, slots=True)
class RunSucceeded(Run):
    """A run has returned, after so many seconds."""

    took: float


@dataclass(frozen=True, slots=True)
class RunEnded(Run):
    """A run has ended in another way: *outcome* is retried, rejected, revoked, ignored or dropped."""

    took: float | None
    outcome: str
    why: str


@dataclass(frozen=True, slots=True)
class RunFailed(RunEnded):
    """A run has raised or timed out (*outcome* is failed), or its worker is gone (lost)."""


@dataclass(frozen=True, slots=True)
class EntryPaused(Event):
    """An entry is paused, because as many of its runs in a row have failed as its ``pause_on_failure`` says."""

    entry: str
    note: str


@dataclass(frozen=True, slots=True)
class Held(Event):
    """Everything is held, and this leader sends nothing *until* (unix seconds; None: until it is released).

    Each leader tells it once for each hold, so a takeover in the middle of one tells it again.
    """

    actor: str
    until: float | None
    note: str | None


@dataclass(frozen=True, slots=True)
class Released(Event):
    """The hold is over, and this leader sends again."""

    #: Whether its time has come; else somebody has released it.
    by_itself: bool


@dataclass(frozen=True, slots=True)
class TermBegan(Event):
    """This beat leads now."""

    epoch: int


@dataclass(frozen=True, slots=True)
class TermEnded(Event):
    """This beat does not lead any more."""

    epoch: int


@dataclass(frozen=True, slots=True)
class DataLost(Event):
    """Redis came back with less than it had. *why* says so in words; a field is None where this beat cannot know."""

    why: str
    entries_before: int | None
    entries_now: int
    epoch_before: int
    epoch_now: int


@dataclass(frozen=True, slots=True)
class Turned(Event):
    """The loop has turned once. What only a leader knows is None on a standby."""

    role: str
    epoch: int | None = None
    entries: int | None = None
    #: Occurrences that are due and not yet sent.
    backlog: int | None = None
    outbox: int | None = None
    quarantined: int | None = None
    #: Calls with a countdown or eta: how many the schedule keeps, and how many of them are due and not yet sent.
    countdowns: int | None = None
    countdowns_due: int | None = None
    #: Whether everything is held.
    held: bool | None = None


class Hook(Protocol):
    """A function that is called with every event.

    >>> def statsd(event: Event) -> None:
    ...     if isinstance(event, Sent):
    ...         print("redlock.sent", event.entry, round(event.lateness, 3))
    >>> add_hook(statsd)
    >>> emit(Sent(10.5, "mail", "tasks.mail", 10.0, "id", 1))
    redlock.sent mail 0.5
    >>> remove_hook(statsd)
    """

    def __call__(self, event: Event, /) -> None:
        """Note an event, quickly."""


_hooks: list[Hook] = []
_complained: set[int] = set()


def add_hook(hook: Hook) -> None:
    """Call *hook* with every event of the beats in this process, from now on.

    Add it where you make the app, so that it is there before beat starts; see :class:`Hook`.

    >>> add_hook(print)
    >>> remove_hook(print)
    """
    if hook not in _hooks:
        _hooks.append(hook)


def remove_hook(hook: Hook) -> None:
    """Call *hook* no more.

    >>> remove_hook(print)
    """
    if hook in _hooks:
        _hooks.remove(hook)
    _complained.discard(id(hook))


def listening() -> bool:
    """Whether there is a hook; without one nobody needs to make events."""
    return bool(_hooks)


def emit(event: Event) -> None:
    """Call every hook. What one raises is logged once, and stops nothing."""
    for hook in tuple(_hooks):
        try:
            hook(event)
        except Exception as exc:  # noqa: BLE001 - a hook is foreign code
            if id(hook) not in _complained:
                _complained.add(id(hook))
                words = "A hook failed (%(why)s); beat goes on. Each hook is logged once."
                log.warning("hook.failed", words, why=f"{hook!r}: {mask(repr(exc))}")
