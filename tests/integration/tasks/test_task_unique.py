"""Unique tasks in real workers: one run, whoever dies, and an answer for everybody."""

from __future__ import annotations

import json
import os
import signal

import pytest
from billiard.exceptions import TimeLimitExceeded
from celery import chain, chord, group
from celery.exceptions import TaskRevokedError
from celery.signals import task_failure
from kombu.exceptions import OperationalError

from redlock_beat import Schedule
from redlock_beat.errors import DuplicateCall, InvalidTask, RedisUnavailable
from redlock_beat.store.keys import Keys
from redlock_beat.tasks.client import store_of
from redlock_beat.tasks.identity import become
from tests.beats import messages
from tests.servers import eventually, rabbitmq
from tests.task_workers import redelivers

K = Keys("redlock-beat")


def locks(valkey) -> int:
    return valkey.client().hlen(K.locks)


@pytest.mark.parametrize("pool", ["solo", "threads", "prefork"])
def test_calls_that_are_the_same_run_once_and_share_the_result(project, valkey, pool):
    p = project()
    first = p.once.delay("a", 7)
    assert [p.once.delay("a", value=7).id, p.once.delay(key="a", value=7, wait=False).id] == [first.id] * 2
    other = p.once.delay("a", 8)
    p.worker(pool)
    assert first.get(timeout=20) == 7
    assert other.get(timeout=20) == 8
    assert sorted(p.begun("a")) == sorted([first.id, other.id])
    eventually(lambda: locks(valkey) == 0, "the locks are free")
    assert p.once.delay("a", 7).get(timeout=20) == 7, "and the next call runs"


def test_a_call_while_one_runs_gets_that_one_and_a_call_after_it_runs(project):
    p = project()
    p.worker("threads")
    first = p.once.delay("a", wait=True)
    eventually(lambda: p.begun("a"), "it runs")
    assert p.once.delay("a", wait=True).id == first.id
    assert p.once.is_processing(("a",), {"wait": True})
    assert p.once.holder(("a",), {"wait": True}) == first.id
    assert not p.once.is_processing(("b",))
    p.go("a")
    first.get(timeout=20)
    assert p.once.delay("a", wait=True).id != first.id


@pytest.mark.parametrize("pool", ["solo", "threads", "prefork"])
def test_a_run_keeps_its_lock_for_as_long_as_it_takes(project, pool):
    p = project(PROJECT_TTL="6")
    schedule = Schedule(p.app)
    p.worker(pool)
    first = p.once.delay("a", wait=True)
    eventually(lambda: p.begun("a"), "it runs")
    (begun,) = schedule.locks()
    eventually(lambda: schedule.now() > begun.ends, "its first lease is over")
    assert p.once.delay("a", wait=True).id == first.id
    p.go("a")
    first.get(timeout=20)


def test_a_message_that_is_given_back_waits_with_its_lock(project):
    p = project()
    worker = p.worker(PROJECT_DIE="retry after")
    first = p.rejects.delay("a")
    eventually(lambda: worker.poll() is not None, "it has said that it waits")
    (lock,) = Schedule(p.app).locks()
    assert (lock.holder, lock.phase) == (first.id, "waiting")


def test_a_message_that_is_given_back_keeps_the_lock_and_runs(project):
    p = project()
    p.worker()
    assert p.rejects.delay("a").get(timeout=20) == "a"
    assert len(p.begun("a")) == 2
    eventually(lambda: not p.rejects.is_processing(("a",)), "the lock is free")


def test_a_run_that_fails_frees_its_lock(project, valkey):
    p = project()
    p.worker()
    with pytest.raises(ValueError, match="no a"):
        p.fails.delay("a").get(timeout=20)
    eventually(lambda: locks(valkey) == 0, "the lock is free")
    with pytest.raises(ValueError, match="no a"):
        p.fails.delay("a").get(timeout=20)


def test_retries_keep_the_lock_and_are_not_stopped_by_it(project):
    p = project()
    p.worker()
    first = p.again.delay("a")
    eventually(lambda: p.begun("a"), "the first attempt")
    assert p.again.delay("a").id == first.id, "also between the attempts"
    assert first.get(timeout=20) == 2
    assert p.begun("a") == [first.id] * 3


