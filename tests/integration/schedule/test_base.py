"""A Redis that is away, full or refuses: it is said what that means and what to do."""

from __future__ import annotations

import asyncio
import time

import pytest

import redlock_beat
from redlock_beat import (
    AccessDenied,
    AsyncSchedule,
    InvalidSetting,
    RedisUnavailable,
    Schedule,
)
from redlock_beat.store.keys import Keys


@pytest.mark.parametrize("kind", ["valkey", "redis6", "redis"])
def test_a_wrong_password_is_said_at_once_and_as_what_it_is(own_server, kind):
    server = _with_password(own_server, kind)
    began = time.monotonic()
    for url in (f"redis://:wr0ng@127.0.0.1:{server.port}/0", f"redis://127.0.0.1:{server.port}/0"):
        for ask in (lambda url=url: len(Schedule.from_url(url)), lambda url=url: asyncio.run(_count(url))):
            with pytest.raises(AccessDenied, match="refuses access") as error:
                ask()
            assert "did not answer" not in str(error.value)
            assert "wr0ng" not in str(error.value)
    assert time.monotonic() - began < 9  # one that is away is asked for ten seconds


def _with_password(own_server, kind):
    server = own_server(kind)
    server.client().config_set("requirepass", "right")
    return server


async def _count(url: str) -> int:
    async with AsyncSchedule.from_url(url) as schedule:
        return await schedule.count()


def test_a_command_that_the_acl_forbids_is_said_at_once(own_server):
    server = own_server("valkey")
    client = server.client()
    client.execute_command("ACL", "SETUSER", "reader", "on", "nopass", "~*", "&*", "+@read", "+@connection")
    client.execute_command("ACL", "SETUSER", "blind", "on", "nopass", "~other:*", "&*", "+@all")
    began = time.monotonic()
    for user in ("reader", "blind"):
        with pytest.raises(AccessDenied, match="ACL rule"):
            Schedule.from_url(server.url(user=f"{user}:x")).add("a", "t", 60)
    assert time.monotonic() - began < 9  # one that is away is asked for ten seconds


K = Keys("redlock-beat")


@pytest.fixture
def schedule(server):
    return Schedule.from_url(server.url())


@pytest.fixture
def sched(valkey):
    return Schedule.from_url(valkey.url())


def test_redis_away_is_an_error_that_says_what_is_known():
    schedule = Schedule(settings=redlock_beat.Settings(url="redis://u:secret@127.0.0.1:1/0"), retry_for=0.2)
    with pytest.raises(RedisUnavailable, match="nothing was changed") as error:
        schedule.add("a", "t", 30)
    assert "secret" not in str(error.value)


def test_a_full_redis_refuses_an_edit_whole(valkey, sched):
    client = valkey.client()
    sched.add("a", "t", 30)
    client.config_set("maxmemory", "1")
    try:
        with pytest.raises(RedisUnavailable, match="full"):
            sched.add("b", "t", 30)
        sched.remove("a")  # what frees memory is allowed
    finally:
        client.config_set("maxmemory", "0")
    assert "b" not in sched
    assert "a" not in sched


def test_a_refused_command_is_said(valkey):
    client = valkey.client()
    client.set(K.entries, "wrong type")
    with pytest.raises(RedisUnavailable, match="WRONGTYPE"):
        Schedule.from_url(valkey.url()).add("a", "t", 30)


def test_a_schedule_needs_somewhere_to_be():
    with pytest.raises(InvalidSetting, match="from_url"):
        Schedule()
    assert "127.0.0.1" in repr(Schedule.from_url("redis://127.0.0.1:1"))
