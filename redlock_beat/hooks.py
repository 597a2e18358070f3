"""What happens, as frozen values, and who is told.

A hook is a callable that takes an event; Prometheus's is one (:mod:`redlock_beat.beat.metrics`), and one of
your own takes a few lines. It is called in the loop (or, for a foreign broker, in the publisher's
thread), so it must be quick; what it raises is logged, and hurts nobody.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Protocol

from .errors import mask

logger = logging.getLogger("redlock_beat")


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. *at* is Redis's time in unix seconds."""

    at: float


@dataclass(frozen=True, slots=True)
class Sent(Event):
    """An occurrence is in the queue (behind an outbox: the broker has accepted it)."""

    entry: str
    task: str
    nominal: float
    task_id: str
    epoch: int
    #: ``trigger``, ``backfill`` or ``settled`` for what was sent by hand; None for the schedule's own.
    how: str | None = None

    @property
    def lateness(self) -> float:
        """Seconds from nominal to being sent."""
        return self.at - self.nominal


@dataclass(frozen=True, slots=True)
class Skipped(Event):
    """An occurrence was not sent, and will not be. *reason* is one of a few words."""

    entry: str
    reason: str


@dataclass(frozen=True, slots=True)
class Missed(Event):
    """Slots went by: *count* of them, from *first* to *last* (unix seconds); *reason* is one of a few words."""

    entry: str
    first: float
    last: float
    count: int
    reason: str


@dataclass(frozen=True, slots=True)
class Failed(Event):
    """One attempt failed and is repeated. *step* is decode, compute, render, enqueue or publish."""

    entry: str
    step: str
    why: str


@dataclass(frozen=True, slots=True)
class Rendered(Event):
    """An occurrence's messages were rendered by themselves, not filled in: that is slower. *reason* is one of a few."""

    entry: str
    reason: str


@dataclass(frozen=True, slots=True)
class TermBegan(Event):
    """This beat leads now."""

    epoch: int


@dataclass(frozen=True, slots=True)
class TermEnded(Event):
    """This beat leads no longer."""

    epoch: int


@dataclass(frozen=True, slots=True)
class DataLost(Event):
    """Redis came back with less than it had. What only some beats know is None; *why* is the whole in words."""

    why: str
    entries_before: int | None
    entries_now: int
    epoch_before: int
    epoch_now: int


@dataclass(frozen=True, slots=True)
class Turned(Event):
    """The loop has turned. What only a leader knows is None on a standby."""

    role: str
    epoch: int | None = None
    entries: int | None = None
    #: Occurrences that are due and not yet sent.
    backlog: int | None = None
    outbox: int | None = None
    quarantined: int | None = None


class Hook(Protocol):
    """What is told of every event.

    >>> def statsd(event: Event) -> None:
    ...     if isinstance(event, Sent):
    ...         print("redlock.sent", event.entry, round(event.lateness, 3))
    >>> add_hook(statsd)
    >>> emit(Sent(10.5, "mail", "tasks.mail", 10.0, "id", 1))
    redlock.sent mail 0.5
    >>> remove_hook(statsd)
    """

    def __call__(self, event: Event, /) -> None:
        """Take note of an event, quickly."""


_hooks: list[Hook] = []
_complained: set[int] = set()


def add_hook(hook: Hook) -> None:
    """Tell *hook* of every event of the beats in this process, from now on.

    Call it where the app is made, so that it stands before beat starts; see :class:`Hook`.

    >>> add_hook(print)
    >>> remove_hook(print)
    """
    if hook not in _hooks:
        _hooks.append(hook)


def remove_hook(hook: Hook) -> None:
    """Tell *hook* no more.

    >>> remove_hook(print)
    """
    if hook in _hooks:
        _hooks.remove(hook)
    _complained.discard(id(hook))


def listening() -> bool:
    """Whether anybody wants to know: else events need not be made."""
    return bool(_hooks)


def emit(event: Event) -> None:
    """Tell every hook. What one raises is logged once, and hurts nobody."""
    for hook in tuple(_hooks):
        try:
            hook(event)
        except Exception as exc:  # noqa: BLE001 - a hook is foreign code
            if id(hook) not in _complained:
                _complained.add(id(hook))
                logger.warning("A hook failed (%r: %s); beat goes on. It is logged once.", hook, mask(repr(exc)))
