"""What people copy from guides into a Django project, done in the example project."""

from __future__ import annotations

import ast
from datetime import timedelta

import pytest
from celery import schedules
from celery.exceptions import Retry
from celery.schedules import crontab
from django.core.management import call_command
from django.db import transaction

from redlock_beat.django import DjangoTask, Schedule, get_command_task
from tests.beats import messages
from tests.integration.django.test_admin import LIST, VALID, Person

REPORT = "reminders.tasks.report"


@pytest.fixture
def queue(app, valkey):
    """The messages that wait: of each its task and its positional arguments."""

    def waiting():
        return [
            (one["headers"]["task"], ast.literal_eval(one["headers"]["argsrepr"])) for one in messages(valkey.client())
        ]

    return waiting


@pytest.fixture
def lead(app, configured, beats):
    """A beat of the project that leads, with a beat_schedule."""

    def leading(**entries):
        configured(beat_schedule=entries)
        return beats(app).lead()

    return leading


def test_an_entry_of_the_settings_by_crontab(lead, app):
    beat = lead(nightly={"task": REPORT, "schedule": crontab(hour=3, minute=0), "args": ("open",)})
    entry = Schedule()["nightly"]
    assert (entry.words, entry.origin) == ("at 03:00, every day, Europe/Berlin", "config")
    Schedule().trigger("nightly")
    (sent,) = beat.until(lambda: Schedule().history("nightly"))
    assert sent.what == "sent"


def test_a_countdown_by_apply_async(app, configured, queue, valkey):
    """The message carries the time, as always; past the threshold the schedule keeps it, so that it runs once."""
    remind = app.tasks["reminders.tasks.remind"]
    remind.apply_async((1,), countdown=600)
    ((_, args),) = queue()
    assert args == (1,)
    assert messages(valkey.client())[0]["headers"]["eta"] is not None
    configured(redlock_beat_eta_threshold=300)
    kept = remind.apply_async((2,), countdown=600)
    assert [one.id for one in Schedule().countdowns()] == [kept.id]
    assert len(queue()) == 1
    kept.revoke()


def test_the_options_of_django_tasks(app, queue):
    """Those of django-celery-extensions, on a task of the project."""
    ran = []

    @app.task(
        base=DjangoTask,
        bind=True,
        name="tests.recipe",
        shared=False,
        unique=True,
        stale_time_limit=60,
        default_retry_delays=(60, 300),
        ignore_task_after_success=True,
        ignore_task_timedelta=timedelta(hours=5),
    )
    def notify(self, pk):
        ran.append(pk)
        if pk < 0:
            raise self.retry(exc=ValueError(pk))

    try:
        first, again = notify.delay(7), notify.delay(7)
        assert (first.id, queue()) == (again.id, [("tests.recipe", (7,))])
        assert notify.is_processing((7,))
        assert not notify.is_processing((8,))
        assert notify.apply((8,)).successful()
        with pytest.raises(Retry) as retry:
            notify.apply((-1,), throw=True)
        assert retry.value.when == 60
    finally:
        app.tasks.pop("tests.recipe")
    assert ran == [8, -1]


def test_an_entry_of_the_admin_and_a_fixture(app):
    root = Person(superuser=True)
    root.post(f"{LIST}add/", **VALID)
    assert Schedule()["nightly"].task == REPORT
    call_command("redlock", "load", "reminders")
    assert Schedule()["count paid orders"].args == ("paid",)


def test_a_relative_interval(lead, queue):
    """It counts from the last run, at whole units of the clock."""
    lead(hourly={"task": REPORT, "schedule": schedules.schedule(timedelta(hours=1), relative=True), "args": ("open",)})
    due = Schedule()["hourly"].next_due
    assert (due.minute, due.second) == (0, 0)


def test_add_periodic_task_in_a_signal(app, configured, beats):
    configured(beat_schedule={})
    report = app.tasks[REPORT]

    @app.on_after_finalize.connect
    def set_up(sender, **kwargs):
        sender.add_periodic_task(crontab(minute="*/5"), report.s("open"), name="report every five minutes")

    try:
        app.on_after_finalize.send(sender=app)
        beats(app).lead()
    finally:
        app.on_after_finalize.disconnect(set_up)
    assert Schedule()["report every five minutes"].args == ("open",)


def test_what_is_sent_on_commit(app, queue):
    remind = app.tasks["reminders.tasks.remind"]
    with transaction.atomic():
        transaction.on_commit(lambda: remind.delay(1))  # as guides write it
        remind.delay_on_commit(2)
        get_command_task("clearsessions").delay_on_commit()
        Schedule().on_commit().add("later", remind, 3600, args=(3,))
        assert (queue(), len(Schedule())) == ([], 0)
    assert [args for _, args in queue()] == [(1,), (2,), ()]
    assert Schedule()["later"].args == (3,)


def test_one_at_a_time(lead, app, queue):
    """A run of an entry is not joined by another one; a call is not sent again while one like it waits or runs."""
    beat = lead(
        **{
            "one run": {"task": REPORT, "schedule": 3600, "args": ("open",), "overlap": "skip"},
            "one call": {"task": "reminders.tasks.confirm", "schedule": 3600, "args": (1,)},
        }
    )
    app.tasks["reminders.tasks.confirm"].delay(1)
    for name in ("one run", "one run", "one call"):
        Schedule().trigger(name)
    rows = beat.until(lambda: len(found := Schedule().history()) == 3 and found)
    assert sorted((row.entry, row.what) for row in rows) == [
        ("one call", "published nothing"),
        ("one run", "sent"),
        ("one run", "skipped"),
    ]
    assert len(queue()) == 2
