"""To hold everything, and to release it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from redlock_beat import AsyncSchedule, InvalidSchedule, Schedule
from redlock_beat.clock import micros
from redlock_beat.schedule.hold import Holds
from redlock_beat.store.keys import Keys
from tests.beats import LASTING, Beat, make_app, messages, schedule
from tests.servers import Server, eventually

K = Keys("redlock-beat")
LATER = datetime.max.replace(tzinfo=UTC)


@pytest.fixture
def held(server: Server):
    with schedule(server, actor="ann@web-1") as one:
        yield one


def test_a_hold_stands_until_it_is_released(held):
    assert held.held() is None
    made = held.hold(note="new database")
    assert (made.until, made.actor, made.note, made.confirmed) == (None, "ann@web-1", "new database", True)
    assert abs((made.since - held.now()).total_seconds()) < 5
    assert held.held() == made == held.status().hold
    assert held.release(actor="bob") == made
    assert held.held() is None
    assert held.release() is None, "nothing is held"


def test_it_ends_by_itself_at_redis_s_time(held, server):
    ends = held.now() + timedelta(hours=1)
    assert held.hold(until=ends).until == ends == held.held().until
    ends = held.now() + timedelta(seconds=0.15)  # nobody waits for an hour
    server.client().hset(K.hold, "until", micros(ends))
    eventually(lambda: held.held() is None, "its time comes")
    assert held.now() >= ends
    assert held.release() is None
    assert held.status().hold is None


def test_a_second_hold_takes_the_place_of_the_first(held):
    first = held.hold(until=LATER, note="new database")
    second = held.hold(note="it takes longer", actor="bob", why="ticket 7")
    assert held.held() == second
    assert (second.until, second.note, second.actor) == (None, "it takes longer", "bob")
    assert first.id != second.id
    held.release()
    rows = held.log(n=3)
    assert [(row.what, row.entry, row.actor, row.why) for row in rows] == [
        ("released", "", "ann@web-1", None),
        ("held", "", "bob", "ticket 7"),
        ("held", "", "ann@web-1", "new database"),
    ]
    until = LATER.isoformat()
    assert rows[1].changes == (("until", until, None), ("note", "new database", "it takes longer"))
    assert rows[2].changes == (("until", None, until), ("note", None, "new database"))


def test_what_changes_nothing_is_not_in_the_edit_log(held):
    held.release()
    with pytest.raises(InvalidSchedule, match="past: Redis's time is"):
        held.hold(until=held.now() - timedelta(seconds=1))
    assert held.held() is None
    assert held.log() == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"note": "x" * 1001}, "at most 1000"),
        ({"note": 7}, "must be a text"),
        ({"note": chr(0xD800)}, "must be a text"),
        ({"until": datetime(2099, 1, 1)}, "aware"),
        ({"until": 60}, "aware datetime"),
        ({"actor": ""}, "actor"),
    ],
)
def test_what_cannot_be_held_is_refused(valkey, given, words):
    with schedule(valkey) as one, pytest.raises(InvalidSchedule, match=words):
        one.hold(**given)
    assert valkey.client().exists(K.hold) == 0


def test_the_same_awaited(valkey):
    async def use() -> None:
        async with AsyncSchedule.from_url(valkey.url()) as one:
            made = await one.hold(until=LATER)
            assert await one.held() == made
            assert await one.release() == made

    asyncio.run(use())


def test_whoever_holds_waits_for_the_leader(valkey):
    beat = Beat(make_app(valkey.url(), **LASTING)).lead()
    with Schedule(beat.app) as one:
        held = one.ask(one.operations.holding(None, None, None, None))[0]
        assert not held.confirmed
        beat.tick()
        assert one.held().confirmed
        beat.start()
        assert one.hold().confirmed
        one.add("a", "tasks.add", 3600, run_now=True)
        one.release()
        eventually(lambda: messages(valkey.client()), "what waited is sent")
    beat.close()


def test_a_leader_that_does_not_answer_is_waited_for_as_long_as_its_lease_may_last(valkey, monkeypatch):
    beat, client, confirmed, asked = (
        Beat(make_app(valkey.url(), **LASTING)).lead(),
        valkey.client(),
        Holds.confirmed,
        [],
    )

    def ends_soon(*args):
        if not asked:
            client.pexpire(K.lease, 500)
        asked.append(client.get(K.lease))
        return confirmed(*args)

    monkeypatch.setattr(Holds, "confirmed", ends_soon)
    with Schedule(beat.app) as one:
        assert one.hold().confirmed, "its lease is over, and nobody leads"
    assert asked
    assert client.get(K.lease) is None
    beat.close()


def test_rubbish_holds_until_somebody_releases_it(valkey):
    client = valkey.client()
    with schedule(valkey) as one:
        for rubbish in ({"until": "soon"}, {"until": "9" * 30, "at": "?"}, {"until": "", "seen": "x"}):
            client.hset(K.hold, mapping=rubbish)
            assert one.held().actor == "?"
            assert one.held().until is None
            assert one.release() is not None
