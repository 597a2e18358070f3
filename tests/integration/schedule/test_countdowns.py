"""Calls that the schedule keeps until their time: kept, listed, counted, cancelled."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from redlock_beat import AsyncSchedule, InvalidSchedule, RedisUnavailable, Schedule
from redlock_beat.clock import MICROS
from redlock_beat.store import requests
from redlock_beat.store.client import Target
from redlock_beat.store.countdown import KeptCall
from redlock_beat.store.keys import Keys
from redlock_beat.store.store import Store
from tests.beats import LASTING, ledger
from tests.proxy import Proxy

K = Keys("redlock-beat")


@pytest.fixture
def schedule(server):
    return Schedule.from_url(server.url())


def keep(
    schedule: Schedule,
    seconds: float = 600,
    task: str = "tasks.mail",
    *,
    id_: str = "",
    most: int = 100,
    sleep: float = 5.0,
    **more,
):
    """Keep one call as a caller does; what Redis answers, and the call."""
    now = schedule.ask(requests.now(schedule.keys))
    call = KeptCall(id_ or str(uuid.uuid4()), now + round(seconds * MICROS), uuid.uuid4().hex[:8], task, now, **more)
    return schedule.ask(requests.countdown_keep(schedule.keys, call, most, sleep))[1], call


def test_calls_are_listed_soonest_first_with_what_people_want_to_know(schedule):
    _, late = keep(schedule, 900, "tasks.late", args="(1,)", kwargs="{}", calls=("{}", "{}"))
    _, soon = keep(schedule, 300, "tasks.soon", expires="2027-01-01T00:00:00+00:00")
    found = list(schedule.countdowns())
    assert [(one.id, one.task, one.args) for one in found] == [
        (soon.id, "tasks.soon", ""),
        (late.id, "tasks.late", "(1,)"),
    ]
    assert 290 < (found[0].at - found[0].made).total_seconds() <= 300
    assert (found[0].expires, found[1].expires) == ("2027-01-01T00:00:00+00:00", None)
    assert [one.id for one in schedule.countdowns(task="*.late")] == [late.id]


def test_a_listing_of_many_that_are_due_at_one_instant_names_each_once(schedule):
    now = schedule.ask(requests.now(schedule.keys))
    ids = [f"{i:04d}" for i in range(1203)]
    for i, id_ in enumerate(ids):
        call = KeptCall(id_, now + (600 + i // 1200) * MICROS, "t", "tasks.mail", now)
        schedule.ask(requests.countdown_keep(schedule.keys, call, 10_000, 5.0))
    assert [one.id for one in schedule.countdowns()] == ids


def test_a_listing_holds_redis_for_no_long_messages(schedule):
    for i in range(12):
        keep(schedule, 600 + i, calls=("x" * 1_000_000,))
    pages, place = [], ("-inf", 0)
    while place is not None:
        place, found = schedule.ask(schedule.operations.countdown_page(place, None))
        pages.append(len(found))
    assert sum(pages) == 12
    assert max(pages) <= 3


def test_rubbish_is_shown_as_such_and_stops_nothing(schedule, server):
    _, call = keep(schedule)
    client = server.client()
    for id_, item in (("no item", None), ("no words", "x"), ("no head", "t {}"), ("no time", 't ["a","b","","",""]')):
        client.zadd(K.countdowns, {id_: 1})
        if item is not None:
            client.hset(K.countdown_items, id_, item)
    found = {one.id: one.task for one in schedule.countdowns()}
    assert found == {call.id: "tasks.mail", "no item": "", "no words": "", "no head": "", "no time": ""}
    assert len(schedule.cancel_countdowns(found)) == 5
    assert client.exists(K.countdowns, K.countdown_items) == 0


def test_a_call_with_the_id_of_one_that_is_kept_takes_its_place(schedule, server):
    _, first = keep(schedule, 300)
    answer, _ = keep(schedule, 900, "tasks.other", id_=first.id)
    assert answer == "kept"
    (found,) = schedule.countdowns()
    assert (found.task, (found.at - found.made).total_seconds() > 800) == ("tasks.other", True)
    assert server.client().hlen(K.countdown_items) == 1


def test_no_more_are_kept_than_the_limit_says_and_one_whose_time_has_come_is_not(schedule, server):
    _, first = keep(schedule, most=1)
    assert keep(schedule, most=1)[0] == "full"
    assert keep(schedule, most=1, id_=first.id)[0] == "kept"  # it takes no more room
    assert keep(schedule, -0.1)[0] == "due"
    assert server.client().zcard(K.countdowns) == 1


def test_a_full_server_keeps_nothing_by_halves(schedule, server):
    client = server.client()
    keep(schedule)
    client.config_set("maxmemory", "1")
    with pytest.raises(RedisUnavailable, match="is full"):
        keep(schedule)
    client.config_set("maxmemory", "0")
    assert client.zcard(K.countdowns) == client.hlen(K.countdown_items) == 1


def test_a_beat_is_woken_only_for_a_call_that_it_would_not_see_in_time(schedule, server):
    with server.client().pubsub() as pubsub:
        pubsub.subscribe(K.wake)
        assert pubsub.get_message(timeout=30)["type"] == "subscribe"
        keep(schedule, 600, sleep=300)
        keep(schedule, 200, sleep=300)
        assert pubsub.get_message(timeout=30)["data"] == "edit"
        assert pubsub.get_message(timeout=0.05) is None


def test_a_cancelled_call_is_gone_and_the_ledger_says_who_it_was(schedule, server):
    _, first = keep(schedule)
    _, second = keep(schedule)
    assert schedule.cancel(first.id) == 1
    assert schedule.cancel(first.id) == 0
    assert schedule.cancel_countdowns([first.id, second.id, "nobody"]) == [second.id]
    assert server.client().exists(K.countdowns, K.countdown_items) == 0
    rows = ledger(server.client(), "skipped")
    assert [(row["id"], row["task"], row["how"]) for row in rows] == [
        (first.id, "tasks.mail", "countdown"),
        (second.id, "tasks.mail", "countdown"),
    ]
    row = schedule.history(n=1)[0]
    assert (row.what, row.entry, row.task, row.task_id) == ("skipped", "", "tasks.mail", second.id)
    assert "cancelled by" in row.why


def test_ids_are_several_and_not_the_letters_of_one(schedule):
    with pytest.raises(InvalidSchedule, match=r"\['abc'\]"):
        schedule.cancel_countdowns("abc")


def test_a_cancel_whose_reply_is_lost_still_says_what_it_cancelled(server):
    direct = Schedule.from_url(server.url())
    ids = [keep(direct)[1].id for _ in range(3)]
    proxy = Proxy(server.port)
    try:
        through = Schedule.from_url(f"redis://127.0.0.1:{proxy.port}/0")
        through.count()
        proxy.lose_reply("EVALSHA")
        assert through.cancel_countdowns(ids) == ids
        assert proxy.lost == 1
    finally:
        proxy.close()
    assert len(ledger(server.client(), "skipped")) == 3


def test_the_asynchronous_schedule_lists_and_cancels_alike(schedule, server):
    _, call = keep(schedule)

    async def run():
        async with AsyncSchedule.from_url(server.url()) as same:
            listed = [one.id async for one in same.countdowns()]
            return listed, await same.cancel_countdowns([call.id]), (await same.status()).countdowns

    assert asyncio.run(run()) == ([call.id], [call.id], 0)


def test_status_and_health_say_what_is_due_while_no_beat_runs(schedule):
    assert schedule.status().countdowns == 0
    keep(schedule, 600)
    now = schedule.ask(requests.now(schedule.keys))
    past = KeptCall("past", now - 60 * MICROS, "t", "tasks.mail", now)
    Store(Target(schedule.settings)).client.zadd(K.countdowns, {"past": past.due / MICROS})
    status = schedule.status()
    assert (status.countdowns, status.countdowns_due) == (2, 1)
    assert 59 < status.countdowns_late < 90
    assert schedule.health().why == "nobody leads: nothing is sent, and 1 countdown is due"


def test_countdowns_that_are_late_are_not_well(schedule, server, beats):
    beats(server, **LASTING).lead()
    keep(schedule, 600)
    assert schedule.health().ok
    now = schedule.ask(requests.now(schedule.keys))
    server.client().zadd(K.countdowns, {"past": now / MICROS - 60})
    health = schedule.health()
    assert not health.ok
    assert "1 countdown due, the first for 6" in health.why
