"""Which slots are sent, missed or skipped; and the next slot of every kind of schedule."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from celery.schedules import BaseSchedule, crontab
from celery.schedules import schedule as celery_schedule
from celery.schedules import solar as celery_solar
from dateutil.rrule import rrulestr
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from redlock_beat import Crontab, Interval, InvalidSchedule, Once, RRule, Solar, next_due, register_schedule
from redlock_beat.clock import MICROS, from_score, micros, moment, score
from redlock_beat.entries.codec import decode, encode
from redlock_beat.entries.entry import Entry, State
from redlock_beat.entries.policies import Missed, act_at, first_slot, grace_of, next_slot, only_slot, plan
from redlock_beat.entries.waiting import ManualItem
from redlock_beat.recurrence import Count, Custom, Rules, as_spec, count, from_data, newest, slots
from redlock_beat.recurrence.zones import read_wall, zone_name
from redlock_beat.schedule.edits import created, paused, resumed, updated

S = MICROS
T0 = micros(datetime(2026, 1, 1, tzinfo=UTC))


def entry(spec=None, **policies) -> Entry:
    return Entry("a", "t", spec or Interval.of(10), anchor=T0, uid="u", **policies)


def due(e: Entry, nominal: int, now: int, sent: int = 0, limit: int = 100):
    return plan(e, nominal, sent, now, limit)


# --- missed, grace, bounds -----------------------------------------------------------------------------


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
    st.sampled_from(["once", "skip", "all"]), st.sampled_from([None, 0.0, 3.0, 61.0]), st.sampled_from([0.0, 8.0]),
    st.sampled_from([None, 1, 2]), st.integers(0, 2), st.integers(0, 90),
)  # fmt: skip
def test_the_short_plan_is_the_whole_plan_or_none(missed, grace, jitter, max_runs, sent, late):
    e = entry(missed=missed, grace=grace, jitter=jitter, max_runs=max_runs)
    now = act_at(e, T0 + 10 * S) + late * S
    short, whole = only_slot(e, T0 + 10 * S, sent, now), due(e, T0 + 10 * S, now, sent)
    assert short is None or short == whole


class Costly:
    """A look into a calendar table for each slot."""

    def next_slot(self, after):
        time.sleep(0.001)
        return after.replace(microsecond=0) + timedelta(seconds=1)


def test_counting_what_was_missed_ends_in_bounded_time_and_says_so():
    register_schedule("costly", Costly, dump=lambda _: {})
    e = entry(as_spec(Costly()))
    began = time.monotonic()
    found = due(e, T0, T0 + 3600 * S)
    assert time.monotonic() - began < 2  # an hour of slots takes 3.6 s
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


# --- jitter ----------------------------------------------------------------------------------------------


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


# --- properties of every kind ---------------------------------------------------------------------------------

SPECS = st.sampled_from(
    [
        Interval.of(7.5), Interval.of(3600, relative=True), Interval.of(timedelta(days=2), relative=True),
        Interval.of(timedelta(hours=36), relative=True), Interval.of(90, relative=True), Crontab.parse("*/20 * * * *"),
        Crontab.parse("30 2 * * *"), Crontab.parse("0 */2 * * mon"), Solar("sunset", 52.5, 13.4),
        RRule("FREQ=DAILY;BYHOUR=2;BYMINUTE=30", datetime(2020, 1, 31, 2, 30)),
        RRule("FREQ=MONTHLY", datetime(2020, 1, 31, 2, 30)), RRule("FREQ=HOURLY;INTERVAL=5", datetime(2020, 1, 1)),
        RRule("FREQ=WEEKLY;BYDAY=MO,WE", datetime(2020, 1, 1, 2, 30)), RRule("FREQ=YEARLY", datetime(2020, 2, 29)),
    ]
)  # fmt: skip
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"])
TIMES = st.integers(micros(datetime(2024, 1, 1, tzinfo=UTC)), micros(datetime(2030, 1, 1, tzinfo=UTC)))


@settings(max_examples=300, deadline=None)
@given(SPECS, ZONES, TIMES)
def test_slots_increase_and_do_not_depend_on_when_they_are_asked_for(spec, name, after):
    rules = Rules(name, micros(datetime(2023, 6, 1, 12, 34, 56, tzinfo=UTC)))
    first, second, third = itertools.islice(slots(spec, rules, after), 3)
    assert after < first < second < third
    for between in (first, first + 1, (first + second) // 2, second - 1):
        assert spec.next(between, rules) == second  # nothing between two slots
    assert newest(spec, rules, first, third - 1) == second
    assert newest(spec, rules, first, third) == third
    assert count(spec, rules, first, third) == Count(3)


@settings(max_examples=100, deadline=None)
@given(SPECS)
def test_every_kind_goes_through_json_and_comes_back_equal(spec):
    e = entry(spec)
    assert decode("a", encode(e)) == e
    assert from_data(spec.kind, spec.data()) == spec
    assert str(spec)
    assert hash(spec) == hash(from_data(spec.kind, spec.data()))


# --- each kind ----------------------------------------------------------------------------------------------------


def test_an_interval_never_drifts():
    spec, rules = Interval.of(0.1), Rules(anchor=T0)
    assert list(itertools.islice(slots(spec, rules, T0), 3)) == [T0 + 100_000, T0 + 200_000, T0 + 300_000]
    assert spec.next(T0 + 10**15, rules) == T0 + 10**15 + 100_000


def test_relative_intervals_as_celery_means_them():
    anchor = datetime(2026, 3, 27, 15, 42, 7, tzinfo=UTC)
    days = Interval.of(timedelta(days=1), relative=True)
    found = next_due(days, anchor, anchor=anchor, timezone="Europe/Berlin")
    assert found.astimezone(ZoneInfo("Europe/Berlin")) == datetime(2026, 3, 28, tzinfo=ZoneInfo("Europe/Berlin"))
    at = anchor
    for _ in range(4):  # midnight stays midnight across the clock change
        at = next_due(days, at, anchor=anchor, timezone="Europe/Berlin")
        assert at.astimezone(ZoneInfo("Europe/Berlin")).hour == 0
    hours = Interval.of(7200, relative=True)
    assert next_due(hours, anchor, anchor=anchor) == datetime(2026, 3, 27, 17, 0, tzinfo=UTC)
    assert next_due(Interval.of(120, relative=True), anchor, anchor=anchor).second == 0
    assert next_due(Interval.of(5, relative=True), anchor, anchor=anchor).microsecond == 0
    assert next_due(celery_schedule(7200, relative=True), anchor, anchor=anchor).hour == 17


def test_rrules():
    rule = "DTSTART:20200131T023000\nRRULE:FREQ=MONTHLY;COUNT=3"
    spec = RRule.parse(rule)
    found = list(itertools.islice(slots(spec, Rules(), 0), 9))
    assert [moment(at).isoformat()[:10] for at in found] == ["2020-01-31", "2020-03-31", "2020-05-31"]
    for text in ("FREQ=DAILY;INTERVAL=3", "FREQ=MONTHLY;BYDAY=-1FR", "FREQ=MONTHLY;BYMONTHDAY=-2", "FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO",
                 "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU;WKST=SU", "FREQ=MINUTELY;INTERVAL=7", "FREQ=SECONDLY;INTERVAL=90",
                 "FREQ=HOURLY;BYDAY=MO", "FREQ=MINUTELY;INTERVAL=90;BYMONTHDAY=-1,3", "FREQ=HOURLY;INTERVAL=5;BYMONTH=2;BYMONTHDAY=29",
                 "FREQ=MINUTELY;BYHOUR=9;BYMINUTE=0,30;BYDAY=SU", "FREQ=YEARLY;INTERVAL=2;BYMONTH=3"):  # fmt: skip
        start = datetime(2021, 2, 3, 4, 5, 6)
        theirs = rrulestr(text, dtstart=start)
        after = datetime(2023, 7, 8, 9, 10)
        ours = list(itertools.islice(slots(RRule(text, start), Rules(), micros(after.replace(tzinfo=UTC))), 5))
        expected = list(itertools.islice(theirs.xafter(after), 5))
        assert [moment(at).replace(tzinfo=None) for at in ours] == expected, text
    gap = RRule("FREQ=DAILY", datetime(2026, 3, 1, 2, 30))
    at = datetime(2026, 3, 28, 12, tzinfo=UTC)
    assert next_due(gap, at, timezone="Europe/Berlin") == datetime(2026, 3, 29, 1, tzinfo=UTC)
    assert next_due(gap, at, timezone="Europe/Berlin", dst_gap="skip") == datetime(2026, 3, 30, 0, 30, tzinfo=UTC)
    fold = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert next_due(gap, fold, timezone="Europe/Berlin", dst_fold="both") == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    assert next_due(gap, fold, timezone="Europe/Berlin") == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)
    aware = RRule("FREQ=DAILY;UNTIL=20260105T000000Z", datetime(2026, 1, 1, 12, tzinfo=UTC))
    assert next_due(aware, datetime(2026, 1, 4, 13, tzinfo=UTC)) is None
    until = RRule("FREQ=DAILY;UNTIL=20260105", datetime(2026, 1, 1, 12))
    assert next_due(until, datetime(2026, 1, 4, 13, tzinfo=UTC)) == datetime(2026, 1, 5, 12, tzinfo=UTC)
    hourly = RRule("FREQ=HOURLY", datetime(2026, 10, 24, 0, 0))
    passes = list(
        itertools.islice(slots(hourly, Rules("Europe/Berlin"), micros(datetime(2026, 10, 24, 23, 30, tzinfo=UTC))), 3)
    )
    assert [b - a for a, b in itertools.pairwise(passes)] == [3600 * S] * 2  # the repeated hour is not skipped


def test_an_rrule_below_a_day_that_never_comes_is_found_out_at_once():
    for text in ("FREQ=MINUTELY;BYMONTH=2;BYMONTHDAY=30", "FREQ=SECONDLY;BYMONTH=4;BYMONTHDAY=31"):
        assert next_due(RRule(text, datetime(2026, 1, 1)), datetime(2026, 1, 1, tzinfo=UTC)) is None


@pytest.mark.parametrize("text", ["rubbish", "FREQ=DAILY;COUNT=1000000", "FREQ=SOMETIMES", "x" * 5000, 7])
def test_rrules_that_cannot_be_used(text):
    with pytest.raises(InvalidSchedule):
        RRule(text, datetime(2026, 1, 1))


def test_rrule_sets_and_missing_starts_are_refused():
    with pytest.raises(InvalidSchedule, match="sets"):
        RRule.parse("DTSTART:20200131T023000\nRRULE:FREQ=MONTHLY\nEXDATE:20200131T023000")
    with pytest.raises(InvalidSchedule, match="cannot be read"):
        RRule.parse("nonsense")
    with pytest.raises(InvalidSchedule, match="start"):
        RRule("FREQ=DAILY", "yesterday")


def test_an_old_rrule_is_not_slower_than_a_young_one():
    import dateutil.rrule

    steps = []
    real = dateutil.rrule.rrule._iter

    def counting(self):
        for one in real(self):
            steps.append(1)
            yield one

    dateutil.rrule.rrule._iter = counting
    try:
        RRule("FREQ=MINUTELY", datetime(1990, 1, 1)).next(T0, Rules())
    finally:
        dateutil.rrule.rrule._iter = real
    assert len(steps) < 1000


def test_solar_as_celery_computes_it():
    after = datetime(2026, 6, 1, tzinfo=UTC)
    theirs = celery_solar("sunset", 52.5, 13.4, nowfun=lambda: after)
    theirs.__dict__["tz"] = UTC
    expected = after + theirs.remaining_estimate(after)
    assert abs(next_due(theirs, after) - expected) < timedelta(seconds=2)
    polar = next_due(Solar("sunset", 78.0, 15.0), datetime(2026, 5, 15, tzinfo=UTC))
    assert polar > datetime(2026, 8, 1, tzinfo=UTC)
    with pytest.raises(InvalidSchedule):
        Solar("teatime", 0, 0)


def test_one_shots_say_both_readings():
    with pytest.raises(InvalidSchedule, match=r"02:30:00\+02:00 or .*02:30:00\+01:00"):
        Once.of(datetime(2026, 10, 25, 2, 30), "Europe/Berlin")
    with pytest.raises(InvalidSchedule, match=r"01:59:59\+01:00 to .*03:00:00\+02:00"):
        Once.of(datetime(2026, 3, 29, 2, 30), "Europe/Berlin")
    assert Once.of(datetime(2026, 7, 1, 12), "Europe/Berlin").at == micros(datetime(2026, 7, 1, 10, tzinfo=UTC))
    assert read_wall("Europe/Berlin", 0).gap_end is None


class Tick(BaseSchedule):
    """Celery's protocol."""

    def __init__(self, seconds=1.0, **kwargs):
        super().__init__(**kwargs)
        self.seconds = seconds

    def remaining_estimate(self, last_run_at):
        return last_run_at + timedelta(seconds=self.seconds) - self.now()


