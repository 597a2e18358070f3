"""An entry, its policies and its state, as values."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, tzinfo
from operator import attrgetter, is_
from typing import Any, Literal, TypedDict

from ..clock import MICROS, moment, span_of
from ..errors import InvalidSchedule
from ..recurrence import NO_CALENDARS, SHIFTS, Calendars, Spec, sentence
from ..recurrence.days import read
from ..recurrence.zones import zone
from .labels import labels_of
from .state import State

MAX_NAME = 500
#: Later than every slot.
LAST = 2**62
#: Slots that one entry may have waiting.
MAX_BUFFER = 1_000
CANVAS = {"celery.chain": "chain", "celery.group": "group", "celery.chord": "chord"}

#: Arguments of ``apply_async`` that the scheduler gives.
_RESERVED_OPTIONS = ("task_id", "producer", "connection", "args", "kwargs", "publisher")


@dataclass(frozen=True, slots=True)
class Skip:
    """Coming slots that are not sent, as :meth:`Schedule.skip <redlock_beat.Schedule.skip>` makes it.

    They are known by their times, so nobody counts them: each is in the ledger as skipped when its time comes.

    >>> Skip(first=1_000_000, last=3_000_000, count=3, by="ann", why="audit").words
    'skip by ann: audit'
    """

    #: The first and the last slot, in microseconds, and how many they were.
    first: int
    last: int
    count: int
    by: str
    why: str | None = None
    #: The slot after the last; None when there is none.
    then: int | None = None

    @property
    def words(self) -> str:
        """Who skips them, and why: the reason in the ledger."""
        return f"skip by {self.by}" + (f": {self.why}" if self.why else "")


@dataclass(frozen=True, slots=True)
class Entry:
    """A named schedule, the task it sends, and its policies.

    :meth:`Schedule.add <redlock_beat.Schedule.add>` makes one. It is a value: to change it, edit the schedule.
    """

    name: str
    task: str
    schedule: Spec
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    #: Options for ``apply_async``: queue, priority, expires, headers, ...
    options: Mapping[str, Any] = field(default_factory=dict)
    #: A chain, group or chord as Celery serializes it; task, args and kwargs then only describe it.
    canvas: Mapping[str, Any] | None = None
    uid: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    revision: int = 1
    #: ``config`` for a configured entry, ``api`` for one made at runtime.
    origin: str = "api"
    #: The instant from which intervals count; microseconds since the epoch.
    anchor: int = 0
    timezone: str = "UTC"
    enabled: bool = True
    note: str | None = None
    paused_by: str | None = None
    #: When a pause ends by itself; microseconds. Its state then has the first slot from that time on already, so that
    #: nobody needs to resume it; *paused_slot* is the one that was next before, for who resumes it earlier.
    until: int | None = None
    paused_slot: int | None = None
    #: Coming slots that are not sent.
    skip: Skip | None = None
    dst_gap: str = "after"
    dst_fold: str = "auto"
    missed: str = "once"
    grace: float | None = None
    jitter: float = 0.0
    starts: int | None = None
    ends: int | None = None
    max_runs: int | None = None
    #: Short texts by name, to find it by.
    labels: Mapping[str, str] = field(default_factory=dict)
    #: Days, as ``recurrence.days`` writes them, on which it is not sent, and on which alone it is.
    exclude: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    #: What becomes of a slot on another day.
    shift: str = "skip"
    #: Whether a finished entry stays in the schedule, instead of being removed.
    keep: bool = False
    delivery: str = "at_least_once"
    overlap: str = "allow"
    queue_limit: float = 3600.0
    buffer_limit: int = 100
    terminate: bool = False
    pause_on_failure: int | None = None
    #: Whether JSON cannot carry its arguments: the leader then renders it from its own configuration.
    reference: bool = False
    #: How far it has come; None on an entry that does not come from Redis.
    state: State | None = field(default=None, compare=False)
    #: The calendars by name of whoever has read it.
    calendars: Calendars = field(default=NO_CALENDARS, compare=False, repr=False)

    def __post_init__(self) -> None:
        _check(self)

    @property
    def words(self) -> str:
        """When it is sent, in words.

        >>> from redlock_beat import Crontab
        >>> Entry("a", "tasks.add", Crontab.parse("0 7 * * 1-5"), timezone="Europe/Berlin").words
        'at 07:00, Monday to Friday, Europe/Berlin'
        """
        return sentence(self.schedule, self.timezone, self.exclude, self.only, self.shift)

    @property
    def paused(self) -> bool:
        """Whether it sends nothing now: it is paused until it is resumed, or until :attr:`paused_until`."""
        return not self.enabled or self.until is not None

    @property
    def paused_until(self) -> datetime | None:
        """When its pause ends by itself; None when it is not paused, or until it is resumed."""
        return None if self.until is None else moment(self.until)

    @property
    def standing(self) -> str:
        """``active``, ``paused``, or ``finished``: it has no further slot."""
        if self.paused:
            return "paused"
        return "finished" if self.state is not None and self.state.nominal is None else "active"

    @property
    def next_due(self) -> datetime | None:
        """The slot that is sent next, if its pause ends before; None when it is paused for good, or finished."""
        if self.state is None or self.state.nominal is None or not self.enabled:
            return None
        if self.skip is not None and self.skips(self.state.nominal):
            return None if self.skip.then is None else moment(self.skip.then)
        return moment(self.state.nominal)

    def skips(self, slot: int) -> bool:
        """Whether a slot is one of those that are skipped."""
        return self.skip is not None and self.skip.first <= slot <= self.skip.last

    @property
    def coming(self) -> int | None:
        """The slot that is next, but for a pause that ends by itself; None when it is finished."""
        if self.until is not None:
            return self.paused_slot
        return None if self.state is None else self.state.nominal

    @property
    def last_sent(self) -> datetime | None:
        """When an occurrence was last sent."""
        return None if self.state is None or self.state.last is None else moment(self.state.last)

    @property
    def total_run_count(self) -> int:
        """How many occurrences were sent."""
        return 0 if self.state is None else self.state.count

    def as_of(self, now: int) -> Entry:
        """The same entry at an instant: without a pause that has ended by itself, its note, and a skip that is over.

        Nothing in Redis changes when either ends, so whoever reads an entry asks this.
        """
        entry = self
        if entry.until is not None and entry.until <= now:
            entry = replace(entry, until=None, paused_slot=None, note=None, paused_by=None)
        if entry.skip is not None and entry.state is not None and (entry.coming or LAST) > entry.skip.last:
            entry = replace(entry, skip=None)
        return entry

    @property
    def is_plain(self) -> bool:
        """Whether every policy is surely the default."""
        return all(map(is_, _policies_of(self), _DEFAULT_POLICIES))

    def with_state(self, state: State | None) -> Entry:
        """The same entry with another state."""
        return self._with("state", state)

    def with_anchor(self, anchor: int) -> Entry:
        """The same entry, counted from *anchor*."""
        return self if anchor == self.anchor else self._with("anchor", anchor)

    def _with(self, field: str, value: Any) -> Entry:
        """As :func:`replace`, but it does not check again what has been checked: many edits take it."""
        new = object.__new__(Entry)
        for put, part in zip(_SETTERS, _parts_of(self), strict=True):
            put(new, part)
        object.__setattr__(new, field, value)
        return new

    def with_calendars(self, calendars: Calendars) -> Entry:
        """The same entry for a process that knows these calendars: it may name some of them."""
        return self._with("calendars", calendars) if self.exclude or self.only else self


class Policies(TypedDict, total=False):
    """The policies of an entry, as keywords of :meth:`Schedule.add <redlock_beat.Schedule.add>` and others."""

    #: False pauses it: it sends nothing.
    enabled: bool
    #: A text for people, up to 1,000 characters.
    note: str | None
    #: The zone on whose wall clock the schedule is read. Default: Celery's ``timezone``.
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
    #: The most times that it is sent; then it is finished.
    max_runs: int | None
    #: Short texts by name, to find it by: ``{"team": "billing", "tenant": "42"}``.
    labels: Mapping[str, str] | None
    #: Days on which it is not sent: dates, ranges, ``"12-25"``, ``"sat"``, names of ``redlock_beat_calendars``.
    exclude: Any
    #: The only days on which it is sent, written in the same way.
    only: Any
    #: A slot on another day is left out (``skip``), or moves to the ``next`` or ``previous`` day on which it is sent.
    shift: Literal["skip", "next", "previous"]
    #: Whether a finished entry stays in the schedule, instead of being removed.
    keep: bool
    #: For brokers other than the schedule's own Redis: whether a crash may repeat or may lose a message.
    delivery: Literal["at_least_once", "at_most_once"]
    #: What happens to a slot while a run of its entry is under way, as workers report (:func:`redlock_beat.watch`).
    #: ``allow`` sends it all the same, ``skip`` does not send it. ``buffer_one`` sends one such slot when the run is
    #: over, ``buffer_all`` up to *buffer_limit* of them. ``cancel_previous`` sends it and revokes the run.
    overlap: Literal["allow", "skip", "buffer_one", "buffer_all", "cancel_previous"]
    #: With an *overlap* but ``allow``: how long a run counts as under way that no worker has begun. Seconds, a
    #: timedelta or a text.
    queue_limit: float | timedelta | str
    #: With ``buffer_all``: the most slots that wait; later ones are skipped.
    buffer_limit: int
    #: With ``cancel_previous``: whether the process of a run that has begun is ended, too.
    terminate: bool
    #: The entry pauses after so many failed runs in a row, with a note. Workers report (:func:`redlock_beat.watch`).
    pause_on_failure: int | None
    #: When workers discard a message that none has taken: after a span, or at an instant.
    expires: float | timedelta | datetime | str | None


class Changes(Policies, total=False):
    """What an edit may change: any policy, and what the entry sends when."""

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
    "overlap": ("allow", "skip", "buffer_one", "buffer_all", "cancel_previous"),
    "shift": SHIFTS,
}

#: Fields that stand in the definition as they are, where they are not the default.
_POLICY_FIELDS = (
    *("enabled", "note", "paused_by", "until", "paused_slot", "dst_gap", "dst_fold", "missed", "grace", "jitter"),
    *("starts", "ends", "max_runs", "exclude", "only", "shift", "keep", "delivery", "overlap", "queue_limit"),
    *("buffer_limit", "terminate", "pause_on_failure", "reference"),
)
_policies_of = attrgetter(*_POLICY_FIELDS)
_DEFAULT_POLICIES = tuple(Entry.__dataclass_fields__[one].default for one in _POLICY_FIELDS)
_SETTERS = [Entry.__dict__[one].__set__ for one in Entry.__dataclass_fields__]
_parts_of = attrgetter(*Entry.__dataclass_fields__)

#: The names of the policies, in Python, on the command line and in ``beat_schedule``.
POLICIES = tuple(Policies.__annotations__)


def _check(entry: Entry) -> None:
    name = entry.name
    if not isinstance(name, str) or not name or len(name) > MAX_NAME:
        raise InvalidSchedule(f"an entry's name is a text of 1 to {MAX_NAME} characters, not {str(name)[:80]!r}.")
    _text(name, name, "the name")
    if not isinstance(entry.task, str) or not entry.task or len(entry.task) > MAX_NAME:
        raise InvalidSchedule(f"entry {name!r}: the task is {entry.task!r}, but must be a task, a signature or a name.")
    _text(name, entry.task, "the task")
    if entry.labels:
        labels_of(entry.labels, f"entry {name!r}: labels")
    if not entry.is_plain:
        _check_policies(entry)
    if not isinstance(entry.kwargs, Mapping) or not isinstance(entry.options, Mapping):
        raise InvalidSchedule(f"entry {name!r}: kwargs and options must be dictionaries.")
    if entry.options:
        _check_options(entry)
    zone(entry.timezone)


def _check_options(entry: Entry) -> None:
    name = entry.name
    for option in _RESERVED_OPTIONS:
        if option in entry.options:
            raise InvalidSchedule(
                f"entry {name!r}: the option {option!r} is given by the scheduler for each occurrence; leave it out."
            )
    expires = entry.options.get("expires")
    if isinstance(expires, float) and not math.isfinite(expires):
        raise InvalidSchedule(f"entry {name!r}: expires is {expires!r}, but must be a number of seconds.")


def _check_policies(entry: Entry) -> None:
    name = entry.name
    for policy, choices in _CHOICES.items():
        value = getattr(entry, policy)
        if value not in choices:
            raise InvalidSchedule(f"entry {name!r}: {policy} is {value!r}, but must be one of {', '.join(choices)}.")
    for flag in ("enabled", "keep", "terminate"):
        if not isinstance(getattr(entry, flag), bool):
            raise InvalidSchedule(f"entry {name!r}: {flag} is {getattr(entry, flag)!r}, but must be true or false.")
    for policy in ("grace", "jitter"):
        value = getattr(entry, policy)
        if policy == "grace" and value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 3_660 * 86400:
            raise InvalidSchedule(f"entry {name!r}: {policy} is {value!r}, but must be a number of seconds, 0 or more.")
    _check_runs(entry)
    if entry.starts is not None and entry.ends is not None and entry.ends < entry.starts:
        raise InvalidSchedule(f"entry {name!r}: it ends before it starts.")
    for policy in ("exclude", "only"):
        if value := getattr(entry, policy):
            read(value, f"entry {name!r}: {policy}")
    if entry.paused_by is not None and (not isinstance(entry.paused_by, str) or len(entry.paused_by) > 1000):
        raise InvalidSchedule(f"entry {name!r}: who paused it must be a text of at most 1000 characters.")
    if entry.note is not None and (not isinstance(entry.note, str) or len(entry.note) > 1000):
        raise InvalidSchedule(f"entry {name!r}: the note must be a text of at most 1000 characters.")
    if entry.note is not None:
        _text(name, entry.note, "the note")


def _check_runs(entry: Entry) -> None:
    """The policies that are about runs."""
    name = entry.name
    for policy in ("max_runs", "pause_on_failure", "buffer_limit"):
        number = getattr(entry, policy)
        if number is None and policy != "buffer_limit":
            continue
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            or_none = "" if policy == "buffer_limit" else ", or None"
            raise InvalidSchedule(
                f"entry {name!r}: {policy} is {number!r}, but must be a whole number from 1{or_none}."
            )
    if entry.buffer_limit > MAX_BUFFER:
        raise InvalidSchedule(
            f"entry {name!r}: buffer_limit is {entry.buffer_limit}, but must be at most {MAX_BUFFER}."
        )
    limit = entry.queue_limit
    if isinstance(limit, bool) or not isinstance(limit, (int, float)) or not 0.1 <= limit < 366 * 86400:
        raise InvalidSchedule(f"entry {name!r}: queue_limit is {limit!r}, but must be seconds, from 0.1 to a year.")
    if entry.overlap != "allow" and entry.canvas is not None:
        raise InvalidSchedule(
            f"entry {name!r}: overlap is {entry.overlap!r}, but a {entry.canvas.get('subtask_type')} is many runs, and "
            "workers report the end of a single task only. Send a task that starts it, or leave overlap out."
        )


def _text(name: str, value: str, what: str) -> None:
    """Refuse half characters (lone surrogates): Redis, JSON and brokers carry UTF-8."""
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
    """The seconds of a number, a timedelta or a text such as ``10m``, for policies that are spans."""
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
    """``expires`` as Celery takes it: the seconds of a span, or an instant as it is."""
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
