"""Skipping from the command line, and what it shows of it."""

from __future__ import annotations

import json

from tests.schemas import fits


def test_skip_is_said_shown_listed_and_taken_back(cli):
    cli.schedule.add("m", "t", 3600)
    out = cli("skip", "m", "-n", "2", "--why", "audit")
    assert "m: 2 slots from 20" in out
    assert "are skipped; it is next sent 20" in out
    assert "skips 2" in cli("list")
    assert "are skipped, skip by " in cli("show", "m")
    entry = json.loads(cli("show", "m", "--json"))
    fits(entry, "entry")
    assert entry["skip"]["why"] == "audit"
    lines = cli("next", "m", "-n", "3").splitlines()
    assert [line.endswith("skipped") for line in lines] == [False, True, True, False]
    slots = json.loads(cli("next", "m", "--json"))
    fits(slots, "slots")
    assert [slot["skipped"] for slot in slots][:3] == [True, True, False]
    rows = json.loads(cli("next", "m", "--outage", "in 1 min", "in 4 h", "--json"))
    fits(rows, "outage")
    assert rows[0]["what"] == "skipped"
    assert "skipped (2)" in cli("log", "m")
    assert "no slot is skipped; it is next sent" in cli("skip", "m", "-n", "0")
    assert "skips" not in cli("list")


def test_one_that_is_then_finished_and_one_that_cannot_be(cli):
    cli("add", "once", "t", "--at", "in 2 h")
    assert "is skipped; there is none after that" in cli("skip", "once")
    assert "skips 1, then finished" in cli("list")
    cli.schedule.add("m", "t", 3600)
    cli("pause", "m")
    assert "is paused" in cli("skip", "m", code=2)
    cli("skip", "m", "-n", "1001", code=2)