class DueOnly(BaseSchedule):
    def is_due(self, last_run_at):
        return False, 5.0


def test_registered_classes():
    register_schedule("tick", Tick, dump=lambda one: {"seconds": one.seconds})
    register_schedule("due-only", DueOnly, dump=lambda one: {}, load=lambda data: DueOnly())
    after = datetime(2026, 1, 1, tzinfo=UTC)
    assert next_due(Tick(3), after) == after + timedelta(seconds=3)
    assert next_due(DueOnly(), after) == after + timedelta(seconds=5)
    assert from_data("custom", as_spec(Tick(3)).data()) == as_spec(Tick(3))
    with pytest.raises(InvalidSchedule, match="after"):
        next_due(Tick(-3), after)
    with pytest.raises(InvalidSchedule, match="not registered"):
        Custom("unknown", "{}").next(0, Rules())
    with pytest.raises(InvalidSchedule, match="taken"):
        register_schedule("interval", Tick, dump=lambda one: {})
    register_schedule("odd", Odd, dump=lambda one: {"x": object()})
    with pytest.raises(InvalidSchedule, match="JSON"):
        as_spec(Odd())


class Odd(Tick):
    pass


class Last:
    def next_slot(self, after):
        return None


def test_a_class_may_end():
    register_schedule("last", Last, dump=lambda one: {})
    assert next_due(Last(), datetime(2026, 1, 1, tzinfo=UTC)) is None


