"""The verbs for a maintenance window, and what the other verbs say during one."""

from __future__ import annotations

import json

import pytest

from redlock_beat.schedule.describing import current_user
from redlock_beat.schedule.hold import Holds
from redlock_beat.store.keys import Keys
from tests.beats import LASTING
from tests.schemas import fits

K = Keys("redlock-beat")


def test_hold_and_release(cli):
    assert "Nothing is held, so nothing was changed." in cli("release")
    assert cli("hold") == f"Everything is held by {current_user()} until it is released.\n"
    held = json.loads(cli("hold", "--until", "in 2h", "--note", "new\ndatabase", "--json", "--why", "ticket 7"))
    fits(held, "hold")
    assert (held["note"], held["confirmed"]) == ("new\ndatabase", True)
    assert f"takes the place of the hold by {current_user()} until it is released" in cli.err
    fits(json.loads(cli("release", "--json")), "hold")
    assert cli("release", "--json") == "null\n"
    rows = json.loads(cli("log", "--json"))
    fits(rows, "log")
    assert [(row["what"], row["why"]) for row in rows] == [("released", None), ("held", "ticket 7"), ("held", None)]
    shown = cli("log")
    assert f"everything released by {current_user()}" in shown
    assert "until: - -> " in shown


def test_times_are_in_the_zone_that_is_asked_for(cli):
    said = cli("hold", "--until", "2099-07-01T07:00", "--tz", "Europe/Berlin", "--note", "new database")
    assert "until 2099-07-01 07:00:00 CEST: new database" in said
    assert "until 2099-07-01 05:00:00 UTC: new database" in cli("status", code=1)
    assert "until 2099-07-01 14:00:00 JST" in cli("release", "--tz", "Asia/Tokyo")


@pytest.mark.parametrize(
    ("args", "words"),
    [(("--until", "1h ago"), "is past"), (("--note", "x" * 1001), "at most 1000"), (("--why", ""), "why")],
)
def test_wrong_usage_holds_nothing(cli, args, words):
    assert words in cli("hold", *args, code=2)
    assert cli.schedule.held() is None


def test_the_other_verbs_say_that_all_is_held(cli, valkey, beats):
    beat = beats(valkey, **LASTING).lead()
    cli.schedule.add("a", "tasks.add", 3600)
    assert "held" not in cli("status") + cli("list") + cli("next")
    beat.start()
    cli("hold", "--note", "new \x1b[31mdatabase")
    words = f"held by {current_user()} until it is released: new "
    for line in cli("list").splitlines()[0], cli("next").splitlines()[0], cli("next", "--timeline", "hour"):
        assert f"Everything is {words}" in line
    status = next(line for line in cli("status").splitlines() if line.startswith("held"))
    assert status.startswith("held        by ")
    assert "\x1b" not in status
    fits(json.loads(cli("status", "--json")), "status")
    assert words in cli("health", code=1)
    assert "celery redlock release" in cli("health", code=1)
    assert "held" in cli("doctor", code=0)
    fits(json.loads(cli("next", "--json")), "slots")
    fits(json.loads(cli("list", "--json")), "entry")
    cli("run", "a")
    assert "Everything is held at present" in cli.err
    cli("release")
    cli("run", "a")
    assert cli.err == ""


def test_a_leader_that_goes_on_and_does_not_confirm_is_said(cli, valkey, monkeypatch):
    """One of an older release, say: it renews its lease, and knows of no hold."""
    client, holding = valkey.client(), Holds.holding

    def impatient(*args):
        hold, patience = yield from holding(*args)
        assert patience > 10  # as long as the lease may last
        return hold, 0.3

    monkeypatch.setattr(Holds, "holding", impatient)
    client.set(K.lease, "older 7 seen web-1:42", px=60_000)
    assert "has not confirmed it" in cli("hold", code=1)
    assert cli.schedule.held().confirmed is False
    assert "(the leader has not confirmed it)" in cli("status")
