"""How late messages are, from nominal due to being in the queue, by the server's clock; and the minute burst."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from celery.schedules import crontab

from redlock_beat import Schedule
from redlock_beat.clock import micros
from tests.beats import Process, ledger
from tests.servers import Server, eventually

ROOT = Path(__file__).parent.parent
CONF = '{"redlock_beat_ledger_size": 1000000}'


def main(quick: bool = False) -> dict[str, Any]:
    """Print and return lateness by rate, the burst, and the start."""
    found: dict[str, Any] = {"lateness": {}, "burst": {}, "start": {}}
    print(f"{'occurrences/s':>14}{'p50':>9}{'p99':>9}{'max':>9}   ms, {3 if quick else 20} s each")
    for rate in (10,) if quick else (1, 100, 1_000):
        late = _lateness(rate, 3 if quick else 20)
        row = {"p50": late[len(late) // 2], "p99": late[int(len(late) * 0.99)], "max": late[-1]}
        found["lateness"][str(rate)] = row
        print(f"{rate:>14}{row['p50']:>9.2f}{row['p99']:>9.2f}{row['max']:>9.2f}", flush=True)
    many = 1_000 if quick else 100_000
    print("\nfrom starting the process to the first message, the best of three")
    for entries in (many, 0):
        label = f"{entries:,} configured entries that did not change"
        found["start"][label] = min(_unchanged(entries, 1 if quick else 3))
        print(f"{label:<48} {found['start'][label]:.2f} s", flush=True)
    if quick:
        return found
    print("\n10,000 crontabs due at one minute: seconds to the last message")
    found["burst"]["redlock_beat"] = _burst("redlock")
    print(f"redlock_beat    {found['burst']['redlock_beat']:.2f}", flush=True)
    from .peers import RedBeat

    if not RedBeat().missing():
        found["burst"]["celery-redbeat"] = _burst("redbeat.RedBeatScheduler")
        ratio = found["burst"]["celery-redbeat"] / found["burst"]["redlock_beat"]
        print(f"celery-redbeat  {found['burst']['celery-redbeat']:.2f}   ({ratio:.0f} times as long)")
    print("\nfrom starting the process to the first message")
    found["start"]["20,000 configured entries stored, some overdue"] = _start(20_000)
    found["start"]["bare celery beat, one entry"] = _start(0)
    for name, value in found["start"].items():
        print(f"{name:<48} {value:.2f} s")
    return found


def _lateness(rate: int, seconds: int) -> list[float]:
    server = Server("valkey").start()
    beat = Process(server.url(), "-l", "WARNING", PROJECT_ENTRIES="0", PROJECT_TTL="5", PROJECT_CONF=CONF)
    try:
        client, schedule = server.client(), Schedule.from_url(server.url())
        eventually(lambda: client.exists("{redlock-beat}:lease"), "it leads", 60)
        with schedule.batch() as batch:
            for i in range(rate):
                batch.add(f"e{i}", "tasks.add", 1.0, args=(i,))
        # Spread over the second: entries made in one page are due at one instant.
        now = micros(schedule.now())
        for i in range(rate):
            uid, rev, _, *rest = client.hget("{redlock-beat}:state", f"e{i}").split(" ")
            definition = json.loads(client.hget("{redlock-beat}:entries", f"e{i}"))
            definition["at"] = now + i * 1_000_000 // rate
            first = definition["at"] + 2_000_000
            pipe = client.pipeline()
            pipe.hset("{redlock-beat}:entries", f"e{i}", json.dumps(definition))
            pipe.hset("{redlock-beat}:state", f"e{i}", " ".join([uid, rev, str(first), *rest]))
            pipe.zadd("{redlock-beat}:due", {f"e{i}": first / 1e6})
            pipe.execute()
        time.sleep(2 + seconds)
        rows = [row for row in ledger(client, "sent") if int(row["nominal"]) > now + 3_000_000]
        return sorted((int(row["at"]) - int(row["nominal"])) / 1000 for row in rows)
    finally:
        beat.close()
        server.close()


def _burst(scheduler: str) -> float:
    """Seconds from the minute to the last of 10,000 messages."""
    server = Server("valkey").start()
    url = server.url()
    env = {"PROJECT_ENTRIES": "0", "PROJECT_TTL": "5"}
    if scheduler == "redlock":
        with Schedule.from_url(url).batch() as batch:
            for i in range(10_000):
                batch.add(f"e{i}", "tasks.add", crontab(), args=(i,))
    else:
        env["PROJECT_CONF"] = json.dumps({"redbeat_redis_url": server.url(1)})
        code = (
            "from tests.project import app; from celery.schedules import crontab; from redbeat import *\n"
            "for i in range(10_000): RedBeatSchedulerEntry(f'e{i}', 'tasks.add', crontab(), args=[i], app=app).save()"
        )
        subprocess.run(
            [sys.executable, "-c", code], check=True, cwd=ROOT, env={**os.environ, "PROJECT_BROKER": url, **env}
        )
    left = 60 - time.time() % 60
    time.sleep(max(0, left - 1 if left > 30 else 0))  # begin shortly after a minute, so that it is awake at the next
    beat = Process(url, "-l", "WARNING", command=("beat", "-S", scheduler), **env)
    try:
        client = server.client()
        client.delete("celery")
        minute = None
        while True:
            sec, micro = client.time()
            at = sec + micro / 1e6
            length = client.llen("celery")
            if minute is None and at % 60 > 20:
                minute = at - at % 60 + 60
                client.delete("celery")  # a first round, of those that were overdue
                length = 0
            if minute is not None and at >= minute and length >= 10_000:
                return at - minute
            time.sleep(0.002)
    finally:
        beat.close()
        server.close()


def _start(entries: int) -> float:
    server = Server("valkey").start()
    try:
        env = {"PROJECT_ENTRIES": str(entries), "PROJECT_EVERY": "86400", "PROJECT_TTL": "5"}
        client = server.client()
        if entries:
            first = Process(server.url(), **env)
            first.says("The configuration is synced", 120)
            first.end()
            first.close()
            for i in range(100):
                name = f"entry-{i:02d}"
                uid, rev, nominal, *rest = client.hget("{redlock-beat}:state", name).split(" ")
                client.hset(
                    "{redlock-beat}:state", name, " ".join([uid, rev, str(int(nominal) - 86_400_000_000), *rest])
                )
                client.zadd("{redlock-beat}:due", {name: 1.0})
            client.delete("celery")
            command: tuple[str, ...] = ("beat", "-S", "redlock")
        else:
            env.update(PROJECT_ENTRIES="1", PROJECT_EVERY="0.01")
            command = ("beat", "-s", os.path.join(server.dir, "schedule"))
        began = time.perf_counter()
        beat = Process(server.url(), "-l", "WARNING", command=command, **env)
        try:
            eventually(lambda: client.llen("celery"), "the first message", 60)
            return time.perf_counter() - began
        finally:
            beat.close()
    finally:
        server.close()


def _unchanged(entries: int, rounds: int) -> list[float]:
    """Seconds to the first message of a beat whose configuration did not change, each a start."""
    server, took = Server("valkey").start(), []
    env = {"PROJECT_ENTRIES": str(entries), "PROJECT_EVERY": "86400", "PROJECT_TTL": "5"}
    try:
        client, schedule = server.client(), Schedule.from_url(server.url())
        first = Process(server.url(), **env)
        eventually(
            lambda: ":~" not in (client.get("{redlock-beat}:config") or ":~"), "the configuration is synced", 120
        )
        first.end()
        first.close()
        for _ in range(rounds):
            client.delete("celery")
            schedule.add("due", "tasks.add", 86_400, run_now=True, replace=True)
            began = time.perf_counter()
            beat = Process(server.url(), "-l", "WARNING", **env)
            eventually(lambda: client.llen("celery"), "the first message", 60)
            took.append(time.perf_counter() - began)
            beat.end()
            beat.close()
        return took
    finally:
        server.close()
