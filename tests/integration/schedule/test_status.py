"""Who is there: leaders, standbys, and those that are gone."""

from __future__ import annotations

import json

from redlock_beat import Schedule, hooks
from redlock_beat.beat.reader import prune_beats
from redlock_beat.clock import micros
from redlock_beat.store.keys import Keys
from tests.beats import LASTING, of
from tests.servers import eventually

K = Keys("redlock-beat")


def test_a_standby_that_never_led_is_there_and_knows_the_time(valkey, beats, told):
    schedule = Schedule.from_url(valkey.url())
    beats(valkey, **LASTING).lead()
    standby = beats(valkey, **LASTING)
    standby.tick(2)
    assert {one.role: one.age < 60 for one in schedule.status().replicas} == {"leader": True, "standby": True}
    now = micros(schedule.now())
    assert all(now / 1e6 - 60 < one.at <= now / 1e6 + 1 for one in told)
    assert of(told, hooks.Turned)[-1].role == "standby"
    token = standby.parts.lease.token
    prune_beats(standby.parts.store, now)
    assert valkey.client().hexists(K.beats, token)


def test_a_dead_leader_is_gone_as_soon_as_its_lease_is(valkey, beats):
    schedule, client = Schedule.from_url(valkey.url()), valkey.client()
    leader = beats(valkey, **LASTING).lead()
    leader.crash()
    token = leader.parts.lease.token
    row = json.loads(client.hget(K.beats, token))
    client.hset(K.beats, token, json.dumps({**row, "at": row["at"] - 60_000_000}))  # a TTL ago
    assert [one.role for one in schedule.status().replicas] == ["leader"]
    client.pexpire(K.lease, 1)
    eventually(lambda: not client.exists(K.lease))
    assert [one.role for one in schedule.status().replicas] == ["gone"]


def test_a_leader_that_lives_and_was_deposed_is_a_standby(valkey, beats):
    schedule = Schedule.from_url(valkey.url())
    old, new = beats(valkey, **LASTING).lead(), beats(valkey, **LASTING)
    valkey.client().delete(K.lease)
    new.lead()
    assert sorted(one.role for one in schedule.status().replicas) == ["leader", "standby"]  # it has time to notice
    old.until(lambda: old.term is None)
    old.tick()
    assert sorted(one.role for one in schedule.status().replicas) == ["leader", "standby"]


def test_a_standby_that_died_is_gone_after_some_silence(valkey, beats):
    schedule, client = Schedule.from_url(valkey.url()), valkey.client()
    beats(valkey, **LASTING).lead()
    standby = beats(valkey, **LASTING)
    standby.tick(2)
    token = standby.parts.lease.token
    row = json.loads(client.hget(K.beats, token))
    client.hset(K.beats, token, json.dumps({**row, "at": row["at"] - 270_000_000}))  # the TTL is 60 s
    assert sorted(one.role for one in schedule.status().replicas) == ["gone", "leader"]
