"""Over from other schedulers: nothing early, nothing twice, nothing half."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from celery.schedules import crontab, schedule

from redlock_beat import InvalidSchedule, RedisUnavailable, Schedule
from redlock_beat.clock import micros
from redlock_beat.schedule.configuration import read_configuration
from redlock_beat.schedule.migrate import NotImported, RedBeat, django_entries
from redlock_beat.schedule.transfer import Arrival, bring_in
from redlock_beat.settings import Settings
from redlock_beat.store.client import Target
from redlock_beat.store.keys import Keys
from tests.beats import duplicates, make_app, messages

K = Keys("redlock-beat")


@pytest.fixture
def here(valkey):
    return Schedule.from_url(valkey.url())


@pytest.fixture
def redbeat_app(valkey):
    app = make_app(valkey.url(), redbeat_redis_url=valkey.url(1), timezone="Europe/Berlin")
    app.conf.beat_schedule = {"static": {"task": "tasks.add", "schedule": 3600.0, "args": (7,)}}
    return app


def theirs(app, valkey):
    target = Target(Settings(url=valkey.url(1)))
    return RedBeat(target, "redbeat:", app, read_configuration(app))


def test_every_entry_of_a_real_redbeat_arrives_in_phase(here, valkey, beats, redbeat_app):
    """Next due times equal RedBeat's. Where they may not:

    - an entry it never ran (no last_run_at) RedBeat sends at once; here it waits for its first slot;
    - a weekday with a number (the first Monday) RedBeat stores without its number: every Monday;
    - its score is early while an entry waits (it adds what is left from now to the last run); what it
      goes by when it wakes, is_due, is right, and is what is compared here;
    - the offset of an rrule's start is kept, as RedBeat does after it has read it back: an offset that is
      no whole number of hours has no zone of its own, and is read in the app's.
    """
    from dateutil.rrule import MO
    from redbeat import RedBeatScheduler, RedBeatSchedulerEntry
    from redbeat.schedules import rrule

    now = datetime.now(UTC)
    ago = {"fresh": None, "a while ago": timedelta(minutes=20), "overdue": timedelta(days=3)}
    kinds = {
        "interval": schedule(timedelta(hours=1)),
        "days": schedule(timedelta(days=2)),
        "relative": schedule(timedelta(hours=1), relative=True),
        "crontab": crontab(minute="*/15", hour="7-19"),
        "weekdays": crontab(minute=30, hour=7, day_of_week="mon-fri"),
        "weekday numbers": crontab(minute=0, hour="1,13", day_of_week="0,6"),
        "months": crontab(minute=0, hour=0, day_of_month="1,15", month_of_year="*/2"),
        "rrule": rrule("DAILY", dtstart=now - timedelta(days=40), interval=2),
        "rrule weekdays": rrule("WEEKLY", dtstart=now - timedelta(days=40), byweekday=[MO], byhour=[9], byminute=[0]),
    }
    RedBeatScheduler(app=redbeat_app)  # writes its static entries
    made = {}
    for kind, when in kinds.items():
        for age, span in ago.items():
            what = {"args": [now], "kwargs": {"y": 1}, "options": {"queue": "q"}}
            entry = RedBeatSchedulerEntry(f"{kind}, {age}", "tasks.add", when, **what, app=redbeat_app).save()
            if span is not None:
                entry.reschedule((now - span).astimezone(redbeat_app.timezone))  # as app.now(), which it takes itself
            made[entry.name] = entry
    RedBeatSchedulerEntry("paused", "tasks.add", schedule(60), enabled=False, app=redbeat_app).save()
    RedBeatSchedulerEntry("🎉 : *", "tasks.add", schedule(60), app=redbeat_app).save()
    client = valkey.client(1)
    client.hset("redbeat:broken", "definition", "rubbish")
    client.zadd("redbeat::schedule", {"redbeat:broken": 5, "redbeat:gone": 5})

    found = list(theirs(redbeat_app, valkey).entries(micros(here.now())))
    unfit = {one.name: one.why for one in found if isinstance(one, NotImported)}
    assert set(unfit) == {"broken", "gone"}
    bring_in(here, [one for one in found if isinstance(one, Arrival)])
    assert {entry.name for entry in here} == {*made, "static", "paused", "🎉 : *"}
    overdue = set()
    for name, entry in made.items():
        mine = here[name]
        assert (mine.task, list(mine.args), mine.kwargs, mine.options) == (
            "tasks.add",
            [now],
            {"y": 1},
            {"queue": "q"},
        )
        again = RedBeatSchedulerEntry.from_key(entry.key, app=redbeat_app)
        due, left = again.is_due()
        after = datetime.now(UTC)
        if due:
            overdue.add(name)
            assert mine.next_due <= after, name
        else:
            assert abs((mine.next_due - (after + timedelta(seconds=left))).total_seconds()) < 5, name
            assert mine.next_due > after - timedelta(seconds=5), name
    assert not here["paused"].enabled
    assert (here["static"].origin, here["static"].args) == ("config", (7,))

    # And the beat goes on from there: nothing that RedBeat had sent, and no configured entry anew.
    state = here["static"].state
    assert [one.what for one in bring_in(here, [one for one in found if isinstance(one, Arrival)])] == ["kept"] * len(
        here
    )
    beat = beats(redbeat_app).lead()
    assert here["static"].state == state
    beat.tick(3)
    sent = {one["headers"]["redlock_beat_entry"] for one in messages(valkey.client(), "q")}
    assert sent == overdue
    assert {"interval, overdue", "rrule, overdue"} <= overdue < set(made)
    assert duplicates(valkey.client(), "q") == 0


def test_a_redbeat_that_cannot_be_read_is_said(valkey, redbeat_app):
    valkey.client(1).set("redbeat::schedule", "rubbish")
    with pytest.raises(RedisUnavailable, match="RedBeat's schedule"):
        theirs(redbeat_app, valkey).count()


def fixture(*tasks):
    def row(model, pk, **fields):
        return {"model": f"django_celery_beat.{model}", "pk": pk, "fields": fields}

    crontab_ = {"minute": "30", "hour": "7", "day_of_week": "mon-fri", "day_of_month": "*", "month_of_year": "*"}
    return json.dumps(
        [
            row("intervalschedule", 1, every=10, period="minutes"),
            row("intervalschedule", 2, every=500_000, period="microseconds"),
            row("crontabschedule", 1, **crontab_, timezone="Europe/Berlin"),
            row("clockedschedule", 1, clocked_time="2090-01-01T07:00:00Z"),
            row("solarschedule", 1, event="sunset", latitude="52.500000", longitude="13.400000"),
            row("periodictasks", 1, last_update="2026-01-01T00:00:00Z"),
            *[row("periodictask", i, **task) for i, task in enumerate(tasks, 1)],
        ]
    )


def test_a_fixture_of_django_celery_beat_arrives(here):
    now = micros(here.now())
    at = datetime.now(UTC).replace(microsecond=0)

    def task(name, **more):
        return {"name": name, "task": "tasks.add", "enabled": True, **more}

    text = fixture(
        task(
            "interval",
            interval=1,
            last_run_at=(at - timedelta(minutes=4)).isoformat(),
            total_run_count=9,
            args="[1]",
            kwargs='{"a": 2}',
            queue="q",
            priority=3,
            headers='{"h": 1}',
            expire_seconds=60,
            description="why",
        ),
        task("quick", interval=2),
        task("cron", crontab=1, last_run_at="2026-01-05T06:30:00Z", start_time="2026-01-01T00:00:00Z"),
        task("clocked", clocked=1, one_off=True),
        task("sent", clocked=1, one_off=True, total_run_count=1, enabled=False),
        task("solar", solar=1, expires="2091-01-01T00:00:00Z"),
        task("once", interval=1, one_off=True),
        task("off", interval=1, enabled=False),
        task("nothing"),
        task("natural", crontab=["30", "7"]),
        task("bad", interval=1, args="rubbish"),
        task("later", interval=1, start_time="2090-01-01T00:00:00Z"),
    )
    found = list(django_entries(text, None, now))
    assert {one.name for one in found if isinstance(one, NotImported)} == {"sent", "nothing", "natural", "bad"}
    bring_in(here, [one for one in found if isinstance(one, Arrival)])
    one = here["interval"]
    assert one.next_due == at + timedelta(minutes=6)
    assert (one.args, one.kwargs, one.total_run_count, one.note) == ((1,), {"a": 2}, 9, "why")
    assert one.options == {"queue": "q", "priority": 3, "headers": {"h": 1}, "expires": 60}
    assert str(here["quick"].schedule) == "every 500 ms"
    assert here["cron"].timezone == "Europe/Berlin"
    assert here["cron"].next_due == datetime(2026, 1, 6, 6, 30, tzinfo=UTC)  # pending: caught up once, by its policy
    assert here["clocked"].next_due == datetime(2090, 1, 1, 7, tzinfo=UTC)
    assert here["solar"].ends
    assert (here["once"].max_runs, here["once"].keep) == (1, True)
    assert not here["off"].enabled
    assert here["later"].next_due == datetime(2090, 1, 1, tzinfo=UTC)


def test_what_django_celery_beat_would_have_sent_is_sent_and_nothing_else(here, valkey, beats):
    """Each as its is_due answers on the first tick after the import (read in 2.9.0, schedulers.py)."""
    at = datetime.now(UTC).replace(microsecond=0)
    ago = {minutes: (at - timedelta(minutes=minutes)).isoformat() for minutes in (1, 4, 14, 30, 60)}
    clocked = {"model": "django_celery_beat.clockedschedule", "fields": {"clocked_time": ago[30]}, "pk": 7}

    def task(name, **more):
        return {"name": name, "task": "tasks.add", "enabled": True, "total_run_count": 0, "last_run_at": None, **more}

    typed = '[{"__type__": "datetime", "__value__": "2027-01-01"}]'
    rows = json.loads(
        fixture(
            task("expired", interval=1, last_run_at=ago[30], total_run_count=3, expires=ago[1]),
            task("clocked, overdue", clocked=7, one_off=True, date_changed=ago[4]),
            task("clocked, begins later", clocked=7, one_off=True, start_time="2090-01-01T00:00:00Z"),
            task("clocked, expired", clocked=7, one_off=True, expires=ago[1]),
            task("never run, began", interval=1, start_time=ago[4], date_changed=ago[1]),
            task("never run, changed", interval=1, date_changed=ago[4]),
            task("never run, overdue", interval=1, date_changed=ago[14]),
            task("off and on", interval=1, last_run_at=ago[4], start_time=ago[60]),
            task("typed", interval=1, last_run_at=ago[1], args=typed, expires="2091-01-01T00:00:00Z", expire_seconds=5),
        )
    )
    found = list(django_entries(json.dumps([*rows, clocked]), None, micros(here.now())))
    assert [one.name for one in found if isinstance(one, NotImported)] == ["clocked, expired"]
    bring_in(here, [one for one in found if isinstance(one, Arrival)])
    assert here["expired"].next_due is None
    assert here["clocked, begins later"].next_due == datetime(2090, 1, 1, tzinfo=UTC)
    assert here["never run, changed"].next_due == at + timedelta(minutes=6)
    assert here["off and on"].next_due == at + timedelta(minutes=6)
    assert here["typed"].args == (datetime(2027, 1, 1),)
    assert here["typed"].options == {"expires": datetime(2091, 1, 1, tzinfo=UTC)}
    beat = beats(valkey).lead()
    beat.until(lambda: len(messages(valkey.client())) >= 3)
    beat.tick(3)
    sent = {one["headers"]["redlock_beat_entry"]: one["headers"] for one in messages(valkey.client())}
    assert set(sent) == {"clocked, overdue", "never run, began", "never run, overdue"}
    assert sent["never run, began"]["periodic_task_name"] == "never run, began"
    assert len(messages(valkey.client())) == 3
    assert here["never run, began"].next_due == at + timedelta(minutes=6)  # in phase with its start


def test_rows_that_came_from_the_configuration_become_configured_entries(valkey, beats):
    at = datetime.now(UTC).replace(microsecond=0)
    app = make_app(valkey.url())
    app.conf.beat_schedule = {
        "conf": {"task": "tasks.add", "schedule": 3600.0, "args": (1,)},
        "off": {"task": "tasks.add", "schedule": 3600.0},
        "bad": {"task": "tasks.add", "schedule": "soon"},
    }
    last = (at - timedelta(minutes=50)).isoformat()
    text = fixture(
        {"name": "conf", "task": "tasks.add", "interval": 1, "last_run_at": last, "total_run_count": 5, "args": "[9]"},
        {"name": "off", "task": "tasks.add", "interval": 1, "enabled": False, "description": "no more"},
        {"name": "bad", "task": "tasks.add", "interval": 1},
        {"name": "own", "task": "tasks.add", "interval": 1, "last_run_at": last},
    )
    here = Schedule(app)
    found = list(django_entries(text, app, micros(here.now())))
    assert [one.name for one in found if isinstance(one, NotImported)] == ["bad"]
    bring_in(here, [one for one in found if isinstance(one, Arrival)])
    assert {entry.name: entry.origin for entry in here} == {"conf": "config", "off": "config", "own": "api"}
    # What the configuration says counts, as there; the rows say how far it has come, and whether it is on.
    assert (here["conf"].args, here["conf"].next_due, here["conf"].total_run_count) == (
        (1,),
        at + timedelta(minutes=10),
        5,
    )
    states = valkey.client().hgetall(K.state)
    beat = beats(app).lead()
    assert valkey.client().hget(K.state, "conf") == states["conf"]  # nothing is made anew
    assert (here["off"].enabled, here["off"].note) == (False, "no more")
    beat.close()
    app.conf.beat_schedule = {"off": {"task": "tasks.add", "schedule": 3600.0}}
    beats(app).lead()
    assert {entry.name for entry in here} == {"off", "own"}  # it leaves with the configuration


@pytest.mark.parametrize("text", ["rubbish", "{}", "[1]", '[{"model": 1}]'])
def test_what_is_no_fixture_is_refused(text):
    with pytest.raises(InvalidSchedule, match="dumpdata"):
        list(django_entries(text, None, 0))
