"""How soon the page answers with many entries, how long it holds Redis, and what ten watchers do to a beat."""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections import defaultdict, deque
from typing import Any

from redlock_beat import Interval, Schedule
from redlock_beat.clock import micros
from redlock_beat.entries.codec import encode
from redlock_beat.entries.entry import Entry
from redlock_beat.entries.state import State
from redlock_beat.store.requests import Request
from redlock_beat.web.options import Options
from redlock_beat.web.site import Site
from tests.beats import Process, ledger
from tests.servers import Server, eventually
from tests.web import Visitor

dice = random.Random(1)
WORDS = ("mail", "report", "sync", "invoice", "usage", "cache", "index", "digest", "export", "import", "clean", "ping")
#: Watchers, and how often each looks: as often as the page's script does.
WATCHERS, EVERY = 10, 5.0
CONF = '{"redlock_beat_ledger_size": 1000000}'


def main(quick: bool = False) -> dict[str, Any]:
    """Print and return milliseconds by question, and lateness with and without watchers."""
    many = 5_000 if quick else 1_000_000
    found: dict[str, Any] = {"entries": many, "questions": _questions(many, 10 if quick else 200)}
    found["watched"] = _watched(1 if quick else 3, 2 if quick else 20, 10 if quick else 200)
    return found


def fill(server: Server, many: int) -> None:
    """Entries with names of all kinds, written as an import would leave them."""
    client, schedule = server.client(), Schedule.from_url(server.url())
    keys, now = schedule.keys, micros(schedule.now())
    pipe = client.pipeline(transaction=False)
    for first in range(0, many, 5_000):
        names, states, due = {}, {}, {}
        for i in range(first, min(many, first + 5_000)):
            word = WORDS[i % len(WORDS)]
            name = f"{word}-{i * 7919 % many:07d}-{WORDS[i // 12 % 12]}"
            labels = {"tenant": str(i % 500), "team": word}
            entry = Entry(name, f"app.{word}", Interval.of(7200), (i,), labels=labels, uid=f"u{i}", anchor=now)
            at = now + 3_600_000_000 + i * 1_000
            names[name], states[name] = encode(entry), State(entry.uid, 1, at).text()
            due[name] = at / 1e6
        pipe.hset(keys.entries, mapping=names)
        pipe.hset(keys.state, mapping=states)
        pipe.zadd(keys.due, due)
        pipe.execute()


def _questions(many: int, times: int) -> dict[str, Any]:
    server = Server("valkey", "--slowlog-log-slower-than", "1000", "--slowlog-max-len", "10000").start()
    try:
        fill(server, many)
        client = server.client()
        client.config_resetstat()
        client.slowlog_reset()
        page = Visitor(Site(Schedule.from_url(server.url(), retry_for=30.0), Options()))
        page.site.warm()
        asked = _noted(page.site.schedule)
        first = _timed(lambda: page.get("/"))
        eventually(lambda: page.site.catalogue.known().complete, "the catalogue is complete", 900)
        print(f"{many:,} entries; the first page of a new process: {first:.0f} ms")
        print(f"{'':<26}{'p50':>8}{'p95':>8}{'cpu':>8}   ms")
        rows: dict[str, Any] = {"the first page of a new process": first}
        for what, query in {
            "first page": dict,
            "search by prefix": lambda: {
                "q": f"{dice.choice(WORDS)}-{dice.randrange(many):07d}"[: dice.randint(1, 12)]
            },
            "search by a part": lambda: {"q": f"-{dice.randrange(many):07d}"[: dice.randint(3, 8)]},
            "by state and task": lambda: {"state": "active", "task": dice.choice(WORDS)},
            "by label": lambda: {"label": f"tenant={dice.randrange(500)}"},
            "by when they are sent": lambda: {"sort": "next"},
        }.items():
            row = rows[what] = _asked(page, query, times)
            print(f"{what:<26}{row['p50']:>8.1f}{row['p95']:>8.1f}{row['cpu']:>8.1f}", flush=True)
        slow = max(client.slowlog_get(10_000), key=lambda one: one["duration"], default={"duration": 0, "command": b""})
        said = bytes(slow["command"]).decode("utf-8", "replace").split(" ")[0]
        held = _held(page.site.schedule, client, asked)
        print(f"\n{'Redis is held by':<26}{'ms':>8}   (median of 20 times, the longest request of its kind)")
        for what, took in held[:5]:
            print(f"{what:<26}{took:>8.2f}")
        print(f"the longest on the wall clock, with waits for a core: {slow['duration'] / 1000:.1f} ms ({said})")
        return {**rows, "redis": {"longest": held[0][1], "longest on the wall clock": slow["duration"] / 1000}}
    finally:
        server.close()


