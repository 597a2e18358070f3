"""The command line, driven as Celery drives it."""

from __future__ import annotations

import json
import signal
import time
from datetime import UTC, datetime, timedelta
from inspect import signature
from types import SimpleNamespace

import pytest
from celery.schedules import crontab
from click.testing import CliRunner

from redlock_beat import InvalidSchedule, Schedule, register_schedule
from redlock_beat.cli import redlock
from redlock_beat.recurrence.custom import _registry
from redlock_beat.store.keys import Keys
from tests.acceptance.test_command_line import fits
from tests.beats import make_app, messages

K = Keys("redlock-beat")


def runner() -> CliRunner:
    """What is said on stderr apart from the rest: click before 8.2 mixes them unless it is told not to."""
    apart = {"mix_stderr": False} if "mix_stderr" in signature(CliRunner.__init__).parameters else {}
    return CliRunner(**apart)


@pytest.fixture
def cli(valkey):
    app = make_app(valkey.url())

    def call(*args: str, code: int = 0, answer: str | None = None) -> str:
        got = runner().invoke(redlock, args, obj=SimpleNamespace(app=app), input=answer)
        assert got.exit_code == code, got.output
        call.err = got.stderr
        return got.stdout if not code else got.stdout + got.stderr

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
    assert cli("next", "nightly", "-n", "3").splitlines()[2].endswith("2 h")
    assert len(json.loads(cli("next", "nightly", "-n", "3", "--json"))) == 3
    assert "resumed" in cli("resume", "paused")
    assert "no entry named 'none'" in cli("show", "none", code=1)


def test_an_entry_is_copied_and_renamed(cli):
    cli.schedule.add("mail", "tasks.mail", 3600, ("a",))
    before = cli.schedule["mail"]
    assert "mail-late is a copy of mail; next" in cli("copy", "mail", "mail-late")
    assert cli.schedule["mail-late"].args == ("a",)
    assert "mail is mail-hourly now; next" in cli("rename", "mail", "mail-hourly")
    after = cli.schedule["mail-hourly"]
    assert (after.uid, after.next_due) == (before.uid, before.next_due)
    assert "no entry named 'mail'" in cli("rename", "mail", "other", code=1)
    for verb in ("copy", "rename"):
        assert "exists already" in cli(verb, "mail-hourly", "mail-late", code=1)
        assert "--replace" not in cli(verb, "mail-hourly", "mail-late", code=1)


class Elsewhere:
    """A schedule class that the beats know, and this command line does not, or that raises."""

    def next_slot(self, after):
        return after + timedelta(seconds=600)


@pytest.fixture(params=["not registered", "raises"])
def elsewhere(request, cli, monkeypatch):
    """A schedule with one entry whose slots cannot be computed here; why not."""
    register_schedule("elsewhere", Elsewhere, dump=lambda one: {})
    cli.schedule.add("a", "t", 600)
    cli.schedule.add("m", "t", Elsewhere())
    cli.schedule.add("z", "t", 600)
    if request.param == "raises":
        monkeypatch.setattr(Elsewhere, "next_slot", lambda self, after: 1 / 0)
        yield "ZeroDivisionError"
        _registry.pop("elsewhere")
    else:
        _registry.pop("elsewhere")
        yield "not registered here"


