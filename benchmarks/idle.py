"""What a tick costs against the number of entries that are not due; idleness; memory."""

from __future__ import annotations

import contextlib
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import psutil

from redlock_beat import Schedule
from redlock_beat.clock import micros
from redlock_beat.store.keys import Keys
from tests.beats import Beat, Process, make_app
from tests.servers import Server, eventually

K = Keys("redlock-beat")
FAR = 4_000_000_000_000_000


def main(quick: bool = False) -> dict[str, Any]:
    """Print and return the figures."""
    found: dict[str, Any] = {}
    found["tick"] = _ticks((100, 1_000) if quick else (1_000, 10_000, 100_000, 1_000_000), 10 if quick else 300)
    found["memory"] = _memory(200 if quick else 20_000)
    if not quick:
        found["idle"] = _idle(100_000, 20)
    return found


def _fill(server: Server, size: int) -> None:
    """Entries that are due in a far future, written as the API writes them."""
    schedule = Schedule.from_url(server.url())
    made = schedule.add("model", "tasks.add", 3600, args=(1,))
    client = server.client()
    definition = json.loads(client.hget(K.entries, "model"))
    for start in range(0, size, 5_000):
        names = [f"idle-{i}" for i in range(start, min(size, start + 5_000))]
        texts = {name: json.dumps({**definition, "uid": f"u{name}"}, separators=(",", ":")) for name in names}
        client.hset(K.entries, mapping=texts)
        client.hset(K.state, mapping={name: f"u{name} {made.revision} {FAR} - 0 0" for name in names})
        client.zadd(K.due, dict.fromkeys(names, FAR / 1000000.0))
    schedule.remove("model")


def _ticks(sizes: tuple[int, ...], times: int) -> dict[str, float]:
    """Microseconds of a turn in which ten of all entries are due, by how many there are.

    Each size has a server of its own, and they take turns, so that whatever else the machine does hits all alike.
    """
    with contextlib.ExitStack() as stack:
        turns = {size: _turns(size, stack) for size in sizes}
        took: dict[int, list[float]] = {size: [] for size in sizes}
        for i in range(times):
            for size in sizes[i % len(sizes) :] + sizes[: i % len(sizes)]:
                took[size].append(turns[size]())
    found = {str(size): statistics.median(one) for size, one in took.items()}
    print(f"{'idle entries':>13}{'a turn with ten due':>22}")
    for size in sizes:
        ratio = statistics.median(b / a for a, b in zip(took[sizes[0]], took[size], strict=True))
        print(f"{size:>13}{found[str(size)]:>19.0f} us{ratio:>8.2f}", flush=True)
    return found


def _turns(size: int, stack: contextlib.ExitStack) -> Callable[[], float]:
    """What takes one turn among so many entries, and says how long it took."""
    server = Server("valkey").start()
    stack.callback(server.close)
    _fill(server, size)
    beat = Beat(make_app(server.url(), redlock_beat_lease_ttl=60.0, redlock_beat_render_limit=60.0)).lead()
    stack.callback(beat.close)
    schedule, client = Schedule.from_url(server.url()), server.client()
    names = [f"due-{i}" for i in range(10)]
    for name in names:
        schedule.add(name, "tasks.add", 86_400, run_now=True)

    def turn() -> float:
        for name in names:
            uid, rev, _nominal, *rest = client.hget(K.state, name).split(" ")
            now = micros(schedule.now())
            client.hset(K.state, name, " ".join([uid, rev, str(now), *rest]))
            client.zadd(K.due, {name: now / 1e6})
        beat.parts.lease.renew(beat.term)
        began = time.perf_counter()
        turn = beat.parts.dispatcher.turn(beat.term)
        took = (time.perf_counter() - began) * 1e6
        assert turn.sent == 10
        return took

    return turn


def _memory(many: int) -> dict[str, float]:
    from celery.schedules import crontab

    found = {}
    for how in ("API", "configured"):
        server = Server("valkey").start()
        try:
            client = server.client()
            before = int(client.info("memory")["used_memory"])
            if how == "API":
                with Schedule.from_url(server.url()).batch() as batch:
                    for i in range(many):
                        batch.add(f"entry-{i}", "tasks.add", crontab(minute=i % 60, hour=i % 24), args=(i,))
            else:
                entries = {
                    f"entry-{i}": {"task": "tasks.add", "schedule": crontab(minute=i % 60, hour=i % 24), "args": (i,)}
                    for i in range(many)
                }
                Beat(make_app(server.url(), entries)).lead().close()
            found[f"Redis, an entry ({how})"] = (int(client.info("memory")["used_memory"]) - before) / many
        finally:
            server.close()
    for name, value in found.items():
        print(f"{name:<32}{value:>8.0f} bytes")
    for size in (1_000, many * 5):
        server = Server("valkey").start()
        beat = None
        try:
            _fill(server, size)
            beat = Process(server.url(), PROJECT_ENTRIES="0", PROJECT_EVERY="1").says("This beat is leader")
            time.sleep(2)
            key = f"leader's RSS, {size} entries"
            found[key] = psutil.Process(beat.pid).memory_info().rss / 2**20
            print(f"leader's RSS with {size} entries: {found[key]:.1f} MiB")
        finally:
            if beat is not None:
                beat.close()
            server.close()
    return found


def _idle(entries: int, seconds: int) -> dict[str, float]:
    """A leader with nothing due: commands a renewal, and of a core."""
    server = Server("valkey").start()
    beat = None
    try:
        _fill(server, entries)
        beat = Process(server.url(), PROJECT_ENTRIES="0", PROJECT_TTL="5").says("This beat is leader")
        client = server.client()
        eventually(lambda: client.exists(K.config), "it has synced")
        time.sleep(3)
        process = psutil.Process(beat.pid)
        before, calls = process.cpu_times(), client.info("commandstats")
        time.sleep(seconds)
        after, then = process.cpu_times(), client.info("commandstats")
        used = (after.user + after.system - before.user - before.system) / seconds * 100
        sent = sum(
            then.get(f"cmdstat_{name}", {}).get("calls", 0) - calls.get(f"cmdstat_{name}", {}).get("calls", 0)
            for name in ("evalsha", "eval")
        )
        renewals = seconds / (5 / 3)
        print(f"idle, {entries} entries: {used:.2f} % of a core, {sent / renewals:.2f} commands a renewal")
        return {"percent of a core": used, "commands a renewal": sent / renewals}
    finally:
        if beat is not None:
            beat.close()
        server.close()