def test_a_run_that_sends_itself_again_ends_no_lock(project):
    p = project()
    worker = p.worker(PROJECT_DIE="end before")
    p.again.delay("a")
    eventually(lambda: worker.poll() is not None, "it would end its lock")
    assert len(p.begun("a")) == 3, "after the last attempt"


def test_a_retry_that_the_broker_refuses_frees_the_lock(project):
    p = project()
    p.worker()
    p.refused.delay("a")
    eventually(lambda: p.begun("a"), "it runs")
    eventually(lambda: not p.refused.is_processing(("a",)), "the lock is free")


def test_a_lock_that_ends_at_the_start_lets_the_next_call_wait(project):
    p = project()
    p.worker("threads", 1)
    first = p.at_start.delay("a")
    eventually(lambda: p.begun("a") == [first.id], "it runs")
    second = p.at_start.delay("a")
    assert second.id != first.id
    assert p.at_start.delay("a").id == second.id
    p.go("a")
    second.get(timeout=20)
    assert p.begun("a") == [first.id, second.id]


@pytest.mark.parametrize("pool", ["solo", "prefork"])
def test_a_worker_that_is_killed_frees_the_lock_within_its_lease(project, pool):
    p = project(PROJECT_TTL="6")
    worker = p.worker(pool)
    first = p.once.delay("a", wait=True)
    eventually(lambda: p.begun("a"), "it runs")
    p.kill(worker)
    assert p.once.delay("a", wait=True).id == first.id, "nobody can know yet"
    p.go("a")
    p.worker()
    second = eventually(lambda: (r := p.once.delay("a", wait=True)).id != first.id and r, "the lock has lapsed")
    second.get(timeout=20)
    assert p.begun("a")[-1] == second.id


@pytest.mark.parametrize(
    "step",
    [
        pytest.param("start before", marks=redelivers),
        "start after",
        "end before",
        "end after",
        "retry before",
        pytest.param("retry after", marks=redelivers),
    ],
)
def test_a_worker_may_die_at_each_step(project, step):
    p = project(PROJECT_TTL="1.5")
    worker = p.worker(PROJECT_DIE=step)
    # Before it begins, or is sent again, its message is lost with its worker, unless it is acknowledged late.
    task = p.again if step.startswith("retry") else p.late if step == "start before" else p.once
    kwargs = {"wait": False} if task is p.late else {}
    first = task.delay("a", **kwargs)
    eventually(lambda: worker.poll() is not None, "it is dead")
    p.worker()
    second = eventually(lambda: (r := task.delay("a", **kwargs)).id != first.id and r, "the lock is free again", 60)
    second.get(timeout=20)
    assert p.begun("a")[-1] == second.id


@pytest.mark.parametrize("step", ["take after", "sent before"])
def test_a_caller_that_dies_with_the_lock_blocks_nobody_for_long(project, valkey, step):
    p = project()
    p.env |= {"PROJECT_SENDING": "1", "PROJECT_DIE": step}  # of callers alone: this process makes calls in later tests
    (caller,) = p.callers(1, "a", 1)
    caller.wait(20)
    assert caller.returncode == -signal.SIGKILL
    assert valkey.client().hlen(K.locks) == 1
    sent = valkey.client().llen("celery")
    assert sent == (step == "sent before")
    del p.env["PROJECT_DIE"]
    eventually(
        lambda: p.callers(1, "a", 1)[0].wait(20) == 0 and valkey.client().llen("celery") > sent, "the next is sent"
    )


@redelivers
def test_a_message_that_comes_again_after_its_worker_died_runs_again(project):
    p = project(PROJECT_TTL="1.5")
    first = p.worker("solo")
    result = p.late.delay("a")
    eventually(lambda: p.begun("a"), "it runs")
    p.kill(first)
    p.go("a")
    p.worker()
    assert result.get(timeout=30) == "a"
    assert p.begun("a") == [result.id] * 2


