"""Edits: each takes effect once and whole, and says why where it does not."""

from __future__ import annotations

import multiprocessing
from datetime import UTC, datetime, timedelta

import pytest
from celery.schedules import crontab, solar
from celery.schedules import schedule as celery_schedule
from dateutil.rrule import DAILY, rrule

import redlock_beat
from redlock_beat import (
    EntryExists,
    InvalidSchedule,
    NoSuchEntry,
    Schedule,
    ScheduleBusy,
    StaleRevision,
    register_schedule,
)
from redlock_beat.recurrence import Crontab, Interval
from redlock_beat.schedule import operations
from redlock_beat.store.keys import Keys
from tests.beats import comes, ledger, make_app, messages, occurrences


def test_changing_a_canvas_and_its_policies(valkey, beats):
    from celery import chain

    app = make_app(valkey.url())
    schedule = Schedule(app)
    add = app.tasks["tasks.add"]
    schedule.add("a", chain(add.s(1, 1), add.s(2)), 3600)
    assert schedule.update("a", jitter=3).canvas is not None
    changed = schedule.update("a", task=add.s(5, 5), starts=None)
    assert (changed.canvas, changed.args) == (None, (5, 5))
    assert schedule.update("a", task="other").task == "other"


K = Keys("redlock-beat")


@pytest.fixture
def schedule(server):
    return Schedule.from_url(server.url())


@pytest.fixture
def sched(valkey):
    return Schedule.from_url(valkey.url())


