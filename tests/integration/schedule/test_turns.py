"""Very many callers at once, and many followers: nobody starves."""

from __future__ import annotations

import asyncio
import threading
import time

from redlock_beat import AsyncSchedule, RedisUnavailable, Schedule
from redlock_beat.schedule.turns import KEPT, PLACES
from redlock_beat.store.keys import Keys
from tests.beats import somebody_reads
from tests.proxy import Proxy
from tests.servers import eventually

K = Keys("redlock-beat")


def connections(client) -> int:
    return len([one for one in client.client_list() if one["name"] == "crowd"])


def row(client, name: str) -> None:
    client.xadd(K.ledger, {"is": "sent", "entry": name, "at": "1", "nominal": "1"})


OPTIONS = {"redis_options": {"client_name": "crowd"}}


def test_thousands_of_edits_at_once_on_an_event_loop_are_all_made(valkey):
    client = valkey.client()

    async def crowd():
        async with AsyncSchedule.from_url(valkey.url(), **OPTIONS) as schedule:
            made = asyncio.gather(*(schedule.add(f"a{i}", "t", 3600) for i in range(1500)), return_exceptions=True)
            most = 0
            while not made.done():
                most = max(most, await asyncio.to_thread(connections, client))
            return [one for one in await made if isinstance(one, BaseException)], most

    failed, most = asyncio.run(crowd())
    assert failed == []
    assert client.hlen(K.entries) == 1500
    assert most <= PLACES


def test_hundreds_of_threads_at_once_are_all_served(valkey):
    schedule = Schedule.from_url(valkey.url(), **OPTIONS)
    failed = []

    def add(i: int) -> None:
        try:
            schedule.add(f"a{i}", "t", 3600)
        except BaseException as exc:
            failed.append(exc)

    threads = [threading.Thread(target=add, args=(i,)) for i in range(300)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert failed == []
    assert len(schedule) == 300
    assert connections(valkey.client()) <= PLACES


def test_a_pool_of_the_users_own_size_is_waited_for(valkey):
    settings = {"redis_options": {"client_name": "crowd", "max_connections": 2}}

    async def crowd():
        async with AsyncSchedule.from_url(valkey.url(), **settings) as schedule:
            return await asyncio.gather(*(schedule.count() for _ in range(100)))

    assert asyncio.run(crowd()) == [0] * 100


def test_many_followers_share_one_reader_and_starve_nobody(valkey):
    client = valkey.client()

    async def crowd():
        async with AsyncSchedule.from_url(valkey.url(), **OPTIONS) as schedule:
            await schedule.add("a", "t", 3600)
            followers = [schedule.follow("a" if i % 2 else None) for i in range(150)]
            waiting = [asyncio.ensure_future(anext(one)) for one in followers]
            await asyncio.to_thread(somebody_reads, client)
            await asyncio.gather(*(schedule.count() for _ in range(100)))
            used = await asyncio.to_thread(connections, client)
            waiting[0].cancel()  # perhaps the one who reads for all
            await asyncio.to_thread(row, client, "a")
            seen = await asyncio.wait_for(asyncio.gather(*waiting[1:]), 30)
            again = [asyncio.ensure_future(anext(one)) for one in followers[1:]]
            await asyncio.to_thread(row, client, "a")
            seen += await asyncio.wait_for(asyncio.gather(*again), 30)
            return seen, used

    seen, used = asyncio.run(crowd())
    assert [one.entry for one in seen] == ["a"] * 298
    assert used <= PLACES


def test_followers_in_threads_share_one_reader_too(valkey):
    client = valkey.client()
    schedule = Schedule.from_url(valkey.url(), **OPTIONS)
    schedule.add("a", "t", 3600)
    seen = []
    threads = [threading.Thread(target=lambda: seen.append(next(schedule.follow("a")))) for _ in range(60)]
    for one in threads:
        one.start()
    # Who had not begun when a row came waits for the next.
    eventually(lambda: row(client, "a") or len(seen) == 60, "each has seen one")
    for one in threads:
        one.join(10)
    assert [one.entry for one in seen] == ["a"] * 60
    assert connections(client) <= PLACES


def test_a_follower_who_is_far_behind_misses_nothing(valkey):
    client = valkey.client()
    schedule = Schedule.from_url(valkey.url())
    schedule.add("slow", "t", 60)
    row(client, "slow")
    slow, quick = schedule.follow("slow", last=1), schedule.follow(last=1)
    next(slow), next(quick)
    names = ["slow", "other"] * (KEPT // 2 + 100)  # more than are kept for those who are behind
    with client.pipeline(transaction=False) as pipe:
        for name in names:
            row(pipe, name)
        pipe.execute()
    assert [next(quick).entry for _ in names] == names
    assert [next(slow).entry for _ in names[::2]] == names[::2]
    row(client, "slow")
    assert next(slow).entry == next(quick).entry == "slow"


def test_all_followers_are_told_when_redis_is_gone(own_server):
    server = own_server("valkey")
    client = server.client()

    async def crowd():
        async with AsyncSchedule.from_url(server.url()) as schedule:
            schedule.retry_for = 0.3
            await schedule.add("a", "t", 3600)
            waiting = [asyncio.ensure_future(anext(schedule.follow())) for _ in range(50)]
            await asyncio.to_thread(somebody_reads, client)
            await asyncio.to_thread(server.stop)
            return await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 15)

    assert {type(one) for one in asyncio.run(crowd())} == {RedisUnavailable}


def test_a_crowd_before_a_redis_that_hangs_is_told_in_bounded_time(valkey):
    proxy = Proxy(valkey.port)

    async def crowd():
        url = f"redis://127.0.0.1:{proxy.port}/0"
        async with AsyncSchedule.from_url(url, socket_timeout=0.3) as schedule:
            schedule.retry_for = 0.5
            await schedule.count()
            proxy.freeze()
            began = time.monotonic()
            got = await asyncio.gather(*(schedule.count() for _ in range(2000)), return_exceptions=True)
            return got, time.monotonic() - began

    try:
        got, took = asyncio.run(crowd())
    finally:
        proxy.close()
    assert {type(one) for one in got} == {RedisUnavailable}
    assert took < 15  # one after the other, so many places at a time, they would take half a minute
    assert any("waited for its turn" in str(one) for one in got)