def _noted(schedule: Any) -> dict[str, deque[Any]]:
    """The last requests of each kind that a schedule sends from now on."""
    asked: dict[str, deque[Any]] = defaultdict(lambda: deque(maxlen=10))
    ask = schedule.ask

    def noted(request: Any) -> Any:
        if isinstance(request, Request) and not request.writes:
            asked[request.script or " ".join(str(one[0]) for one in request.commands)].append(request)
        return ask(request)

    schedule.ask = noted
    return asked


def _held(schedule: Any, client: Any, asked: dict[str, deque[Any]]) -> list[tuple[str, float]]:
    """For how many milliseconds each kind of request holds Redis, the longest first.

    Each is sent again many times: the clock of the log of slow commands goes on while the server waits for a core, so
    the longest of all that were sent says more about the machine.
    """
    client.config_set("slowlog-log-slower-than", 0)
    found = {}
    for what, requests in list(asked.items()):
        for request in list(requests):
            took = []
            for _ in range(20):
                client.slowlog_reset()
                schedule.ask(request)
                took.append(max(one["duration"] for one in client.slowlog_get(100)) / 1000)
            found[what] = max(found.get(what, 0.0), statistics.median(took))
    return sorted(found.items(), key=lambda one: -one[1])


def _timed(what: Any) -> float:
    began = time.perf_counter()
    what()
    return (time.perf_counter() - began) * 1000


def _asked(page: Visitor, query: Any, times: int) -> dict[str, float]:
    cpu = time.process_time()
    took = sorted(_timed(lambda: page.get("/", **query())) for _ in range(times))
    row = {"p50": statistics.median(took), "p95": took[int(times * 0.95)]}
    row["cpu"] = (time.process_time() - cpu) * 1000 / times
    return row


def _watched(rounds: int, seconds: int, rate: int) -> dict[str, Any]:
    """Lateness of a beat at *rate* a second, by turns with nobody watching and with ten."""
    server = Server("valkey").start()
    beat = Process(server.url(), "-l", "WARNING", PROJECT_ENTRIES="0", PROJECT_TTL="5", PROJECT_CONF=CONF)
    found: dict[str, list[list[float]]] = {"alone": [], "watched": []}
    try:
        client, schedule = server.client(), Schedule.from_url(server.url())
        eventually(lambda: client.exists("{redlock-beat}:lease"), "it leads", 60)
        with schedule.batch() as batch:
            for i in range(rate):
                batch.add(f"e{i}", "tasks.add", 1.0, args=(i,))
        eventually(lambda: len(ledger(client)) > rate, "it sends")
        for _ in range(rounds):
            for how, rows in found.items():
                client.delete("{redlock-beat}:ledger", "celery")
                with _Watchers(server, WATCHERS if how == "watched" else 0):
                    time.sleep(seconds)
                sent = ledger(client, "sent")
                rows.append(sorted((int(one["at"]) - int(one["nominal"])) / 1000 for one in sent))
    finally:
        beat.close()
        server.close()
    print(f"\nlateness at {rate} a second{'p50':>12}{'p99':>8} ms{'sent/s':>10}")
    summary: dict[str, Any] = {}
    for how, rows in found.items():
        row = {
            "p50": statistics.median(one[len(one) // 2] for one in rows),
            "p99": statistics.median(one[int(len(one) * 0.99)] for one in rows),
            "rate": statistics.median(len(one) / seconds for one in rows),
        }
        summary[how] = row
        print(f"{how:<26}{row['p50']:>12.2f}{row['p99']:>8.2f}{row['rate']:>13.0f}", flush=True)
    return summary


class _Watchers:
    """Visitors whose browsers look for news."""

    def __init__(self, server: Server, many: int) -> None:
        self._site = Site(Schedule.from_url(server.url()), Options())
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._watch, args=(i,)) for i in range(many)]

    def _watch(self, i: int) -> None:
        visitor = Visitor(self._site)
        self._over.wait(EVERY * i / WATCHERS)
        while not self._over.is_set():
            assert visitor.ask("GET", "/", "sort=next", x_live="1").status == 200
            self._over.wait(EVERY)

    def __enter__(self) -> None:
        for one in self._threads:
            one.start()

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        for one in self._threads:
            one.join()
        self._site.close()
