"""The verbs that change the schedule, in this process; tests/acceptance runs them as a user does."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from shlex import split as words

import pytest
from celery.schedules import crontab

from redlock_beat import InvalidSchedule
from tests.schemas import fits


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


def test_an_edit_of_an_entry_whose_slots_cannot_be_computed_here_ends_with_one_line(cli, elsewhere):
    cli("pause", "m")
    before = cli.schedule["m"]
    assert elsewhere in cli("edit", "m", "--set", 'timezone="Europe/Berlin"', code=1)
    assert cli.schedule["m"] == before
    with pytest.raises(InvalidSchedule, match=elsewhere):
        cli.schedule.update("m", timezone="Europe/Berlin")
    cli("edit", "m", "--set", 'when={"kind": "interval", "every": 600}')
    cli("resume", "m")


def test_removing_asks_first(cli):
    cli.schedule.add("a", "t", 60)
    cli("remove", "a", code=1, answer="n\n")
    assert "a" in cli.schedule
    cli("remove", "a", "--yes")
    assert "a" not in cli.schedule


def test_adding_by_every_kind_of_schedule(cli):
    options = words("--queue q --priority 3 --jitter 5s --expires 1m --note n --keep")
    cli("add", "i", "t", "--every", "1h30m", "--args", "[1]", "--kwargs", '{"a": 1}', *options)
    entry = cli.schedule["i"]
    assert entry.options == {"queue": "q", "priority": 3, "expires": 60.0}
    assert (entry.jitter, entry.note, entry.keep) == (5.0, "n", True)
    cli("add", "c", "t", "--cron", "0 7 * * 1-5", "--tz", "Europe/Berlin", "--missed", "skip", "--grace", "10m")
    cli("add", "c6", "t", "--cron", "*/10 * * * * *")
    assert "*/10 * * * * *" in cli("show", "c6")
    cli("add", "o", "t", "--at", "2090-01-01T07:00+01:00", "--paused")
    cli("add", "s", "t", "--solar", "sunset,52.5,13.4")
    bounds = words("--starts 2090-01-01T00:00 --ends 2091-01-01T00:00 --max-runs 3")
    cli("add", "r", "t", "--rrule", "FREQ=DAILY;INTERVAL=2", *bounds)
    assert json.loads(cli("add", "i", "t", "--every", "2d", "--replace", "--run-now", "--json"))["revision"] == 2
    assert {entry.name for entry in cli.schedule} == {"i", "c", "c6", "o", "s", "r"}
    wrong = """--every soon|--at soon|--args {} --every 1|--args x --every 1||--every 1s --cron '* * * * *'|--solar noon|
        --solar noon,1,2|--cron '0 7'"""
    for options in wrong.split("|"):
        assert "Error: " in cli("add", "wrong", "t", *words(options), code=2)
    assert "wrong" not in cli.schedule


def test_editing(cli, monkeypatch, tmp_path):
    cli.schedule.add("a", "t", 60, args=(1, [2]), kwargs={"to": {"x": 1}}, starts=datetime(2026, 1, 1, tzinfo=UTC))
    changes = "kwargs.to.x=2 args.1.0=3 args.2=new grace=5 when.every=2m starts=2026-02-01T00:00+00:00"
    cli("edit", "a", *(word for change in changes.split() for word in ("--set", change)))
    entry = cli.schedule["a"]
    assert (entry.kwargs, entry.args, entry.grace) == ({"to": {"x": 2}}, (1, [3], "new"), 5.0)
    assert (str(entry.schedule), entry.revision) == ("every 2 min", 2)
    impossible = "nothing=1 args.9=1 args.x=1 task.x=1 kwargs.no.x=1 kwargs when=soon args.7.1=1 when.kind=magic"
    for wrong in (*impossible.split(), "starts=soon", "missed=perhaps"):
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
    assert "a: 6 slots are on the way" in cli("backfill", "a", *window, answer="y\n")
    beat.until(lambda: len([row for row in cli.schedule.history("a") if row.source == "backfill"]) == 6)
    found = json.loads(cli("history", "a", "--json"))
    assert [row["source"] for row in found].count("backfill") == 6  # a full minute may come, too
    assert json.loads(cli("history", "--since", "2090-01-01T00:00", "--json")) == []


def test_an_edit_takes_what_add_takes(cli):
    cli.schedule.add("a", "tasks.add", 60, args=(1,), options={"queue": "q"})
    options = words("--tz Europe/Berlin --grace 10m --priority 3 --ends 2090-01-01T00:00 --expires 5m")
    cli("edit", "a", "--cron", "0 8 * * *", "--kwargs", '{"y": 2}', *options)
    entry = cli.schedule["a"]
    assert (str(entry.schedule), entry.timezone) == ("0 8 * * *", "Europe/Berlin")
    assert (entry.grace, entry.kwargs) == (600, {"y": 2})
    assert entry.options == {"queue": "q", "priority": 3, "expires": 300}
    assert entry.ends == int(datetime(2089, 12, 31, 23, tzinfo=UTC).timestamp() * 1e6)
    assert "Nothing was changed" in cli("edit", "a", "--cron", "0 8 * * *", "--grace", "600s", "--expires", "5m")
    assert cli.schedule["a"].revision == 2
    wrongs = "--every 1h --cron '* * * * *'|--cron '0 8'|--every 1h --set when.every=2h|--grace soon"
    for wrong in (*map(words, wrongs.split("|")), ["--starts", "2091-01-01T00:00"]):
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


def test_what_waits_to_be_sent_manual_is_listed_and_cancelled(cli):
    cli.schedule.add("a", "t", crontab())
    cli.schedule.add("b", "t", 60)
    cli("backfill", "a", "2026-01-01T00:00", "2026-01-01T01:59", "--yes", "--rate", "1")
    cli("run", "b")
    out = cli("backfill", "--list")
    assert [" ".join(line.split()[:3]) for line in sorted(out.splitlines()[1:])] == ["a backfill 120", "b trigger 1"]
    fits(json.loads(cli("backfill", "--list", "--json")), "waiting")
    assert [one["entry"] for one in json.loads(cli("backfill", "b", "--list", "--json"))] == ["b"]
    assert "121 items wait" in cli("status", code=1)  # nobody leads
    assert "triggers of a that wait to be sent: 120." in cli("backfill", "--cancel", "a", "--dry-run")
    cli("backfill", "--cancel", "a", code=1, answer="n\n")
    assert "triggers of a that are cancelled: 120." in cli("backfill", "--cancel", "a", answer="y\n")
    assert cli.schedule.status().waiting == 1
    assert "to be sent: 0." in cli("backfill", "a", "--cancel")
    cli("backfill", "--cancel", code=2)
    cli("backfill", "a", code=2)


def test_days_are_given_shown_changed_and_taken_away(cli):
    days = "Sat,sun,2026-12-24..2027-01-06, 05-01"
    said = json.loads(
        cli("add", "a", "tasks.add", "--cron", "0 7 * * *", "--exclude", days, "--shift", "next", "--json")
    )
    assert said["exclude"] == ["sat", "sun", "2026-12-24..2027-01-06", "05-01"]
    assert (said["only"], said["shift"]) == ([], "next")
    shown = cli("show", "a")
    assert "sat, sun, 2026-12-24..2027-01-06, 05-01" in shown
    assert ["shift", "next"] in [line.split() for line in shown.splitlines()]
    assert "Nothing was changed" in cli("edit", "a", "--exclude", days)
    cli("edit", "a", "--only", "mon", "--set", 'exclude=["12-25"]')
    assert (cli.schedule["a"].exclude, cli.schedule["a"].only) == (("12-25",), ("mon",))
    cli("edit", "a", "--exclude", "", "--set", "only=null")
    assert (cli.schedule["a"].exclude, cli.schedule["a"].only) == ((), ())
    assert "shift" not in cli("show", "a")
    assert "takes a date or 2026-12-24" in cli("edit", "a", "--exclude", "24.12.", code=2)
    assert "is not known to this process" in cli("edit", "a", "--exclude", "holidays_de", code=1)


def test_labels_are_given_joined_taken_away_and_chosen_by(cli, tmp_path):
    said = json.loads(
        cli("add", "a", "tasks.add", "--every", "1h", "--label", "team=billing", "--label", "tenant=42", "--json")
    )
    assert said["labels"] == {"team": "billing", "tenant": "42"}
    cli("add", "b", "tasks.add", "--every", "1h", "--label", "team=ops")
    cli("edit", "a", "--label", "tenant=", "--label", "place=here")
    assert cli.schedule["a"].labels == {"team": "billing", "place": "here"}
    cli("edit", "a", "--set", "labels.place=null", "--set", "labels.of=x=y")
    assert cli.schedule["a"].labels == {"team": "billing", "of": "x=y"}
    assert "Nothing was changed" in cli("edit", "a", "--label", "team=billing")
    assert "of=x=y team=billing" in cli("show", "a")

    def listed(*options: str) -> list[str]:
        return [json.loads(line)["name"] for line in cli("list", "--json", *options).splitlines()]

    assert listed("--label", "team=billing") == ["a"]
    assert listed("--label", "team", "--sort", "name") == ["a", "b"]
    assert listed("--label", "team=o*", "--label", "of") == []
    assert "team=ops" in cli("list", "--wide")
    assert {row["name"] for row in json.loads(cli("next", "--label", "team=ops", "--json"))} == {"b"}
    assert sum(one["count"] for one in json.loads(cli("next", "--timeline", "hour", "--label", "of", "--json"))) == 1
    assert json.loads(cli("next", "--outage", "in 1m", "in 2h", "--label", "team=ops", "--json"))[0]["name"] == "b"
    assert json.loads(cli("history", "--label", "team=ops", "--json")) == []
    cli("export", str(tmp_path / "x"), "--label", "team=ops")
    assert len((tmp_path / "x").read_text().splitlines()) == 3
    wrong = "list --label 1=x|next a --label team|history -f --label 1=x|add c t --every 1h --label team"
    for args in map(words, wrong.split("|")):
        cli(*args, code=2)


def test_policies_of_runs_are_given_shown_and_edited(cli):
    said = json.loads(
        cli(
            "add",
            "a",
            "tasks.add",
            "--every",
            "1h",
            "--overlap",
            "buffer_all",
            "--queue-limit",
            "10m",
            "--buffer-limit",
            "5",
            "--pause-on-failure",
            "3",
            "--json",
        )
    )
    assert (said["overlap"], said["queue_limit"], said["buffer_limit"]) == ("buffer_all", 600.0, 5)
    assert said["pause_on_failure"] == 3
    assert ["overlap", "buffer_all"] in [line.split() for line in cli("show", "a").splitlines()]
    cli("edit", "a", "--overlap", "cancel_previous", "--terminate", "--set", "pause_on_failure=null")
    entry = cli.schedule["a"]
    assert (entry.overlap, entry.terminate, entry.pause_on_failure) == ("cancel_previous", True, None)
    assert "must be one of" in cli("edit", "a", "--set", "overlap=never", code=2)
    assert "from 0.1 to a year" in cli("edit", "a", "--set", "queue_limit=0", code=2)
    assert "at most 1000" in cli("edit", "a", "--set", "buffer_limit=1001", code=2)
