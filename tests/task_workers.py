"""Real Celery workers of the project in ``tasks_project``, and the record of their runs."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kombu.transport.redis import Channel

from redlock_beat.tasks import client

from .servers import Server, eventually
from .workers import save_coverage

ROOT = Path(__file__).parent.parent

#: For tests in which the broker must deliver the message of a lost worker again.
redelivers = pytest.mark.skipif(
    not hasattr(Channel, "unacked_restore_interval"),
    reason="this kombu cannot be told to look for the messages of lost workers often enough for a test",
)


@dataclass(frozen=True)
class Line:
    """One line of the record."""

    at: float
    what: str
    key: str
    id: str
    pid: int


class Project:
    """The project on one server: its app in this process, its workers, its record."""

    def __init__(self, server: Server, directory: Path, env: dict[str, str]) -> None:
        self.directory = directory
        self.env = {
            "PROJECT_BROKER": server.url(),
            "PROJECT_RESULTS": server.url(1),
            "PROJECT_RECORD": str(directory / "record"),
            "PROJECT_TIMEOUT": "20",  # a Redis that is slow for once is not away
            **env,
        }
        self.workers: list[subprocess.Popen[bytes]] = []
        self.started: list[subprocess.Popen[str]] = []
        before = dict(os.environ)
        os.environ.update(self.env)
        sys.modules.pop("tests.tasks_project", None)
        try:
            self.module: Any = importlib.import_module("tests.tasks_project")
        finally:
            os.environ.clear()
            os.environ.update(before)
        self.app = self.module.app
        self.app.finalize()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)

    def worker(self, pool: str = "solo", concurrency: int = 2, **env: str) -> subprocess.Popen[bytes]:
        """Start a worker; it is ready when this returns."""
        command = [sys.executable, "-m", "celery", "-A", "tests.tasks_project", "worker", "-P", pool]
        command += ["-c", str(concurrency), "-l", "info", "--without-gossip", "--without-mingle", "-n"]
        command += [f"w{len(self.workers)}-{os.getpid()}@test"]
        log = self.directory / f"worker-{len(self.workers)}.log"
        with open(log, "wb") as file:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), **self.env, **env},
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.workers.append(process)
        eventually(lambda: b" ready." in log.read_bytes() or process.poll() is not None, "the worker is ready", 30)
        assert process.poll() is None, log.read_text()[-3000:]
        return process

    def callers(
        self, count: int, key: str, each: int, wait: float = 0.0, task: str = "once"
    ) -> list[subprocess.Popen[str]]:
        """Processes that make the same call, so often each; what they print are the ids they got."""
        command = [sys.executable, "-m", "tests.tasks_project", key, str(each), str(wait), task]
        env = {**os.environ, "PYTHONPATH": str(ROOT), **self.env}
        started = [
            subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True) for _ in range(count)
        ]
        self.started += started
        return started

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """The machine of a worker is gone: it and its pool end at once."""
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)

    def go(self, key: object) -> None:
        """Let a run that waits go on."""
        (self.directory / f"go-{key}").touch()

    def lines(self, what: str | None = None, key: object = None) -> list[Line]:
        """What the record says."""
        path = self.directory / "record"
        found = []
        for text in path.read_text().splitlines() if path.exists() else []:
            at, did, of, id_, pid = text.split()
            found.append(Line(float(at), did, of, id_, int(pid)))
        return [one for one in found if what in (None, one.what) and key in (None, one.key)]

    def begun(self, key: object = None) -> list[str]:
        """The ids of the runs that began, in order."""
        return [one.id for one in self.lines("begin", key)]

    def log(self) -> str:
        """What the workers said."""
        return "\n".join(path.read_text() for path in sorted(self.directory.glob("worker-*.log")))

    def close(self) -> None:
        save_coverage(self.workers)
        for process in self.workers:
            if process.poll() is None:
                self.kill(process)
        for caller in self.started:
            caller.kill()
            caller.communicate()


@pytest.fixture
def project(valkey: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Project]]:
    """Makes the project on the embedded server."""
    made: list[Project] = []
    monkeypatch.setattr(client, "TIMEOUT", client.TIMEOUT)  # the project changes it, also in this process

    def make(server: Server | None = None, **env: str) -> Project:
        made.append(Project(server or valkey, tmp_path, env))
        return made[-1]

    yield make
    for one in made:
        one.close()
