"""What reporting costs a worker: runs of a task that does nothing, with `redlock_beat.watch` and without, in turns."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from celery import Celery

from tests.servers import Server

ROOT = Path(__file__).parents[1]
POOLS = ("solo", "prefork", "threads")
#: Rounds; each has one run of either kind, side by side.
ROUNDS = 7


def main(quick: bool = False) -> dict[str, Any]:
    """Print and return runs a second, and CPU time a run, by pool and by whether they are reported."""
    many, rounds = (500, 1) if quick else (5_000, ROUNDS)
    server = Server("valkey").start()
    print(f"a task that does nothing, each run of an entry; {many} messages, median of {rounds} rounds (spread)")
    found: dict[str, Any] = {}
    try:
        for pool in POOLS[:1] if quick else POOLS:
            taken: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
            for turn in range(rounds):
                for watched in (False, True) if turn % 2 else (True, False):
                    taken[watched].append(_seconds(server, pool, many, watched=watched))
            found[pool] = _said(pool, many, taken[False], taken[True])
    finally:
        server.close()
    return found


def _said(pool: str, many: int, plain: list[tuple[float, float]], watched: list[tuple[float, float]]) -> dict[str, Any]:
    """Print and return the figures of a pool; ratios are those within a round."""
    by_clock = [one[0] / other[0] for one, other in zip(plain, watched, strict=True)]
    by_cpu = [one[1] / other[1] for one, other in zip(plain, watched, strict=True)]
    rates = [statistics.median(many / one[0] for one in kind) for kind in (plain, watched)]
    costs = [statistics.median(one[1] / many * 1e6 for one in kind) for kind in (plain, watched)]
    print(f"{pool:<8} runs a second: plain {rates[0]:.0f}, watched {rates[1]:.0f}, ratio {_spread(by_clock)}")
    print(
        f"         CPU a run: plain {costs[0]:.0f} us, watched {costs[1]:.0f} us, ratio {_spread(by_cpu)}", flush=True
    )
    return {"rates": rates, "cpu_us": costs, "ratios": by_clock, "cpu_ratios": by_cpu}


def _spread(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


def _seconds(server: Server, pool: str, many: int, *, watched: bool) -> tuple[float, float]:
    """Seconds, and seconds of CPU, between two points of a queue's way down to nothing."""
    client = server.client()
    client.flushall()
    _fill(server, many + 400)
    with tempfile.NamedTemporaryFile() as diary:
        env = {
            **os.environ,
            "RUNS_BROKER": server.url(),
            "RUNS_SCHEDULE": server.url(),
            "RUNS_DIARY": diary.name,
            "PYTHONPATH": str(ROOT),
            "RUNS_UNWATCHED": "" if watched else "1",
            "RUNS_PREFETCH": "32",
            "RUNS_TTL": "30",
        }
        command = [sys.executable, "-m", "celery", "-A", "tests.runs", "worker", "-P", pool, "-c", "2", "-l", "error"]
        command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _until(client, many, process)
            began, used = time.perf_counter(), _cpu(process.pid)
            _until(client, 0, process)
            return time.perf_counter() - began, _cpu(process.pid) - used
        finally:
            process.kill()  # at its end Celery's prefork may wait half a minute for its processes
            process.wait(30)


def _cpu(pid: int) -> float:
    """Seconds of CPU of a worker and of its pool."""
    main = psutil.Process(pid)
    return sum(one.cpu_times().user + one.cpu_times().system for one in (main, *main.children()))


def _until(client: Any, left: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 300
    while client.llen("celery") > left:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the worker does not work")
        time.sleep(0.002)


def _fill(server: Server, many: int) -> None:
    """Messages as the schedule sends them: one by Celery, and the others with ids of their own."""
    app = Celery(broker=server.url(), set_as_current=False)
    headers = {"redlock_beat_entry": "entry", "redlock_beat_due": time.time()}
    app.send_task("runs.nothing", task_id="0" * 36, headers=headers)
    client = server.client()
    (text,) = client.lrange("celery", 0, -1)
    for start in range(0, many, 500):
        client.lpush("celery", *(text.replace("0" * 36, f"{number:036d}") for number in range(start, start + 500)))
    app.close()
