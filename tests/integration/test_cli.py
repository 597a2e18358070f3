"""The command line, driven as Celery drives it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from celery.schedules import crontab
from click.testing import CliRunner

from redlock_beat import InvalidSchedule, Schedule
from redlock_beat.cli import redlock
from redlock_beat.keys import Keys
from tests.beats import make_app, messages

K = Keys("redlock-beat")


@pytest.fixture
def cli(valkey):
    app = make_app(valkey.url())

    def call(*args: str, code: int = 0, answer: str | None = None) -> str:
        got = CliRunner().invoke(redlock, args, obj=SimpleNamespace(app=app), input=answer)
        assert got.exit_code == code, got.output
        call.err = got.stderr
        return got.stdout if not code else got.output

    call.schedule = Schedule(app)
    return call


def test_looking_at_the_schedule(cli, valkey):
    cli.schedule.add("nightly", "tasks.report", 3600, ("a",))
    cli.schedule.add("paused", "t", 60)
    cli.schedule.add("x" * 200, "t", 200_000)
    cli("pause", "paused", "--note", "why")
    out = cli("list")
    assert "tasks.report" in out
    assert "paused: why" in out
    assert "…" in out
    assert max(map(len, out.splitlines())) <= 120
    assert {json.loads(line)["name"] for line in cli("list", "--json").splitlines()} == {"nightly", "paused", "x" * 200}
    assert "every 1 h" in cli("show", "nightly")
    assert json.loads(cli("show", "nightly", "--json"))["args"] == ["a"]
    assert "in " in cli("next", "nightly", "-n", "3")
    assert len(json.loads(cli("next", "nightly", "-n", "3", "--json"))) == 3
    assert "resumed" in cli("resume", "paused")
    assert "no entry named 'none'" in cli("show", "none", code=1)


def test_an_outage_is_simulated_without_sending_anything(cli, valkey):
    cli.schedule.add("hourly", "t", crontab(minute=0), timezone="UTC")
    cli.schedule.add("all", "t", crontab(minute=0), timezone="UTC", missed="all")
    cli.schedule.add("once", "t", datetime(2090, 1, 1, 5, tzinfo=UTC))
    cli.schedule.pause("once")
    start, end = datetime(2090, 1, 1, 0, 30, tzinfo=UTC), datetime(2090, 1, 1, 3, 30, tzinfo=UTC)
    rows = cli.schedule.simulate(outage=(start, end), name="hourly")
    assert [(row.what, row.count, row.nominal.hour, row.at.hour) for row in rows] == [
        ("missed", 2, 1, 3), ("sent", 1, 3, 3), ("sent", 1, 4, 4),
    ]  # fmt: skip
    assert len(cli.schedule.simulate(outage=(start, end))) == 3 + 4
    assert cli.schedule.simulate(outage=(start - timedelta(days=36500), start - timedelta(days=36499))) == []
    out = cli("next", "hourly", "--outage", "2090-01-01T00:30", "2090-01-01T03:30:00")
    assert "missed 2" in out
    assert json.loads(cli("next", "--outage", "2090-01-01T00:30", "2090-01-01T03:30", "--json"))
    with pytest.raises(InvalidSchedule):
        cli.schedule.simulate(outage=(end, start))
    assert valkey.client().llen("celery") == 0


def test_removing_asks_first(cli):
    cli.schedule.add("a", "t", 60)
    cli("remove", "a", code=1, answer="n\n")
    assert "a" in cli.schedule
    cli("remove", "a", "--yes")
    assert "a" not in cli.schedule


def test_status_says_who_leads_and_what_is_wrong(cli, valkey, beats):
    assert "NOBODY" in cli("status", code=1)
    cli.schedule.add("bad", "t", 0.1)
    client = valkey.client()
    client.hset(K.entries, "bad", "rubbish")
    client.hset(K.beats, "other", "rubbish")
    beat = beats(valkey).lead()
    beat.until(lambda: client.hexists(K.quarantine, "bad"))
    out = cli("status")
    assert "term 1" in out
    assert "commit" in out
    assert "bad: the definition of 'bad'" in out
    assert "in quarantine: bad" in cli("list")
    data = json.loads(cli("status", "--json"))
    assert data["leader"].endswith(str(data["replicas"][0]["pid"]))


def test_status_says_why_messages_are_rendered_one_by_one(cli, valkey, beats):
    beat = beats(valkey, task_compression="gzip").lead()
    cli.schedule.add("a", "tasks.add", 3600, run_now=True)
    beat.until(lambda: messages(valkey.client()))
    beat.until(lambda: "one by one  1 of 1 sent were rendered so, which is slower" in cli("status"))
    assert "1: its body is compressed, or no text" in cli("status")
    rendered = json.loads(cli("status", "--json"))["replicas"][0]["rendered"]
    assert list(rendered.values()) == [1]


def test_running_and_history(cli, valkey, beats):
    beat = beats(valkey).lead()
    cli.schedule.add("a", "t", 3600)
    id_ = cli("run", "a").strip()
    client = valkey.client()
    beat.until(lambda: messages(client))
    assert id_[:20] in cli("history", "a")
    assert json.loads(cli("history", "--json"))[0]["task_id"] == id_
    assert "trigger" in cli("history")


# --- every verb in this process (tests/acceptance runs them as a user does) -----------------------------


def test_adding_by_every_kind_of_schedule(cli):
    cli("add", "i", "t", "--every", "1h30m", "--args", "[1]", "--kwargs", '{"a": 1}', "--queue", "q", "--priority", "3",
        "--jitter", "5s", "--expires", "1m", "--note", "n", "--keep")  # fmt: skip
    entry = cli.schedule["i"]
    assert (entry.options, entry.jitter, entry.note, entry.keep) == (
        {"queue": "q", "priority": 3, "expires": 60.0}, 5.0, "n", True,
    )  # fmt: skip
    cli("add", "c", "t", "--cron", "0 7 * * 1-5", "--tz", "Europe/Berlin", "--missed", "skip", "--grace", "10m")
    cli("add", "o", "t", "--at", "2090-01-01T07:00+01:00", "--paused")
    cli("add", "s", "t", "--solar", "sunset,52.5,13.4")
    cli("add", "r", "t", "--rrule", "FREQ=DAILY;INTERVAL=2", "--starts", "2090-01-01T00:00", "--ends",
        "2091-01-01T00:00", "--max-runs", "3")  # fmt: skip
    assert json.loads(cli("add", "i", "t", "--every", "2d", "--replace", "--run-now", "--json"))["revision"] == 2
    assert {entry.name for entry in cli.schedule} == {"i", "c", "o", "s", "r"}
    for args, code in (
        (["--every", "soon"], 2), (["--at", "soon"], 2), (["--args", "{}", "--every", "1"], 2),
        (["--args", "x", "--every", "1"], 2), ([], 2), (["--every", "1s", "--cron", "* * * * *"], 2),
        (["--solar", "noon"], 2), (["--solar", "noon,1,2"], 2), (["--cron", "0 7"], 2),
    ):  # fmt: skip
        assert "Error: " in cli("add", "wrong", "t", *args, code=code)
    assert "wrong" not in cli.schedule


def test_listing_some_of_them(cli):
    with cli.schedule.batch() as batch:
        for i in range(120):
            batch.add(f"e{i}", "a.b" if i % 2 else "c", 60)
    out = cli("list")
    assert len(out.splitlines()) == 102
    assert "100 of 120; more with --page 2 or -n 120." in out
    assert len(cli("list", "-n", "200").splitlines()) == 121
    assert len(cli("list", "--task", "a.*", "--json").splitlines()) == 60
    assert len(cli("list", "--prefix", "e11", "--json", "-n", "3").splitlines()) == 3
    assert cli("list", "--paused", "--json") == ""
    assert cli("list", "--origin", "config", "--json") == ""
    assert len(json.loads(cli("next", "--timeline", "hour", "--json"))) == 60
    day = cli("next", "e1", "--timeline", "day")
    assert "1440 in the next day" in day
    cli.schedule.pause("e1")
    assert "0 in the next hour" in cli("next", "e1", "--timeline", "hour")


def test_editing(cli, monkeypatch, tmp_path):
    cli.schedule.add("a", "t", 60, args=(1, [2]), kwargs={"to": {"x": 1}}, starts=datetime(2026, 1, 1, tzinfo=UTC))
    cli("edit", "a", "--set", "kwargs.to.x=2", "--set", "args.1.0=3", "--set", "args.2=new", "--set", "grace=5",
        "--set", "when.every=2m", "--set", "starts=2026-02-01T00:00+00:00")  # fmt: skip
    entry = cli.schedule["a"]
    assert (entry.kwargs, entry.args, entry.grace) == ({"to": {"x": 2}}, (1, [3], "new"), 5.0)
    assert (str(entry.schedule), entry.revision) == ("every 2 min", 2)
    for wrong in ("nothing=1", "args.9=1", "args.x=1", "task.x=1", "kwargs.no.x=1", "kwargs", "when=5", "args.7.1=1",
                  "when.kind=magic", "starts=soon", "missed=perhaps"):  # fmt: skip
        assert "Error: " in cli("edit", "a", "--set", wrong, code=2), wrong
    assert "Nothing was changed" in cli("edit", "a", "--set", "grace=5.0")
    assert json.loads(cli("edit", "a", "--set", "note=hello", "--json"))["note"] == "hello"
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i \'s/"hello"/"bye"/\' "$1"\n')
    editor.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(editor))
    assert "at revision 4" in cli("edit", "a")
    assert cli.schedule["a"].note == "bye"
    editor.write_text('#!/bin/sh\necho "{}" > "$1"\n')
    assert "is missing" in cli("edit", "a", code=2)
    chain = cli.schedule.app.signature("tasks.add", (1,)) | cli.schedule.app.signature("tasks.add", (2,))
    cli.schedule.add("chain", chain, 60)
    cli("edit", "chain", "--set", "canvas.kwargs.tasks.0.args.0=7")
    assert cli.schedule["chain"].canvas["kwargs"]["tasks"][0]["args"] == [7]


def test_sending_again(cli, valkey, beats):
    beat = beats(valkey).lead()
    cli.schedule.add("a", "tasks.add", 60, starts=datetime(2026, 1, 1, tzinfo=UTC))
    window = ("2026-02-01T00:00+00:00", "2026-02-01T00:05+00:00")
    assert "6 slots" in cli("backfill", "a", *window, "--dry-run")
    cli("backfill", "a", *window, code=1, answer="n\n")
    assert "6 slots of a are on their way" in cli("backfill", "a", *window, answer="y\n")
    beat.until(lambda: len([row for row in cli.schedule.history("a") if row.how == "backfill"]) == 6)
    found = json.loads(cli("history", "a", "--json"))
    assert {row["how"] for row in found} == {"backfill"}
    assert json.loads(cli("history", "--since", "2090-01-01T00:00", "--json")) == []


def test_health_and_doctor(cli, valkey, beats, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert "nobody leads" in cli("health", code=1)
    assert "no beat of this user" in cli("health", "--this", code=1)
    assert "nobody leads" in cli("doctor", code=1)
    beats(valkey).lead()
    assert json.loads(cli("health", "--json"))["ok"]
    assert json.loads(cli("health", "--this", "--json"))["ok"]
    assert {row["level"] for row in json.loads(cli("doctor", "--json"))} <= {"ok", "warning", "unknown"}
    assert "The smallest rule" not in cli("doctor")


def test_the_doctor_sees_that_a_worker_took_our_name_for_its_state_file(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "--scheduler redlock" not in cli("doctor", code=1)
    (tmp_path / "redlock.dat").write_text("")
    assert "Write --scheduler redlock" in cli("doctor", code=1)


def test_moving(cli, valkey, tmp_path):
    cli.schedule.add("a", "t", 60)
    cli.schedule.add("b", "t", 60)
    file = str(tmp_path / "out.jsonl")
    cli("export", file)
    assert cli("export").count("\n") == 4
    cli.schedule.remove("a")
    cli.schedule.update("b", args=(1,))
    out = cli("import", file, "--dry-run")
    assert out.endswith("Would be: 1 added, 1 changed.\n")
    assert "args: [1] -> []" in out
    cli("import", file, code=1, answer="n\n")
    assert "1 added, 1 changed." in cli("import", file, answer="y\n")
    assert json.loads(cli("import", file, "--json"))["unchanged"] == 2
    assert "half a file" in cli("import", "-", "--yes", code=1, answer='{"redlock_beat": "export", "version": 1}\n')
    assert "there is no schedule of a RedBeat" in cli("import-redbeat", "--yes", code=1)
    client = valkey.client()
    definition = {"name": "their", "task": "t", "args": [], "kwargs": {}, "options": {}, "enabled": True,
                  "schedule": {"__type__": "interval", "every": 60.0, "relative": False}}  # fmt: skip
    client.hset("redbeat:their", "definition", json.dumps(definition))
    client.zadd("redbeat::schedule", {"redbeat:their": 5, "redbeat:gone": 5})
    assert "left out: gone" in cli("import-redbeat", "--dry-run", code=1)
    assert "1 added" in cli("import-redbeat", code=1, answer="y\n")
    assert "their" in cli.schedule
    assert "1 already here" in cli("import-redbeat", "--yes", "--url", valkey.url(), "--key-prefix", "redbeat:", code=1)
    fixture = tmp_path / "dump.json"
    fixture.write_text("[]")
    assert "nothing." in cli("import-django-celery-beat", str(fixture), "--yes")


def test_names_complete(cli):
    from redlock_beat.cli.verbs import _names

    cli.schedule.add("nightly", "t", 60)
    context = SimpleNamespace(find_root=lambda: SimpleNamespace(params={"app": cli.schedule.app}))
    assert _names(context, None, "nig") == ["nightly"]
    assert _names(SimpleNamespace(find_root=dict), None, "") == []  # it never raises
