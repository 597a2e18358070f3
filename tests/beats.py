"""Beats for the tests: a scheduler ticked by hand or in a thread, and real `celery beat` processes."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from celery import Celery

from redlock_beat import RedisScheduler, Schedule, hooks
from redlock_beat.beat.leader import Leader
from redlock_beat.beat.lease import Term
from redlock_beat.beat.parts import Parts
from redlock_beat.beat.replica import Replica
from redlock_beat.clock import micros
from redlock_beat.store.keys import Keys

from .servers import Server, eventually

HERE = Path(__file__).parent
ROOT = HERE.parent
#: A term that outlasts a test: for tests that look at a leader between its ticks.
LASTING = {"redlock_beat_lease_ttl": 60.0, "redlock_beat_render_limit": 60.0}


def hear_ctrl_c() -> None:
    """In a process that starts: a run of the tests in the background of a script has Ctrl-C ignored, and what it
    starts inherits that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def make_app(url: str, schedule: dict[str, Any] | None = None, **conf: Any) -> Celery:
    app = Celery(f"test-{os.urandom(4).hex()}", broker=url, set_as_current=False)
    app.conf.update(
        {
            "result_expires": None,
            "redlock_beat_lease_ttl": 2.0,
            "redlock_beat_render_limit": 3.0,
            "broker_connection_retry_on_startup": True,
            "redlock_beat_application": "tests",
        }
    )
    app.conf.update(conf)
    app.conf.beat_schedule = schedule or {}

    @app.task(name="tasks.add", shared=False)
    def add(x: int = 0, y: int = 0) -> int:
        return x + y

    app.finalize()
    return app


class Beat:
    """A scheduler of this process. Tick it by hand, or let a thread do it."""

    def __init__(self, app: Celery) -> None:
        self.app = app
        self.scheduler = RedisScheduler(app)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    # --- probes ---

    @property
    def replica(self) -> Replica:
        """What the first tick has built."""
        assert self.scheduler.replica is not None, "it has not ticked yet"
        return self.scheduler.replica

    @property
    def built(self) -> bool:
        return self.scheduler.replica is not None

    @property
    def parts(self) -> Parts:
        return self.replica.parts

    @property
    def leader(self) -> Leader | None:
        """The leader's role; None while it stands by."""
        return self.replica.leader if self.built else None

    @property
    def term(self) -> Term | None:
        return self.leader.term if self.leader else None

    @property
    def epoch(self) -> int:
        """The number of the term it leads; 0 while it stands by."""
        return self.term.epoch if self.term else 0

    @property
    def begun(self) -> bool:
        """Whether it leads, and sends."""
        return self.leader is not None and self.leader.begun

    @property
    def settled(self) -> bool:
        """Whether it leads, and has written the configuration."""
        return self.leader is not None and self.leader.settled

    # --- ticks ---

    def tick(self, times: int = 1) -> Beat:
        for _ in range(times):
            assert self.scheduler.tick() == 0
        return self

    def until(self, check: Any, what: str = "it happens", seconds: float = 60) -> Any:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = check()
            if found:
                return found
            self.tick()
        raise AssertionError(f"ticked for {seconds:g} s in vain until {what}")

    def lead(self) -> Beat:
        self.until(lambda: self.settled, "it leads")
        return self

    def start(self) -> Beat:
        def run() -> None:
            while not self._stop.is_set():
                self.scheduler.tick()

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()
        return self

    def close(self) -> None:
        self._end_thread()
        self.scheduler.close()

    def _end_thread(self) -> None:
        self._stop.set()
        if self._thread is not None:
            with contextlib.suppress(Exception):  # it may sleep for a third of its TTL: wake it
                self.parts.store.client.publish(self.parts.store.keys.wake, "edit")
            self._thread.join(20)
            self._thread = None

    def crash(self) -> None:
        """As if killed: nothing is given back, its connections are gone."""
        self._end_thread()
        if self.built:
            self.parts.publisher.stop()
            self.parts.listener.close()


def before_commit(beat: Beat, action: Any) -> None:
    """Do something between a beat's look at what is due and its commit."""
    commits = beat.parts.dispatcher.commits
    send = commits.send

    def act_and_send(*args: Any) -> None:
        if commits.ready:
            action()
        send(*args)

    commits.send = act_and_send  # type: ignore[method-assign]


def messages(client: Any, queue: str = "celery") -> list[dict[str, Any]]:
    """What is in a queue, oldest first."""
    return [json.loads(one) for one in reversed(client.lrange(queue, 0, -1))]


def occurrences(client: Any, queue: str = "celery") -> collections.Counter[tuple[str, float]]:
    """How often each occurrence is in a queue."""
    return collections.Counter(
        (one["headers"]["redlock_beat_entry"], one["headers"]["redlock_beat_due"]) for one in messages(client, queue)
    )


def duplicates(client: Any, queue: str = "celery") -> int:
    return sum(count - 1 for count in occurrences(client, queue).values())


