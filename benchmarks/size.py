"""A very large schedule: adding, the first page, status, export; what it takes in Redis and here."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
from celery.schedules import crontab

from redlock_beat import Schedule
from tests.servers import Server

PAGE = 50_000


def main(quick: bool = False) -> None:
    """Fill an embedded server with a million entries and look at it."""
    total = 10_000 if quick else 1_000_000
    server = Server("valkey").start()
    try:
        schedule = Schedule.from_url(server.url())
        client = server.client()
        before = int(client.info("memory")["used_memory"])
        began = time.monotonic()
        for start in range(0, total, PAGE):
            with schedule.batch() as batch:
                for i in range(start, min(start + PAGE, total)):
                    batch.add(f"entry-{i}", "tasks.add", crontab(minute=i % 60, hour=i % 24), args=(i,))
        took = time.monotonic() - began
        used = int(client.info("memory")["used_memory"]) - before
        print(f"{total} entries added in {took:.1f} s ({total / took:.0f}/s), {used / total:.0f} bytes each in Redis")
        env = {**os.environ, "PROJECT_BROKER": server.url(), "PROJECT_ENTRIES": "0"}
        command = [sys.executable, "-m", "celery", "-A", "tests.project", "redlock"]
        bare = _timed([*command, "--help"], env)[0]
        for verb in (["list", "-n", "100"], ["list", "--json", "-n", "100"], ["status"], ["health"]):
            took, _ = _timed([*command, *verb], env)
            print(f"redlock {' '.join(verb):<20} {took:.2f} s, of which {bare:.2f} s is starting Celery")
        for verb, call in (("first page", lambda: next(iter(schedule))), ("status()", schedule.status)):
            began = time.monotonic()
            call()
            print(f"schedule, {verb:<11} {(time.monotonic() - began) * 1000:.1f} ms")
        took, peak = _timed([*command, "export"], env)
        print(f"redlock export               {took:.1f} s, {peak / 2**20:.0f} MiB at its largest")
        print(f"redlock --help               {_timed([*command, '--help'], env)[1] / 2**20:.0f} MiB")
    finally:
        server.close()


def _timed(command: list[str], env: dict[str, str]) -> tuple[float, int]:
    """How long a command took, and the most memory it used."""
    began, peak = time.monotonic(), 0
    process = subprocess.Popen(command, env=env, cwd=Path(__file__).parent.parent, stdout=subprocess.DEVNULL)
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            peak = max(peak, watched.memory_info().rss)
        except psutil.NoSuchProcess:
            break
        time.sleep(0.01)
    return time.monotonic() - began, peak