class Every:
    """A schedule class of a user's own."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def next_slot(self, after: datetime) -> datetime:
        return after + timedelta(seconds=self.seconds)


def in_processes(function, arguments: list[tuple]) -> list:
    """Run a function in processes of their own, one for each set of arguments."""
    pool = multiprocessing.get_context("spawn").Pool(len(arguments))
    try:
        return pool.starmap(function, arguments)
    finally:
        pool.close()
        pool.join()


def test_add_read_update_remove(schedule, server):
    made = schedule.add("a", "tasks.add", 30, (1,), {"y": 2}, options={"queue": "q"}, missed="skip", grace=5)
    assert made == schedule["a"]
    assert (made.revision, made.origin, made.missed, made.grace) == (1, "api", "skip", 5.0)
    assert timedelta(0) < made.next_due - datetime.now(UTC) <= timedelta(seconds=30)
    assert "a" in schedule
    assert len(schedule) == 1
    assert [one.name for one in schedule] == ["a"]
    changed = schedule.update("a", args=(5,), grace=None, expires=10)
    assert changed.revision == 2
    assert changed.args == (5,)
    assert changed.options == {"queue": "q", "expires": 10}
    assert changed.grace is None
    assert changed.next_due == made.next_due
    assert schedule.update("a", expires=None).options == {"queue": "q"}
    schedule.remove("a")
    assert "a" not in schedule
    assert server.client().zcard(K.due) == 0
    assert schedule.get("a", 7) == 7


def test_errors_say_what_to_do(schedule):
    schedule.add("a", "tasks.add", 30)
    with pytest.raises(EntryExists, match="replace=True"):
        schedule.add("a", "tasks.add", 30)
    for call in (
        lambda: schedule["none"],
        lambda: schedule.remove("none"),
        lambda: schedule.update("none", args=()),
        lambda: schedule.pause("none"),
        lambda: schedule.resume("none"),
        lambda: schedule.trigger("none"),
        lambda: schedule.preview("none"),
    ):
        with pytest.raises(NoSuchEntry, match="none"):
            call()
    with pytest.raises(StaleRevision, match="revision 1 now"):
        schedule.update("a", revision=7, args=(1,))
    with pytest.raises(StaleRevision):
        schedule.remove("a", revision=2)
    with pytest.raises(StaleRevision):
        schedule.pause("a", revision=2)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 501}, "name"),
        ({"task": 5}, "task"),
        ({"task": ""}, "task"),
        ({"when": "soon"}, "not a schedule"),
        ({"when": -1}, "interval"),
        ({"when": float("nan")}, "number"),
        ({"when": datetime(2030, 3, 31, 2, 30), "timezone": "Europe/Berlin"}, "does not exist"),
        ({"when": datetime(2030, 10, 27, 2, 30), "timezone": "Europe/Berlin"}, "twice"),
        ({"args": "text"}, "args"),
        ({"args": (object(),)}, "JSON"),
        ({"args": (float("nan"),)}, "no NaN"),
        ({"kwargs": {1: 2}}, "changed"),
        ({"kwargs": [1]}, "kwargs"),
        ({"options": {"task_id": "x"}}, "task_id"),
        ({"timezone": "Mars/Base"}, "time zone"),
        ({"missed": "maybe"}, "once, skip, all"),
        ({"dst_gap": "maybe"}, "after, skip"),
        ({"grace": -1}, "grace"),
        ({"jitter": "x"}, "jitter"),
        ({"max_runs": 0}, "max_runs"),
        ({"starts": "tomorrow"}, "datetime"),
        ({"starts": datetime(2031, 1, 1, tzinfo=UTC), "ends": datetime(2030, 1, 1, tzinfo=UTC)}, "ends before"),
        ({"ends": datetime(2020, 1, 1, tzinfo=UTC)}, "never"),
        ({"delivery": "twice"}, "at_least_once"),
        ({"colour": "red"}, "colour"),
        ({"note": "x" * 2000}, "note"),
        ({"args": ("x" * 300_000,)}, "bytes"),
    ],
)
def test_bad_input_is_refused_and_changes_nothing(sched, valkey, given, said):
    parts = {"name": "a", "task": "tasks.add", "when": 30, **given}
    with pytest.raises(InvalidSchedule, match=said):
        sched.add(parts.pop("name"), parts.pop("task"), parts.pop("when"), **parts)
    assert valkey.client().keys("*") == []


def test_an_unknown_change_is_refused(sched):
    sched.add("a", "tasks.add", 30)
    with pytest.raises(InvalidSchedule, match="colour"):
        sched.update("a", colour=1)
    with pytest.raises(InvalidSchedule, match="never be sent"):
        sched.update("a", ends=datetime(2020, 1, 1, tzinfo=UTC))


def test_every_kind_of_schedule_is_stored_and_read_back_equal(schedule, server):
    register_schedule("every", Every, dump=lambda one: {"seconds": one.seconds})
    kinds = {
        "seconds": 1.5,
        "delta": timedelta(days=1),
        "celery": celery_schedule(30, relative=True),
        "crontab": crontab(minute="*/5", hour={1, 2}, day_of_week="mon-fri"),
        "solar": solar("sunset", 50.0, 10.0),
        "rrule": rrule(DAILY, interval=2, dtstart=datetime(2026, 1, 1, 7)),
        "once": datetime(2090, 1, 1, tzinfo=UTC),
        "own": Every(7),
    }
    made = {name: schedule.add(name, "t", when, timezone="Europe/Berlin") for name, when in kinds.items()}
    (far,) = in_processes(_read_all, [(server.url(),)])
    for name, entry in made.items():
        assert schedule[name] == entry
        if name != "own":
            assert far[name] == _slots(schedule, name)


def _read_all(url: str) -> dict[str, list[str]]:
    schedule = redlock_beat.Schedule.from_url(url)
    return {one.name: _slots(schedule, one.name) for one in schedule if one.name != "own"}


def _slots(schedule: Schedule, name: str) -> list[str]:
    """The same whenever it is asked."""
    return [str(slot.nominal) for slot in schedule.preview(name, 10, after=datetime(2089, 12, 1, tzinfo=UTC))]


def test_a_schedule_class_that_is_not_registered_is_refused(sched):
    class Unknown(celery_schedule):
        pass

    with pytest.raises(InvalidSchedule, match="register_schedule"):
        sched.add("a", "t", Unknown(30))


def test_add_periodic_task_is_spelled_as_celery_spells_it(valkey):
    app = make_app(valkey.url())
    schedule = Schedule(app)
    add = app.tasks["tasks.add"]
    assert schedule.add_periodic_task(10.0, add.s(1), name="named", expires=5, missed="skip") == "named"
    assert schedule.add_periodic_task(crontab(), add.s(1, 2)) == "tasks.add(1, 2)"
    assert schedule.add_periodic_task(10.0, add, (3,), {"y": 4}, queue="q") == repr(add)
    assert schedule["named"].options["expires"] == 5
    assert schedule["named"].missed == "skip"
    assert schedule[repr(add)].args == (3,)
    assert schedule[repr(add)].options["queue"] == "q"
    schedule.add_periodic_task(20.0, add.s(1), name="named")  # again replaces
    assert schedule["named"].schedule == Interval.of(20)


def test_pausing_and_resuming(schedule, server):
    made = schedule.add("a", "t", 30)
    paused = schedule.pause("a", note="why", actor="me")
    assert (paused.enabled, paused.note, paused.paused_by, paused.next_due) == (False, "why", "me", None)
    assert server.client().zcard(K.due) == 0
    assert schedule.preview("a") == []
    resumed = schedule.resume("a")
    assert resumed.next_due == made.next_due
    assert resumed.note is None
    assert schedule.pause("a").paused_by


def test_resuming_counts_from_now_or_catches_up(valkey, beats):
    beat = beats(valkey).lead()
    schedule = Schedule(beat.app)
    client = valkey.client()
    schedule.add("a", "t", 0.2)
    first = schedule.pause("a").state.nominal
    beat.until(lambda: beat.parts.store.now() > first + 500_000)
    now = beat.parts.store.now()
    assert schedule.resume("a").state.nominal > now - 200_000
    schedule.pause("a")
    kept = schedule["a"].state.nominal
    assert schedule.resume("a", catch_up=True).state.nominal == kept
    beat.until(lambda: client.llen("celery"))


def test_trigger_sends_now_and_moves_nothing(server, beats):
    beat = beats(server).lead()
    schedule = Schedule(beat.app)
    made = schedule.add("a", "t", 3600)
    ids = {schedule.trigger("a"), schedule.trigger("a")}
    client = server.client()
    beat.until(lambda: client.llen("celery") == 2)
    assert {one["headers"]["id"] for one in messages(client)} == ids
    assert schedule["a"].next_due == made.next_due
    assert {row["how"] for row in ledger(client, "sent")} == {"trigger"}
    schedule.pause("a")
    schedule.trigger("a")  # a paused entry may be triggered
    beat.until(lambda: client.llen("celery") == 3)


def test_a_trigger_of_an_entry_removed_meanwhile_is_skipped_with_a_row(valkey, beats):
    beat = beats(valkey).lead()
    schedule = Schedule(beat.app)
    schedule.add("a", "t", 3600)
    schedule.trigger("a")
    schedule.remove("a")
    client = valkey.client()
    client.zadd(K.manual, {"rubbish": 1.0})
    beat.until(lambda: len(ledger(client, "skipped")) == 2)
    assert client.zcard(K.manual) == 0
    assert client.llen("celery") == 0


def test_editing_the_schedule_settles_what_is_due_first(server, beats):
    beat = beats(server)
    schedule = Schedule.from_url(server.url())
    schedule.add("a", "t", 3600, run_now=True)
    first = schedule["a"].state.nominal
    comes(schedule, first)  # nobody leads yet
    schedule.update("a", when=7200)
    after = schedule["a"]
    assert after.anchor == first  # an interval counts on from its last nominal
    assert after.state.nominal == first + 7200_000_000
    client = server.client()
    beat.until(lambda: client.llen("celery"))
    assert occurrences(client) == {("a", first / 1e6): 1}
    assert ledger(client, "sent")[0]["how"] == "settled"


def test_changing_the_interval_counts_from_the_last_nominal(sched):
    made = sched.add("a", "t", 3600)
    changed = sched.update("a", when=5400)
    assert changed.state.nominal == made.anchor + 5400_000_000
    assert sched.update("a", when=crontab(minute=0)).schedule == Crontab(minute="0")
    assert sched.update("a", timezone="Asia/Tokyo").timezone == "Asia/Tokyo"


def test_a_rename_keeps_uid_phase_state_and_ids(sched, valkey, beats):
    from redlock_beat.entries.occurrence import Ids

    made = sched.add("old", "t", 0.3, args=(1,), missed="all")
    sched.add("other", "t", 60)
    beat = beats(valkey).lead()
    beat.until(lambda: sched["old"].total_run_count >= 2)
    before = sched["old"]
    after = sched.rename("old", "new")
    assert (after.uid, after.anchor, after.args, after.missed) == (made.uid, made.anchor, (1,), "all")
    assert after.state.nominal >= before.state.nominal
    assert after.revision == before.revision + 1
    assert "old" not in sched
    assert sched["new"] == after
    beat.until(lambda: sched["new"].total_run_count >= before.total_run_count + 2)
    due = [(row["nominal"], row["id"]) for row in ledger(valkey.client(), "sent")]
    assert len(due) == len(set(due))  # no slot twice, whatever its name
    assert due == [(nominal, Ids("redlock-beat").of(made.uid, int(nominal))) for nominal, _ in due]
    slots = [int(nominal) for nominal, _ in due]
    assert [b - a for a, b in zip(slots, slots[1:], strict=False)] == [300_000] * (len(slots) - 1)  # and none left out
    with pytest.raises(EntryExists):
        sched.rename("new", "other")
    with pytest.raises(StaleRevision):
        sched.rename("new", "newer", revision=1)
    with pytest.raises(NoSuchEntry):
        sched.rename("old", "newer")
    assert valkey.client().hlen(K.state) == valkey.client().hlen(K.entries) == 2


def test_a_rename_keeps_the_time_of_a_retry_and_a_pause(sched, valkey):
    sched.add("a", "t", 3600)
    valkey.client().zadd(K.due, {"a": 2_000_000_000.5})
    sched.rename("a", "b")
    assert valkey.client().zscore(K.due, "b") == 2_000_000_000.5
    sched.pause("b", note="why")
    assert (sched.rename("b", "c").note, valkey.client().zscore(K.due, "c")) == ("why", None)
    assert sched.rename("c", "c").revision == 5


def test_what_waits_to_be_sent_under_a_name_is_not_lost_by_a_rename(sched):
    sched.add("a", "t", 3600)
    sched.trigger("a")
    sched.backfill("a", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 30, tzinfo=UTC))  # more than a page waits
    with pytest.raises(InvalidSchedule, match="waits to be sent under this name"):
        sched.rename("a", "b")
    sched.add("c", "t", 60)
    with pytest.raises(redlock_beat.BatchFailed, match="waits to be sent"), sched.batch() as batch:
        batch.trigger("c")
        batch.rename("c", "d")
    assert sched.rename("c", "d").name == "d"


def test_a_configured_entry_is_renamed_in_the_configuration_and_copied_here(valkey, beats):
    class Odd:
        """Nothing JSON could carry."""

    odd = {"task": "tasks.add", "schedule": 60.0, "args": (Odd(),)}
    beat = beats(valkey, {"conf": {"task": "tasks.add", "schedule": 60.0}, "odd": odd}).lead()
    sched = Schedule(beat.app)
    with pytest.raises(InvalidSchedule, match="rename it there"):
        sched.rename("conf", "new")
    copy = sched.copy("conf", "new", args=(7,))
    assert (copy.origin, copy.args, sched["conf"].args) == ("api", (7,), ())
    with pytest.raises(InvalidSchedule, match="cannot be copied"):
        sched.copy("odd", "even")
    with pytest.raises(InvalidSchedule, match="args cannot be changed here"):
        sched.update("odd", args=(1,))
    assert sched.update("odd", note="n").note == "n"


def test_a_copy_begins_anew(sched, valkey):
    made = sched.add("a", "t", 3600, args=(1,), kwargs={"x": 2}, options={"queue": "q"}, jitter=5)
    sched.update("a", note="n")
    copy = sched.copy("a", "b", when="0 7 * * 1-5", note=None)
    assert (copy.args, copy.kwargs, copy.options, copy.jitter, copy.note) == ((1,), {"x": 2}, {"queue": "q"}, 5.0, None)
    assert (copy.revision, copy.total_run_count, str(copy.schedule)) == (1, 0, "0 7 * * 1-5")
    assert copy.uid != made.uid
    assert sched["b"] == copy
    with pytest.raises(EntryExists):
        sched.copy("a", "b")
    with pytest.raises(NoSuchEntry):
        sched.copy("none", "c")
    with pytest.raises(InvalidSchedule, match="never be sent"):
        sched.copy("a", "c", ends=datetime(2020, 1, 1, tzinfo=UTC))
    with sched.batch() as batch:
        batch.copy("a", "c")
        batch.rename("c", "d")
        batch.rename("a", "c")
    assert sorted(entry.name for entry in sched) == ["b", "c", "d"]
    assert [one.name for one in batch.results] == ["c", "d", "c"]
    with sched.batch() as batch:
        for i in range(400):  # more names than a page
            batch.copy("c", f"c{i}")
    assert len(sched) == 403


def test_texts_and_spans_are_taken_where_a_schedule_or_a_span_is(sched):
    sched.add("a", "t", "10m", expires=timedelta(minutes=1), grace="1h30m")
    entry = sched.update("a", when="0 7 * * 1-5", jitter="5s")
    assert (entry.options, entry.grace, entry.jitter) == ({"expires": 60}, 5400.0, 5.0)
    sched.add_periodic_task("*/5 * * * *", "t", name="p", expires="2m")
    assert (str(sched["p"].schedule), sched["p"].options) == ("*/5 * * * *", {"expires": 120})
    sched.add("r", "t", 60)
    assert sched.update("r", relative=True).schedule == Interval.of(60, True)
    assert sched.update("r", args=(1,)).schedule == Interval.of(60, True)
    assert sched.update("r", relative=False).schedule == Interval.of(60)
    with pytest.raises(InvalidSchedule, match="for intervals"):
        sched.update("a", relative=True)


def test_an_edit_of_an_entry_that_a_leader_keeps_moving_meets_no_conflict(sched, valkey, beats, monkeypatch):
    """Only what decides when an entry is due is compared with how far it has come."""
    monkeypatch.setattr(operations, "ATTEMPTS", 1)
    sched.add("a", "t", 60)
    ask = sched.round_trip

    def moved(request):
        answer = ask(request)
        if request.script == "read":
            uid, rev, nominal, last, count, attempts = valkey.client().hget(K.state, "a").split(" ")
            valkey.client().hset(K.state, "a", f"{uid} {rev} {nominal} {last} {int(count) + 1} {attempts}")
        return answer

    monkeypatch.setattr(sched, "round_trip", moved)
    sched.update("a", args=(1,))
    sched.pause("a")
    assert sched["a"].total_run_count == 2  # what the leader did is not undone
    with pytest.raises(ScheduleBusy):
        sched.update("a", when=30)
    sched.remove("a")
    monkeypatch.undo()
    assert "a" not in sched


@pytest.mark.parametrize("how", ["resumed", "updated", "added anew"])
def test_an_edit_counts_failed_runs_from_none_again(valkey, how):
    schedule, client = Schedule.from_url(valkey.url()), valkey.client()
    schedule.add("a", "t", 3600, pause_on_failure=3)
    schedule.add("b", "t", 3600)
    client.hset(K.failures, mapping={"a": 2, "b": 2})
    if how == "resumed":
        schedule.pause("a")
        schedule.resume("a")
    elif how == "updated":
        schedule.update("a", args=(1,))
    else:
        schedule.remove("a")
        schedule.add("a", "t", 3600, pause_on_failure=3)
    assert schedule.status().failing == {"b": 2}
