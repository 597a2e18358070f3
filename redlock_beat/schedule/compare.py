"""What django-celery-beat sends, held against the slots that its entries have here, while only it sends.

Each reading of its tables says of an entry how many times it was sent since the reading before, and when last. The
slots here are counted from that reading before: as if the entry had been imported then. Nothing is sent or written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ..clock import MICROS, moment
from ..entries.document import editable
from ..entries.entry import Entry
from ..entries.policies import next_slot
from ..recurrence import Interval, Once
from .migrate import NotImported
from .transfer import Arrival

#: django-celery-beat writes what it sent every three minutes: a slot that is past for less may have been sent.
WRITES_WITHIN = timedelta(minutes=5)
#: How much before its slot a send may be: tables round.
_EARLY = MICROS // 2
#: Slots that are counted in one reading, at most.
_MOST = 100_000


@dataclass(frozen=True, slots=True)
class Compared:
    """What became of the slots of one entry between two readings."""

    name: str
    #: Times that it was sent there, and slots that it has here.
    sent: int
    slots: int
    #: When it was last sent there, and the slot of that send; None where there is none, or the tables do not say.
    last_sent: datetime | None
    slot: datetime | None
    #: Whether each send there has its slot here.
    same: bool

    @property
    def late(self) -> float | None:
        """Seconds from the slot to the send."""
        return None if self.last_sent is None or self.slot is None else (self.last_sent - self.slot).total_seconds()

    def json(self) -> dict[str, Any]:
        """As plain JSON."""
        at = {"last_sent": self.last_sent, "slot": self.slot}
        times = {name: None if when is None else when.isoformat() for name, when in at.items()}
        late = None if self.late is None else round(self.late, 3)
        return {"name": self.name, "same": self.same, "sent": self.sent, "slots": self.slots, **times, "late": late}


@dataclass(slots=True)
class Comparison:
    """Follows the tables from reading to reading.

    >>> comparison = Comparison(tolerance=5)
    >>> list(comparison.read([], 0))
    []
    """

    #: Seconds after its slot within which a send is that slot's.
    tolerance: float
    #: What cannot be imported, and so not be compared.
    left_out: dict[str, str] = field(default_factory=dict)
    #: Entries that were edited, added or removed meanwhile: they are compared again from their next send on.
    edited: set[str] = field(default_factory=set)
    _before: dict[str, Arrival] = field(default_factory=dict)
    _unsettled: set[str] = field(default_factory=set)
    _started: bool = False

    @property
    def names(self) -> set[str]:
        """The entries that are followed."""
        return set(self._before)

    def read(self, found: Iterable[Arrival | NotImported], now: int) -> Iterator[Compared]:
        """Take one reading of the tables; what was sent since the one before."""
        before, self._before = self._before, {}
        self.left_out.clear()
        for one in found:
            if isinstance(one, Arrival):
                yield from self._follow(before.pop(one.entry.name, None), one, now)
            else:
                was = before.pop(one.name, None)
                if was is not None and isinstance(was.entry.schedule, Once) and _is_past(was, now):
                    yield _switched_off(was)  # and so it is no entry any more
                else:
                    self.left_out[one.name] = one.why
        self.edited.update(before)
        self._started = True

    def _follow(self, was: Arrival | None, now_there: Arrival, now: int) -> Iterator[Compared]:
        name = now_there.entry.name
        self._before[name] = now_there
        if was is None:
            if self._started:
                self._edit(name)
            return
        if was.entry.enabled and not now_there.entry.enabled and _is_over(was, now):
            if was.entry.max_runs == 1 and _is_past(was, now):
                yield _switched_off(was)
            return
        sent = now_there.state.count - was.state.count
        if _parts(was.entry) != _parts(now_there.entry) or sent < 0 or (sent and now_there.state.last is None):
            self._edit(name)
        elif not sent:
            self._before[name] = was
        elif name in self._unsettled:  # part of these sends may be from before the edit
            self._unsettled.discard(name)
        else:
            yield self._compared(was, now_there, sent)

    def _edit(self, name: str) -> None:
        self.edited.add(name)
        self._unsettled.add(name)

    def _compared(self, was: Arrival, now_there: Arrival, sent: int) -> Compared:
        last = now_there.state.last
        assert last is not None
        slots: list[int] = []
        of_last = None
        for at in _slots(was):
            if at <= last + _EARLY:
                slots.append(at)
            elif len(slots) >= sent:
                break
            if len(slots) == sent:
                of_last = at
            if at > last + _EARLY or len(slots) >= _MOST:
                break
        # There an interval counts from when it was sent, so each send adds its lateness to the next.
        span = round(self.tolerance * MICROS) * (sent if isinstance(was.entry.schedule, Interval) else 1)
        same = of_last is not None and last - of_last <= span
        nearest = of_last if same else slots[-1] if slots else None
        slot = None if nearest is None else moment(nearest)
        return Compared(now_there.entry.name, sent, sent if same else len(slots), moment(last), slot, same)

    def unsent(self, now: int) -> Iterator[Compared]:
        """Entries whose slot has come, and that were not sent there since."""
        latest = now - round(WRITES_WITHIN.total_seconds() * MICROS)
        for name, one in self._before.items():
            nominal = one.state.nominal
            if one.entry.enabled and name not in self._unsettled and nominal is not None and nominal < latest:
                yield Compared(name, 0, 1, None, moment(nominal), same=False)


def _slots(one: Arrival) -> Iterator[int]:
    at = one.state.nominal
    while at is not None:
        yield at
        at = next_slot(one.entry, at)


def _is_past(one: Arrival, now: int) -> bool:
    return one.state.nominal is not None and one.state.nominal <= now


def _is_over(one: Arrival, now: int) -> bool:
    """Whether django-celery-beat itself switches it off: it was sent once, or it has expired."""
    ends = one.entry.ends
    return (one.entry.max_runs == 1 and (one.state.nominal is None or _is_past(one, now))) or (
        ends is not None and ends <= now
    )


def _switched_off(one: Arrival) -> Compared:
    """One that is sent once: the tables say only that it is switched off now, and no longer when it was sent."""
    assert one.state.nominal is not None
    return Compared(one.entry.name, 1, 1, None, moment(one.state.nominal), same=True)


def _parts(entry: Entry) -> dict[str, Any]:
    """What makes it another entry when it is edited; a start that has come is no edit."""
    return {name: value for name, value in editable(entry).items() if name not in ("starts", "note")}
