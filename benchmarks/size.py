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
from redlock_beat.schedule.transfer import check, export, load
from tests.beats import Beat, make_app
from tests.servers import Server, binary

PAGE = 50_000


def main(quick: bool = False) -> None:
    """Add, import and sync some; then fill an embedded server with a million entries and look at it."""
    for kind in ("valkey", "redis"):
        if binary(kind):
            _moved(kind, 1_000 if quick else 20_000)
            _configured(kind, 1_000 if quick else 20_000)
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


def _crontab(i: int) -> crontab:
    """Four fields of five."""
    return crontab(minute=i % 60, hour=i % 24, day_of_month=i % 28 + 1, day_of_week="1-5")


def _moved(kind: str, total: int) -> None:
    """How many entries a second are added in batches, and imported; and what that costs here and in Redis."""
    server = Server(kind).start()
    try:
        schedule, client = Schedule.from_url(server.url()), server.client()
        whens = [_crontab(i) for i in range(total)]

        def add() -> None:
            with schedule.batch() as batch:
                for i, when in enumerate(whens):
                    batch.add(f"entry-{i}", "tasks.add", when, args=(i, i))

        def bring_in() -> None:
            check(lines)
            for _ in load(schedule, lines):
                pass

        lines: list[str] = []
        for what, step in (
            ("added", add),
            ("exported", lambda: lines.extend(export(schedule))),
            ("imported", bring_in),
        ):
            if what == "imported":
                client.flushall()
            client.config_resetstat()
            began, spent = time.monotonic(), time.process_time()
            step()
            took, spent = time.monotonic() - began, time.process_time() - spent
            scripts = client.info("commandstats").get("cmdstat_evalsha", {"usec": 0, "calls": 1})
            print(
                f"{kind:<7} {total} entries {what}: {total / took:.0f}/s; of each {spent / total * 1e6:.0f} us here, "
                f"{scripts['usec'] / total:.1f} us in scripts of {scripts['usec'] / scripts['calls'] / 1000:.1f} ms"
            )
    finally:
        server.close()


def _configured(kind: str, total: int) -> None:
    """What a configured entry takes in Redis: by the keys, and by all that the server uses more than before."""
    server = Server(kind).start()
    try:
        client = server.client()
        for entries in (0, total):
            before = int(client.info("memory")["used_memory"])
            configured = {
                f"entry-{i:05d}": {"task": "tasks.add", "schedule": _crontab(i), "args": (i, i)} for i in range(entries)
            }
            Beat(make_app(server.url(), configured)).lead().close()
        used = int(client.info("memory")["used_memory"]) - before
        keys = {key: int(client.memory_usage(key, samples=0) or 0) / total for key in client.keys("*")}
        parts = ", ".join(f"{key.split(':')[1]} {size:.0f}" for key, size in sorted(keys.items()) if size >= 1)
        print(
            f"{kind:<7} a configured entry: {sum(keys.values()):.0f} bytes in keys ({parts}), {used / total:.0f} in all"
        )
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