def test_what_is_no_schedule_is_refused():
    for wrong in ("*/5 * * *", None, crontab, object(), True):
        with pytest.raises(InvalidSchedule):
            as_spec(wrong)
    for kind, data in (
        ("nothing", {}),
        ("interval", {}),
        ("once", {"at": "x"}),
        ("solar", {"event": "x"}),
        ("interval", {"every": -1}),
    ):
        with pytest.raises(InvalidSchedule):
            from_data(kind, data)
    with pytest.raises(InvalidSchedule, match="aware"):
        next_due(Interval.of(1), datetime(2026, 1, 1))
    for text, said in (("x" * 600, "500"), ("", "500")):
        with pytest.raises(InvalidSchedule, match=said):
            Crontab(minute=text)


def test_zone_names(monkeypatch):
    assert zone_name(UTC) == zone_name(None) == "UTC"
    assert zone_name(ZoneInfo("Asia/Tokyo")) == "Asia/Tokyo"
    with pytest.raises(InvalidSchedule, match="no IANA name"):
        zone_name(datetime.now().astimezone().tzinfo.__class__(timedelta(hours=3)))

    class LocalTimezone:
        pass

    monkeypatch.setenv("TZ", "Europe/Paris")
    assert zone_name(LocalTimezone()) == "Europe/Paris"
    monkeypatch.delenv("TZ")
    monkeypatch.setattr("os.path.realpath", lambda path: "/usr/share/zoneinfo/Europe/Rome")
    assert zone_name(LocalTimezone()) == "Europe/Rome"
    monkeypatch.setattr("os.path.realpath", lambda path: "/etc/localtime")
    with pytest.raises(InvalidSchedule, match="timezone"):
        zone_name(LocalTimezone())


