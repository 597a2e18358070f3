"""``manage.py redlock``: all verbs, and those for Django projects."""

from __future__ import annotations

import io
import json
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command

from redlock_beat import InvalidSchedule
from redlock_beat.cli import redlock as celerys
from redlock_beat.cli.terminal import Clock
from redlock_beat.django import Schedule
from redlock_beat.django.management.commands.redlock import Command, _without_djangos
from redlock_beat.django.verbs import redlock
from redlock_beat.schedule.migrate import django_rows
from tests.beats import LASTING
from tests.django_project import manage


@pytest.fixture
def schedule(app):
    return Schedule()


@pytest.fixture
def run(schedule, capsys):
    """Runs a verb in this process; what it prints."""

    def running(*args):
        capsys.readouterr()
        call_command("redlock", "--", *args)
        return capsys.readouterr().out

    return running


def test_it_has_every_verb_of_celerys_and_its_own():
    assert set(redlock.commands) == {*celerys.commands, "load", "dump", "compare-django-celery-beat"}


def test_verbs_work_in_a_process_as_users_start_it(schedule, valkey, tmp_path, capsys):
    added = manage(valkey.url(), tmp_path, "redlock", "add", "a", "reminders.tasks.report", "--every", "1m")
    assert "Traceback" not in added.stderr

    def main(*args, code=0):
        """What ``manage.py`` does with its arguments, here."""
        capsys.readouterr()
        with pytest.raises(SystemExit) as exited:
            Command().run_from_argv(["manage.py", "redlock", *args])
        assert exited.value.code == code
        return capsys.readouterr()

    assert (
        json.loads(main("--settings=tests.django_settings", "show", "a", "--json").out)["timezone"] == "Europe/Berlin"
    )
    assert "there is no entry named 'b'" in main("show", "b", code=1).err
    assert "Django:" in main("--help").out


def test_djangos_own_options_are_not_for_the_verbs():
    given = ["--settings", "x.y", "list", "--pythonpath=z", "--settings=x.y", "-n", "3"]
    assert _without_djangos(given) == ["list", "-n", "3"]


def test_load_and_load_again(schedule, run):
    assert run("load", "--dry-run").splitlines() == ["+ count open orders", "+ count paid orders", "Would be: 2 added."]
    assert run("load").endswith("2 added.\n")
    assert json.loads(run("load", "--json")) == {
        "dry_run": False,
        "added": 0,
        "changed": 0,
        "unchanged": 2,
        "kept": 0,
        "left_out": {},
    }
    assert schedule["count open orders"].labels == {"team": "orders"}
    schedule.update("count paid orders", args=("open",))
    out = run("load", "reminders")
    assert out.splitlines() == [
        "= count paid orders",
        '    args: ["open"] kept, the default is ["paid"]',
        "1 kept as they are.",
    ]
    assert '    args: ["open"] -> ["paid"]' in run("load", "reminders", "--overwrite")


def test_dump_is_a_fixture(schedule, run, tmp_path):
    schedule.add("a", "t", 60, labels={"team": "orders"})
    schedule.add("b", "t", "0 7 * * *")
    file = tmp_path / "schedule.json"
    run("dump", "--label", "team=orders", str(file))
    assert [row["pk"] for row in json.loads(file.read_text())] == ["a"]
    rows = json.loads(run("dump", "--format", "django-celery-beat"))
    assert [row["model"].rpartition(".")[2] for row in rows] == [
        "intervalschedule",
        "crontabschedule",
        "periodictask",
        "periodictask",
    ]


def test_an_error_of_a_verb_is_a_command_error(schedule, run, monkeypatch):
    for args, code, words in (
        (("show", "b"), 1, "exit code 1"),
        (("list", "--nonsense"), 2, "No such option"),
        (("load", "nowhere"), 1, "exit code 1"),
    ):
        with pytest.raises(CommandError, match=words) as caught:
            run(*args)
        assert caught.value.returncode == code
    schedule.add("a", "t", 60)
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    with pytest.raises(CommandError, match="ended by an answer"):
        run("remove", "a")


def test_what_cannot_be_dumped_is_named(schedule, run):
    schedule.add("c", "t", "*/10 * * * * *")
    with pytest.raises(CommandError):
        run("dump", "--format", "django-celery-beat")


def test_the_comparison_says_what_differs(schedule, capsys, monkeypatch, beats, app, configured):
    """Rows as two readings of the tables find them, and Ctrl-C; a database that is away for one of them ends nothing."""
    now = schedule.now()

    def row(name, seconds, count):
        last = (now + timedelta(seconds=seconds)).isoformat()
        return {"name": name, "task": "t", "interval": 1, "last_run_at": last, "total_run_count": count}

    readings = [
        [row("poll", -70, 1), row("sync", -70, 1), row("still", 0, 1), {"name": "odd"}],
        None,
        [row("poll", -9, 2), row("sync", -40, 2), row("still", 0, 1), {"name": "odd"}],
    ]

    def entries(database, app, now):
        if not readings:
            raise KeyboardInterrupt
        rows = readings.pop(0)
        if rows is None:
            raise InvalidSchedule("the database is away.")
        return django_rows(rows, {"intervalschedule": {"1": {"every": 60, "period": "seconds"}}}, app, now)

    monkeypatch.setattr("redlock_beat.django.tables.entries", entries)
    schedule.add("poll", "t", 60)
    configured(**LASTING)
    beats(app).lead()
    with pytest.raises(CommandError, match="exit code 1"):
        call_command("redlock", "--", "compare-django-celery-beat", "--for", "1h", "--every", "50ms")
    told = capsys.readouterr()
    assert told.out.splitlines()[:3] == [
        "Following 3 entries for 1 h. Nothing is sent from here.",
        "~ sync",
        f"    sent there: 1, the last at {Clock('Europe/Berlin').time(now - timedelta(seconds=40))}",
    ]
    assert "    slots here: 0\n2 sends of 2 entries in " in told.out
    assert "s: 1 differs.\nThe latest was sent there 1 s after its slot (poll).\n1 entry had no slot" in told.out
    assert "left out: odd: it has no schedule" in told.err
    assert "1 of these entries are in its schedule, such as poll: each is sent twice" in told.err
    assert "the next one has its sends, too: the database is away." in told.err
