"""The verbs that show the schedule."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from celery.schedules import crontab

from redlock_beat import InvalidSchedule
from tests.schemas import fits


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


def test_an_outage_is_simulated_without_sending_anything(cli, valkey):
    cli.schedule.add("hourly", "t", crontab(minute=0), timezone="UTC")
    cli.schedule.add("all", "t", crontab(minute=0), timezone="UTC", missed="all")
    cli.schedule.add("once", "t", datetime(2090, 1, 1, 5, tzinfo=UTC))
    cli.schedule.pause("once")
    start, end = datetime(2090, 1, 1, 0, 30, tzinfo=UTC), datetime(2090, 1, 1, 3, 30, tzinfo=UTC)
    rows = cli.schedule.simulate(outage=(start, end), name="hourly")
    found = [(row.what, row.count, row.nominal.hour, row.at.hour) for row in rows]
    assert found == [("missed", 2, 1, 3), ("sent", 1, 3, 3), ("sent", 1, 4, 4)]
    assert len(cli.schedule.simulate(outage=(start, end))) == 3 + 4
    assert cli.schedule.simulate(outage=(start - timedelta(days=36500), start - timedelta(days=36499))) == []
    out = cli("next", "hourly", "--outage", "2090-01-01T00:30", "2090-01-01T03:30:00")
    assert "missed 2" in out
    assert json.loads(cli("next", "--outage", "2090-01-01T00:30", "2090-01-01T03:30", "--json"))
    with pytest.raises(InvalidSchedule):
        cli.schedule.simulate(outage=(end, start))
    assert valkey.client().llen("celery") == 0


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
    lines = cli("list", "--task", "a.*", "--sort", "next", "-n", "2", "--json").splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["e000", "e001"]
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


def test_history_of_a_name_that_never_was_is_an_error(cli):
    assert "there is no entry named 'typo'" in cli("history", "typo", code=1)
    cli.schedule.add("a", "tasks.add", 60)
    assert cli("history", "a", "--json") == "[]\n"