def test_scores_are_exact_to_the_microsecond():
    for at in (
        0,
        1,
        -1,
        -S,
        -5 * S - 7,
        -86400 * S + 3,
        T0 + 1,
        micros(datetime(2242, 1, 1, 0, 0, 0, 999_999, tzinfo=UTC)),
    ):
        assert from_score(float(score(at))) == at
        assert from_score(score(at)) == at


# --- edits never move what they should not -----------------------------------------------------------------------------


def stored(e: Entry) -> Entry:
    edit = created(e, T0)
    return decode("a", edit.definition, State.parse(edit.state))


def test_editing_arguments_never_moves_the_next_slot():
    old = stored(entry(Crontab.parse("0 * * * *")))
    edit = updated(old, Entry("a", "t", old.schedule, args=(1,)), T0 + 999 * S, old.state.text(), 100)
    assert edit.score == "="
    assert State.parse(edit.state).nominal == old.state.nominal
    assert State.parse(edit.state).revision == 2


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(0, 20_000))
def test_changing_an_interval_counts_on_from_the_last_nominal_and_is_never_early(before, after, elapsed):
    assume(before != after)
    old = stored(entry(Interval.of(before)))
    now = T0 + elapsed * S
    edit = updated(old, Entry("a", "t", Interval.of(after)), now, old.state.text(), 100)
    state = State.parse(edit.state)
    assert state.nominal > now
    settled = [item for item, _ in edit.manual]
    assert bool(settled) == (old.state.nominal <= now)
    anchor = decode("a", edit.definition).anchor
    assert anchor <= now
    assert (state.nominal - anchor) % (after * S) == 0
    assert state.nominal - anchor >= after * S or not settled


