"""A leader's term: what it begins with, and what its turns cost."""

from __future__ import annotations

import time

import pytest

from redlock_beat.store.keys import Keys
from tests.beats import duplicates

K = Keys("redlock-beat")


ENTRY = {"a": {"task": "tasks.add", "schedule": 0.1}}


def test_an_idle_leader_sends_no_more_than_its_renewals(valkey, beats):
    beat = beats(valkey, {"a": {"task": "t", "schedule": 86400.0}}, redlock_beat_lease_ttl=0.9).lead()
    client = valkey.client()
    beat.tick(2)
    client.config_resetstat()
    began = time.monotonic()
    beat.tick(5)
    spent = time.monotonic() - began
    stats = client.info("commandstats")
    mine = sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("evalsha", "eval", "get", "hmget"))
    inside = stats["cmdstat_get"]["calls"] + stats.get("cmdstat_hmget", {}).get("calls", 0)
    assert mine - inside <= spent / 0.3 + 2


@pytest.mark.parametrize("key", [K.beats, K.ledger, K.quarantine, K.archive])
def test_rubbish_where_nothing_depends_on_it_stops_no_message(valkey, beats, key):
    beat = beats(valkey, ENTRY).lead()
    client = valkey.client()
    client.delete(key)
    client.set(key, "rubbish")
    before = client.llen("celery")
    beat.until(lambda: client.llen("celery") > before + 2)
    assert duplicates(client) == 0


def test_old_heartbeats_are_forgotten(valkey, beats):
    client = valkey.client()
    client.hset(K.beats, mapping={"old": '{"at": 1}', "rubbish": "x"})
    beats(valkey).lead()
    assert not client.hexists(K.beats, "old")
    assert not client.hexists(K.beats, "rubbish")
