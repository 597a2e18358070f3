"""Long runs of an entry that comes often, on real workers that are killed: never two at once, and soon the next."""

from __future__ import annotations

import time

import pytest

from redlock_beat import Schedule
from tests.beats import make_app
from tests.servers import eventually
from tests.workers import at_once, kill, pool_of

#: Shorter than a limit of the queue, and longer than a busy machine pauses a worker: then there may be two runs.
TTL = 6.0
#: Seconds that one run takes, and from slot to slot.
TAKES, EVERY = 1.2, 0.25


def running(here):
    """The run that is under way, by what runs wrote down; None when none is."""
    ended = {(line.id, line.pid) for line in here.lines("end")}
    begun = [line for line in here.lines("begin") if (line.id, line.pid) not in ended]
    return begun[-1] if begun else None


@pytest.mark.parametrize(("policy", "pool"), [("skip", "prefork"), ("buffer_one", "threads")])
def test_two_runs_are_never_at_once_whoever_is_killed_and_the_next_comes_within_the_lease(
    valkey, workers, beats, policy, pool
):
    here = workers(RUNS_TTL=str(TTL))
    alive = [here.start(pool, 2) for _ in range(2)]
    beat = beats(make_app(valkey.url()))
    schedule = Schedule(beat.app)
    schedule.add("a", "runs.sleep", EVERY, (TAKES,), overlap=policy, queue_limit=60)
    beat.lead().start()
    killed, waited = {}, []
    for _ in range(2):
        spare = here.start(pool, 2)
        count = len(here.lines("begin"))
        run = eventually(lambda count=count: len(here.lines("begin")) > count and running(here), "one runs")
        (victim,) = [one for one in [*alive, spare] if run.pid in (one.pid, *pool_of(one))]
        died = kill(victim)
        alive = [one for one in (*alive, spare) if one is not victim]
        if run.id in {line.id for line in here.lines("end")}:
            continue  # it was over just before
        killed[run.pid] = died
        following = eventually(
            lambda run=run: [line for line in here.lines("begin") if line.at > run.at], "the next one begins"
        )
        waited.append(following[0].at - died)
    eventually(lambda: len(here.lines("end")) >= 3, "they go on")
    schedule.remove("a")
    assert at_once(here.lines(), list(killed.items())) == 1
    assert waited
    assert max(waited) < 50, waited  # the lease of some seconds and not the queue limit of a minute
    eventually(lambda: schedule.history(outcome="lost"), "a run that ended with its worker is told as lost")


@pytest.mark.parametrize(
    ("step", "policy", "pool"),
    [
        ("claimed", "skip", "prefork"),
        ("claimed", "buffer_one", "threads"),
        ("ended", "skip", "threads"),
        ("ended", "buffer_one", "prefork"),
    ],
)
def test_a_worker_that_dies_at_a_step_of_a_run_holds_it_up_for_its_lease(valkey, workers, beats, policy, step, pool):
    """It has the claim and has not begun; or the run is over, and nobody was told."""
    here = workers(RUNS_TTL=str(TTL))
    first = here.start(pool, 1)
    beat = beats(make_app(valkey.url()))
    Schedule(beat.app).add("a", "runs.kill", EVERY, (step,), overlap=policy, queue_limit=60)
    beat.lead().start()
    first.wait(20)
    died = time.time()
    before = len(here.lines("begin"))
    here.start(pool, 2)
    here.start(pool, 2)
    following = eventually(lambda: here.lines("begin")[before:], "the next one begins")[0]
    assert following.at > died
    eventually(lambda: len(here.lines("end")) >= before + 3, "they go on")
    assert at_once(here.lines()) == 1


def test_a_worker_that_dies_with_a_message_that_it_has_not_begun_holds_it_up_for_the_queue_limit(
    valkey, workers, beats
):
    here = workers(RUNS_PREFETCH="4")
    first = here.start("threads", 1)
    beat = beats(make_app(valkey.url()))
    schedule = Schedule(beat.app)
    schedule.add("busy", "runs.fail", 3600, ("long",), run_now=True)
    beat.lead().start()
    eventually(lambda: here.lines("begin"), "its only thread is busy")
    schedule.add("a", "runs.sleep", EVERY, (0.5,), overlap="skip", queue_limit=2, run_now=True)
    sent = eventually(lambda: [row for row in schedule.history("a") if row.what == "sent"], "a run is sent")[-1]
    eventually(lambda: valkey.client().llen("celery") == 0, "the worker has it")
    kill(first)
    here.start("threads", 2)
    run = eventually(lambda: [line for line in here.lines("begin") if line.entry == "a"], "the next one begins")[0]
    assert run.id != sent.task_id
    assert run.at - sent.at.timestamp() >= 2  # the limit is kept
    rows = [row for row in schedule.history("a") if row.what == "sent"]
    assert rows[-2].at.timestamp() - sent.at.timestamp() < 2 + EVERY + 10  # and a busy machine


def test_without_the_policy_they_are(valkey, workers, beats):
    """The test above can fail."""
    here = workers()
    here.start("threads", 4)
    beat = beats(make_app(valkey.url()))
    Schedule(beat.app).add("a", "runs.sleep", EVERY, (TAKES,))
    beat.lead().start()
    eventually(lambda: len(here.lines("begin")) >= 4, "some run")
    assert at_once(here.lines()) > 1


def test_buffered_slots_all_run_one_after_the_other(valkey, workers, beats):
    here = workers()
    here.start("threads", 4)
    beat = beats(make_app(valkey.url()))
    schedule = Schedule(beat.app)
    schedule.add("a", "runs.sleep", 0.2, (0.3,), overlap="buffer_all", max_runs=8)
    beat.lead().start()
    eventually(lambda: len(here.lines("end")) == 8, "all have run")
    assert at_once(here.lines()) == 1
    slots = [row.nominal for row in reversed(schedule.history()) if row.what == "sent"]
    assert slots == sorted(slots)


def test_the_run_before_is_ended_when_the_next_slot_comes(valkey, workers, beats):
    here = workers()
    here.start("prefork", 3)
    beat = beats(make_app(valkey.url()))
    schedule = Schedule(beat.app)
    schedule.add("a", "runs.fail", 1.5, ("long",), overlap="cancel_previous", terminate=True)
    beat.lead().start()
    eventually(lambda: len(schedule.history(outcome="revoked")) >= 2, "those before are ended")
    eventually(lambda: schedule.status().running <= 1, "no more than one is left")
    begun, revoked = here.lines("begin"), {row.task_id for row in schedule.history(outcome="revoked")}
    assert begun[0].id in revoked
