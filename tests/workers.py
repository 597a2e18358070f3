"""Real Celery workers for the tests, and what their runs wrote down."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .beats import ROOT
from .servers import Server, eventually


@dataclass(frozen=True)
class Line:
    """What a run wrote: it began, or it ended."""

    what: str
    at: float
    id: str
    entry: str
    pid: int


class Workers:
    """Workers of the project ``tests.runs`` on one schedule; all are stopped at the end."""

    def __init__(self, schedule: Server, directory: Path, broker: str | None = None, **settings: str) -> None:
        self.schedule = schedule
        self.directory = directory
        self.diary = directory / "diary"
        self.diary.touch()
        self.env = {
            **os.environ,
            "RUNS_BROKER": broker or schedule.url(),
            "RUNS_SCHEDULE": schedule.url(),
            "RUNS_DIARY": str(self.diary),
            "RUNS_TIMEOUT": "20",  # a Redis that is slow for once is not away
            "PYTHONPATH": str(ROOT),
            **settings,
        }
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, pool: str = "threads", concurrency: int = 2, *args: str) -> subprocess.Popen[bytes]:
        """A worker that is ready."""
        log = self.directory / f"worker-{len(self.started)}.log"
        command = [
            sys.executable,
            "-m",
            "celery",
            "-A",
            "tests.runs",
            "worker",
            "-P",
            pool,
            "-c",
            str(concurrency),
            "-l",
            "info",
            "-n",
            f"w{len(self.started)}-{os.getpid()}@%h",  # a name of its own on a shared broker
            *args,
        ]
        with open(log, "wb") as out:
            process = subprocess.Popen(command, cwd=ROOT, env=self.env, stdout=out, stderr=subprocess.STDOUT)
        self.started.append(process)
        eventually(lambda: " ready." in log.read_text() or process.poll() is not None, "the worker is ready", 60)
        assert process.poll() is None, log.read_text()[-3000:]
        return process

    def go(self) -> None:
        """Let the runs that hold end."""
        Path(f"{self.diary}-go").touch()

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self.directory.glob("worker-*.log")))

    def lines(self, what: str | None = None) -> list[Line]:
        found = []
        for text in self.diary.read_text().splitlines():
            kind, at, id_, entry, pid = text.split(" ")
            if what in (None, kind):
                found.append(Line(kind, float(at), id_, entry, int(pid)))
        return found

    def send(self, app: Any, task: str, entry: str = "a", args: Sequence[Any] = (), **headers: Any) -> str:
        """Send a message as the schedule does; its id."""
        headers = {"redlock_beat_entry": entry, "redlock_beat_due": time.time(), **headers}
        return str(app.send_task(task, args, headers=headers).id)

    def close(self) -> None:
        save_coverage(self.started)
        for process in self.started:
            process.kill()
        for process in self.started:
            process.wait(20)


def save_coverage(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    """Let workers end in order where their coverage is measured: who is killed says nothing of what it ran."""
    if "COVERAGE_PROCESS_CONFIG" not in os.environ:
        return
    alive = [process for process in processes if process.poll() is None]
    for process in alive:
        process.send_signal(signal.SIGQUIT)  # a cold shutdown: runs are not waited for
    for process in alive:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(3)


def spans(lines: Sequence[Any], died: Mapping[int, float]) -> list[tuple[float, float]]:
    """From when to when runs were under way, in order; a run ends when it wrote so, or when its process died."""
    under_way: dict[tuple[str, int], list[float]] = {}
    found = []
    for line in lines:  # a message that is delivered again may have several runs in one process
        if line.what == "begin":
            under_way.setdefault((line.id, line.pid), []).append(line.at)
        elif line.what == "end":
            found.append((under_way[line.id, line.pid].pop(0), line.at))
    found += [(begin, died.get(pid, float("inf"))) for (_, pid), begins in under_way.items() for begin in begins]
    return sorted(found)


def at_once(lines: Sequence[Line], killed: Sequence[tuple[int, float]] = ()) -> int:
    """How many runs were under way at the same time, at most."""
    found = spans(lines, dict(killed))
    return max((sum(begin <= at < end for begin, end in found) for at, _ in found), default=0)


def pool_of(process: subprocess.Popen[bytes]) -> list[int]:
    """The processes of a worker's pool."""
    text = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(pid) for pid in text.split()]


def kill(process: subprocess.Popen[bytes]) -> float:
    """Kill a worker's main process, and its pool dies with it; when."""
    children = pool_of(process)
    process.send_signal(signal.SIGKILL)
    process.wait(20)
    for pid in children:
        eventually(lambda pid=pid: not _lives(pid), "its pool is gone")
    return time.time()


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False
