"""From the return of an edit to the send of the entry it made due, at a leader that sleeps."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from redlock_beat import AsyncSchedule, Schedule
from redlock_beat.clock import micros
from redlock_beat.schedule.transfer import Arrival, bring_in
from tests.beats import Process
from tests.servers import Server, eventually

DOORS = ("Schedule", "AsyncSchedule", "batch", "import", "command line")


def main(quick: bool = False) -> None:
    """Measure each door, and print median, p99 and the worst."""
    many = dict.fromkeys(DOORS, 5 if quick else 200)
    many["command line"] = 2 if quick else 20
    server = Server("valkey").start()
    directory = tempfile.mkdtemp()
    beat = Process(server.url(), PROJECT_ENTRIES="0", PROJECT_TTL="5", TMPDIR=directory)
    try:
        beat.says("This beat is leader")
        schedule = Schedule.from_url(server.url())
        schedule.add("far", "tasks.add", 86_400)
        print(f"\n{'door':<14} {'edits':>6} {'median':>9} {'p99':>9} {'worst':>9}   ms from return to send")
        for door in DOORS:
            took = sorted(_measure(door, schedule, server, many[door]))
            p99 = took[min(len(took) - 1, int(len(took) * 0.99))]
            print(f"{door:<14} {len(took):>6} {statistics.median(took):>9.2f} {p99:>9.2f} {took[-1]:>9.2f}")
    finally:
        beat.close()
        server.close()


def _measure(door: str, schedule: Schedule, server: Server, many: int) -> list[float]:
    loop = asyncio.new_event_loop()
    aschedule = AsyncSchedule.from_url(server.url())
    took = []
    for i in range(many):
        name = f"{door}-{i}"
        returned = _edit(door, name, schedule, aschedule, loop, server)
        row = eventually(lambda name=name: schedule.history(name, n=1), f"{name} is sent", 20)[0]
        took.append(row.at.timestamp() * 1000 - returned / 1000)
        schedule.remove(name)
        time.sleep(0.01)  # the leader goes back to sleep
    loop.run_until_complete(aschedule.close())
    loop.close()
    return took


def _edit(door, name, schedule, aschedule, loop, server) -> int:  # type: ignore[no-untyped-def]
    """Make an entry due through one door; the server's time at the return."""
    if door == "Schedule":
        schedule.add(name, "tasks.add", 3600, run_now=True)
    elif door == "AsyncSchedule":
        loop.run_until_complete(aschedule.add(name, "tasks.add", 3600, run_now=True))
    elif door == "batch":
        with schedule.batch() as batch:
            batch.add(name, "tasks.add", 3600, run_now=True)
    elif door == "import":
        entry = schedule.operations.making(name, "tasks.add", 3600, (), None, None, {})
        from redlock_beat.entries.state import State

        bring_in(schedule, [Arrival(entry, State(entry.uid, 1, micros(schedule.now())))])
    else:
        command = [sys.executable, *["-m", "celery", "-A", "tests.project", "redlock", "add"], name, "tasks.add"]
        command += ["--every", "1h", "--run-now"]
        env = {**os.environ, "PROJECT_BROKER": server.url(), "PROJECT_ENTRIES": "0"}
        subprocess.run(command, env=env, cwd=Path(__file__).parent.parent, check=True, capture_output=True)
    return micros(schedule.now())
