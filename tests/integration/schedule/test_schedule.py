"""The schedule beside a beat that sends it."""

from __future__ import annotations

import multiprocessing
import random
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

import redlock_beat
from redlock_beat import (
    InvalidSchedule,
    NoSuchEntry,
    Schedule,
    StaleRevision,
)
from redlock_beat.store.keys import Keys
from tests.beats import before_commit, occurrences

K = Keys("redlock-beat")


@pytest.fixture
def schedule(server):
    return Schedule.from_url(server.url())


@pytest.fixture
def sched(valkey):
    return Schedule.from_url(valkey.url())


def in_processes(function, arguments: list[tuple]) -> list:
    """Run a function in processes of their own, one for each set of arguments; one that dies is an error."""
    with ProcessPoolExecutor(len(arguments), multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(function, *zip(*arguments, strict=True)))


def test_a_one_shot_is_gone_with_the_commit_that_sends_it_or_kept(server, beats):
    beat = beats(server).lead()
    schedule = Schedule(beat.app)
    now = datetime.now(UTC)
    schedule.add("gone", "t", now + timedelta(seconds=0.3))
    schedule.add("kept", "t", now + timedelta(seconds=0.3), keep=True)
    with pytest.raises(InvalidSchedule, match="has no slot after now"):
        schedule.add("late", "t", now - timedelta(days=3))
    schedule.add("now", "t", now - timedelta(days=3), run_now=True)
    client = server.client()
    beat.until(lambda: client.llen("celery") == 3)
    assert "gone" not in schedule
    assert "now" not in schedule
    assert schedule["kept"].next_due is None
    assert client.hlen(K.state) == client.hlen(K.entries)


def test_an_edit_wakes_a_sleeping_leader(server, beats):
    conf = {"redlock_beat_lease_ttl": 120.0, "redlock_beat_render_limit": 120.0}
    beat = beats(server, **conf).lead()
    beat.start()  # it would sleep for 40 seconds now
    schedule = Schedule(beat.app)
    client = server.client()
    for i in range(5):
        schedule.add(f"a{i}", "t", 3600, run_now=True)
        from tests.servers import eventually

        eventually(lambda i=i: client.llen("celery") > i, "the leader felt the edit")


def test_where_pubsub_is_denied_an_edit_is_felt_at_the_next_renewal(valkey, beats):
    client = valkey.client()
    client.execute_command("ACL", "SETUSER", "quiet", "on", "nopass", "+@all", "~*", "resetchannels")
    try:
        beat = beats(valkey.url(user="quiet:x"), redlock_beat_lease_ttl=1.0).lead()
        assert not beat.parts.listener.confirmed
        Schedule(beat.app).add("a", "t", 3600, run_now=True)
        beat.until(lambda: client.llen("celery"))
    finally:
        client.execute_command("ACL", "DELUSER", "quiet")


def test_a_delete_wins_over_a_tick_in_flight(server, beats, way):
    beat = beats(server).lead()
    schedule = Schedule(beat.app)
    schedule.add("a", "t", 3600, run_now=True)
    before_commit(beat, lambda: schedule.remove("a") if "a" in schedule else None)
    beat.tick(2)
    client = server.client()
    assert client.llen("celery") == 0
    assert [client.exists(key) for key in (K.due, K.entries, K.state)] == [0, 0, 0]
    assert client.zscore(K.due, "a") is None


def _edit(url: str, seed: int) -> int:
    schedule = redlock_beat.Schedule.from_url(url)
    rng = random.Random(seed)
    stale = 0
    for _ in range(40):
        name = f"e{rng.randrange(5)}"
        entry = schedule[name]
        try:
            schedule.update(name, args=(entry.args[0] + 1,), revision=entry.revision)
        except StaleRevision:
            stale += 1
    return stale


def test_concurrent_edits_lose_none_without_saying_so(server, beats):
    beat = beats(server).lead()
    beat.start()
    schedule = Schedule(beat.app)
    for i in range(5):
        schedule.add(f"e{i}", "t", 0.2, (0,))
    stale = in_processes(_edit, [(server.url(), seed) for seed in range(4)])
    assert sum(one.args[0] for one in schedule) == 160 - sum(stale)
    assert sum(one.revision for one in schedule) == 5 + 160 - sum(stale)
    assert max(occurrences(server.client()).values()) == 1


def test_a_schedule_is_a_context_and_forgets_an_entry_by_del(valkey):
    with Schedule.from_url(valkey.url(), timezone="Europe/Berlin") as sched:
        assert sched.add("a", "t", "0 7 * * *").timezone == "Europe/Berlin"
        assert sched.add("b", "t", 60, timezone="UTC").timezone == "UTC"
        del sched["a"]
        assert "a" not in sched
        with pytest.raises(NoSuchEntry):
            del sched["a"]
    with pytest.raises(InvalidSchedule, match="time zone"):
        Schedule.from_url(valkey.url(), timezone="Mars/Base")


def test_a_schedule_that_never_reached_its_cluster_is_closed_without_asking_it():
    Schedule.from_url("redis+cluster://127.0.0.1:1").close()
