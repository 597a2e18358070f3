"""Which slots are sent, which are missed or skipped, and when a slot is acted on."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redlock_beat import Crontab, Interval, InvalidSchedule, Once, register_schedule
from redlock_beat.entries.codec import definition
from redlock_beat.entries.entry import Entry
from redlock_beat.entries.policies import Missed, act_at, first_slot, grace_of, next_slot, plan
from redlock_beat.entries.timing import CLOSER, Timing, Timings
from redlock_beat.recurrence import Calendars, Rules, as_spec, newest

from ..values import T0, S, entry

HOUR = 3600 * S


def due(e: Entry, nominal: int, now: int, sent: int = 0, limit: int = 100):
    return plan(e, nominal, sent, now, limit)


def test_a_slot_is_at_most_late_until_a_later_one_is_due():
    late = due(entry(), T0 + 10 * S, T0 + 19 * S)
    assert (late.sends, late.missed, late.pending) == ((T0 + 10 * S,), None, T0 + 20 * S)


@pytest.mark.parametrize(
    ("missed", "sends", "first", "last", "count"),
    [
        ("once", [50], 10, 40, 4),
        ("skip", [50], 10, 40, 4),
        ("all", [30, 40, 50], 10, 20, 2),
    ],
)
def test_after_an_outage(missed, sends, first, last, count):
    found = due(entry(missed=missed), T0 + 10 * S, T0 + 55 * S, limit=3)
    assert [(at - T0) // S for at in found.sends] == sends
    assert (found.missed.first, found.missed.last, found.missed.count) == (T0 + first * S, T0 + last * S, count)
    assert found.pending == T0 + 60 * S


def test_all_within_the_limit_leaves_nothing_out():
    found = due(entry(missed="all"), T0 + 10 * S, T0 + 35 * S)
    assert len(found.sends) == 3
    assert found.missed is None


@pytest.mark.parametrize("missed", ["once", "all", "skip"])
def test_beyond_the_grace_a_slot_is_missed_under_every_policy(missed):
    found = due(entry(missed=missed, grace=3.0), T0 + 10 * S, T0 + 14 * S)
    assert (found.sends, found.missed.count, found.missed.why, found.pending) == ((), 1, "grace", T0 + 20 * S)
    assert len(due(entry(missed=missed, grace=3.0), T0 + 10 * S, T0 + 13 * S).sends) == 1


def test_a_slot_is_late_from_when_its_jitter_lets_it_be_sent():
    e = entry(jitter=9.9, grace=3.0)
    nominal = next(n for n in itertools.count(T0 + 10 * S, 10 * S) if act_at(e, n) - n > 5 * S)
    assert due(e, nominal, act_at(e, nominal) + 3 * S - 1).sends == (nominal,)


def test_of_several_slots_those_beyond_the_grace_are_missed():
    found = due(entry(missed="all", grace=25.0), T0 + 10 * S, T0 + 55 * S)
    assert [(at - T0) // S for at in found.sends] == [30, 40, 50]
    assert found.missed == Missed(T0 + 10 * S, T0 + 20 * S, 2, "grace")


@pytest.mark.parametrize(("hours", "sent"), [(5, 0), (1 / 60, 1)])
def test_skip_without_a_grace_sends_nothing_that_is_hours_late(hours, sent):
    e = entry(Crontab.parse("0 3 * * *"), missed="skip")
    nominal = next_slot(e, T0)
    assert len(due(e, nominal, nominal + round(hours * 3600) * S).sends) == sent


def test_without_skip_and_without_a_grace_no_slot_is_too_late():
    for missed in ("once", "all"):
        e = entry(Crontab.parse("0 3 * * *"), missed=missed)
        nominal = next_slot(e, T0)
        assert due(e, nominal, nominal + 23 * 3600 * S).sends == (nominal,)


def test_the_starting_deadline_of_celery_is_the_grace_of_crontabs_that_have_none():
    cron, interval = Crontab.parse("0 3 * * *"), Interval.of(86400)
    assert grace_of(entry(cron), 120.0) == grace_of(entry(cron, missed="skip"), 120.0) == 120.0
    assert grace_of(entry(cron, grace=5.0), 120.0) == 5.0
    assert grace_of(entry(interval), 120.0) is None
    nominal = next_slot(entry(cron), T0)
    assert plan(entry(cron), nominal, 0, nominal + 121 * S, cron_grace=120.0).missed.why == "grace"
    assert plan(entry(cron), nominal, 0, nominal + 119 * S, cron_grace=120.0).sends


@given(
    st.sampled_from(["once", "skip", "all"]),
    st.sampled_from([None, 0.0, 3.0, 61.0]),
    st.sampled_from([0.0, 8.0, 90.0]),
    st.sampled_from([None, 1, 2]),
    st.integers(0, 2),
    st.sampled_from(
        [{}, {"starts": T0 + 3 * S}, {"starts": T0 + 30 * S}, {"ends": T0 + 15 * S}, {"ends": T0 + 20 * S}]
    ),
    st.sampled_from([Interval.of(10), Crontab.parse("* * * * *"), Once(T0 + 10 * S)]),
    st.integers(0, 90),
)
def test_what_is_known_at_once_is_the_whole_plan(missed, grace, jitter, max_runs, sent, bounds, schedule, late):
    e = entry(schedule, missed=missed, grace=grace, jitter=jitter, max_runs=max_runs, **bounds)
    nominal = next_slot(e, T0 + 5 * S) or T0 + 10 * S
    now = act_at(e, nominal) + late * S
    timing = Timing(e, None)
    following = timing.following(e.anchor, nominal, sent, now)
    if following is not CLOSER:
        sends, missed_ones, pending, acts = due(e, nominal, now, sent)
        assert (sends, missed_ones, pending) == ((nominal,), None, following)
        acts = acts or {nominal: nominal, following: following}
        assert timing.acts(e.anchor, e.uid, nominal, following) == (acts[nominal], acts.get(following))


class Costly:
    """A look into a calendar table for each slot."""

    looks = 0

    def next_slot(self, after):
        Costly.looks += 1
        time.sleep(0.001)
        return after.replace(microsecond=0) + timedelta(seconds=1)


def test_counting_what_was_missed_ends_in_bounded_time_and_says_so():
    register_schedule("costly", Costly, dump=lambda _: {})
    e = entry(as_spec(Costly()))
    Costly.looks = 0
    found = due(e, T0, T0 + 3600 * S)
    assert Costly.looks < 500  # for a twentieth of a second, not for the whole hour
    assert found.sends == (T0 + 3600 * S,)
    assert found.missed.at_least
    assert 2 <= found.missed.count < 3600
    assert found.missed.last == T0 + 3599 * S


def test_what_was_missed_of_a_crontab_is_counted_to_the_last_up_to_a_limit():
    for days, expected in ((10, (10 * 1440, False)), (20, (20_001, True))):
        found = plan(entry(Crontab()), T0, 0, T0 + days * 86400 * S, count_seconds=60.0)
        assert (found.missed.count, found.missed.at_least) == expected


def test_skip_counts_all_that_it_leaves_out():
    found = due(entry(missed="skip", grace=3.0), T0 + 10 * S, T0 + 35 * S)
    assert (found.sends, found.missed.first, found.missed.last, found.missed.count) == ((), T0 + 10 * S, T0 + 30 * S, 3)


def test_bounds():
    e = entry(ends=T0 + 30 * S)
    assert due(e, T0 + 30 * S, T0 + 31 * S).pending is None
    assert due(e, T0 + 10 * S, T0 + 900 * S).sends == (T0 + 30 * S,)
    e = entry(starts=T0 + 100 * S)
    assert first_slot(e, T0) == T0 + 100 * S
    assert next_slot(e, T0 + 100 * S) == T0 + 110 * S
    e = entry(max_runs=2, missed="all")
    found = due(e, T0 + 10 * S, T0 + 55 * S, sent=0)
    assert len(found.sends) == 2
    assert found.pending is None
    assert due(e, T0 + 10 * S, T0 + 11 * S, sent=2).sends == ()


@pytest.mark.parametrize("spec", [Interval.of(1), Crontab.parse("* * * * *"), Crontab.parse("0 0 * * *")])
def test_days_of_outage_cost_a_bounded_number_of_steps(spec, monkeypatch):
    calls = []
    kind = type(spec)
    real = kind.next

    def counted(self, after, rules):
        calls.append(after)
        return real(self, after, rules)

    monkeypatch.setattr(kind, "next", counted)
    e = entry(spec)
    nominal = real(spec, T0, Rules(anchor=T0))
    newest(spec, Rules(anchor=T0), nominal, nominal + 3 * 86400 * S)
    assert len(calls) < 80
    assert due(e, nominal, nominal + 3 * 86400 * S).sends


@given(st.integers(0, 10_000), st.floats(0.001, 100))
def test_jitter_never_passes_the_next_slot(n, jitter):
    e = entry(jitter=jitter)
    nominal = T0 + n * 10 * S
    assert nominal <= act_at(e, nominal) < nominal + 10 * S
    assert act_at(e, nominal) <= nominal + jitter * S


def test_jitter_is_the_same_in_every_process():
    code = (
        "from redlock_beat.entries.entry import Entry; from redlock_beat.recurrence import Interval;"
        "from redlock_beat.entries.policies import act_at;"
        f"print(act_at(Entry('a', 't', Interval.of(10), anchor={T0}, uid='u', jitter=9.0), {T0 + 10 * S}))"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(other) == act_at(entry(jitter=9.0), T0 + 10 * S)


def test_a_slot_held_back_by_jitter_does_not_make_the_one_before_missed():
    e = entry(jitter=9.9)
    nominal = next(n for n in itertools.count(T0 + 10 * S, 10 * S) if act_at(e, n + 10 * S) - n - 10 * S > 5 * S)
    assert due(e, nominal, nominal + 11 * S).missed is None
    found = due(e, nominal - 10 * S, nominal + 11 * S)
    assert found.sends == (nominal,)
    assert found.pending == nominal + 10 * S


# T0 is a Thursday; the slots of `entry` come every ten seconds from it.


def test_a_closed_day_has_no_slot_and_the_day_before_and_after_have_theirs():
    e = entry(Interval.of(6 * 3600), exclude=("fri",))
    assert next_slot(e, T0 + 18 * HOUR) == T0 + 48 * HOUR
    assert due(e, T0 + 18 * HOUR, T0 + 18 * HOUR).pending == T0 + 48 * HOUR


def test_a_slot_on_a_day_that_was_closed_since_it_was_computed_is_missed_and_said_so():
    e = entry(Crontab.parse("0 7 * * *"), exclude=("2026-01-01",))
    data = {**definition(e), "uid": "u", "rev": 1}
    assert Timings(None).following("a", data, T0 + 7 * HOUR, 0, T0 + 7 * HOUR) is CLOSER
    found = due(e, T0 + 7 * HOUR, T0 + 7 * HOUR)
    assert found.sends == ()
    assert found.missed == Missed(T0 + 7 * HOUR, T0 + 7 * HOUR, 1, "closed day")
    assert found.pending == T0 + 31 * HOUR


def test_after_an_outage_over_closed_days_the_slots_of_open_days_count():
    e = entry(Crontab.parse("0 7 * * *"), exclude=("sat", "sun"), missed="all")
    found = due(e, T0 + 7 * HOUR, T0 + 5 * 24 * HOUR)  # Thursday, Friday, Monday
    assert [(at - T0) // HOUR for at in found.sends] == [7, 31, 4 * 24 + 7]


def test_an_entry_with_a_calendar_that_nobody_has_handed_in_is_not_computed():
    e = entry(exclude=("holidays_de",))
    for compute in (lambda: next_slot(e, T0), lambda: due(e, T0, T0)):
        with pytest.raises(InvalidSchedule, match="'holidays_de' is not known to this process"):
            compute()
    known = e.with_calendars(Calendars({"holidays_de": lambda day: day.day == 1}))
    assert next_slot(known, T0) == T0 + 24 * HOUR
