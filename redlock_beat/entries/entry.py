"""An entry, its policies and its state, as values."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, tzinfo
from typing import Any, Literal, TypedDict

from ..clock import MICROS, moment, span_of
from ..errors import InvalidSchedule
from ..recurrence import Spec
from ..recurrence.zones import zone
from .state import State

MAX_NAME = 500
CANVAS = {"celery.chain": "chain", "celery.group": "group", "celery.chord": "chord"}

#: Arguments of ``apply_async`` that are ours to give.
_RESERVED_OPTIONS = ("task_id", "producer", "connection", "args", "kwargs", "publisher")


@dataclass(frozen=True, slots=True)
class Entry:
    """A named schedule, the task it sends, and its policies.

    Made by :meth:`Schedule.add <redlock_beat.Schedule.add>`; a value: to change one, edit the schedule.
    """

    name: str
    task: str
    schedule: Spec
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    #: What ``apply_async`` gets: queue, priority, expires, headers, ...
    options: Mapping[str, Any] = field(default_factory=dict)
    #: A chain, group or chord as Celery serializes it; then task, args and kwargs only describe it.
    canvas: Mapping[str, Any] | None = None
    uid: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    revision: int = 1
    #: ``api``, or ``config`` for what comes from ``beat_schedule``.
    origin: str = "api"
    #: Where intervals are counted from; microseconds since the epoch.
    anchor: int = 0
    timezone: str = "UTC"
    enabled: bool = True
    note: str | None = None
    paused_by: str | None = None
    dst_gap: str = "after"
    dst_fold: str = "auto"
    missed: str = "once"
    grace: float | None = None
    jitter: float = 0.0
    starts: int | None = None
    ends: int | None = None
    max_runs: int | None = None
    #: Whether a finished entry stays to be looked at, instead of being removed.
    keep: bool = False
    delivery: str = "at_least_once"
    #: Arguments JSON cannot carry: the leader renders this entry from its own configuration.
    reference: bool = False
    #: How far it has come; None on an entry that has not been read from Redis.
    state: State | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        _check(self)

    @property
    def next_due(self) -> datetime | None:
        """The slot that is sent next, or None (paused or finished)."""
        if self.state is None or self.state.nominal is None or not self.enabled:
            return None
        return moment(self.state.nominal)

    @property
    def last_sent(self) -> datetime | None:
        """When an occurrence was last sent."""
        return None if self.state is None or self.state.last is None else moment(self.state.last)

    @property
    def total_run_count(self) -> int:
        """How many occurrences were sent."""
        return 0 if self.state is None else self.state.count

    def with_state(self, state: State | None) -> Entry:
        """The same entry with another state."""
        return replace(self, state=state)


class Policies(TypedDict, total=False):
    """What an entry may be given by name, besides its task and its schedule."""

    #: False: it is paused, and sends nothing.
    enabled: bool
    #: A text for people, up to 1,000 characters.
    note: str | None
    #: The zone whose wall clock the schedule is read on; Celery's ``timezone`` when it is left out.
    timezone: str | tzinfo | None
    #: A slot lost when the clock goes forward: sent at the first instant ``after`` the gap, or left out (``skip``).
    dst_gap: Literal["after", "skip"]
    #: A slot whose time comes twice when the clock goes back: sent the ``first`` time or ``both`` times; ``auto``
    #: is ``both`` for crontabs of every hour or with a star in the minute or hour, else ``first``.
    dst_fold: Literal["auto", "first", "both"]
    #: What is sent after an outage: ``once`` is the newest slot, ``all`` every slot up to a limit, and ``skip``
    #: the newest if it is not later than *grace* (a minute when there is none).
    missed: Literal["once", "skip", "all"]
    #: How late a slot may be sent; a later one is missed. Seconds, a timedelta, or a text such as ``10m``.
    grace: float | timedelta | str | None
    #: A slot is sent up to this long after its time; every replica computes the same delay.
    jitter: float | timedelta | str
    #: The first instant at which there may be a slot; intervals are then counted from it.
    starts: datetime | None
    #: The last instant at which there may be a slot.
    ends: datetime | None
    #: How often it is sent at most; then it is finished.
    max_runs: int | None
    #: Whether a finished entry stays to be looked at, instead of being removed.
    keep: bool
    #: For brokers other than the schedule's own Redis: what a crash at the wrong moment may do, repeat or lose.
    delivery: Literal["at_least_once", "at_most_once"]
    #: When a message that no worker has taken is of no use any more: after a span, or at an instant.
    expires: float | timedelta | datetime | str | None


class Changes(Policies, total=False):
    """What of an entry may be changed: any policy, and what it sends when."""

    task: Any
    when: Any
    args: Any
    kwargs: Mapping[str, Any] | None
    options: Mapping[str, Any] | None
    relative: bool


_CHOICES = {
    "dst_gap": ("after", "skip"),
    "dst_fold": ("auto", "first", "both"),
    "missed": ("once", "skip", "all"),
    "delivery": ("at_least_once", "at_most_once"),
}

#: The policies an entry may be given by name, in Python, on the command line and in ``beat_schedule``.
POLICIES = tuple(Policies.__annotations__)


def _check(entry: Entry) -> None:
    name = entry.name
    if not isinstance(name, str) or not name or len(name) > MAX_NAME:
        raise InvalidSchedule(f"an entry's name is a text of 1 to {MAX_NAME} characters, not {str(name)[:80]!r}.")
    _text(name, name, "the name")
    if not isinstance(entry.task, str) or not entry.task or len(entry.task) > MAX_NAME:
        raise InvalidSchedule(f"entry {name!r}: the task is {entry.task!r}, but must be a task, a signature or a name.")
    _text(name, entry.task, "the task")
    for policy, choices in _CHOICES.items():
        value = getattr(entry, policy)
        if value not in choices:
            raise InvalidSchedule(f"entry {name!r}: {policy} is {value!r}, but must be one of {', '.join(choices)}.")
    for flag in ("enabled", "keep"):
        if not isinstance(getattr(entry, flag), bool):
            raise InvalidSchedule(f"entry {name!r}: {flag} is {getattr(entry, flag)!r}, but must be true or false.")
    for policy in ("grace", "jitter"):
        value = getattr(entry, policy)
        if policy == "grace" and value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 3_660 * 86400:
            raise InvalidSchedule(f"entry {name!r}: {policy} is {value!r}, but must be a number of seconds, 0 or more.")
    runs = entry.max_runs
    if runs is not None and (isinstance(runs, bool) or not isinstance(runs, int) or runs < 1):
        raise InvalidSchedule(f"entry {name!r}: max_runs is {runs!r}, but must be a whole number from 1, or None.")
    if entry.starts is not None and entry.ends is not None and entry.ends < entry.starts:
        raise InvalidSchedule(f"entry {name!r}: it ends before it starts.")
    if entry.paused_by is not None and (not isinstance(entry.paused_by, str) or len(entry.paused_by) > 1000):
        raise InvalidSchedule(f"entry {name!r}: who paused it must be a text of at most 1000 characters.")
    if entry.note is not None and (not isinstance(entry.note, str) or len(entry.note) > 1000):
        raise InvalidSchedule(f"entry {name!r}: the note must be a text of at most 1000 characters.")
    if entry.note is not None:
        _text(name, entry.note, "the note")
    if not isinstance(entry.kwargs, Mapping) or not isinstance(entry.options, Mapping):
        raise InvalidSchedule(f"entry {name!r}: kwargs and options must be dictionaries.")
    for option in _RESERVED_OPTIONS:
        if option in entry.options:
            raise InvalidSchedule(
                f"entry {name!r}: the option {option!r} is given by the scheduler for each occurrence; leave it out."
            )
    expires = entry.options.get("expires")
    if isinstance(expires, float) and not math.isfinite(expires):
        raise InvalidSchedule(f"entry {name!r}: expires is {expires!r}, but must be a number of seconds.")
    zone(entry.timezone)


def _text(name: str, value: str, what: str) -> None:
    """Refuse halves of characters (lone surrogates): Redis, JSON and brokers carry UTF-8."""
    if value.isascii():
        return
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise InvalidSchedule(
            f"entry {name!r}: {what} holds {value[exc.start]!r}, which is half a character and no text: UTF-8 cannot "
            "carry it. It often comes from bytes decoded in the wrong way."
        ) from None


def seconds_of(value: Any, name: str, policy: str) -> float:
    """Seconds out of a number, a timedelta or a text such as ``10m``, for the policies that are spans."""
    number = value
    if isinstance(value, str):
        try:
            number = span_of(value)
        except InvalidSchedule as exc:
            raise InvalidSchedule(f"entry {name!r}: {policy} cannot be used: {exc}") from None
    if isinstance(number, timedelta):
        number = number.total_seconds()
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 <= number < math.inf:
        raise InvalidSchedule(
            f"entry {name!r}: {policy} is {value!r}, but must be seconds, a timedelta or a text such as 10m, 0 or more."
        )
    return float(number)


def expiry_of(value: Any, name: str) -> Any:
    """``expires`` as Celery takes it: seconds out of a span, or an instant as it is given."""
    if value is None or isinstance(value, datetime):
        return value
    if isinstance(value, str):
        try:
            datetime.fromisoformat(value)
        except ValueError:
            pass
        else:
            return value
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf:
        return value
    seconds = seconds_of(value, name, "expires")
    return int(seconds) if seconds.is_integer() else seconds


def span_micros(seconds: float) -> int:
    """A span of seconds in microseconds."""
    return round(seconds * MICROS)
