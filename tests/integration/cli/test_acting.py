"""Verbs about all entries that fit: they say how many, ask, and say how many it were."""

from __future__ import annotations

import json

import pytest

from redlock_beat.store.keys import Keys
from tests.schemas import fits

K = Keys("redlock-beat")


@pytest.fixture
def filled(cli):
    cli.schedule.add("b1", "billing.send", 3600, labels={"team": "billing"})
    cli.schedule.add("b2", "billing.close", 3600, labels={"team": "billing"}, options={"queue": "slow"})
    cli.schedule.add("m", "mail.send", 3600)
    return cli


def test_it_says_how_many_and_asks(filled):
    out = filled("pause", "--label", "team=billing", "--note", "audit", answer="y\n")
    assert "Pause 2 entries (label team=billing)? [y/N]" in out
    assert "2 entries are paused." in out
    assert filled.schedule["b1"].note == "audit"
    filled("resume", "--task", "billing.*", code=1, answer="n\n")
    assert filled.schedule["b1"].paused
    assert "2 entries are resumed." in filled("resume", "--task", "billing.*", "--yes")


def test_each_verb(filled, valkey):
    assert "2 entries are paused until 20" in filled("pause", "--prefix", "b", "--until", "in 2 h", "--yes")
    assert "2 entries are resumed" in filled("resume", "--state", "paused", "--yes", "--why", "done")
    assert "2 entries are to skip the next slot" in filled("skip", "--prefix", "b", "--yes")
    assert "1 entry is to skip the next 3 slots" in filled("skip", "--task", "mail.*", "-n", "3", "-y")
    assert "3 entries are to skip no slot" in filled("skip", "--state", "active", "-n", "0", "-y")
    assert "2 entries are on the way" in filled("run", "--prefix", "b", "--kwargs", '{"x": 1}', "--yes")
    assert {json.loads(one)["call"]["kwargs"]["x"] for one in valkey.client().zrange(K.manual, 0, -1)} == {1}
    assert "2 entries are removed" in filled("remove", "--prefix", "b", "--yes")
    assert len(filled.schedule) == 1


def test_what_fits_nothing_is_not_found(filled):
    for yes in ((), ("--yes",)):
        assert "No active entry fits (prefix x); nothing was changed." in filled("pause", "--prefix", "x", *yes, code=1)
        assert "No paused entry fits" in filled("resume", "--prefix", "b", *yes, code=1)
        assert "No entry fits (state finished)" in filled("remove", "--state", "finished", *yes, code=1)


def test_one_of_the_two_ways_to_choose(filled):
    for verb in ("pause", "resume", "skip", "run", "remove"):
        assert "give a NAME, or choose" in filled(verb, code=2)
        assert "use one" in filled(verb, "m", "--prefix", "b", code=2)
    assert "one NAME" in filled("run", "--prefix", "b", "--queue", "slow", code=2)


@pytest.mark.parametrize("option", [("--task", ""), ("--prefix", ""), ("--label", "team=")])
def test_what_a_variable_of_the_shell_left_empty_chooses_nothing(filled, option):
    assert option[0] in filled("remove", *option, "--state", "active", "--yes", code=2)
    assert len(filled.schedule) == 3


def test_each_verb_tells_programs_what_it_did(filled):
    def told(*line: str, as_what: str, **more) -> dict:
        found = json.loads(filled(*line, "--json", **more).splitlines()[0])
        fits(found, as_what)
        return found

    assert told("pause", "m", as_what="entry")["state"] == "paused"
    assert told("resume", "m", as_what="entry")["state"] == "active"
    assert told("skip", "m", "-n", "2", as_what="entry")["skip"]["count"] == 2
    assert told("copy", "m", "n", as_what="entry")["name"] == "n"
    assert told("rename", "n", "o", as_what="entry")["name"] == "o"
    told("run", "m", as_what="sent_once")
    assert told("remove", "o", "--yes", as_what="count") == {"count": 1}
    for verb in ("pause", "resume", "skip", "run", "remove"):
        assert told(verb, "--prefix", "b", "--yes", as_what="count") == {"count": 2}
    assert told("remove", "--prefix", "b", "--yes", as_what="count", code=1) == {"count": 0}


def test_list_chooses_by_the_same(filled):
    filled.schedule.pause("b1")

    def listed(*options: str) -> list[str]:
        return [json.loads(line)["name"] for line in filled("list", "--json", *options).splitlines()]

    assert listed("--queue", "sl*") == ["b2"]
    assert listed("--state", "paused") == ["b1"]
    assert listed("--contains", "M") == ["m"]
    assert "b1" in filled("list", "--contains", "b")
    assert "m " not in filled("list", "--contains", "b").replace("mail", "")


def test_the_log_says_of_many_how_many(filled):
    with filled.schedule.batch() as batch:
        for i in range(1100):
            batch.add(f"x{i}", "x.send", 3600)
    assert "1100 entries are paused." in filled("pause", "--task", "x.*", "--yes")
    assert "many entries paused (" in filled("log", "-n", "3")