def test_an_entry_whose_slots_cannot_be_computed_here_is_shown_as_such_and_the_others_as_ever(cli, elsewhere):
    schedule = cli.schedule
    slots = schedule.preview(n=20)
    assert [slot.name for slot in slots if slot.why] == ["m"]
    assert elsewhere in slots[-1].why
    assert [slot.name for slot in slots if not slot.why].count("a") >= 9
    assert [slot.name for slot in slots if not slot.why].count("m") == 1  # its pending one is known
    begin = slots[0].nominal
    rows = schedule.simulate(outage=(begin - timedelta(seconds=1), begin + timedelta(hours=1)))
    assert {row.name for row in rows if row.what == "sent"} == {"a", "z"}
    assert [(row.name, elsewhere in row.why) for row in rows if row.what == "unknown"] == [("m", True)]
    cli("next")
    assert elsewhere in cli.err
    found = json.loads(cli("next", "--json"))
    assert {one["name"] for one in found if one["nominal"]} == {"a", "m", "z"}
    assert [one["name"] for one in found if one["nominal"] is None and elsewhere in one["why"]] == ["m"]
    fits(found, "slots")
    assert "in the next hour" in cli("next", "--timeline", "hour")
    assert elsewhere in cli.err
    outage = ("--outage", "2090-01-01T00:30", "2090-01-01T03:30:00")
    assert "unknown" in cli("next", *outage)
    fits(json.loads(cli("next", *outage, "--json")), "outage")
    for verb in (("list",), ("show", "m"), ("status",), ("export",)):
        assert "a" in cli(*verb, code=1 if verb == ("status",) else 0)
    for verb in (("next", "m"), ("next", "m", *outage), ("backfill", "m", "2026-01-01T00:00", "2026-01-01T01:00")):
        assert elsewhere in cli(*verb, code=1)  # asked about it alone: one line, and an exit code


