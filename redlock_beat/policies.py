"""Which slots of an entry are sent, and which are missed: pure functions of values.

A slot is *missed* when a later slot of the same entry is already due, or when its lateness exceeds
``grace``; otherwise it is at most *late*, and sent. Of what is missed, ``once`` sends nothing but
the newest slot of all that are due, ``skip`` sends only what is not missed, and ``all`` sends the
newest ``catchup_limit`` slots, oldest first. What is left out is one row in the ledger.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from .entry import Entry, span_micros
from .schedules import Interval, Rules, count, newest

#: Slots counted exactly in one row of the ledger; above it, the row says "at least".
COUNT_LIMIT = 20_000


@dataclass(frozen=True, slots=True)
class Missed:
    """Slots that will not be sent: the first, the last, how many, and why."""

    first: int
    last: int
    count: int
    why: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of the slots of one entry that are due now."""

    #: The slots to send, oldest first.
    sends: tuple[int, ...]
    missed: Missed | None
    #: The slot to act on next; None when there is none any more.
    pending: int | None


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


def next_slot(entry: Entry, after: int) -> int | None:
    """The first slot of an entry strictly after an instant, within its bounds."""
    if entry.starts is not None:
        after = max(after, entry.starts - 1)
    at = entry.schedule.next(after, rules_of(entry))
    if at is None or (entry.ends is not None and at > entry.ends):
        return None
    return at


def first_slot(entry: Entry, now: int) -> int | None:
    """The slot a new entry begins with: the first after now, never at once."""
    return next_slot(entry, now)


def act_at(entry: Entry, nominal: int) -> int:
    """When to act on a slot: nominal plus jitter, never past the next slot.

    The jitter is a hash of uid and nominal, so that every replica finds the same.
    """
    if not entry.jitter:
        return nominal
    span = span_micros(entry.jitter)
    following = entry.schedule.next(nominal, rules_of(entry))
    if following is not None:
        span = min(span, following - nominal - 1)
    digest = hashlib.blake2b(f"{entry.uid} {nominal}".encode(), digest_size=8).digest()
    return nominal + int.from_bytes(digest) * span // 2**64


def plan(entry: Entry, nominal: int, sent: int, now: int, catchup_limit: int = 100) -> Plan:
    """What to do about the slot *nominal*, which is due, and all that came due after it.

    *sent* is how many occurrences were sent before, for ``max_runs``.
    """
    late: tuple[int, ...]
    omitted: Missed | None
    following = next_slot(entry, nominal)
    if following is None or act_at(entry, following) > now:
        late, omitted = (nominal,), None
    else:
        late, omitted = _several(entry, nominal, now, catchup_limit if entry.missed == "all" else 1)
        following = next_slot(entry, late[-1])
    if entry.missed == "skip" and entry.grace is not None:
        # Only the newest can be merely late, and only within the grace.
        last = late[-1]
        if now - act_at(entry, last) > span_micros(entry.grace):
            total = 1 if omitted is None else omitted.count + 1
            omitted = Missed(nominal, last, total, "grace")
            late = ()
    if entry.max_runs is not None:
        room = max(0, entry.max_runs - sent)
        late = late[:room]
        if room <= len(late):
            following = None
    return Plan(late, omitted, following)


@dataclass(frozen=True, slots=True)
class Simulated:
    """What an outage would do to one slot, or to a run of missed ones. Instants are microseconds."""

    what: str  # "sent" or "missed"
    nominal: int
    #: When it would be sent; for missed ones, when that is found out.
    at: int
    missed: Missed | None = None


def simulate(entry: Entry, sent: int, start: int, end: int, catchup_limit: int = 100) -> list[Simulated]:
    """What would become of the slots of an entry if nothing ran from *start* to *end*.

    *sent* is how many occurrences were sent before. The list ends with the first slot that is on time again.
    """
    nominal = next_slot(entry, start - 1)
    if nominal is None:
        return []
    found: list[Simulated] = []
    pending: int | None = nominal
    if act_at(entry, nominal) <= end:
        todo = plan(entry, nominal, sent, end, catchup_limit)
        if todo.missed is not None:
            found.append(Simulated("missed", todo.missed.first, end, todo.missed))
        found.extend(Simulated("sent", at, end) for at in todo.sends)
        pending = todo.pending
    if pending is not None:
        found.append(Simulated("sent", pending, act_at(entry, pending)))
    return found


def _several(entry: Entry, nominal: int, now: int, limit: int) -> tuple[tuple[int, ...], Missed | None]:
    """The newest *limit* of the due slots, oldest first, and what comes before them."""
    rules = rules_of(entry)
    until = now if entry.ends is None else min(now, entry.ends)
    last = newest(entry.schedule, rules, nominal, until)
    if act_at(entry, last) > now and last > nominal:  # jitter holds the newest back
        last = newest(entry.schedule, rules, nominal, last - 1)
    kept = [last]
    while len(kept) < limit and kept[-1] > nominal:
        kept.append(newest(entry.schedule, rules, nominal, kept[-1] - 1))
    kept.reverse()
    if kept[0] == nominal:
        return tuple(kept), None
    before = newest(entry.schedule, rules, nominal, kept[0] - 1)
    total = count(entry.schedule, rules, nominal, before, COUNT_LIMIT)
    why = "catchup_limit" if entry.missed == "all" else "later slot due"
    return tuple(kept), Missed(nominal, before, total, why)
