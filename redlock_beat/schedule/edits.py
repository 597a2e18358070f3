"""What an edit does to an entry: pure functions from what Redis has to what it shall have.

The API, the command line and the sync all use these, so that they do the same.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..clock import score
from ..entries.codec import decode, encode
from ..entries.entry import Entry, Skip
from ..entries.policies import Missed, act_at, first_slot, is_closed, next_slot, plan, rules_of, spec_of, upcoming
from ..entries.state import State, parse_state
from ..entries.waiting import held_back, settled
from ..errors import InvalidSchedule
from ..recurrence import NO_CALENDARS, Calendars, Crontab, Interval, newest
from ..recurrence import count as count_slots
from ..store.values import ABSENT, ANY, DROP, KEEP, Edit, Stored

#: What decides when an entry is due: an edit of one of these computes the next slot anew.
_TIMING = ("schedule", "timezone", "dst_gap", "dst_fold", "starts", "ends", "jitter", "exclude", "only", "shift")


def readable(stored: Stored, now: int, calendars: Calendars = NO_CALENDARS) -> Entry | None:
    """The entry that Redis has, as it is now; None when there is none, or it cannot be read."""
    if stored.definition is None:
        return None
    try:
        return decode(stored.name, stored.definition, parse_state(stored.state)).with_calendars(calendars).as_of(now)
    except InvalidSchedule:
        return None


def created(entry: Entry, now: int, *, run_now: bool = False, expected: str = ABSENT) -> Edit:
    """A new entry. Its first slot is the first after now; with *run_now* it is sent at once."""
    entry = entry.with_anchor(0 if isinstance(entry.schedule, Crontab) else entry.anchor or now)
    if run_now and is_closed(entry, now):
        raise InvalidSchedule(
            f"entry {entry.name!r} cannot be sent at once: this is a day on which it is not sent (exclude, only). "
            "Add it without run_now, and trigger it to send it all the same."
        )
    nominal = now if run_now else first_slot(entry, now)
    if entry.until is not None:
        entry = replace(entry, paused_slot=nominal)
        nominal = _after_pause(entry)
    state = State(entry.uid, entry.revision, nominal)
    when = _score(entry, nominal, run_now)
    edit = Edit(entry.name, expected, definition=encode(entry), state=state.text(), score=when)
    edit.made = entry.with_state(state)
    return edit


def updated(
    old: Entry, new: Entry, now: int, current: str, catchup_limit: int, cron_grace: float | None = None
) -> Edit:
    """An edit of an entry. Its next slot moves only if what decides it has changed.

    The slots that are due under the old schedule are settled first: they become manual items as they are, also one
    that jitter holds back. An interval then counts on from its last slot, every other schedule from now.
    """
    old = old.as_of(now)
    state = known_state(old, now)
    changed = [name for name in _TIMING if getattr(old, name) != getattr(new, name)]
    manual: list[tuple[str, str]] = []
    new = replace(new, uid=old.uid, revision=old.revision + 1, anchor=old.anchor)
    if new.skip == old.skip and set(changed) - {"jitter"}:
        new = replace(new, skip=None)  # its slots are no more
    nominal, attempts, count = old.with_state(state).coming, state.attempts, state.count
    moves = bool(changed) or (old.enabled, old.until) != (new.enabled, new.until)
    if changed:
        last = _last_nominal(old, state, now)
        if old.enabled:
            manual, sends, settled_last = _settle(old, state, now, catchup_limit, cron_grace)
            count += sends
            if not old.exclude and not old.only:
                last = max(settled_last or 0, last or 0) or None
        if "schedule" in changed or "starts" in changed:
            counts_on = isinstance(new.schedule, Interval) and isinstance(old.schedule, Interval) and last is not None
            new = replace(new, anchor=last if counts_on and last is not None else now)
        nominal = first_slot(new, now) if "schedule" in changed else next_slot(new, now)
        attempts = 0
    elif moves and not new.paused and nominal is not None:
        nominal = upcoming(new, nominal, now)  # resumed by an edit: from now on
    if new.until is not None and moves:
        new, attempts = replace(new, paused_slot=nominal), 0
        nominal = _after_pause(new)
    elif not moves:
        nominal, attempts = state.nominal, 0  # perhaps this mends it: then the leader tries at once
    when = _score(new, nominal) if moves or state.attempts else KEEP
    if not new.enabled:
        when = DROP
    after = State(new.uid, new.revision, nominal, state.last, count, attempts)
    same = not manual and after == replace(state, revision=new.revision) and when in (KEEP, DROP)
    edit = Edit(new.name, current, definition=encode(new), state=after.text(), score=when, in_place=same)
    edit.manual, edit.entries = manual, (old, new)
    return edit


def _settle(
    old: Entry, state: State, now: int, catchup_limit: int, cron_grace: float | None
) -> tuple[list[tuple[str, str]], int, int | None]:
    """The slots of an entry that are due by now, as manual items; how many are to be sent; the newest slot."""
    nominal = state.nominal
    if nominal is None or nominal > now:
        return [], 0, None
    try:
        return _come(old, nominal, state.count, now, catchup_limit, cron_grace)
    except Exception:  # noqa: BLE001 - a schedule class may raise anything, and an edit is what mends it
        return settled(old, (), Missed(nominal, nominal, 1, "cannot be computed"), now), 0, nominal


def _come(
    old: Entry, nominal: int, count: int, now: int, catchup_limit: int, cron_grace: float | None
) -> tuple[list[tuple[str, str]], int, int | None]:
    items, sends, last, pending = _due(old, nominal, count, now, catchup_limit, cron_grace)
    if pending is not None and pending <= now:
        if old.skip is not None and old.skips(pending):
            items += settled(old, (), Missed(pending, pending, 1, old.skip.words, what="skipped"), now)
        else:
            items.append(held_back(old, pending, act_at(old, pending), now))
            sends += 1
        last = pending
    return items, sends, last


def _due(
    old: Entry, nominal: int, count: int, now: int, catchup_limit: int, cron_grace: float | None
) -> tuple[list[tuple[str, str]], int, int | None, int | None]:
    """The same for the slots to act on by now, and the slot after them."""
    items: list[tuple[str, str]] = []
    sends, last = 0, None
    pending: int | None = nominal
    while pending is not None and act_at(old, pending) <= now:
        found = plan(old, pending, count + sends, now, catchup_limit, cron_grace)
        items += settled(old, found.sends, found.missed, now)
        sends, pending = sends + len(found.sends), found.pending
        last = max(last or 0, *found.sends[-1:], found.missed.last if found.missed else 0) or None
    return items, sends, last, pending


def known_state(entry: Entry, now: int) -> State:
    """The state of an entry; when Redis has lost it, one that goes on from now."""
    if entry.state is not None:
        return entry.state
    return State(entry.uid, entry.revision, next_slot(entry, now))


def _after_pause(entry: Entry) -> int | None:
    """The first slot at or after the end of a pause; what goes by in the pause is never sent."""
    if entry.until is None or entry.paused_slot is None:  # it was finished before
        return None
    return entry.paused_slot if entry.paused_slot >= entry.until else next_slot(entry, entry.until - 1)


def _last_nominal(entry: Entry, state: State, now: int) -> int | None:
    """The slot before the next one, from which an interval counts on."""
    spec = entry.schedule
    if isinstance(spec, Interval) and not spec.relative and state.nominal is not None:
        # Its slots may have been moved off the beat of the interval, or a pause is between the two.
        if entry.exclude or entry.only or entry.until is not None:
            rules = rules_of(entry)
            return newest(spec, rules, rules.anchor, now) if rules.anchor <= now else None
        return min(state.nominal - spec.every, now)
    return None


def paused(old: Entry, note: str | None, by: str | None, current: str, now: int, until: int | None = None) -> Edit:
    """Pause an entry: it leaves `due`, and its state keeps the next slot.

    With *until* it stays there, at its first slot from then on: it sends nothing before, and nobody resumes it.
    """
    old = old.as_of(now)
    state = known_state(old, now)
    slot = old.with_state(state).coming
    new = replace(
        old,
        enabled=until is not None,
        until=until,
        paused_slot=None if until is None else slot,
        note=note,
        paused_by=by,
        revision=old.revision + 1,
    )
    after = replace(state, revision=new.revision, nominal=slot)
    same = until is None and old.until is None
    if until is not None:
        after = replace(after, nominal=_after_pause(new), attempts=0)
    when = _score(new, after.nominal)
    edit = Edit(new.name, current, definition=encode(new), state=after.text(), score=when, in_place=same)
    edit.entries = (old, new)
    return edit


def resumed(old: Entry, now: int, current: str, *, catch_up: bool = False) -> Edit:
    """Resume an entry from now; with *catch_up*, its policy `missed` decides about the slots of the pause.

    One that is not paused stays as it is: what is due stays due, and its note is no pause's.
    """
    old = old.as_of(now)
    state = known_state(old, now)
    if not old.paused and current != ANY:  # ANY: its state is lost, and this mends it
        edit = Edit(old.name, current)
        edit.made = old.with_state(state)
        return edit
    nominal = old.with_state(state).coming
    freed: dict[str, Any] = {"until": None, "paused_slot": None, "note": None, "paused_by": None}
    new = replace(old, enabled=True, revision=old.revision + 1, **freed)
    if nominal is not None and not catch_up:
        nominal = upcoming(new, nominal, now)
    after = replace(state, revision=new.revision, nominal=nominal, attempts=0)
    return Edit(new.name, current, definition=encode(new), state=after.text(), score=_score(new, nominal))


def skipped(
    old: Entry,
    n: int,
    by: str,
    why: str | None,
    current: str,
    now: int,
    catchup_limit: int,
    cron_grace: float | None = None,
) -> Edit:
    """Skip the next *n* slots of an entry, from now on; with 0, none of those whose time has not come.

    Where slots of an earlier skip have come that no beat has seen yet, all that is due is settled first: between the
    two skips there may be late slots, which nobody asked to skip.
    """
    old = old.as_of(now)
    state = known_state(old, now)
    came = _came(old, state, now)
    new = replace(old, skip=_skip(old, state, n, by, why, now) if n else came, revision=old.revision + 1)
    after, when, manual = replace(state, revision=new.revision), KEEP, list[tuple[str, str]]()
    if n and came is not None and state.nominal is not None:
        manual, sends, _, nominal = _due(old, state.nominal, state.count, now, catchup_limit, cron_grace)
        after = replace(after, nominal=nominal, count=state.count + sends, attempts=0)
        when = _score(new, nominal)
    edit = Edit(new.name, current, definition=encode(new), state=after.text(), score=when)
    edit.manual, edit.entries = manual, (old, new)
    return edit


def _came(old: Entry, state: State, now: int) -> Skip | None:
    """Of the slots that are skipped already those whose time has come, which no beat has seen yet."""
    if old.skip is None or state.nominal is None:
        return None
    first = max(state.nominal, old.skip.first)
    coming = upcoming(old, first, now)
    if coming == first:
        return None
    spec, rules = spec_of(old), rules_of(old)
    last = newest(spec, rules, first, old.skip.last if coming is None else min(old.skip.last, coming - 1))
    number = count_slots(spec, rules, first, last)
    return replace(old.skip, first=first, last=last, count=number.slots, then=next_slot(old, last))


def _skip(old: Entry, state: State, n: int, by: str, why: str | None, now: int) -> Skip:
    if not old.enabled:
        raise InvalidSchedule(
            f"entry {old.name!r} is paused until somebody resumes it, so none of its slots is next. Resume it first."
        )
    first = None if state.nominal is None else upcoming(old, state.nominal, now)
    if first is None:
        raise InvalidSchedule(f"entry {old.name!r} has no further slot, so there is none to skip.")
    last, number = first, 1
    then = next_slot(old, last)
    while number < n and then is not None:
        last, number, then = then, number + 1, next_slot(old, then)
    return Skip(first, last, number, by, why, then)


def removed(name: str, current: str) -> Edit:
    """Remove an entry. It wins over a commit under way, which finds another state than it has read."""
    return Edit(name, current, definition=DROP, state=DROP, score=DROP, in_place=True)


def renamed(old: Entry, name: str, current: str, when: str | None) -> list[Edit]:
    """Give an entry another name. Its uid, state and next slot stay, and so do its task ids and its phase."""
    assert old.state is not None
    new = replace(old, name=name, revision=old.revision + 1)
    state = replace(old.state, revision=new.revision)
    if name == old.name:
        return [Edit(name, current, definition=encode(new), state=state.text())]
    arriving = Edit(name, ABSENT, definition=encode(new), state=state.text(), score=DROP if when is None else when)
    return [Edit(old.name, current, definition=DROP, state=DROP, score=DROP), arriving]


def combined(first: Edit, second: Edit) -> Edit:
    """Two edits of one entry as one; the second was made of what the first leaves behind."""

    def last(one: str, other: str) -> str:
        return one if other == KEEP else other

    touching = [edit for edit in (first, second) if edit.state != KEEP or edit.definition != KEEP]
    return Edit(
        first.name,
        touching[0].expected if touching and touching[0] is first else second.expected,
        definition=last(first.definition, second.definition),
        state=last(first.state, second.state),
        score=last(first.score, second.score),
        configured=last(first.configured, second.configured),
        archive=last(first.archive, second.archive),
        manual=first.manual + second.manual,
        rows=first.rows + second.rows,
        in_place=bool(touching) and all(edit.in_place for edit in touching),
    )


def _score(entry: Entry, nominal: int | None, at_once: bool = False) -> str:
    if nominal is None or not entry.enabled:
        return DROP
    return score(nominal if at_once else act_at(entry, nominal))
