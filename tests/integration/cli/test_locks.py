"""The verbs for the locks of unique tasks."""

from __future__ import annotations

import json

from redlock_beat.store import locks
from redlock_beat.store.locks import Who
from tests.schemas import fits


def hold(schedule, id_: str, task: str = "tasks.mail", key: str = '{"to":7}', runs: bool = False) -> None:
    """A call takes its lock, and perhaps runs."""
    who = Who(f"digest of {id_}", id_, task, key)
    ask = schedule.round_trip
    options = {"cools": False, "takes": True, "replaces": False, "sending_ms": 60_000, "remember_ms": 60_000}
    ask(locks.take(schedule.keys, who, id_, **options))
    if runs:
        ask(locks.start(schedule.keys, who, "run", ends_here=False, looks=False, ttl_ms=60_000, worker="w"))
    else:
        ask(locks.sent(schedule.keys, [(who, 60_000)]))


def test_locks_are_listed_for_people_and_for_programs(cli):
    hold(cli.schedule, "first")
    hold(cli.schedule, "second", "tasks.other", runs=True)
    out = cli("locks")
    assert "first" in out
    assert '{"to":7}' in out
    assert "running" in out
    lines = [json.loads(line) for line in cli("locks", "--json").splitlines()]
    for line in lines:
        fits(line, "lock")
    assert {(line["holder"], line["phase"], line["worker"]) for line in lines} == {
        ("first", "waiting", None),
        ("second", "running", "w"),
    }
    assert [json.loads(line)["holder"] for line in cli("locks", "--json", "--task", "*.other").splitlines()] == [
        "second"
    ]
    assert "The first 1; more with -n." in cli("locks", "-n", "1")


def test_what_does_not_read_as_a_lock_is_not_shown_and_stops_nothing(cli, valkey):
    for i, text in enumerate(("rubbish", "[]", '{"id": 7}')):
        valkey.client().hset(cli.schedule.keys.locks, f"d{i}", text)
    hold(cli.schedule, "first")
    assert len(cli("locks", "--json").splitlines()) == 1


def test_a_lock_is_freed_by_the_id_that_holds_it(cli):
    hold(cli.schedule, "first")
    hold(cli.schedule, "second", runs=True)
    assert "1 lock would be freed" in cli("unlock", "second", "--dry-run")
    out = json.loads(cli("unlock", "second", "nobody", "--json", code=1))
    fits(out, "freed")
    assert out == {"freed": ["second"], "unknown": ["nobody"]}
    assert "second holds no lock" in cli("unlock", "second", code=1) + cli.err
    assert [one.holder for one in cli.schedule.locks()] == ["first"]
    cli("unlock", code=2)


def test_freeing_all_of_a_task_asks_first_and_leaves_the_others(cli):
    for i in range(3):
        hold(cli.schedule, f"mail {i}")
    hold(cli.schedule, "other", "tasks.other")
    cli("unlock", "--task", "tasks.mail", answer="n\n", code=1)
    assert len(list(cli.schedule.locks())) == 4
    assert "3 locks are free." in cli("unlock", "--task", "tasks.mail", answer="y\n")
    assert [one.holder for one in cli.schedule.locks()] == ["other"]


def test_a_lock_that_has_passed_to_another_is_not_freed(cli):
    hold(cli.schedule, "first")
    (seen,) = cli.schedule.locks()
    assert cli.schedule.unlock(seen)
    who = Who(seen.digest, "second", seen.task)
    options = {"cools": False, "takes": True, "replaces": False, "sending_ms": 60_000, "remember_ms": 60_000}
    cli.schedule.round_trip(locks.take(cli.schedule.keys, who, "second", **options))
    assert not cli.schedule.unlock(seen)
    assert [one.holder for one in cli.schedule.locks()] == ["second"]
