"""The heartbeat file: a small local file that the loop touches, and that the probes of its machine or pod read.

That it is fresh says that the loop of this process turns, and nothing of Redis: an outage of Redis must restart nobody,
and a standby is as healthy as a leader. One word in it says whether the beat is *ready*: its last turn met no trouble,
and it leads or could. A roll-out waits for that before it stops an old beat. Its times are of the monotonic clock,
which all processes of one machine (or container) share, so a wall clock that jumps does no harm.

Each beat writes ``<pid>.beat`` into a directory of its user's own; ``redlock_beat_heartbeat_file`` names another file.
"""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from .clock import monotonic
from .log import log

#: Seconds between two touches.
EVERY = 0.5
_FORMAT = "redlock_beat {pid} {born} {at:017.3f} {allowed:010.3f} {ready:<5}\n"
#: The last word of the file.
READY, UNFIT = "ready", "unfit"
_LONGEST = 200


def directory() -> Path | None:
    """The directory of this user's heartbeat files; None where none can be written.

    Beats and probes find the same, and write nothing to find it. In a container with a read-only file system /dev/shm
    is often the only place left.
    """
    for place in _places():
        if os.access(place, os.W_OK | os.X_OK):
            return Path(place) / f"redlock-beat-{os.getuid()}"
    return None


def _places() -> list[str]:
    named = [os.environ.get(name, "") for name in ("TMPDIR", "TEMP", "TMP")]
    return [place for place in dict.fromkeys((*named, "/tmp", "/var/tmp", "/dev/shm")) if place]  # noqa: S108


def nowhere() -> str:
    """Why there is no directory for heartbeat files."""
    return f"none of {', '.join(_places())} can be written"


class HeartbeatFile:
    """The file of one beat, touched by its loop.

    >>> beat = HeartbeatFile("", allowed=60)
    >>> beat.touch(ready=True)
    >>> [(one.late <= 0, one.ready) for one in read_all() if one.pid == os.getpid()]
    [(True, True)]
    >>> beat.close()
    """

    def __init__(self, path: str, allowed: float) -> None:
        self.path = path
        #: Seconds that one turn of the loop may take.
        self.allowed = allowed
        self._file: int | None = None
        self._where: Path | None = None
        self._touched = float("-inf")
        self._ready = False
        self._refused = False

    def touch(self, ready: bool = False) -> None:
        """Note that the loop has turned, and whether this beat leads or could.

        It never raises: a full disk must not stop a beat.
        """
        now = monotonic()
        if (now - self._touched < EVERY and ready == self._ready) or self._refused:
            return
        self._touched, self._ready = now, ready
        try:
            if self._file is None:
                self._where = Path(self.path) if self.path else _own_directory() / f"{os.getpid()}.beat"
                flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
                self._file = os.open(self._where, flags, 0o600)
                os.ftruncate(self._file, 0)
            word = READY if ready else UNFIT
            text = _FORMAT.format(pid=os.getpid(), born=_born(os.getpid()), at=now, allowed=self.allowed, ready=word)
            os.pwrite(self._file, text.encode(), 0)
        except OSError as exc:
            self._refused = True
            log.warning(
                "heartbeat_file.failed",
                "The heartbeat file %(path)s cannot be written (%(why)s). Beat goes on, but `health --this` says that "
                "no beat runs here. Set redlock_beat_heartbeat_file to a file that this user may write.",
                path=str(self._where or directory() or ""),
                why=str(exc),
            )

    def close(self) -> None:
        """Remove the file: the beat ends."""
        file, self._file, self._refused = self._file, None, True
        if file is not None:
            with contextlib.suppress(OSError):
                os.close(file)
            if self._where is not None:
                with contextlib.suppress(OSError):
                    self._where.unlink()


@dataclass(frozen=True, slots=True)
class Pulse:
    """What a heartbeat file says."""

    pid: int
    #: Seconds since the loop last turned.
    age: float
    allowed: float
    #: Whether the process that wrote it still runs.
    running: bool
    #: Whether it leads, or could.
    ready: bool

    @property
    def late(self) -> float:
        """Seconds by which the loop is overdue; not above 0 when all is well."""
        return self.age - self.allowed


def read(path: Path) -> Pulse | None:
    """What a heartbeat file says; None when there is none, or it cannot be read."""
    try:
        with path.open("rb") as file:
            text = file.read(_LONGEST).decode()
        mark, pid, born, at, allowed, *more = text.split()
        if mark != "redlock_beat":
            return None
        running = _born(int(pid)) == born
        return Pulse(int(pid), max(0.0, monotonic() - float(at)), float(allowed), running, more == [READY])
    except (OSError, ValueError):
        return None


def read_all() -> list[Pulse]:
    """What the heartbeat files of this user's beats say; files of processes that are gone are removed."""
    found = []
    with contextlib.suppress(OSError):
        for path in sorted(_own_directory().glob("*.beat")):
            pulse = read(path)
            if pulse is not None and pulse.running:
                found.append(pulse)
            elif pulse is not None:
                with contextlib.suppress(OSError):
                    path.unlink()
    return found


def _own_directory() -> Path:
    """The directory, made if need be; PermissionError when it is not this user's alone (/tmp is everybody's)."""
    path = directory()
    if path is None:
        raise PermissionError(nowhere())
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise PermissionError(f"{path} is not a directory of this user's own")
    return path


def _born(pid: int) -> str:
    """When a process began, which tells it from a later one of its number; '-' when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            words = file.read().rpartition(b")")[2].split()
        return "-" if words[0] == b"Z" else words[19].decode()
    except (OSError, IndexError):
        pass
    if os.path.exists("/proc/self/stat"):
        return "-"
    try:  # where there is no /proc
        os.kill(pid, 0)
    except ProcessLookupError:
        return "-"
    except OSError:
        pass
    return "0"
