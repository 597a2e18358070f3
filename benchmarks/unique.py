"""Calls that run once: what a unique call costs against a plain one; and what celery-once and celery-singleton do
where a process dies, beside redlock_beat.tasks in the same scenes."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kombu.exceptions import OperationalError

from tests.servers import Server

ROOT = Path(__file__).parent.parent
LIBRARIES = ("redlock_beat", "celery_once", "celery_singleton")
#: Seconds that a scene is watched for.
PATIENCE = 15.0


def main(quick: bool = False) -> dict[str, Any]:
    """Print and return the figures."""
    found: dict[str, Any] = {"rate": _rates(*((2, 50) if quick else (9, 1_000))), "scenes": {}}
    for library in LIBRARIES:
        if not find_spec(library):
            print(f"{library} is not installed")
            continue
        print(f"{library}:")
        said = found["scenes"][library] = {}
        for scene in SCENES:
            said[scene] = _apart(library, scene, quick)
            print(f"  {scene:60} {said[scene]}", flush=True)
    return found


def _apart(library: str, scene: str, quick: bool) -> str:
    """Play a scene in a process of its own: one of the libraries keeps its connection for good."""
    command = [sys.executable, "-m", "benchmarks.unique", library, scene, *(["--quick"] if quick else [])]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
    return ended.stdout.strip() or f"failed: {ended.stderr.strip()[-300:]}"


# --- what it costs ---


def _rates(rounds: int, calls: int) -> dict[str, Any]:
    """Calls a second, plain and unique, in turns on one server."""
    with _Stage("redlock_beat") as stage:
        project = stage.project
        tasks = {"plain": project.plain, "unique": project.work}
        rates: dict[str, list[float]] = {name: [] for name in tasks}
        for turn in range(rounds):
            for name, task in tasks.items():
                start = time.perf_counter()
                for i in range(calls):
                    task.delay(f"{turn} {i}")
                rates[name].append(calls / (time.perf_counter() - start))
                stage.server.client().delete("celery")
        ratios = [unique / plain for unique, plain in zip(rates["unique"], rates["plain"], strict=True)]
    medians = {name: round(statistics.median(found)) for name, found in rates.items()}
    ratio = round(statistics.median(ratios), 2)
    print(f"delay(): plain {medians['plain']}/s, unique {medians['unique']}/s, {ratio} of plain (median of rounds)")
    return {**medians, "ratio": ratio}


# --- what happens when something dies ---


class _Stage:
    """A server, and the project with one library on it: here, in workers, and in processes that call."""

    def __init__(self, library: str, expiry: str = "") -> None:
        self.server = Server("valkey").start()
        self.record = Path(tempfile.mkdtemp(prefix="redlock-beat-bench-")) / "record"
        self.env = {"LIBRARY": library, "BROKER": self.server.url(), "RECORD": str(self.record), "EXPIRY": expiry}
        self.processes: list[subprocess.Popen[bytes]] = []
        os.environ.update(self.env)
        sys.modules.pop("benchmarks.unique_project", None)
        self.project: Any = importlib.import_module("benchmarks.unique_project")
        self.project.app.finalize()

    def __enter__(self) -> _Stage:
        return self

    def __exit__(self, *exc: object) -> None:
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)
        self.server.close()

    def run(self, *command: str) -> subprocess.Popen[bytes]:
        env = {**os.environ, **self.env, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def worker(self, concurrency: int = 4) -> subprocess.Popen[bytes]:
        name = f"w{len(self.processes)}@bench"
        command = ("-m", "celery", "-A", "benchmarks.unique_project", "worker", "-P", "threads")
        before = time.monotonic()
        process = self.run(*command, "-c", str(concurrency), "-n", name, "--without-gossip", "--without-mingle")
        while time.monotonic() - before < 30 and not self.project.app.control.ping([name], timeout=0.3):
            pass
        return process

    def lines(self, what: str, key: str) -> int:
        text = self.record.read_text() if self.record.exists() else ""
        return sum(line.endswith(f" {what} {key}") for line in text.splitlines())

    def go(self, name: str) -> None:
        Path(f"{self.record}-{name}").touch()

    def queued(self) -> int:
        return int(self.server.client().llen("celery"))

    def wait(self, check: Callable[[], object], seconds: float = PATIENCE) -> float | None:
        """Seconds until something is so; None if it is not so in time."""
        before = time.monotonic()
        while time.monotonic() - before < seconds:
            if check():
                return time.monotonic() - before
            time.sleep(0.02)
        return None


def _within(seconds: float | None, patience: float = PATIENCE) -> str:
    return f"no: still locked after {patience:g} s" if seconds is None else f"after {seconds:.1f} s"


def _storm(library: str, quick: bool) -> str:
    calls = 100 if quick else 1_250
    with _Stage(library) as stage:
        callers = [stage.run("-m", "benchmarks.unique_project", "call", str(calls)) for _ in range(8)]
        ended = [one.wait(300) for one in callers]
        queued = stage.queued()
        stage.worker()
        stage.wait(lambda: stage.lines("end", "storm"))
        stage.wait(lambda: stage.queued() > 0, 1)
        return f"{stage.lines('begin', 'storm')} ({queued} in the queue{', callers failed' if any(ended) else ''})"


def _killed(library: str, quick: bool) -> str:
    with _Stage(library) as stage:
        worker = stage.worker()
        stage.project.work.delay("a", "first")
        stage.wait(lambda: stage.lines("begin", "a"))
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait(10)
        stage.worker()
        return _within(stage.wait(lambda: stage.project.work.delay("a", "first") and stage.lines("begin", "a") > 1))


def _foreign(library: str, quick: bool) -> str:
    """One is held up for longer than its lock stands; a second has the lock by then; the first comes back and ends."""
    with _Stage(library, expiry="3") as stage:
        worker, work = stage.worker(1), stage.project.work
        work.delay("a", "first")
        stage.wait(lambda: stage.lines("begin", "a"))
        os.killpg(worker.pid, signal.SIGSTOP)
        stage.worker(4)
        if stage.wait(lambda: work.delay("a", "second") and stage.lines("begin", "a") > 1) is None:
            return "no: the lock never lapses"
        os.killpg(worker.pid, signal.SIGCONT)
        stage.go("first")
        stage.wait(lambda: stage.lines("end", "a"))
        third = stage.wait(lambda: work.delay("a", "third") and stage.lines("begin", "a") > 2, 2)
        return "yes" if third is None else "no: a third run begins beside the second"


def _retry(library: str, quick: bool) -> str:
    with _Stage(library) as stage:
        stage.worker()
        stage.project.work.delay("a", "", 2)
        stage.wait(lambda: stage.lines("end", "a"))
        return "yes" if stage.lines("end", "a") else f"no: {stage.lines('begin', 'a')} of 3 attempts"


def _chain(library: str, quick: bool) -> str:
    with _Stage(library) as stage:
        work, plain = stage.project.work, stage.project.plain
        work.delay("a", "first")
        (work.s("a", "first") | plain.si("after")).apply_async()
        stage.worker()
        stage.go("first")
        return "yes" if stage.wait(lambda: stage.lines("plain", "after")) is not None else "no: it is never continued"


def _refused(library: str, quick: bool) -> str:
    with _Stage(library) as stage:
        app, send = stage.project.app, stage.project.app.send_task

        def refuse(*args: Any, **kwargs: Any) -> None:
            raise OperationalError("refused")

        app.send_task = refuse
        with contextlib.suppress(OperationalError):
            stage.project.work.delay("a")
        app.send_task = send
        return _within(stage.wait(lambda: stage.project.work.delay("a") and stage.queued() > 0, 5), 5)


def _publisher(library: str, quick: bool) -> str:
    patience = 3.0 if quick else 35.0
    with _Stage(library) as stage:
        stage.run("-m", "benchmarks.unique_project", "die").wait(30)
        work = stage.project.work
        return _within(stage.wait(lambda: work.delay("publisher") and stage.queued() > 0, patience), patience)


SCENES: dict[str, Callable[[str, bool], str]] = {
    "10,000 calls from 8 processes: how many runs": _storm,
    "a worker is killed: the next call runs": _killed,
    "a lock that lapsed and was taken again is left alone": _foreign,
    "a retry runs": _retry,
    "a chain whose first step is a duplicate goes on": _chain,
    "the broker refuses a call: the next one is sent": _refused,
    "a publisher dies between lock and queue: the next is sent": _publisher,
}


if __name__ == "__main__":
    if len(sys.argv) > 2:
        print(SCENES[sys.argv[2]](sys.argv[1], "--quick" in sys.argv))
    else:
        main("--quick" in sys.argv)
