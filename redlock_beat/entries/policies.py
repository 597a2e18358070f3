"""Which slots of an entry are sent, and which are missed: pure functions of values.

A slot is *late* when a later slot of the same entry is not yet due and its lateness is within
``grace``; it is sent. Of several that are due, ``once`` and ``skip`` send the newest, and ``all`` the
newest ``catchup_limit``, oldest first; but under every policy nothing that is later than ``grace``.
What is left out is *missed*, and one row in the ledger.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from ..clock import MICROS
from ..recurrence import Crontab, Interval, Once, Rules, count, newest
from .entry import Entry, span_micros

#: Slots, and seconds, after which counting for one row of the ledger ends; the row then says "at least".
COUNT_LIMIT, COUNT_SECONDS = 20_000, 0.05
#: Seconds of lateness that are on time under ``missed="skip"``, when the entry does not say.
SKIP_GRACE = 60.0
#: A one-shot that is so little past when it arrives is sent at once: it was meant as "now".
JUST_PAST = 60 * MICROS


@dataclass(frozen=True, slots=True)
class Missed:
    """Slots that will not be sent: the first, the last, how many, and why."""

    first: int
    last: int
    count: int
    why: str
    #: Counting them was given up: there are so many, and more.
    at_least: bool = False


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
    """The slot a new schedule begins with: the first after now, never at once, but for a one-shot just past."""
    return next_slot(entry, now - JUST_PAST - 1 if isinstance(entry.schedule, Once) else now)


def upcoming(entry: Entry, nominal: int, now: int) -> int | None:
    """The first slot from *nominal* on whose time has not come yet: jitter may still hold back one before now."""
    if nominal > now:
        return nominal
    if entry.jitter:
        last = newest(entry.schedule, rules_of(entry), nominal, now if entry.ends is None else min(now, entry.ends))
        if act_at(entry, last) > now:
            return last
    return next_slot(entry, now)


def grace_of(entry: Entry, cron_grace: float | None = None) -> float | None:
    """How many seconds late is still on time; None for any lateness.

    *cron_grace* is Celery's ``beat_cron_starting_deadline``: what a crontab has that does not say.
    """
    if entry.grace is not None:
        return entry.grace
    if cron_grace is not None and isinstance(entry.schedule, Crontab):
        return cron_grace
    return SKIP_GRACE if entry.missed == "skip" else None


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
    late: tuple[int, ...]
    omitted: Missed | None
    following = next_slot(entry, nominal)
    if following is None or act_at(entry, following) > now:
        late, omitted = (nominal,), None
    else:
        limit = catchup_limit if entry.missed == "all" else 1
        late, omitted = _several(entry, nominal, now, limit, count_seconds)
        following = next_slot(entry, late[-1])
    grace = grace_of(entry, cron_grace)
    if grace is not None:
        late, omitted = _within(entry, nominal, now, span_micros(grace), late, omitted)
    if entry.max_runs is not None:
        room = max(0, entry.max_runs - sent)
        late = late[:room]
        if room <= len(late):
            following = None
    return Plan(late, omitted, following)


def only_slot(entry: Entry, nominal: int, sent: int, now: int, cron_grace: float | None = None) -> Plan | None:
    """The plan when *nominal* is the only slot that is due and is to be sent; None else, without more computing."""
    grace = grace_of(entry, cron_grace)
    if grace is not None and now - nominal > span_micros(grace):
        return None
    following = next_slot(entry, nominal)
    if following is not None and act_at(entry, following) <= now:
        return None
    if entry.max_runs is not None and sent + 1 >= entry.max_runs:
        return Plan((nominal,), None, None) if sent + 1 == entry.max_runs else None
    return Plan((nominal,), None, following)


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

    what: str  # "sent" or "missed"
    nominal: int
    #: When it would be sent; for missed ones, when that is found out.
    at: int
    missed: Missed | None = None


def simulate(
    entry: Entry, sent: int, start: int, end: int, catchup_limit: int = 100, cron_grace: float | None = None
) -> list[Simulated]:
    """What would become of the slots of an entry if nothing ran from *start* to *end*.

    *sent* is how many occurrences were sent before. The list ends with the first slot that is on time again.
    """
    nominal = next_slot(entry, start - 1)
    if nominal is None:
        return []
    found: list[Simulated] = []
    pending: int | None = nominal
    if act_at(entry, nominal) <= end:
        todo = plan(entry, nominal, sent, end, catchup_limit, cron_grace)
        if todo.missed is not None:
            found.append(Simulated("missed", todo.missed.first, end, todo.missed))
        found.extend(Simulated("sent", at, end) for at in todo.sends)
        pending = todo.pending
    if pending is not None:
        found.append(Simulated("sent", pending, act_at(entry, pending)))
    return found


def _several(entry: Entry, nominal: int, now: int, limit: int, seconds: float) -> tuple[tuple[int, ...], Missed | None]:
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
    total = count(entry.schedule, rules, nominal, before, COUNT_LIMIT, seconds)
    why = "catchup_limit" if entry.missed == "all" else "later slot due"
    return tuple(kept), Missed(nominal, before, total.slots, why, total.at_least)
