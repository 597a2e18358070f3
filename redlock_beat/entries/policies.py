"""Which slots of an entry are sent, and which are missed: pure functions of values.

A slot is *late* when a later slot of the same entry is not yet due and its lateness is within
``grace``; it is sent. Of several that are due, ``once`` and ``skip`` send the newest, and ``all`` the
newest ``catchup_limit``, oldest first; but under every policy nothing that is later than ``grace``.
What is left out is *missed*, and one row in the ledger. So is a slot on a day that was closed after the slot
was computed: nothing is sent on a closed day.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ..clock import MICROS
from ..recurrence import Crontab, Interval, Once, OnOpenDays, Rules, Spec, count, newest
from ..recurrence.calendars import day_at
from .entry import Entry, Skip, span_micros

#: Slots, and seconds, after which counting for one ledger row ends; the row then says "at least".
COUNT_LIMIT, COUNT_SECONDS = 20_000, 0.05
#: The `grace` in seconds of an entry with ``missed="skip"`` that has none of its own.
SKIP_GRACE = 60.0
#: A one-shot that is at most so long past when it is added is sent at once: it means "now".
JUST_PAST = 60 * MICROS


@dataclass(frozen=True, slots=True)
class Missed:
    """Slots that are not sent: the first, the last, how many, and why; missed, or ``skipped`` as somebody asked."""

    first: int
    last: int
    count: int
    why: str
    #: There are more than *count*: they were not counted to the end.
    at_least: bool = False
    what: str = "missed"


class Plan(NamedTuple):
    """What to do about the slots of one entry that are due now."""

    #: The slots to send, oldest first.
    sends: tuple[int, ...]
    missed: Missed | None
    #: The next slot; None when there is none any more.
    pending: int | None
    #: When to act on each of them; None when that is at their very time.
    acts: Mapping[int, int] | None = None


def rules_of(entry: Entry) -> Rules:
    """What the slots of an entry depend on besides its schedule."""
    anchor = entry.anchor
    spec = entry.schedule
    if entry.starts is not None:
        # Counted from `starts`, which is then the first slot itself.
        anchor = entry.starts
        if isinstance(spec, Interval) and not spec.relative:
            anchor -= spec.every
    return Rules(entry.timezone, anchor, entry.dst_gap, entry.dst_fold)


def spec_of(entry: Entry) -> Spec:
    """The schedule of an entry, on its open days alone if it has a calendar; Uncomputable if that is not known."""
    if not entry.exclude and not entry.only:
        return entry.schedule
    return OnOpenDays(entry.schedule, entry.calendars.open_days(entry.exclude, entry.only, entry.shift))


def is_closed(entry: Entry, instant: int) -> bool:
    """Whether an instant is on a day on which an entry is not sent."""
    if not entry.exclude and not entry.only:
        return False
    days = entry.calendars.open_days(entry.exclude, entry.only, entry.shift)
    return not days.is_open(day_at(entry.timezone, instant))


def next_slot(entry: Entry, after: int) -> int | None:
    """The first slot of an entry strictly after an instant, within its bounds."""
    if entry.starts is not None:
        after = max(after, entry.starts - 1)
    at = spec_of(entry).next(after, rules_of(entry))
    if at is None or (entry.ends is not None and at > entry.ends):
        return None
    return at


def first_slot(entry: Entry, now: int) -> int | None:
    """The first slot of a new schedule: the first after now, or that of a one-shot just past."""
    return next_slot(entry, now - JUST_PAST - 1 if isinstance(entry.schedule, Once) else now)


def upcoming(entry: Entry, nominal: int, now: int) -> int | None:
    """The first slot from *nominal* on that is not yet due: jitter may still hold back one before now."""
    if nominal > now:
        return nominal
    if entry.jitter:
        last = newest(spec_of(entry), rules_of(entry), nominal, now if entry.ends is None else min(now, entry.ends))
        if act_at(entry, last) > now:
            return last
    return next_slot(entry, now)


def grace_of(entry: Entry, cron_grace: float | None = None) -> float | None:
    """How many seconds late a slot may be sent; None for any lateness.

    *cron_grace* is Celery's ``beat_cron_starting_deadline``: the `grace` of crontabs that have none of their own.
    """
    if entry.grace is not None:
        return entry.grace
    if cron_grace is not None and isinstance(entry.schedule, Crontab):
        return cron_grace
    return SKIP_GRACE if entry.missed == "skip" else None


def act_at(entry: Entry, nominal: int) -> int:
    """When to act on a slot: nominal plus jitter, never past the next slot."""
    if not entry.jitter:
        return nominal
    span = span_micros(entry.jitter)
    following = spec_of(entry).next(nominal, rules_of(entry))
    if following is not None:
        span = min(span, following - nominal - 1)
    return nominal + jitter_of(entry.uid, nominal, span)


def jitter_of(uid: str, nominal: int, span: int) -> int:
    """The jitter of a slot, at most *span*: a hash of uid and nominal, so that every replica finds the same."""
    digest = hashlib.blake2b(f"{uid} {nominal}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) * span // 2**64


def plan(
    entry: Entry,
    nominal: int,
    sent: int,
    now: int,
    catchup_limit: int = 100,
    cron_grace: float | None = None,
    count_seconds: float = COUNT_SECONDS,
) -> Plan:
    """What to do about the slot *nominal*, which is due, and all that came due after it.

    *sent* is how many occurrences were sent before, for ``max_runs``.
    """
    skip = entry.skip
    if skip is not None and entry.skips(nominal):
        return _skipped(entry, skip, nominal, now, count_seconds)
    # Slots before a skip are judged as of its first slot: no slot of it takes their place.
    due = now if skip is None or nominal > skip.last else min(now, skip.first - 1)
    if is_closed(entry, nominal):  # its calendar has changed since this slot was computed
        return Plan((), Missed(nominal, nominal, 1, "closed day"), next_slot(entry, nominal))
    late: tuple[int, ...]
    omitted: Missed | None
    following = next_slot(entry, nominal)
    if following is None or act_at(entry, following) > due:
        late, omitted = (nominal,), None
    else:
        limit = catchup_limit if entry.missed == "all" else 1
        late, omitted = _several(entry, nominal, due, limit, count_seconds)
        following = next_slot(entry, late[-1])
    grace = grace_of(entry, cron_grace)
    if grace is not None:
        late, omitted = _within(entry, nominal, now, span_micros(grace), late, omitted)
    if entry.max_runs is not None:
        room = max(0, entry.max_runs - sent)
        late = late[:room]
        if room <= len(late):
            following = None
    coming = late if following is None else (*late, following)
    return Plan(late, omitted, following, {at: act_at(entry, at) for at in coming} if entry.jitter else None)


def _skipped(entry: Entry, skip: Skip, nominal: int, now: int, seconds: float) -> Plan:
    """Of slots that are skipped those that are due: one, unless no beat was there for a while."""
    spec, rules = spec_of(entry), rules_of(entry)
    last = newest(spec, rules, nominal, max(nominal, min(now, skip.last)))
    if act_at(entry, last) > now and last > nominal:  # jitter holds the newest back
        last = newest(spec, rules, nominal, last - 1)
    number, at_least = 1, False
    if last > nominal:
        total = count(spec, rules, nominal, last, COUNT_LIMIT, seconds)
        number, at_least = total.slots, total.at_least
    gone = Missed(nominal, last, number, skip.words, at_least, "skipped")
    following = next_slot(entry, last)
    acts = {following: act_at(entry, following)} if entry.jitter and following is not None else None
    return Plan((), gone, following, acts)


def _within(
    entry: Entry, nominal: int, now: int, grace: int, late: tuple[int, ...], omitted: Missed | None
) -> tuple[tuple[int, ...], Missed | None]:
    """Of slots to send those that are not later than *grace*; the others are missed, too."""
    over = sum(now - act_at(entry, at) > grace for at in late)
    if not over:
        return late, omitted
    before, at_least = (0, False) if omitted is None else (omitted.count, omitted.at_least)
    return late[over:], Missed(nominal, late[over - 1], before + over, "grace", at_least)


@dataclass(frozen=True, slots=True)
class Simulated:
    """What an outage would do to one slot, or to a run of missed ones. Instants are microseconds."""

    what: str  # "sent", "missed" or "skipped"
    nominal: int
    #: When it would be sent; for missed and skipped ones, when that is found out.
    at: int
    missed: Missed | None = None


def simulate(
    entry: Entry, sent: int, start: int, end: int, catchup_limit: int = 100, cron_grace: float | None = None
) -> list[Simulated]:
    """What would become of the slots of an entry if nothing ran from *start* to *end*.

    *sent* is how many occurrences were sent before. The list ends with the first slot that is on time again.
    """
    found: list[Simulated] = []
    pending = next_slot(entry, start - 1)
    while pending is not None and act_at(entry, pending) <= end:
        todo = plan(entry, pending, sent, end, catchup_limit, cron_grace)
        if todo.missed is not None:
            found.append(Simulated(todo.missed.what, todo.missed.first, end, todo.missed))
        found.extend(Simulated("sent", at, end) for at in todo.sends)
        sent, pending = sent + len(todo.sends), todo.pending
    if pending is not None:
        what = "skipped" if entry.skips(pending) else "sent"
        found.append(Simulated(what, pending, act_at(entry, pending)))
    return found


def _several(entry: Entry, nominal: int, now: int, limit: int, seconds: float) -> tuple[tuple[int, ...], Missed | None]:
    """The newest *limit* of the due slots, oldest first, and what comes before them."""
    spec, rules = spec_of(entry), rules_of(entry)
    until = now if entry.ends is None else min(now, entry.ends)
    last = newest(spec, rules, nominal, until)
    if act_at(entry, last) > now and last > nominal:  # jitter holds the newest back
        last = newest(spec, rules, nominal, last - 1)
    kept = [last]
    while len(kept) < limit and kept[-1] > nominal:
        kept.append(newest(spec, rules, nominal, kept[-1] - 1))
    kept.reverse()
    if kept[0] == nominal:
        return tuple(kept), None
    before = newest(spec, rules, nominal, kept[0] - 1)
    total = count(spec, rules, nominal, before, COUNT_LIMIT, seconds)
    why = "catchup_limit" if entry.missed == "all" else "later slot due"
    return tuple(kept), Missed(nominal, before, total.slots, why, total.at_least)