def ledger(client: Any, what: str | None = None, prefix: str = "redlock-beat") -> list[dict[str, str]]:
    rows = [row for _, row in client.xrange(Keys(prefix).ledger)]
    return [row for row in rows if what is None or row["is"] == what]


def comes(schedule: Schedule, instant: int) -> None:
    """Wait until an instant has come, by Redis's clock."""
    eventually(lambda: micros(schedule.now()) > instant, "its time comes")


def somebody_reads(client: Any) -> None:
    """Wait until one who follows the ledger waits for news at Redis."""
    eventually(lambda: client.info("clients")["blocked_clients"], "somebody reads the ledger")


def sent(client: Any, entry: str) -> list[dict[str, str]]:
    """The rows of what was sent of an entry."""
    return [row for row in ledger(client, "sent") if row["entry"] == entry]


def flows(beat: Beat, client: Any, more: int = 3) -> None:
    """Tick until so many messages more are in the queue; none is there twice."""
    before = client.llen("celery")
    beat.until(lambda: client.llen("celery") >= before + more, "messages flow")
    assert duplicates(client) == 0


def of(events: list[hooks.Event], kind: type[Any]) -> list[Any]:
    """The events of one kind."""
    return [event for event in events if isinstance(event, kind)]


class Running:
    """A process in a session of its own, and what it says."""

    def __init__(self, arguments: Sequence[str], cwd: Path, env: Mapping[str, str]) -> None:
        self.log = Path(os.environ.get("TMPDIR", "/tmp")) / f"redlock-beat-{os.getpid()}-{os.urandom(4).hex()}.log"
        self._file = self.log.open("wb")
        self.popen = subprocess.Popen(
            arguments,
            cwd=cwd,
            stdout=self._file,
            stderr=subprocess.STDOUT,
            env={**env, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def alive(self) -> bool:
        return self.popen.poll() is None

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def says(self, words: str, seconds: float = 60) -> Self:
        eventually(lambda: words in self.said() or not self.alive, f"the process says {words!r}", seconds)
        assert words in self.said(), self.said()[-3000:]
        return self

    def send(self, how: int) -> None:
        self.popen.send_signal(how)

    def end(self, how: int = signal.SIGTERM) -> int:
        if self.alive:
            self.popen.send_signal(how)
        return self.popen.wait(30)

    def close(self) -> None:
        # With its children: a beat embedded in a worker outlives it, if it is Celery's own, and sends to the server of
        # later tests.
        if self.alive:
            os.killpg(self.pid, signal.SIGKILL)
            self.popen.wait(30)
        self._file.close()
        self.log.unlink(missing_ok=True)


class Process(Running):
    """A real `celery beat` (or worker) process on the project in tests/project.py, or another module."""

    def __init__(
        self,
        url: str,
        *args: str,
        command: tuple[str, ...] = ("beat", "-S", "redlock"),
        module: str = "tests.project",
        **env: str,
    ) -> None:
        arguments = [sys.executable, "-m", "celery", "-A", module, *command, "-l", "INFO", *args]
        if command[0] == "beat":
            arguments.append("--pidfile=")
        super().__init__(arguments, ROOT, {**os.environ, "PROJECT_BROKER": url, **env})


class Replicas:
    """Several beat processes on one schedule."""

    def __init__(self, server: Server, count: int = 3, broker: str = "", **env: str) -> None:
        self.server, self.broker, self.env = server, broker, env
        self.client = server.client()
        self.beats: list[Process] = []
        for _ in range(count):
            self.add()
        for one in self.beats:
            one.says("This beat is ")

    def add(self) -> Process:
        one = Process(self.broker or self.server.url(), PROJECT_SCHEDULE=self.server.url(), **self.env)
        self.beats.append(one)
        return one

    def leader(self) -> Process:
        def find() -> Process | None:
            held = self.client.get(Keys("redlock-beat").lease)
            pid = int(held.rsplit(":", 1)[1]) if held else None
            return next((one for one in self.beats if one.pid == pid and one.alive), None)

        return eventually(find, "one of them leads")

    def epoch(self) -> int:
        return int(self.client.get(Keys("redlock-beat").epoch) or 0)

    def sent(self) -> int:
        return len(ledger(self.client, "sent"))

    def goes_on(self, entries: int, rounds: int = 2) -> None:
        """Wait until every entry was sent some more times."""
        before = collections.Counter(row["entry"] for row in ledger(self.client, "sent"))

        def more() -> bool:
            now = collections.Counter(row["entry"] for row in ledger(self.client, "sent"))
            return len(now) >= entries and all(now[name] - before[name] >= rounds for name in now)

        eventually(more, "every entry is sent again", 60)

    def alive(self) -> list[bool]:
        return [one.alive for one in self.beats]

    def close(self) -> None:
        for one in self.beats:
            one.close()


def schedule(server: Server, app: Celery | None = None, **settings: Any) -> Schedule:
    return Schedule(app) if app is not None else Schedule.from_url(server.url(), **settings)