@redelivers
def test_a_message_that_comes_again_while_it_runs_does_not_run_beside_it_nor_after_it(project, valkey):
    p = project()
    p.worker("threads")  # beyond the visibility timeout the broker believes that it is gone
    p.worker("threads")
    result = p.late.delay("a")
    eventually(lambda: f"late[{result.id}] ignored" in p.log(), "it has come again, and waits", 60)
    assert p.begun("a") == [result.id]
    p.go("a")
    assert result.get(timeout=20) == "a"
    eventually(lambda: valkey.client().zcard(K.aside) == 1, "that it ran is remembered")
    eventually(lambda: valkey.client().zcard("unacked_index") == valkey.client().llen("celery") == 0, "no copy is left")
    assert p.begun("a") == [result.id]


def test_a_pool_process_that_is_killed_frees_the_lock(project):
    p = project()
    p.worker("prefork", 2)
    first = p.once.delay("a", wait=True)
    pid = eventually(lambda: p.lines("begin", "a"), "it runs")[0].pid
    os.kill(pid, signal.SIGKILL)
    p.go("a")
    second = eventually(lambda: (r := p.once.delay("a", wait=True)).id != first.id and r, "the lock is free", 30)
    second.get(timeout=20)


def test_a_run_that_is_killed_by_its_time_limit_frees_the_lock(project):
    p = project()
    p.worker("prefork", 2)
    first = p.slow.delay("a")
    eventually(lambda: p.begun("a"), "it runs")
    eventually(lambda: p.slow.delay("a").id != first.id, "the lock is free", 30)


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_a_run_that_is_killed_frees_no_lock_of_the_same_run_elsewhere(project, where):
    """Its worker was cut off for longer than its lease, the message came again, and another worker runs it."""
    p = project()
    call = p.once.delay("a")
    who = p.once.locks.who(call.id, ("a",), {})
    become(where)
    try:
        assert p.once.locks.start(who, "a run", looks=False).word == "run"
        become("here")
        task_failure.send(sender=p.once, task_id=call.id, exception=TimeLimitExceeded(1), args=("a",), kwargs={})
    finally:
        become(None)
    assert p.once.holder(("a",)) == (None if where == "here" else call.id)


def test_a_call_that_is_revoked_while_it_waits_frees_the_lock(project, valkey):
    p = project()
    p.worker("threads", 1)
    first = p.once.apply_async(("a",), countdown=1)
    eventually(lambda: f"{first.id}] received" in p.log(), "the worker has it")
    assert p.once.delay("a").id == first.id
    p.app.control.revoke(first.id)
    eventually(lambda: f"Discarding revoked task: once[{first.id}]" in p.log(), "it is dropped")
    eventually(lambda: locks(valkey) == 0, "the lock is free")
    assert p.once.delay("a").get(timeout=20) is None
    assert first.id not in p.begun("a")


def test_a_run_that_is_terminated_frees_the_lock(project, valkey):
    p = project()
    p.worker("prefork", 2)
    first = p.once.delay("a", wait=True)
    eventually(lambda: p.begun("a"), "it runs")
    p.app.control.revoke(first.id, terminate=True, signal="SIGKILL")
    eventually(lambda: locks(valkey) == 0, "the lock is free")


def test_a_call_that_the_schedule_keeps_has_its_lock_and_a_revoke_frees_it(project, valkey, beats):
    p = project(PROJECT_CONF='{"redlock_beat_eta_threshold": 1}')
    schedule = Schedule(p.app)
    first = p.once.apply_async(("a",), countdown=7200)
    assert [call.id for call in schedule.countdowns()] == [first.id]
    assert p.once.apply_async(("a",), countdown=7200).id == p.once.delay("a").id == first.id
    eventually(lambda: [lock.phase for lock in schedule.locks()] == ["waiting"], "it is said to wait")
    (lock,) = schedule.locks()
    assert (lock.ends - lock.since).total_seconds() > 7200, "for as long as it is kept, and an hour more"
    p.app.control.revoke(first.id)
    assert locks(valkey) == 0
    second = p.once.apply_async(("a", 7), countdown=1.5)
    beats(p.app).start()
    p.worker()
    assert second.get(timeout=30) == 7
    assert p.begun("a") == [second.id]


def test_a_call_that_expires_frees_the_lock(project, valkey):
    p = project()
    p.once.apply_async(("a",), expires=0.2)
    p.once.apply_async(("a",), expires=0.2)
    eventually(lambda: not p.once.is_processing(("a",)), "it has expired")
    assert p.once.delay("a").id