def held_back(**more) -> tuple[Entry, int, int]:
    """A nightly entry whose slot has come, but is held back by jitter; when it would be sent, and an instant before."""
    e = stored(entry(Crontab.parse("0 3 * * *"), jitter=3600.0, **more))
    when = act_at(e, e.state.nominal)
    assert when > e.state.nominal + 60 * S
    return e, when, e.state.nominal + 30 * S


@pytest.mark.parametrize(
    "change",
    [{"jitter": 0.0}, {"timezone": "Asia/Tokyo"}, {"schedule": Interval.of(60)}, {"ends": T0 + 400 * 86400 * S},
     {"dst_gap": "skip"}, {"schedule": Crontab.parse("0 4 * * *")}, {"enabled": False, "jitter": 1.0}],
)  # fmt: skip
def test_an_edit_does_not_lose_a_slot_that_jitter_holds_back(change):
    old, when, now = held_back()
    edit = updated(old, replace(old, **change), now, old.state.text(), 100)
    ((text, at),) = edit.manual
    item = ManualItem.parse(text)
    assert (item.how, item.nominal, from_score(at)) == ("settled", old.state.nominal, when)
    after = State.parse(edit.state)
    assert after.nominal > now
    assert after.count == 1


def test_after_an_outage_an_edit_settles_what_is_due_and_what_jitter_still_holds_back():
    e = stored(entry(Interval.of(10), jitter=9.0, missed="all"))
    slots_ = range(e.state.nominal, e.state.nominal + 3000 * S, 10 * S)
    now = next(at + 1 for at in slots_ if act_at(e, at) > at + 1 and at > T0 + 35 * S)
    edit = updated(e, replace(e, jitter=0.0), now, e.state.text(), 100)
    items = [ManualItem.parse(text) for text, _ in edit.manual]
    assert [item.nominal for item in items] == list(range(e.state.nominal, now, 10 * S))
    assert from_score(edit.manual[-1][1]) == act_at(e, items[-1].nominal) > now


def test_pausing_and_resuming_does_not_lose_a_slot_that_jitter_holds_back():
    old, when, now = held_back()
    edit = paused(old, None, None, old.state.text(), now)
    resting = decode("a", edit.definition, replace(old.state, revision=old.revision + 1))
    for again in (resumed(resting, now, "*"), updated(resting, replace(resting, enabled=True), now, "*", 100)):
        assert State.parse(again.state).nominal == old.state.nominal
        assert from_score(again.score) == when
    late = resumed(resting, when + S, "*")
    assert State.parse(late.state).nominal > when  # its time has passed while it was paused
    days = resumed(resting, old.state.nominal + 3 * 86400 * S, "*")
    assert from_score(days.score) > old.state.nominal + 3 * 86400 * S


def test_an_edit_of_an_entry_that_fails_is_tried_at_once():
    old = stored(entry(Crontab.parse("0 3 * * *")))
    now = old.state.nominal + 3600 * S
    failing = old.with_state(replace(old.state, attempts=7))
    edit = updated(failing, replace(failing, args=(1,)), now, failing.state.text(), 100)
    assert State.parse(edit.state) == replace(old.state, revision=2)
    assert from_score(edit.score) == old.state.nominal


