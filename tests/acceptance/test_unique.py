"""Many callers of one unique call, and workers that die: one run at a time, and no lock that outlives its bound."""

from __future__ import annotations

import itertools
import random
import threading
import time

from redlock_beat.store.keys import Keys
from tests.beats import messages
from tests.servers import eventually
from tests.task_workers import Project, redelivers
from tests.task_workers import project as project
from tests.workers import spans

K = Keys("redlock-beat")


def test_ten_thousand_calls_from_eight_processes_are_one_run(project, valkey):
    p = project()
    ids = set()
    for caller in p.callers(8, "storm", 1_250):
        said, _ = caller.communicate(timeout=100)
        assert caller.returncode == 0
        ids.update(said.split())
    assert len(messages(valkey.client())) == 1
    assert len(ids) == 1, "and everybody has its result"
    p.worker()
    assert p.app.AsyncResult(ids.pop()).get(timeout=20) is None
    assert len(p.begun("storm")) == 1
    eventually(lambda: valkey.client().hlen(K.locks) == valkey.client().zcard(K.lock_ends) == 0, "no lock is left")


def overlaps(p: Project, killed: dict[int, float]) -> list[tuple[float, float]]:
    """Where two runs were under way at once."""
    return [(end, begin) for (_, end), (begin, _) in itertools.pairwise(spans(p.lines(), killed)) if begin < end]


def called(p: Project) -> str:
    """A call as the others; the id it got."""
    return p.late.delay("storm", wait=0.1).id


@redelivers
def test_workers_that_are_killed_leave_one_run_at_a_time_and_no_lock_that_stays(project, valkey):
    # A message that is acknowledged before its run is lost with its worker, and its call has the lock for an hour: so
    # this one is acknowledged after it. And a busy machine must not pause a worker for longer than its lease: then
    # there may be two runs, as documented.
    p = project(PROJECT_CONF='{"redlock_beat_worker_ttl": 4}')
    workers = [p.worker() for _ in range(3)]
    callers = p.callers(8, "storm", 1_250, 0.1, "late")
    killed: dict[int, float] = {}
    chance = random.Random(7)
    for _ in range(4):
        begun = len(p.begun())
        eventually(lambda begun=begun: called(p) and len(p.begun()) > begun, "runs go on within the bound")
        victim = workers.pop(0)
        threading.Event().wait(chance.uniform(0, 0.1))  # somewhere in the run, or between two
        p.kill(victim)
        killed[victim.pid] = time.monotonic()  # it is dead by now
        workers.append(p.worker())
    for caller in callers:
        caller.communicate(timeout=100)
    eventually(lambda: not p.late.is_processing(("storm",), {"wait": 0.1}), "the last lock ends", 60)
    assert overlaps(p, killed) == []
    assert len(p.begun()) >= 4
    assert p.late.delay("storm", wait=0.1).get(timeout=20) == "storm"