def test_a_broker_that_refuses_leaves_no_lock(project, valkey, own_server):
    broker = own_server()
    p = project(broker, PROJECT_SCHEDULE=valkey.url(), PROJECT_RESULTS="", PROJECT_CONF='{"task_publish_retry": false}')
    broker.stop()
    with pytest.raises(OperationalError):
        p.once.delay("a")
    assert locks(valkey) == 0


def test_redis_away_sends_a_call_without_its_lock_or_raises_as_is_set(project, valkey, own_server):
    schedule = own_server()
    p = project(valkey, PROJECT_SCHEDULE=schedule.url())
    schedule.stop()
    first, second = p.once.delay("a"), p.once.delay("a")
    assert first.id != second.id
    p.worker("threads", 2)
    assert first.get(timeout=20) is None
    assert second.get(timeout=20) is None
    p.once.__dict__.pop("rules")
    p.once.__dict__.pop("locks")
    p.once.unique_without_redis = "raise"
    with pytest.raises(ConnectionError):
        p.once.delay("a")


@pytest.mark.parametrize("script", ["lock_take", "lock_start"])
def test_a_strict_call_whose_answer_is_lost_asks_again_and_has_its_lock(project, valkey, script):
    """Else the lock would be that of a call that was not sent, or of a run that did not begin."""
    p = project()
    p.once.__dict__.pop("rules", None)
    p.once.__dict__.pop("locks", None)
    p.once.unique_without_redis = "raise"
    store, lost = store_of(p.app), []
    run = store.run

    def losing(request):
        answer = run(request)
        if request.script == script and not lost:
            lost.append(request)
            away = RedisUnavailable("the answer is lost")
            away.unknown = True
            raise away
        return answer

    store.run = losing
    call = p.once.delay("a")
    who = p.once.locks.who(call.id, ("a",), {})
    assert p.once.locks.start(who, "a run", looks=False).word == "run"
    assert len(lost) == 1
    assert p.once.delay("a").id == call.id
    assert [message["headers"]["id"] for message in messages(valkey.client())] == [call.id]


def test_redis_that_has_forgotten_a_lock_is_told_of_it_again(project, own_server, valkey):
    schedule = own_server()
    p = project(valkey, PROJECT_SCHEDULE=schedule.url(), PROJECT_TTL="6")
    p.worker("threads", 2)
    first = p.once.delay("a", wait=True)
    eventually(lambda: p.begun("a"), "it runs")
    schedule.client().flushall()
    eventually(lambda: p.once.is_processing(("a",), {"wait": True}), "its worker has told of it")
    assert p.once.delay("a", wait=True).id == first.id
    p.go("a")
    first.get(timeout=20)
    eventually(lambda: not p.once.is_processing(("a",), {"wait": True}), "and of its end")


@pytest.mark.parametrize("quorum", ["classic", "quorum"])
def test_another_broker_is_as_good(project, valkey, quorum):
    """The locks are in the schedule's Redis; messages, retries and what is put off go through RabbitMQ."""
    url, queue = rabbitmq(), f"unique-{os.urandom(4).hex()}"
    conf = {"task_default_queue": queue, "broker_transport_options": {"confirm_publish": True}}
    if quorum == "quorum":
        conf |= {
            "task_default_queue_type": "quorum",
            "task_default_exchange_type": "topic",
            "worker_detect_quorum_queues": True,
        }
    p = project(PROJECT_BROKER=url, PROJECT_SCHEDULE=valkey.url(), PROJECT_CONF=json.dumps(conf))
    try:
        p.worker("threads", 2)
        first = p.once.delay("a", 7, wait=True)
        eventually(lambda: p.begun("a"), "it runs")
        chained = chain(p.once.s("a", 7, wait=True), p.collect.s()).apply_async()
        assert p.once.delay("a", 7, wait=True).id == first.id
        eventually(lambda: f"once[{chained.parent.id}] ignored" in p.log(), "it is put off")
        p.go("a")
        assert chained.get(timeout=20) == 7
        assert p.begun("a") == [first.id]
        assert (
            quorum == "quorum" or p.again.delay("b").get(timeout=20) == 2
        )  # Celery refuses pauses below a second there
        eventually(lambda: locks(valkey) == 0, "the locks are free")
    finally:
        with p.app.connection_for_write() as connection:
            connection.channel().queue_delete(queue)


