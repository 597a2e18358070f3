"""Redis comes back with less than it had: older, or empty. What was lost is noticed, mended where it can be, and said."""

from __future__ import annotations

import json
import signal
import time

import pytest
import redis

from redlock_beat import Schedule, hooks
from redlock_beat.__main__ import main
from redlock_beat.store.keys import Keys
from tests.beats import messages

K = Keys("redlock-beat")


HOUR = {"task": "tasks.add", "schedule": 3600.0}


@pytest.fixture
def kept(own_server):
    """A server that keeps what it had when it was last told to, and no more."""
    return own_server("valkey", "--dbfilename", "kept.rdb")


def losses(events) -> list[hooks.DataLost]:
    return [event for event in events if isinstance(event, hooks.DataLost)]


def falls_back(server) -> None:
    """The server is killed, and comes back with what it has kept."""
    server.stop(signal.SIGKILL)
    server.start()


def test_a_redis_that_came_back_empty_is_a_loss_and_said_loudly(own_server, beats, told, caplog, capsys):
    server = own_server()
    client = server.client()
    beat = beats(server, {"conf": HOUR}).lead()
    schedule = Schedule.from_url(server.url())
    for name in "abc":
        schedule.add(name, "tasks.add", 3600)
    beat.until(lambda: beat.parts.dispatcher.reader.entries == 4, "it has seen all")
    server.stop(signal.SIGKILL)
    server.start()
    beat.until(lambda: client.get(K.loss), "the loss is noticed")
    beat.lead()
    assert "Nothing is lost" not in caplog.text
    (loss,) = losses(told)
    assert (loss.entries_before, loss.entries_now, loss.epoch_now) == (4, 0, 0)
    assert [record for record in caplog.records if record.levelname == "CRITICAL" and "4 before" in record.message]
    assert 0 < client.ttl(K.loss) <= 3600
    assert "has lost data" in schedule.health().why
    assert "has lost data" in schedule.status().loss
    assert main(["health", "--url", server.url()]) == 1
    assert "has lost data" in capsys.readouterr().out
    assert "has lost data" in schedule.acknowledge()
    assert schedule.health().ok


def test_a_loss_is_noticed_by_a_standby_when_a_beat_that_knew_nothing_leads_since(valkey, beats, told):
    client = valkey.client()
    beats(valkey, {"a": HOUR}).lead().close()
    leader, standby = beats(valkey, {"a": HOUR}).lead(), beats(valkey, {"a": HOUR}).tick()
    leader.crash()
    client.flushall()
    beats(valkey, {"a": HOUR}, redlock_beat_lease_ttl=60.0, redlock_beat_render_limit=60.0).lead()
    assert not losses(told)
    standby.until(lambda: losses(told), "the loss is noticed")
    assert standby.term is None
    standby.until(lambda: client.get(K.loss), "it is noted")


def test_a_redis_that_came_back_older_in_mid_term_is_a_loss(kept, beats, told):
    client = kept.client()
    beat = beats(kept, {"a": HOUR}).lead()
    client.save()
    saved = beat.parts.store.now()
    token = beat.parts.lease.token
    beat.until(lambda: json.loads(client.hget(K.beats, token))["at"] > saved + 1_500_000, "it has written since")
    beat.tick()
    falls_back(kept)
    beat.until(lambda: losses(told), "the loss is noticed")
    assert "s older" in beat.until(lambda: client.get(K.loss), "it is noted")


def test_a_term_begins_anew_when_another_process_answers(kept, beats):
    client = kept.client()
    beat = beats(kept, {"a": HOUR}).lead()
    client.delete(K.application)
    client.save()
    falls_back(kept)
    beat.until(lambda: client.get(K.application), "what a term begins with is done again")
    assert beat.epoch == 1


def test_a_redis_that_came_back_with_all_it_had_has_lost_nothing(kept, beats, told):
    client = kept.client()
    beat = beats(kept, {"a": {"task": "tasks.add", "schedule": 0.2}}).lead()
    generation = beat.parts.broker.doubts
    client.save()
    falls_back(kept)
    before = client.llen("celery")
    beat.until(lambda: client.llen("celery") > before, "it goes on")
    assert beat.parts.broker.doubts > generation  # another server may be at this address
    assert beat.parts.renderer.direct
    assert not losses(told)
    assert not client.get(K.loss)


def test_a_loss_that_redis_cannot_note_yet_neither_ends_the_beat_nor_stops_it(kept, beats, told):
    client = kept.client()
    beat = beats(kept, {"a": HOUR}).lead()
    noted, refused = beat.parts.store.note_loss, []

    def refuse(what, seconds):
        refused.append(what)
        raise redis.ConnectionError("Connection reset by peer")

    beat.parts.store.note_loss = refuse
    client.hdel(K.beats, beat.parts.lease.token)
    beat.until(lambda: len(refused) > 1, "the loss is noticed")
    beat.until(lambda: beat.begun, "it leads all the same")
    assert len(losses(told)) == 1
    assert not client.get(K.loss)
    beat.parts.store.note_loss = noted
    beat.until(lambda: client.get(K.loss), "the loss is noted")


def test_a_clock_that_was_ahead_for_a_moment_is_no_loss(valkey, beats, told):
    """The time of a server that was slow to answer, or that is put right, seems later than it is."""
    client = valkey.client()
    beat = beats(valkey).lead()
    clock, dispatcher = beat.parts.lease.clock, beat.parts.dispatcher
    Schedule(beat.app).add("a", "tasks.add", 3600, run_now=True)
    clock.told(clock.now() + 3_000_000, time.monotonic())
    for _ in range(2):  # the first writes a time to come; its answer puts the clock right, and the commit says it
        dispatcher.reader.begin()  # as a term does: the next look says who leads
        beat.tick()
    assert client.llen("celery") == 1
    assert not losses(told)


@pytest.mark.parametrize("way", ["rendered"], indirect=True)
def test_a_definition_of_the_lost_time_is_not_remembered(kept, beats, way):
    client = kept.client()
    beat = beats(kept).lead()
    schedule = Schedule.from_url(kept.url())
    schedule.add("a", "tasks.add", 0.2)
    client.save()
    schedule.update("a", args=(1,))
    beat.until(lambda: "[1]" in {one["headers"]["argsrepr"] for one in messages(client)}, "it is sent")
    falls_back(kept)
    revision = schedule.update("a", args=(2,)).revision  # the same once more
    assert revision == 2
    sent = client.llen("celery")
    beat.until(lambda: client.llen("celery") > sent, "it is sent again")
    assert [one["headers"]["argsrepr"] for one in messages(client)[sent:]] == ["[2]"]
