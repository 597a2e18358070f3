"""What an edit does to an entry: pure functions from what stands in Redis to what shall stand there.

Used alike by the API, the command line and the configuration sync, so that they cannot drift.
"""

from __future__ import annotations

from dataclasses import replace

from ..clock import score
from ..entries.codec import decode, encode
from ..entries.entry import Entry
from ..entries.policies import Missed, act_at, first_slot, next_slot, plan, upcoming
from ..entries.state import State, parse_state
from ..entries.waiting import held_back, settled
from ..errors import InvalidSchedule
from ..recurrence import Interval
from ..store.values import ABSENT, DROP, KEEP, Edit, Stored

#: What decides when an entry is due; changing any of these re-computes its next slot.
_TIMING = ("schedule", "timezone", "dst_gap", "dst_fold", "starts", "ends", "jitter")


def readable(stored: Stored) -> Entry | None:
    """The entry as it stands in Redis; None when there is none, or none that can be read."""
    if stored.definition is None:
        return None
    try:
        return decode(stored.name, stored.definition, parse_state(stored.state))
    except InvalidSchedule:
        return None


def created(entry: Entry, now: int, *, run_now: bool = False, expected: str = ABSENT) -> Edit:
    """A new entry: it first fires at its first slot after now, never at once, unless *run_now*."""
    entry = replace(entry, anchor=entry.anchor or now)
    nominal = now if run_now else first_slot(entry, now)
    state = State(entry.uid, entry.revision, nominal)
    return Edit(
        entry.name, expected, definition=encode(entry), state=state.text(), score=_score(entry, nominal, run_now)
    )


def updated(
    old: Entry, new: Entry, now: int, current: str, catchup_limit: int, cron_grace: float | None = None
) -> Edit:
    """An edit of an entry. Its next slot moves only if what decides it has changed.

    What has come under the old schedule is settled first: it is handed to the leader as it stands, also
    a slot that jitter holds back. An interval then counts on from its last nominal, all else from now.
    """
    state = known_state(old, now)
    changed = [name for name in _TIMING if getattr(old, name) != getattr(new, name)]
    manual: list[tuple[str, str]] = []
    new = replace(new, uid=old.uid, revision=old.revision + 1, anchor=old.anchor)
    nominal, attempts, count = state.nominal, state.attempts, state.count
    when = KEEP
    if changed:
        last = _last_nominal(old, state, now)
        if old.enabled:
            manual, sends, newest = _settle(old, state, now, catchup_limit, cron_grace)
            count += sends
            last = max(newest or 0, last or 0) or None
        if "schedule" in changed or "starts" in changed:
            counts_on = isinstance(new.schedule, Interval) and isinstance(old.schedule, Interval) and last is not None
            new = replace(new, anchor=last if counts_on and last is not None else now)
        nominal = first_slot(new, now) if "schedule" in changed else next_slot(new, now)
        attempts = 0
        when = _score(new, nominal)
    elif old.enabled != new.enabled:
        if new.enabled and nominal is not None:
            nominal = upcoming(new, nominal, now)  # resumed by an edit: from now on
        when = _score(new, nominal)
    elif attempts:
        attempts = 0  # perhaps this mends it: it is tried at once
        when = _score(new, nominal)
    if not new.enabled:
        when = DROP
    after = State(new.uid, new.revision, nominal, state.last, count, attempts)
    return Edit(
        new.name, current, definition=encode(new), state=after.text(), score=when, manual=manual,
        in_place=not manual and after == replace(state, revision=new.revision) and when in (KEEP, DROP),
    )  # fmt: skip


