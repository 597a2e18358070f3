"""Many edits in few round trips."""

from __future__ import annotations

import pytest

from redlock_beat import (
    BatchFailed,
    EntryExists,
    InvalidSchedule,
    NoSuchEntry,
    RedisUnavailable,
    Schedule,
    StaleRevision,
)
from redlock_beat.store.keys import Keys
from redlock_beat.store.requests import PAGE
from tests.proxy import Proxy

K = Keys("redlock-beat")


@pytest.fixture
def schedule(valkey):
    return Schedule.from_url(valkey.url())


def test_many_edits_in_one_batch_each_as_if_made_alone(schedule, valkey):
    schedule.add("old", "t", 60)
    schedule.add("gone", "t", 60)
    with schedule.batch() as batch:
        batch.add("new", "t", 60, args=(1,))
        batch.update("new", args=(2,))
        batch.pause("new", note="later")
        batch.update("old", when=30)
        batch.remove("gone")
        batch.add("gone", "other", 90)
        batch.trigger("old")
        batch.trigger("old")
        batch.add_periodic_task(5.0, "tasks.p", name="periodic")
        assert len(batch) == 9
        assert "new" not in schedule  # nothing is in force before the block ends
    assert schedule["new"].args == (2,)
    assert (schedule["new"].enabled, schedule["new"].note, schedule["new"].revision) == (False, "later", 3)
    assert (schedule["old"].revision, str(schedule["old"].schedule)) == (2, "every 30 s")
    assert schedule["gone"].task == "other"
    assert "periodic" in schedule
    assert valkey.client().zcard(K.manual) == 2
    assert batch.results[0].name == "new"
    assert len({*batch.results[6:8]}) == 2  # the ids of two tasks


def test_a_removed_entry_cannot_be_edited_in_the_same_batch(schedule):
    schedule.add("a", "t", 60)
    with pytest.raises(BatchFailed) as failed, schedule.batch() as batch:
        batch.remove("a")
        batch.resume("a")
    assert isinstance(failed.value.cause, NoSuchEntry)
    assert "a" in schedule


def test_up_to_a_page_is_all_or_nothing_and_an_error_says_what_is_in_force(schedule):
    schedule.add("there", "t", 60)
    none = r"at 'there'.*exists already.*none of 3 changes is in force"
    with pytest.raises(BatchFailed, match=none) as failed, schedule.batch() as batch:
        batch.add("a", "t", 60)
        batch.add("there", "t", 60)
        batch.add("b", "t", 60)
    assert isinstance(failed.value.cause, EntryExists)
    assert (failed.value.done, failed.value.total, failed.value.name) == (0, 3, "there")
    assert len(schedule) == 1
    some = f"the first {PAGE} of {PAGE + 2} changes are in force"
    with pytest.raises(BatchFailed, match=some) as failed, schedule.batch() as batch:
        for i in range(PAGE + 1):
            batch.add(f"n{i}", "t", 60)
        batch.add("there", "t", 60)
    assert failed.value.done == PAGE
    assert len(schedule) == PAGE + 1


def test_an_exception_in_the_block_applies_nothing(schedule):
    with pytest.raises(InvalidSchedule), schedule.batch() as batch:
        batch.add("a", "t", 60)
        batch.add("b", "t", -1)
    assert len(schedule) == 0


def test_stale_revisions_in_a_batch(schedule):
    read = schedule.add("a", "t", 60)
    schedule.update("a", args=(1,))
    with pytest.raises(BatchFailed) as failed, schedule.batch() as batch:
        batch.update("a", args=(2,), revision=read.revision)
    assert isinstance(failed.value.cause, StaleRevision)


def test_a_batch_that_redis_does_not_answer_says_that_it_does_not_know(valkey):
    proxy = Proxy(valkey.port)
    schedule = Schedule.from_url(f"redis://127.0.0.1:{proxy.port}/0", socket_timeout=0.2)
    schedule.add("warm", "t", 60)
    schedule.retry_for = 0.5
    try:
        with pytest.raises(BatchFailed, match="is unknown whether") as failed, schedule.batch() as batch:
            batch.add("a", "t", 60)
            proxy.lose_reply("EVALSHA", 1, for_good=True)
        assert failed.value.unsure == 1
        assert isinstance(failed.value.cause, RedisUnavailable)
        with pytest.raises(BatchFailed, match="none of 1 changes is in force") as failed, schedule.batch() as batch:
            batch.add("a", "t", 60)
        assert failed.value.unsure == 0
    finally:
        proxy.close()