# --- canvas ---


def test_a_chain_whose_first_step_is_a_duplicate_goes_on_with_its_result(project):
    p = project()
    first = p.once.delay("a", 7, wait=True)
    chained = chain(p.once.s("a", 7, wait=True), p.collect.s()).apply_async()
    p.worker("threads", 2)
    eventually(lambda: p.begun("a"), "one runs")
    p.go("a")
    assert chained.get(timeout=20) == 7
    assert p.begun("a") == [first.id]


def test_a_chain_whose_last_step_is_a_duplicate_has_its_result(project):
    p = project()
    p.worker("threads", 2)
    first = p.once.delay("a", 7, wait=True)
    eventually(lambda: p.begun("a"), "it runs")
    chained = chain(p.collect.si("x"), p.once.si("a", 7, wait=True)).apply_async()
    eventually(lambda: f"once[{chained.id}] ignored" in p.log(), "it waits")
    p.go("a")
    assert chained.get(timeout=20) == 7
    assert p.begun("a") == [first.id]


def test_a_step_that_joins_waits_for_a_result_that_is_stored_late(project):
    p = project()
    p.worker("threads", 3)
    first = p.stored_late.delay("a")
    eventually(lambda: p.begun("a"), "it runs")
    chained = chain(p.stored_late.s("a"), p.collect.s()).apply_async()
    eventually(lambda: f"stored_late[{chained.parent.id}] ignored" in p.log(), "it waits")
    p.go("a")
    eventually(lambda: p.lines("end", "a"), "the run is over")
    eventually(lambda: not p.stored_late.is_processing(("a",)), "the lock is free")
    eventually(lambda: p.log().count(f"stored_late[{chained.parent.id}] ignored") > 2, "it looks for the result")
    p.go("a-stored")
    assert chained.get(timeout=20) == first.get(timeout=20) == "late"
    assert p.begun("a") == [first.id]


def test_a_step_that_joins_one_whose_result_never_comes_runs_itself(project):
    p = project()
    lost = p.once.delay("a", 7)
    chained = chain(p.once.s("a", 7), p.collect.s()).apply_async()
    with p.app.connection_for_write() as connection:
        message = connection.SimpleQueue("celery").get(timeout=5)
        assert message.headers["id"] == lost.id
        message.ack()  # and nobody has it
    p.once.unlock(("a", 7))
    p.worker()
    assert chained.get(timeout=20) == 7
    assert p.begun("a") == [chained.parent.id]


def test_duplicates_in_a_group_and_in_a_chord_have_the_result_of_the_one(project):
    p = project()
    grouped = group(p.once.s("a", 1), p.once.s("a", 1), p.once.s("b", 2)).apply_async()
    chorded = chord([p.once.s("a", 1), p.once.s("c", 3), p.once.s("c", 3)])(p.collect.s())
    p.worker("threads", 2)
    found = []
    for result in (
        *grouped.results,
        chorded,
    ):  # one by one: Celery 5.5 waits for a group in vain, its results all there
        one = p.app.AsyncResult(result.id)
        eventually(one.successful, "each has a result")
        found.append(one.result)
    assert found == [1, 1, 2, [1, 3, 3]]
    assert len(p.begun("a")) == 1
    assert len(p.begun("c")) == 1


def test_a_step_that_joins_one_that_fails_fails_with_its_error(project):
    p = project()
    first = p.fails.delay("a")
    chained = chain(p.fails.s("a"), p.collect.s()).apply_async()
    p.worker()
    with pytest.raises(ValueError, match="no a"):
        chained.get(timeout=20)
    assert p.begun("a") == [first.id]


def test_without_a_result_backend_a_step_that_joins_waits_and_runs_itself(project):
    p = project(PROJECT_RESULTS="")
    first = p.once.delay("a", 7, wait=True)
    second = chain(p.once.s("a", 7, wait=True), p.once.si("after")).apply_async().parent
    p.worker("threads", 2)
    eventually(lambda: f"once[{second.id}] ignored" in p.log(), "it waits")
    assert p.begun("a") == [first.id]
    p.go("a")
    eventually(lambda: p.begun("after"), "the chain has gone on")
    ends = [one.what for one in p.lines(key="a")]
    assert ends == ["begin", "end", "begin", "end"], "one after the other"