def test_an_entry_whose_state_is_lost_can_be_edited_and_goes_on_from_now():
    e = entry()
    for edit in (
        updated(e, replace(e, args=(1,)), T0 + 5 * S, "*", 100), resumed(e, T0 + 5 * S, "*"),
        paused(e, None, None, "*", T0 + 5 * S), updated(e, replace(e, schedule=Interval.of(7)), T0 + 5 * S, "*", 100),
    ):  # fmt: skip
        assert State.parse(edit.state).nominal > T0 + 5 * S


def test_a_one_shot_that_is_just_past_is_sent_at_once_and_an_older_one_never():
    assert State.parse(created(entry(Once(T0 - 59 * S)), T0).state).nominal == T0 - 59 * S
    assert State.parse(created(entry(Once(T0 - 61 * S)), T0).state).nominal is None
    old = stored(entry())
    edit = updated(old, replace(old, schedule=Once(T0 + 4 * S)), T0 + 5 * S, "*", 100)
    assert State.parse(edit.state).nominal == T0 + 4 * S


def test_a_one_shot_that_was_sent_is_not_sent_again_by_an_edit():
    sent = entry(Once(T0), keep=True).with_state(State("u", 1, None, T0, 1))
    for change in ({"timezone": "Asia/Tokyo"}, {"jitter": 5.0}, {"args": (1,)}, {"ends": T0 + S}):
        assert State.parse(updated(sent, replace(sent, **change), T0 + 5 * S, "*", 100).state).nominal is None


# --- manual items --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [{"nominal": "soon"}, {"nominal": 5.5}, {"nominal": True}, {"nominal": 10**30}, {"nominal": [1]}, {"at": "x"},
     {"entry": 5}, {"uid": None}, {"how": {}}, {"req": 7}, {"missed": "all"}, {"missed": [1, 2]},
     {"missed": [1, 2, "x", "y"]}, {"missed": {"a": 1, "b": 2, "c": 3, "d": 4}}],
)  # fmt: skip
def test_a_manual_item_with_rubbish_in_it_does_not_read(change):
    good = json.loads(ManualItem("a", "u", "settled", T0, T0, "r", Missed(1, 2, 3, "grace", True)).text())
    with pytest.raises(ValueError, match=r"no manual item|instant|text"):
        ManualItem.parse(json.dumps({**good, **change}))
    for text in ("", "[]", "null", "7", '"x"', "{", "[" * 100_000):
        with pytest.raises(ValueError):
            ManualItem.parse(text)


def test_manual_items_of_earlier_releases_are_read():
    text = '{"entry":"a","uid":"u","how":"settled","nominal":null,"req":"","at":5,"missed":[1,2,3,"grace"]}'
    assert ManualItem.parse(text).missed == Missed(1, 2, 3, "grace")


# --- rules that never come -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rule",
    ["FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", "FREQ=WEEKLY;BYDAY=MO;BYSETPOS=9", "FREQ=DAILY;BYHOUR=1;BYSETPOS=5",
     "FREQ=MINUTELY;BYHOUR=3;BYSETPOS=5", "FREQ=DAILY;BYMONTH=4;BYMONTHDAY=-31"],
)  # fmt: skip
def test_an_rrule_that_never_comes_is_refused_and_not_looked_for_until_the_year_9999(rule, untraced):
    began = time.thread_time()
    with pytest.raises(InvalidSchedule, match="never comes"):
        RRule(rule, datetime(2026, 1, 1, 3))
    assert time.thread_time() - began < 2


def test_that_an_rrule_has_no_further_slot_is_found_out_once():
    spec = RRule("FREQ=YEARLY;BYWEEKNO=53;BYDAY=MO;BYMONTH=6", datetime(2026, 1, 1, 3))
    assert spec.next(T0, Rules()) is None
    began = time.thread_time()
    assert all(spec.next(T0 + i * S, Rules()) is None for i in range(100))
    assert time.thread_time() - began < 0.1
    last = RRule("FREQ=DAILY;UNTIL=20260105", datetime(2026, 1, 1, 3))
    ends = micros(datetime(2026, 1, 5, 3, tzinfo=UTC))
    assert last.next(ends, Rules()) is None
    assert last.next(ends - 1, Rules()) == ends
