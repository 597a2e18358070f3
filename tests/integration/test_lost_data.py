"""Redis comes back with less than it had: older, or empty. What was lost is noticed, mended where it can be, and said."""

from __future__ import annotations

import signal

import pytest

from redlock_beat import Schedule
from redlock_beat.keys import Keys

K = Keys("redlock-beat")
HOUR = {"task": "tasks.add", "schedule": 3600.0}
MANY = {f"e{i:04d}": HOUR for i in range(1_500)}


@pytest.fixture
def kept(own_server):
    """A server that keeps what it had when it was last told to, and no more."""
    return own_server("valkey", "--dbfilename", "kept.rdb")


def falls_back(server) -> None:
    """The server is killed, and comes back with what it has kept."""
    server.stop(signal.SIGKILL)
    server.start()


def test_what_redis_lost_of_the_configuration_in_mid_term_is_written_again(kept, beats):
    client = kept.client()
    beat = beats(kept, MANY, redlock_beat_lease_ttl=5.0, redlock_beat_render_limit=5.0)
    beat.until(lambda: client.hlen(K.entries) >= 500, "a page is written")
    client.save()
    beat.lead()
    epoch = beat.scheduler._term.epoch
    assert client.hlen(K.entries) == len(MANY)
    falls_back(kept)
    assert client.hlen(K.entries) < len(MANY)
    beat.until(lambda: client.hlen(K.entries) == len(MANY), "all are there again")
    beat.lead()
    assert beat.scheduler._term.epoch == epoch


def test_what_redis_lost_while_the_configuration_is_being_written_is_written_again(kept, beats):
    client = kept.client()
    beat = beats(kept, MANY, redlock_beat_lease_ttl=5.0, redlock_beat_render_limit=5.0)
    beat.until(lambda: client.get(K.lease), "it leads")
    client.save()
    beat.until(lambda: client.hlen(K.entries) >= 1_000, "two pages are written")
    falls_back(kept)
    beat.lead()
    assert client.hlen(K.entries) == len(MANY)
    mark = client.get(K.config)
    other = beats(kept, MANY)
    beat.close()
    other.lead()
    assert client.get(K.config) == mark


def test_a_configured_entry_that_others_change_again_and_again_is_in_force_all_the_same(valkey, beats):
    beats(valkey, {"a": HOUR, "b": HOUR}).lead().close()
    schedule = Schedule.from_url(valkey.url())
    beat = beats(valkey, {"a": {**HOUR, "args": (1,)}, "b": {**HOUR, "args": (1,)}})
    beat.until(lambda: beat.scheduler._term)
    store, changes = beat.scheduler.store, []
    edit = store.edit

    def contested(edits, **kwargs):
        if any(one.name == "a" for one in edits) and len(changes) < 7:
            changes.append(schedule.update("a", kwargs={"x": len(changes)}, missed="all"))
        return edit(edits, **kwargs)

    store.edit = contested
    beat.lead()
    assert len(changes) == 7
    assert (schedule["a"].args, schedule["b"].args) == ((1,), (1,))