# --- what duplicates do ---


def test_a_later_call_replaces_one_that_waits(project):
    p = project()
    results = [p.last.delay("a", value) for value in (1, 2, 3)]
    p.worker()
    assert results[2].get(timeout=20) == 3
    assert p.begun("a") == [results[2].id]
    for replaced in results[:2]:
        with pytest.raises(TaskRevokedError):
            replaced.get(timeout=20)


def test_a_later_call_waits_for_one_that_runs_and_runs_after_it(project):
    p = project()
    p.worker("threads", 2)
    first = p.last.delay("a", 1, wait=True)
    eventually(lambda: p.begun("a"), "it runs")
    second, third = p.last.delay("a", 2), p.last.delay("a", 3)
    p.go("a")
    assert third.get(timeout=20) == 3
    assert p.begun("a") == [first.id, third.id]
    assert [one.what for one in p.lines(key="a")] == ["begin", "end", "begin", "end"]
    with pytest.raises(TaskRevokedError):
        second.get(timeout=20)


def test_an_occurrence_that_waits_for_its_turn_has_not_begun(project):
    """The guard against repeats sees its message twice, and the second is no repeat."""
    p = project()
    p.worker("threads", 2)
    p.last.delay("a", 1, wait=True)
    eventually(lambda: p.begun("a"), "it runs")
    headers = {"redlock_beat_entry": "e", "redlock_beat_due": 1.0, "redlock_beat_once": True}
    second = p.last.apply_async(("a", 2), headers=headers)
    schedule = Schedule(p.app)
    eventually(lambda: list(schedule.history("e", outcome="retried")), "a worker has put it off")
    p.go("a")
    assert second.get(timeout=20) == 2


def test_a_call_with_half_characters_runs(project):
    """The name of a file that is no UTF-8, say."""
    p = project()
    p.worker()
    assert p.once.delay("a", "\udc80\ud800").get(timeout=20) == "\udc80\ud800"


def test_a_duplicate_raises_where_that_is_asked_for(project):
    p = project()
    p.once.unique_duplicate = "raise"
    first = p.once.delay("a")
    with pytest.raises(DuplicateCall) as raised:
        p.once.delay("a")
    assert raised.value.task_id == first.id


def test_a_lock_is_freed_by_hand(project):
    p = project()
    first = p.once.delay("a")
    assert p.once.unlock(("a",)) == first.id
    assert p.once.unlock(("a",)) is None
    second = p.once.delay("a")
    assert second.id != first.id
    p.worker()
    assert second.get(timeout=20) is None
    first.get(timeout=20)
    assert [one.what for one in p.lines(key="a")] == ["begin", "end", "begin", "end"]


def test_a_call_by_name_takes_the_lock_when_it_runs(project):
    p = project()
    p.worker("threads", 2)
    result = p.app.send_task("once", ("a",), {"wait": True})  # as another project sends it, which has no such task
    eventually(lambda: p.begun("a"), "it runs")
    assert p.once.delay("a", wait=True).id == result.id
    p.go("a")
    result.get(timeout=20)


def test_eager_calls_take_no_locks(project, valkey):
    p = project(PROJECT_CONF='{"task_always_eager": true}')
    assert p.once.delay("a", 7).get() == 7
    assert p.again.delay("b").get() == 2
    assert locks(valkey) == 0


def test_what_celery_takes_by_place_is_taken(project, valkey):
    p = project()
    sent = p.once.apply_async(("a", 7), {}, "an-id", None, None, None, "shadow")
    assert sent.id == "an-id"
    assert p.once.delay("a", 7).id == p.once.apply_async(("a", 7), task_id="an-id").id == "an-id"
    assert valkey.client().llen("celery") == 1
    p.worker()
    assert sent.get(timeout=20) == 7
    assert "shadow[an-id] received" in p.log()


def test_a_task_that_is_not_unique_has_no_locks(project):
    with pytest.raises(InvalidTask, match="unique=True"):
        project().plain.is_processing()
