"""Pausing until a time from the command line, and what it shows of it."""

from __future__ import annotations

import json

from tests.schemas import fits


def test_pausing_until_a_time(cli):
    cli.schedule.add("m", "t", 3600)
    out = cli("pause", "m", "--until", "in 9 h", "--note", "migration")
    assert "m is paused until 20" in out
    assert "it is next sent 20" in out
    shown = cli("show", "m")
    assert "state" in shown
    assert "paused by " in shown
    assert ": migration" in shown
    listed = cli("list")
    assert "paused for 9 h more: migration" in listed
    assert "paused until 20" in cli("list", "--wide")
    entry = json.loads(cli("show", "m", "--json"))
    fits(entry, "entry")
    assert entry["state"] == "paused"
    assert entry["paused_until"]
    assert json.loads(cli("list", "--paused", "--json"))["name"] == "m"
    assert "paused_until: - -> 20" in cli("log", "m")
    cli("resume", "m")
    assert json.loads(cli("show", "m", "--json"))["state"] == "active"


def test_a_time_that_has_gone_by_is_wrong_usage(cli):
    cli.schedule.add("m", "t", 3600)
    assert "has gone by" in cli("pause", "m", "--until", "2020-01-01", code=2)
    assert not cli.schedule["m"].paused


def test_an_entry_without_a_slot_after_the_pause_says_so(cli):
    cli("add", "once", "t", "--at", "in 2 h")
    assert "it has no slot after that" in cli("pause", "once", "--until", "in 3 h")
