"""Countdowns longer than the broker's visibility timeout, with workers and beats killed at random: who ran how often.

A thousand calls of one task with ``countdown=90``, another hundred that are revoked, a visibility timeout of 20
seconds, three workers and three beats, of which one is killed (SIGKILL, with all its processes) every few seconds and
started again. The task is acknowledged late, so that what a killed worker had is delivered again. Each run writes a
line to a file as it begins. Three ways, one after the other, with the same kills:

kept, guarded   ``redlock_beat_eta_threshold`` and ``redlock_beat_once_per_occurrence``; "begun" are those to which the
                guard said yes: one whose worker is killed between that and its line is among those that never ran
kept            the threshold alone
Celery          as it is: a worker holds the message, and the broker delivers it again
"""

from __future__ import annotations

import collections
import json
import os
import random
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

from celery import Celery

import redlock_beat
from redlock_beat import Schedule
from redlock_beat.store.keys import Keys
from tests.beats import Process
from tests.servers import Server

K = Keys("redlock-beat")
MODULE = "benchmarks.countdowns"
WAYS = ("kept, guarded", "kept", "Celery")


def make(broker: str, way: str, visible: float, threshold: float) -> Celery:
    """The application of the workers, the beats and the caller."""
    app = Celery("countdowns", broker=broker, set_as_current=False)
    app.conf.update(
        broker_transport_options={"visibility_timeout": visible},
        broker_connection_retry_on_startup=True,
        worker_prefetch_multiplier=4,
        task_ignore_result=True,
        task_acks_late=True,
        redlock_beat_lease_ttl=2.0,
        redlock_beat_worker_ttl=5,
        redlock_beat_once_per_occurrence=way == "kept, guarded",
        redlock_beat_eta_threshold=None if way == "Celery" else threshold,
    )
    redlock_beat.watch(app)
    if way != "Celery":
        redlock_beat.keep_countdowns(app)

    @app.task(name="count", shared=False)
    def count(which: int) -> None:
        """Write that it began, in one step that others' lines cannot fall into."""
        file = os.open(os.environ["COUNTDOWNS_FILE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, f"{which}\n".encode())
        os.close(file)
        time.sleep(0.05)

    app.finalize()
    return app


if "COUNTDOWNS" in os.environ:
    app = make(**json.loads(os.environ["COUNTDOWNS"]))


class Trial:
    """Workers and beats on one server, and what they ran."""

    def __init__(self, way: str, visible: float, threshold: float) -> None:
        self.server = Server("valkey", "--appendonly", "yes").start()
        self.file = Path(tempfile.mkdtemp()) / "runs"
        said = {"broker": self.server.url(), "way": way, "visible": visible, "threshold": threshold}
        self.app = make(**said)
        self.env = {"COUNTDOWNS": json.dumps(said), "COUNTDOWNS_FILE": str(self.file)}
        self.running: list[tuple[str, Process]] = []
        self.kills = 0
        for kind in ("worker", "beat") * 3:
            self.start(kind)
        for kind, one in self.running:
            one.says("ready" if kind == "worker" else "This beat is ")

    def start(self, kind: str) -> None:
        command = ("worker", "-P", "prefork", "-c", "4") if kind == "worker" else ("beat", "-S", "redlock")
        self.running.append((kind, Process(self.server.url(), command=command, module=MODULE, **self.env)))

    def kill_one(self, chance: random.Random) -> None:
        """Kill one with all its processes, as when its machine goes down, and start another."""
        kind, one = self.running.pop(chance.randrange(len(self.running)))
        os.killpg(one.pid, signal.SIGKILL)
        one.close()
        self.kills += 1
        self.start(kind)

    def runs(self) -> collections.Counter[int]:
        """How often each ran."""
        lines = self.file.read_text().split() if self.file.exists() else []
        return collections.Counter(map(int, lines))

    def close(self) -> None:
        for _, one in self.running:
            os.killpg(one.pid, signal.SIGKILL)
            one.close()
        self.server.close()


def trial(way: str, calls: int, revoked: int, countdown: float, visible: float, every: float) -> dict[str, Any]:
    """Make the calls, kill while they wait and run, and count when all is quiet."""
    chance = random.Random(7)
    one = Trial(way, visible, threshold=visible / 2)
    try:
        count = one.app.tasks["count"]
        for i in range(calls):
            count.apply_async((i,), countdown=countdown)
        doomed = [count.apply_async((calls + i,), countdown=countdown).id for i in range(revoked)]
        due = time.monotonic() + countdown
        for i, id_ in enumerate(doomed):
            if i % 10 == 0:
                one.kill_one(chance) if i else None
            one.app.control.revoke(id_)
        while time.monotonic() < due + countdown / 3:
            time.sleep(chance.uniform(every / 2, every * 1.5))
            one.kill_one(chance)
        # Nobody is killed any more: what a worker held is delivered again, and everything runs.
        time.sleep(2 * visible + 25)
        runs = one.runs()
        wanted = [runs[i] for i in range(calls)]
        found = {
            "calls": calls,
            "once": wanted.count(1),
            "never": wanted.count(0),
            "more than once": sum(1 for many in wanted if many > 1),
            "most": max(wanted),
            "runs": sum(wanted),
            "begun": one.server.client().zcard(K.begun),
            "revoked": revoked,
            "revoked that ran": sum(1 for i in range(revoked) if runs[calls + i]),
            "left": Schedule(one.app).status().countdowns,
            "kills": one.kills,
        }
        print(f"{way:15} " + ", ".join(f"{key} {value}" for key, value in found.items()), flush=True)
        return found
    finally:
        one.close()


def main(quick: bool = False) -> dict[str, Any]:
    """Every way once."""
    if quick:
        return {way: trial(way, 30, 5, 6.0, 4.0, 3.0) for way in WAYS[:1]}
    return {way: trial(way, 1000, 100, 90.0, 20.0, 5.0) for way in WAYS}
