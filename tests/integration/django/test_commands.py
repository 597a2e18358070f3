"""Management commands as tasks."""

from __future__ import annotations

import logging
import sys
from datetime import timedelta

import pytest
from celery.schedules import crontab
from django.conf import settings
from django.core.management import CommandError
from django.db import transaction
from django.utils import timezone

from redlock_beat import InvalidSetting
from redlock_beat.django.commands import (
    THEIR_SETTING,
    LogStream,
    command_task_name,
    get_command_task,
    read_commands,
    register,
)
from redlock_beat.schedule.configuration import read_configuration
from tests.beats import make_app, messages

CANCEL = "command.orders.cancel_orders"


@pytest.fixture
def read(app, configured, monkeypatch):
    """Reads the commands of other settings."""

    def reading(given, theirs=None):
        configured(redlock_beat_commands=given)
        monkeypatch.setattr(settings, THEIR_SETTING, theirs, raising=False)
        return read_commands(app)

    return reading


def test_a_command_is_a_task_of_its_name(app):
    task = get_command_task("cancel_orders")
    assert (task.name, command_task_name("cancel_orders")) == (CANCEL, CANCEL)
    assert get_command_task("clearsessions").rules.unique
    with pytest.raises(InvalidSetting, match="'migrate' is not in CELERY_REDLOCK_BEAT_COMMANDS"):
        get_command_task("migrate")
    with pytest.raises(InvalidSetting, match="Did you mean 'clearsessions'"):
        get_command_task("clearsesions")


def test_a_command_with_a_schedule_is_a_configured_entry(app):
    entries = read_configuration(app).entries
    one = entries["cancel_orders"].entry
    assert (one.task, one.kwargs, one.overlap) == (CANCEL, {"days": 30}, "skip")
    assert entries["clearsessions"].entry.words == "at 03:00, every day, Europe/Berlin"


def test_it_joins_the_entries_of_the_settings(app, configured):
    configured(beat_schedule={"mine": {"task": "reminders.tasks.report", "schedule": 60}})
    register(app)
    assert {"mine", "clearsessions", "cancel_orders"} <= set(read_configuration(app).entries)


def test_it_runs_and_its_output_is_in_the_log(app, caplog):
    from orders.models import Order

    old = Order.objects.create(email="a@example.com")
    Order.objects.filter(pk=old.pk).update(placed=timezone.now() - timedelta(days=31))
    Order.objects.create(email="b@example.com")
    with caplog.at_level(logging.INFO, "redlock_beat"):
        get_command_task("cancel_orders").apply(args=("--days", 30)).get()
    (record,) = caplog.records
    assert (record.event, record.command) == ("command.output", "cancel_orders")
    assert record.getMessage() == "cancel_orders: 1 orders are cancelled."
    assert Order.objects.get(pk=old.pk).cancelled
    get_command_task("cancel_orders").apply(kwargs={"days": 1}).get()
    get_command_task("cancel_orders").apply(kwargs={"command_args": ["--days", "1"]}).get()


def test_what_a_command_raises_is_a_failure(app):
    task = get_command_task("cancel_orders")
    for args in (("--days", "0"), ("--dais", "3")):
        with pytest.raises(CommandError):
            task.apply(args=args).get()


@pytest.mark.parametrize(("code", "fails"), [(None, False), (0, False), (3, True), ("no", True)])
def test_an_exit_ends_the_run_and_not_the_worker(app, monkeypatch, code, fails):
    def leave(*args, **options):
        sys.exit(code)

    monkeypatch.setattr("redlock_beat.django.commands.call_command", leave)
    result = get_command_task("clearsessions").apply()
    assert result.failed() is fails
    if fails:
        assert str(result.result) == f"clearsessions exited with {code!r}."


def test_a_command_waits_for_a_commit(app, valkey):
    with transaction.atomic():
        get_command_task("cancel_orders").delay_on_commit("--days", 7)
        assert messages(valkey.client()) == []
    (message,) = messages(valkey.client())
    assert message["headers"]["task"] == CANCEL


def test_output_comes_in_lines(caplog):
    with caplog.at_level(logging.INFO, "redlock_beat"):
        out = LogStream("c", logging.INFO)
        for text in ("one", " line\ntwo\n", "\n", "x" * 10_001, "redis://u:secret@h/0"):
            out.write(text)
        out.flush()
        out.close()
        assert not out.isatty()
    said = [record.output for record in caplog.records]
    assert said == ["one line", "two", "x" * 10_000, "redis://u:***@h/0"]


def test_what_is_no_task_says_why_and_stops_nothing(read):
    night = crontab(hour=3, minute=0)
    commands, errors = read(
        {
            "clearsessions": {"schedule": night, "missed": "skip", "expires": 60, "time_limit": 30, "queue": "slow"},
            "migrate": None,
            "check": {"expires": 60},
            "gone": {},
            "flush": {"uniqe": True},
            "loaddata": {"missed": "skip"},
            "dumpdata": 7,
            "shell": {"name": "mine"},
        },
        {"inspectdb": {"unique": True, "autoretry_for": ["builtins.OSError"], "max_retries": 3}},
    )
    known = {one.name: one for one in commands}
    assert set(known) == {"clearsessions", "migrate", "check", "inspectdb"}
    task = "command.django.contrib.sessions.clearsessions"
    assert known["clearsessions"].entry == {"task": task, "schedule": night, "missed": "skip", "expires": 60}
    assert known["clearsessions"].options == {"time_limit": 30, "queue": "slow"}
    assert (known["check"].entry, known["check"].options) == (None, {"expires": 60})
    assert known["inspectdb"].options == {"unique": True, "autoretry_for": (OSError,), "max_retries": 3}
    assert set(errors) == {"gone", "flush", "loaddata", "dumpdata", "shell"}
    assert "no management command" in errors["gone"]
    assert "Did you mean 'unique'" in errors["flush"]
    assert "it has no schedule" in errors["loaddata"]
    assert "must be a dictionary" in errors["dumpdata"]
    _, errors = read({}, ["inspectdb"])
    assert "must be a dictionary of commands" in errors[THEIR_SETTING]


def test_other_apps_get_the_commands_of_their_own_settings(app, valkey, monkeypatch, caplog):
    monkeypatch.setattr(settings, THEIR_SETTING, {}, raising=False)
    other = make_app(
        valkey.url(),
        {"check": {"task": "mine", "schedule": 7}},
        redlock_beat_commands={
            "clearsessions": {"schedule": 60.0, "retry_backoff": True, "autoretry_for": (OSError,)},
            "check": {"schedule": 60.0},
            "gone": {},
        },
    )
    register(other)
    register(other)  # once more is harmless
    assert other.conf.beat_schedule["clearsessions"]["task"] in other.tasks
    assert other.conf.beat_schedule["check"]["task"] == "mine"
    said = caplog.text
    assert "'check' is not scheduled: beat_schedule has an entry of its name" in said
    assert "'gone' is no task" in said
    assert "clearsessions" not in make_app(valkey.url()).conf.beat_schedule
