"""The timing of an entry, as a value that entries share which have the same.

Most due entries have one due slot, which is sent. :class:`Timing` knows that case, and finds the next slot at once; for
every other :func:`redlock_beat.entries.policies.plan` plans the whole entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from ..recurrence import Crontab, Interval, Once, Rules
from .codec import anchor_in, decoded
from .entry import Entry, span_micros
from .policies import grace_of, jitter_of

#: The keys of a definition that decide its timing, but for those of its own: anchor, uid and one-shot time.
_KEYS = ("kind", "s_every", "s_cron", "tz", "gap", "fold", "missed", "grace", "runs", "jitter", "starts", "ends")
#: Keys of definitions that always take a closer look.
_CLOSER = frozenset(("s_relative", "out", "only"))
#: The same, and of those that do as long as a skip lasts.
_PERHAPS_CLOSER = _CLOSER | {"skip"}
#: Kinds whose slots take microseconds to compute, without code of the user.
_QUICK = (Interval, Crontab, Once)
#: Timings kept, and slots of each.
TIMINGS, SLOTS = 10_000, 100


class Closer(Enum):
    """The answer that there is no quick answer."""

    LOOK = "look closer"


#: There is no quick answer: plan the whole entry.
CLOSER = Closer.LOOK


class Timing:
    """What the slots of an entry depend on, but for its anchor and uid.

    >>> data = {"v": 1, "uid": "u", "rev": 1, "task": "t", "kind": "interval", "s_every": 30, "at": 0}
    >>> Timing(decoded("a", data), None).following(0, 30_000_000, 0, 31_000_000)
    60000000
    """

    __slots__ = ("_ends", "_every", "_following", "_grace", "_jitter", "_quick", "_rules", "_runs", "_spec", "_starts")

    def __init__(self, entry: Entry, cron_grace: float | None) -> None:
        spec = entry.schedule
        self._quick = isinstance(spec, _QUICK) and not (isinstance(spec, Interval) and spec.relative)
        self._jitter = span_micros(entry.jitter)
        self._starts, self._ends = entry.starts, entry.ends
        grace = grace_of(entry, cron_grace)
        self._grace = None if grace is None else span_micros(grace)
        self._runs = entry.max_runs
        self._spec = spec
        self._rules = Rules(entry.timezone, 0, entry.dst_gap, entry.dst_fold)
        self._every = spec.every if isinstance(spec, Interval) else 0
        self._following: dict[int, int | None] = {}

    def following(self, anchor: int, nominal: int, sent: int, now: int) -> int | Closer | None:
        """The slot after *nominal* (or None), if *nominal* alone is due and is to be sent; else CLOSER."""
        if not self._quick or (self._grace is not None and now - nominal > self._grace):
            return CLOSER
        if self._starts is not None and nominal < self._starts:
            return CLOSER
        following = self._next(anchor, nominal)
        if following is not None and following <= now:
            return CLOSER
        if self._ends is not None and following is not None and following > self._ends:
            following = None
        if self._runs is not None and sent + 1 >= self._runs:
            return CLOSER if sent >= self._runs else None
        return following

    def acts(self, anchor: int, uid: str, nominal: int, following: int | None) -> tuple[int, int | None]:
        """When to act on *nominal* and on *following*: jitter holds them back, never past the next slot."""
        after = None if following is None else self._act(anchor, uid, following)
        return self._act(anchor, uid, nominal), after

    def _act(self, anchor: int, uid: str, nominal: int) -> int:
        following = self._next(anchor, nominal)
        span = self._jitter if following is None else min(self._jitter, following - nominal - 1)
        return nominal + jitter_of(uid, nominal, span)

    def _next(self, anchor: int, nominal: int) -> int | None:
        """The slot after another, within no bounds."""
        every = self._every
        if every:
            if self._starts is not None:  # the first slot itself
                anchor = self._starts - every
            return anchor + (max(nominal - anchor, 0) // every + 1) * every
        if nominal in self._following:
            return self._following[nominal]
        if isinstance(self._spec, Once):  # it has none
            return None
        if len(self._following) >= SLOTS:
            self._following.clear()
        following = self._following[nominal] = self._spec.next(nominal, self._rules)
        return following


class Timings:
    """The timings of all entries of a schedule, each kept once."""

    def __init__(self, cron_grace: float | None) -> None:
        self._cron_grace = cron_grace
        self._kept: dict[Any, Timing] = {}

    def following(self, name: str, data: Mapping[str, Any], nominal: int, sent: int, now: int) -> int | Closer | None:
        """What :meth:`Timing.following` says of an entry with this definition; InvalidSchedule when that is rubbish."""
        if not _PERHAPS_CLOSER.isdisjoint(data) and (not _CLOSER.isdisjoint(data) or nominal <= data["skip"][1]):
            return CLOSER
        timing = self._kept.get(tuple(map(data.get, _KEYS))) or self._of(name, data)
        return timing.following(anchor_in(data), nominal, sent, now)

    def acts(self, name: str, data: Mapping[str, Any], nominal: int, following: int | None) -> tuple[int, int | None]:
        """What :meth:`Timing.acts` says of it."""
        return self._of(name, data).acts(anchor_in(data), data["uid"], nominal, following)

    def _of(self, name: str, data: Mapping[str, Any]) -> Timing:
        key: Any = tuple(map(data.get, _KEYS))
        timing = self._kept.get(key)
        if timing is None:
            timing = Timing(decoded(name, data), self._cron_grace)
            if len(self._kept) >= TIMINGS:
                self._kept.clear()
            self._kept[key] = timing
        return timing
