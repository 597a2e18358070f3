"""Metrics for StatsD: one datagram for each event, which nobody waits for.

Plain StatsD has no labels, so a reason is part of the name: ``redlock_beat.skipped.overlap``. With tags (DogStatsD,
Telegraf, Vector) it is one: ``redlock_beat.skipped``, ``reason:overlap``.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from .. import hooks
from ..errors import InvalidSetting
from ..log import log

#: Seconds after which the name of the host is looked up again.
LOOK_UP = 60.0
#: What a leader knows of the schedule, as gauges.
_GAUGES = ("entries", "backlog", "outbox", "quarantined", "countdowns", "countdowns_due", "held")
_ADDRESS = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([^:\[\]\s/]+)):([0-9]{1,5})")
_NONE: Mapping[str, str] = MappingProxyType({})
#: What a name, and a tag, may not have.
_NOT_IN_NAME, _NOT_IN_TAG = re.compile(r"[^A-Za-z0-9_.-]+"), re.compile(r"[|,#@\s]+")


class StatsD:
    r"""A hook that sends events as metrics.

    >>> with socket.socket(type=socket.SOCK_DGRAM) as server:
    ...     server.bind(("127.0.0.1", 0))
    ...     statsd = StatsD("127.0.0.1:%d" % server.getsockname()[1], tags=["env:test"])
    ...     statsd(hooks.Skipped(10.0, "mail", "overlap"))
    ...     server.recv(1000)
    b'redlock_beat.skipped:1|c|#env:test,reason:overlap'
    >>> statsd.close()

    *tags* are sent with each metric; without any, give ``()`` for a server that knows tags, and None for one that
    does not.
    """

    def __init__(self, address: str, prefix: str = "redlock_beat", tags: Iterable[str] | None = None) -> None:
        host, port = read_address(address)
        self._prefix = f"{_NOT_IN_NAME.sub('_', prefix).strip('.')}." if prefix else ""
        self._tags = None if tags is None else tuple(_NOT_IN_TAG.sub("_", tag) for tag in tags)
        self._route = _Route(host, port)

    def __call__(self, event: hooks.Event) -> None:
        """Send the metrics of an event, and wait for nothing."""
        lines = "\n".join(self._lines(event))
        if lines:
            self._route.send(lines.encode())

    def close(self) -> None:
        """Send nothing more."""
        self._route.close()

    # --- events as metrics ---

    def _lines(self, event: hooks.Event) -> Iterator[str]:
        if isinstance(event, hooks.Sent):
            yield self._count("sent")
            if event.source is None:
                yield self._metric("lateness", f"{max(0.0, event.lateness) * 1000:.3f}|ms")
            else:
                yield self._count("sent_manual", {"source": event.source})
        elif isinstance(event, hooks.Turned):
            for name in _GAUGES:
                value = getattr(event, name)
                if value is not None:
                    yield self._metric(name, f"{int(value)}|g")
        elif isinstance(event, hooks.Run):
            yield from self._run(event)
        elif isinstance(event, hooks.Missed):
            yield self._count("missed", {"reason": event.reason}, event.count)
        elif isinstance(event, hooks.Skipped):
            yield self._count("skipped", {"reason": event.reason})
        elif isinstance(event, hooks.Failed):
            yield self._count("failures", {"step": event.step})
        elif isinstance(event, hooks.Rendered):
            yield self._count("rendered", {"reason": event.reason})
        elif isinstance(event, (hooks.TermBegan, hooks.TermEnded)):
            yield from self._term(event)
        elif isinstance(event, hooks.EntryPaused):
            yield self._count("entries_paused")
        elif isinstance(event, hooks.DataLost):
            yield self._count("data_losses")

    def _term(self, event: hooks.TermBegan | hooks.TermEnded) -> Iterator[str]:
        began = isinstance(event, hooks.TermBegan)
        yield self._metric("leader", f"{int(began)}|g")
        if began:
            yield self._count("terms")
            yield self._metric("epoch", f"{event.epoch}|g")

    def _run(self, event: hooks.Run) -> Iterator[str]:
        """Runs are counted by how they are, and timed; with tags by task, too."""
        if isinstance(event, hooks.RunStarted):
            outcome = "started"
        elif isinstance(event, hooks.RunSucceeded):
            outcome = "succeeded"
        else:
            outcome = getattr(event, "outcome", "ended")
        task = {"task": event.task} if self._tags is not None and event.task else {}
        yield self._count("runs", {"outcome": outcome, **task})
        took = getattr(event, "took", None)
        if took is not None:
            yield self._metric("run_time", f"{took * 1000:.3f}|ms", task)

    def _count(self, name: str, labels: Mapping[str, str] = _NONE, number: int = 1) -> str:
        return self._metric(name, f"{number}|c", labels)

    def _metric(self, name: str, value: str, labels: Mapping[str, str] = _NONE) -> str:
        if self._tags is None:
            parts = (name, *(_NOT_IN_NAME.sub("_", label.replace(".", "_")) for label in labels.values()))
            return f"{self._prefix}{'.'.join(parts)}:{value}"
        tags = ",".join((*self._tags, *(f"{key}:{_NOT_IN_TAG.sub('_', label)}" for key, label in labels.items())))
        return f"{self._prefix}{name}:{value}{f'|#{tags}' if tags else ''}"


def read_address(address: str) -> tuple[str, int]:
    """Host and port.

    >>> read_address("localhost:8125"), read_address("[::1]:8125")
    (('localhost', 8125), ('::1', 8125))
    """
    found = _ADDRESS.fullmatch(address)
    if found is None or not 0 < int(found[3]) < 65_536:
        raise InvalidSetting(
            f"redlock_beat_statsd is {address!r}, but must be a host and a port, such as 'localhost:8125'."
        )
    return found[1] or found[2], int(found[3])


class _Route:
    """A socket to a host, whose name a thread looks up: that may take long, and its address may change."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._socket: socket.socket | None = None
        self._over = threading.Event()
        self._told = False
        with contextlib.suppress(OSError):  # an address needs no look-up, and stays
            self._connect(socket.AI_NUMERICHOST)
            return
        threading.Thread(target=self._look_up, name="redlock_beat statsd", daemon=True).start()

    def send(self, data: bytes) -> None:
        """Send a datagram. What cannot go at once is lost, as StatsD has it."""
        sock = self._socket
        if sock is not None:
            with contextlib.suppress(OSError):  # nobody listens, or too much waits
                sock.send(data)

    def close(self) -> None:
        self._over.set()
        sock, self._socket = self._socket, None
        if sock is not None:
            sock.close()

    def _look_up(self) -> None:
        while not self._over.is_set():
            try:
                self._connect()
                self._told = False
            except OSError as exc:
                if not self._told:
                    words = "The StatsD server %(address)s is not found (%(why)s). It is looked up again every minute."
                    log.warning("statsd.not_found", words, address=self._host, why=str(exc))
                self._told = True
            self._over.wait(LOOK_UP)

    def _connect(self, flags: int = 0) -> None:
        family, kind, protocol, _, where = socket.getaddrinfo(
            self._host, self._port, type=socket.SOCK_DGRAM, flags=flags
        )[0]
        sock = socket.socket(family, kind, protocol)
        sock.setblocking(False)
        sock.connect(where)
        before, self._socket = self._socket, sock
        if before is not None:
            before.close()