def test_an_edit_of_an_entry_whose_slots_cannot_be_computed_here_ends_with_one_line(cli, elsewhere):
    cli("pause", "m")
    before = cli.schedule["m"]
    assert elsewhere in cli("edit", "m", "--set", 'timezone="Europe/Berlin"', code=1)
    assert cli.schedule["m"] == before
    with pytest.raises(InvalidSchedule, match=elsewhere):
        cli.schedule.update("m", timezone="Europe/Berlin")
    cli("edit", "m", "--set", 'when={"kind": "interval", "every": 600}')
    cli("resume", "m")


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
    for wrong in ("nothing=1", "args.9=1", "args.x=1", "task.x=1", "kwargs.no.x=1", "kwargs", "when=soon", "args.7.1=1",
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
    assert [row["how"] for row in found].count("backfill") == 6  # a full minute may come, too
    assert json.loads(cli("history", "--since", "2090-01-01T00:00", "--json")) == []


def test_health_and_doctor(cli, valkey, beats, monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
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
    assert "cut off" in cli("import", "-", "--yes", code=1, answer='{"redlock_beat": "export", "version": 1}\n')
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


# --- what people see ------------------------------------------------------------------------------------


def test_the_list_is_in_order_and_says_how_many_there_are(cli):
    with cli.schedule.batch() as batch:
        for i in reversed(range(120)):
            batch.add(f"e{i:03d}", "a.b", 60 + i)
        batch.add("first", "c", 1)
    lines = cli("list").splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == [f"e{i:03d}" for i in range(100)]
    assert lines[-1] == "100 of 121; more with --page 2 or -n 121."
    lines = cli("list", "--page", "2").splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == [*(f"e{i:03d}" for i in range(100, 120)), "first"]
    assert lines[-1] == "101 to 121 of 121."
    assert cli("list", "--page", "9").splitlines()[-1] == "none of 121."
    assert cli("list", "--sort", "next").splitlines()[1].startswith("first")
    assert [json.loads(line)["name"] for line in cli("list", "--task", "a.*", "--sort", "next", "-n", "2", "--json")
            .splitlines()] == ["e000", "e001"]  # fmt: skip
    assert cli("list", "--prefix", "e11", "-n", "3").splitlines()[-1] == "3 of 10; more with --page 2 or -n 10."
    assert "more" not in cli("list", "--task", "c")


def test_the_list_says_what_was_edited_since_it_was_configured(cli, valkey, beats):
    when = {"task": "tasks.add", "schedule": 3600.0}
    configured = {"same": {**when, "args": (1, (2, 3)), "kwargs": {"b": 1, "a": 2}}, "other": when, "halted": when}
    beats(valkey, configured).lead()
    cli.schedule.add("own", "tasks.add", 60)
    cli.schedule.update("other", args=(1,))
    cli.schedule.pause("halted", "for a while")
    ends = {line.split()[0]: line.split("  ")[-1].strip() for line in cli("list").splitlines()}
    assert ends == {"NAME": "ORIGIN", "same": "config", "other": "config, edited", "halted": "config", "own": "api"}
    assert "config, edited" in cli("show", "other")


def test_a_narrow_terminal_keeps_the_name_and_the_next_time(cli, monkeypatch):
    cli.schedule.add("a-name-of-some-length", "billing.invoices.monthly", crontab(hour=7), timezone="Asia/Tokyo")
    for columns in ("80", "60"):
        monkeypatch.setenv("COLUMNS", columns)
        head, line = cli("list").splitlines()
        assert "a-name-of-some-length" in line
        assert "in " in line
        assert len(head) <= int(columns)
    wide = cli("list", "--wide", "--tz", "Asia/Tokyo").splitlines()[1]
    assert "billing.invoices.monthly" in wide
    assert "07:00:00 JST" in wide or ":00 JST" in wide


def test_times_say_their_zone_and_are_read_in_the_one_asked_for(cli):
    cli.schedule.app.conf.timezone = "Europe/Berlin"
    cli.schedule.add("shot", "tasks.add", datetime(2090, 1, 1, 5, tzinfo=UTC))
    assert "2090-01-01 06:00:00 CET" in cli("next", "shot")
    assert "2090-01-01 14:00:00 JST" in cli("show", "shot", "--tz", "Asia/Tokyo")
    cli("add", "b", "tasks.add", "--at", "2090-01-01 06:00")
    cli("add", "c", "tasks.add", "--at", "2090-01-01T14:00", "--tz", "Asia/Tokyo")
    assert cli.schedule["b"].next_due == cli.schedule["c"].next_due == cli.schedule["shot"].next_due
    before = datetime.now(UTC)
    assert "CET" in cli("add", "soon", "tasks.add", "--at", "in 5 min")
    assert timedelta(minutes=4) < cli.schedule["soon"].next_due - before < timedelta(minutes=6)
    assert "is not a time" in cli("history", "--since", "some day", code=2)
    assert "NAME" in cli("history", "--since", "1h")
    assert "--tz" in cli("list", "--tz", "Mars/Base", code=2)
    assert "is after END" in cli("backfill", "b", "now", "1h ago", code=2)


def test_history_of_a_name_that_never_was_is_an_error(cli):
    assert "there is no entry named 'typo'" in cli("history", "typo", code=1)
    cli.schedule.add("a", "tasks.add", 60)
    assert cli("history", "a", "--json") == "[]\n"


def test_a_task_that_the_app_does_not_know_is_warned_of(cli):
    cli("add", "a", "tasks.ad", "--every", "1h")
    assert "Did you mean 'tasks.add'?" in cli.err
    assert "a" in cli.schedule
    assert "Did you mean" in cli("add", "b", "add", "--every", "1h", "--strict", code=2)
    assert "unexpected keyword" in cli(
        "add", "b", "tasks.add", "--every", "1h", "--kwargs", '{"q": 1}', "--strict", code=2
    )
    assert "b" not in cli.schedule
    cli("add", "b", "tasks.add", "--every", "1h", "--args", "[1]")
    assert "Warning" not in cli.err
    cli("edit", "b", "--args", "[1, 2, 3]")
    assert "the arguments do not fit" in cli.err


def test_it_is_said_when_nobody_leads(cli, valkey, beats):
    cli("add", "a", "tasks.add", "--every", "1h")
    assert "Nobody leads at present" in cli.err
    cli("run", "a")
    assert "Nobody leads at present" in cli.err
    beats(valkey).lead()
    cli("run", "a")
    assert cli.err == ""


def test_an_edit_takes_what_add_takes(cli):
    cli.schedule.add("a", "tasks.add", 60, args=(1,), options={"queue": "q"})
    cli("edit", "a", "--cron", "0 8 * * *", "--tz", "Europe/Berlin", "--grace", "10m", "--priority", "3", "--kwargs",
        '{"y": 2}', "--ends", "2090-01-01T00:00", "--expires", "5m")  # fmt: skip
    entry = cli.schedule["a"]
    assert (str(entry.schedule), entry.timezone, entry.grace, entry.kwargs) == (
        "0 8 * * *", "Europe/Berlin", 600, {"y": 2},
    )  # fmt: skip
    assert entry.options == {"queue": "q", "priority": 3, "expires": 300}
    assert entry.ends == int(datetime(2089, 12, 31, 23, tzinfo=UTC).timestamp() * 1e6)
    assert "Nothing was changed" in cli("edit", "a", "--cron", "0 8 * * *", "--grace", "600s", "--expires", "5m")
    assert cli.schedule["a"].revision == 2
    for wrong in (
        ["--every", "1h", "--cron", "* * * * *"], ["--cron", "0 8"], ["--every", "1h", "--set", "when.every=2h"],
        ["--grace", "soon"], ["--starts", "2091-01-01T00:00"],
    ):  # fmt: skip
        assert "Error: " in cli("edit", "a", *wrong, code=2)
    assert cli.schedule["a"].revision == 2


def test_an_edit_of_one_part_may_make_it_another_kind_of_schedule(cli):
    cli.schedule.add("a", "tasks.add", 60)
    cli("edit", "a", "--set", "when.cron=0 8 * * *", "--set", "grace=10m")
    assert (str(cli.schedule["a"].schedule), cli.schedule["a"].grace) == ("0 8 * * *", 600)
    cli("edit", "a", "--set", "when.every=2m")
    assert str(cli.schedule["a"].schedule) == "every 2 min"
    for wrong in (["when.cron=0 8 * * *", "when.every=2m"], ["when.crom=0 8 * * *"], ["when.every=soon"]):
        assert "Error: " in cli("edit", "a", *(word for one in wrong for word in ("--set", one)), code=2)
    assert cli.schedule["a"].revision == 3


def test_errors_speak_of_options_and_not_of_python(cli):
    cli.schedule.add("a", "tasks.add", 60)
    out = cli("add", "a", "tasks.add", "--every", "1h", code=1)
    assert "--replace" in out
    assert "replace=True" not in out
    assert "would never be sent" in cli("add", "b", "tasks.add", "--at", "2001-01-01T00:00", code=2)


def test_a_wrong_setting_is_one_line_and_exit_code_2(valkey):
    for app in (make_app(valkey.url(), redlock_beat_lease_ttl="x"), make_app("amqp://"), make_app("sentinel://x")):
        got = CliRunner().invoke(redlock, ["list"], obj=SimpleNamespace(app=app))
        assert got.exit_code == 2
        assert got.output.startswith("Error: ")
        assert "Traceback" not in got.output


def test_every_help_text_fits_and_its_examples_can_be_copied():
    from redlock_beat.cli.verbs import Verbs

    def helped(*args: str) -> list[str]:
        return CliRunner().invoke(redlock, [*args, "--help"], terminal_width=80).output.splitlines()

    assert {name for names in Verbs.sections.values() for name in names} == set(redlock.commands)
    summary = "\n".join(helped())
    assert "..." not in summary.replace("[ARGS]...", "")
    for name, command in redlock.commands.items():
        assert " ".join(command.get_short_help_str(200).split()) in " ".join(summary.split())
        examples = [line.strip() for line in command.help.splitlines() if line.strip().startswith(("celery", "python"))]
        assert examples, name
        lines = [line.strip() for line in helped(name)]
        assert set(examples) <= set(lines)
    assert "redlock_beat 0." in CliRunner().invoke(redlock, ["--version"]).output


def test_colours_are_left_out_where_they_are_not_wanted(cli, monkeypatch):
    cli.schedule.add("a", "tasks.add", 60)
    app = cli.schedule.app

    def colours(*args: str, no_color: bool = False) -> bool:
        obj = SimpleNamespace(app=app, no_color=no_color)
        return "\x1b[" in CliRunner().invoke(redlock, args, obj=obj, color=True).output

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert colours("list")
    assert not colours("--no-color", "list")
    assert not colours("list", no_color=True)  # celery --no-color -A proj redlock list
    monkeypatch.setenv("NO_COLOR", "1")
    assert not colours("list")


def test_a_verb_waits_as_long_as_it_is_told(own_server):
    server = own_server("valkey")
    app = make_app(server.url())
    server.process.send_signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        got = CliRunner().invoke(redlock, ["list", "--timeout", "0.3s"], obj=SimpleNamespace(app=app))
        assert time.monotonic() - began < 3
    finally:
        server.process.send_signal(signal.SIGCONT)
    assert got.exit_code == 1
    assert "did not answer for 0.3 s" in got.output


def test_an_import_needs_no_temporary_directory(cli, tmp_path, monkeypatch):
    cli.schedule.add("a", "tasks.add", 60)
    file = tmp_path / "out.jsonl"
    cli("export", str(file))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    cli("import", str(file), "--yes")


def test_values_that_json_has_no_type_for_are_shown_and_survive_an_edit(cli, valkey):
    from decimal import Decimal
    from uuid import UUID

    at = datetime(2027, 1, 1, 7, tzinfo=UTC)
    args = (at, UUID(int=7), Decimal("1.50"), b"\xff")
    cli.schedule.add("a", "t", 60, args=args, kwargs={"at": at}, options={"expires": at})
    assert "a" in cli("list")
    for verb in ("list", "show"):
        (shown,) = [json.loads(cli(verb, *(("a",) if verb == "show" else ()), "--json"))]
        assert shown["options"]["expires"] == {"__type__": "datetime", "__value__": at.isoformat()}
    assert at.isoformat() in cli("show", "a")
    cli("edit", "a", "--set", "note=x", "--set", "args.1=5", "--json")
    entry = cli.schedule["a"]
    assert (entry.note, entry.kwargs, entry.options) == ("x", {"at": at}, {"expires": at})
    assert entry.args == (at, 5, *args[2:])
    assert "true or false" in cli("edit", "a", "--set", "enabled=no", code=2)
    assert "consists of every" in cli("edit", "a", "--set", "when.crom=0 8 * * *", code=2)
    cli("edit", "a", "--args", json.dumps(json.loads(cli("show", "a", "--json"))["args"][:1]), "--note", "y")
    assert (cli.schedule["a"].args, cli.schedule["a"].note) == ((at,), "y")
    assert "__type__" in cli("edit", "a", "--args", '[{"__type__": "datetime", "__value__": "soon"}]', code=2)
    cli("edit", "a", "--set", "when=0 8 * * 1-5", "--set", "grace=10m")
    assert (str(cli.schedule["a"].schedule), cli.schedule["a"].grace) == ("0 8 * * 1-5", 600.0)


def test_what_waits_to_be_sent_by_hand_is_listed_and_cancelled(cli):
    cli.schedule.add("a", "t", crontab())
    cli.schedule.add("b", "t", 60)
    cli("backfill", "a", "2026-01-01T00:00", "2026-01-01T01:59", "--yes", "--rate", "1")
    cli("run", "b")
    out = cli("backfill", "--list")
    assert [line.split()[:3] for line in sorted(out.splitlines()[1:])] == [
        ["a", "backfill", "120"], ["b", "trigger", "1"],
    ]  # fmt: skip
    fits(json.loads(cli("backfill", "--list", "--json")), "waiting")
    assert [one["entry"] for one in json.loads(cli("backfill", "b", "--list", "--json"))] == ["b"]
    assert "121 wait" in cli("status", code=1)  # nobody leads
    assert "120 slots and triggers of a wait" in cli("backfill", "--cancel", "a", "--dry-run")
    cli("backfill", "--cancel", "a", code=1, answer="n\n")
    assert "120 slots and triggers of a are cancelled" in cli("backfill", "--cancel", "a", answer="y\n")
    assert cli.schedule.status().waiting == 1
    assert "0 slots" in cli("backfill", "a", "--cancel")
    cli("backfill", "--cancel", code=2)
    cli("backfill", "a", code=2)