def _settle(
    old: Entry, state: State, now: int, catchup_limit: int, cron_grace: float | None
) -> tuple[list[tuple[str, str]], int, int | None]:
    """What has come of an entry by now, as manual items; how many of them are sent, and the newest slot."""
    nominal = state.nominal
    if nominal is None or nominal > now:
        return [], 0, None
    try:
        return _come(old, nominal, state.count, now, catchup_limit, cron_grace)
    except Exception:  # noqa: BLE001 - a schedule class may raise anything, and must not stand in the way of its mending
        return settled(old, (), Missed(nominal, nominal, 1, "cannot be computed"), now), 0, nominal


def _come(
    old: Entry, nominal: int, count: int, now: int, catchup_limit: int, cron_grace: float | None
) -> tuple[list[tuple[str, str]], int, int | None]:
    items: list[tuple[str, str]] = []
    sends, newest = 0, None
    pending: int | None = nominal
    if act_at(old, nominal) <= now:
        found = plan(old, nominal, count, now, catchup_limit, cron_grace)
        items = settled(old, found.sends, found.missed, now)
        sends, pending = len(found.sends), found.pending
        newest = max(*found.sends[-1:], found.missed.last if found.missed else 0, 0) or None
    if pending is not None and pending <= now:
        items.append(held_back(old, pending, act_at(old, pending), now))
        sends, newest = sends + 1, pending
    return items, sends, newest


def known_state(entry: Entry, now: int) -> State:
    """How far an entry has come; when its state is lost, it goes on from now."""
    if entry.state is not None:
        return entry.state
    return State(entry.uid, entry.revision, next_slot(entry, now))


def _last_nominal(entry: Entry, state: State, now: int) -> int | None:
    """The slot before the pending one, for an interval to count on from."""
    spec = entry.schedule
    if isinstance(spec, Interval) and not spec.relative and state.nominal is not None:
        return min(state.nominal - spec.every, now)
    return None


def paused(old: Entry, note: str | None, by: str | None, current: str, now: int) -> Edit:
    """Pause an entry: it leaves `due`; the slot it was waiting for is remembered."""
    new = replace(old, enabled=False, note=note, paused_by=by, revision=old.revision + 1)
    after = replace(known_state(old, now), revision=new.revision)
    return Edit(new.name, current, definition=encode(new), state=after.text(), score=DROP, in_place=True)


def resumed(old: Entry, now: int, current: str, *, catch_up: bool = False) -> Edit:
    """Resume an entry from now; with *catch_up*, what it missed while paused falls under its policy."""
    new = replace(old, enabled=True, note=None, paused_by=None, revision=old.revision + 1)
    state = known_state(old, now)
    nominal = state.nominal
    if nominal is not None and not catch_up:
        nominal = upcoming(new, nominal, now)
    after = replace(state, revision=new.revision, nominal=nominal, attempts=0)
    return Edit(new.name, current, definition=encode(new), state=after.text(), score=_score(new, nominal))


def removed(name: str, current: str) -> Edit:
    """Remove an entry. It wins over a tick in flight: the commit finds another state than it read."""
    return Edit(name, current, definition=DROP, state=DROP, score=DROP, in_place=True)


def renamed(old: Entry, name: str, current: str, when: str | None) -> list[Edit]:
    """Give an entry another name: its uid, state and next slot go with it, so that ids and phase stay."""
    assert old.state is not None
    new = replace(old, name=name, revision=old.revision + 1)
    state = replace(old.state, revision=new.revision)
    if name == old.name:
        return [Edit(name, current, definition=encode(new), state=state.text())]
    arriving = Edit(name, ABSENT, definition=encode(new), state=state.text(), score=DROP if when is None else when)
    return [Edit(old.name, current, definition=DROP, state=DROP, score=DROP), arriving]


def combined(first: Edit, second: Edit) -> Edit:
    """Two edits of one entry as one; the second was made from what the first leaves behind."""

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
        in_place=bool(touching) and all(edit.in_place for edit in touching),
    )


def _score(entry: Entry, nominal: int | None, at_once: bool = False) -> str:
    if nominal is None or not entry.enabled:
        return DROP
    return score(nominal if at_once else act_at(entry, nominal))
