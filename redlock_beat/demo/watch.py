"""What is seen while the demo runs: who leads, what was sent and how late, how runs ended, what came twice."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import redis

from ..errors import RedlockBeatError
from ..schedule.answers import LedgerRow, Slot
from ..schedule.schedule import Schedule
from .runs import AGAIN, RUNS

#: Seconds between two looks, and while a takeover is awaited.
LOOK, LOOK_CLOSELY = 0.2, 0.01
#: Rows and lines that are kept.
KEPT = 200


@dataclass
class Numbers:
    """What has been counted so far."""

    #: Occurrences sent, runs begun on the worker, and ids among both that came more than once.
    sent: int = 0
    runs: int = 0
    twice: int = 0
    #: Outcome of a run -> how many.
    outcomes: dict[str, int] = field(default_factory=dict)
    #: Seconds of lateness of the newest occurrences.
    lateness: deque[float] = field(default_factory=lambda: deque(maxlen=1000))
    #: Seconds of the longest pause between two messages.
    pause: float = 0.0

    def late(self, part: float) -> float | None:
        """A percentile of the lateness in seconds; None while nothing was sent.

        >>> Numbers(lateness=deque([0.1, 0.3])).late(0.5)
        0.3
        """
        ordered = sorted(self.lateness)
        return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else None


@dataclass(frozen=True)
class Takeover:
    """How long it took until somebody led again."""

    before: str | None
    seconds: float
    leader: str


class Watch(threading.Thread):
    """Looks at the schedule again and again, in a thread of its own, as long as the demo runs.

    >>> watch = Watch("redis://127.0.0.1:6379/0")   # doctest: +SKIP
    >>> watch.start()                               # doctest: +SKIP
    """

    def __init__(self, url: str) -> None:
        super().__init__(name="redlock-beat-demo-watch", daemon=True)
        self.schedule = Schedule.from_url(url, retry_for=0.2, socket_timeout=1.0, actor="demo")
        self.numbers = Numbers()
        self.leader: str | None = None
        self.epoch = 0
        self.entries = 0
        #: Why nothing can be read; None while all is well.
        self.trouble: str | None = "nothing has been read yet"
        #: Newest last.
        self.rows: deque[LedgerRow] = deque(maxlen=KEPT)
        self.coming: Sequence[Slot] = ()
        self.done = threading.Event()
        self._client = redis.Redis.from_url(url, decode_responses=True, protocol=2, socket_timeout=1.0)
        self._closely = threading.Event()
        self._newest: LedgerRow | None = None
        self._known: deque[tuple[object, ...]] = deque(maxlen=5000)
        self._sent_ids: set[str] = set()
        self._run_ids: set[str] = set()
        self._read = 0

    def run(self) -> None:
        """Look until :attr:`done` is set."""
        while not self.done.is_set():
            try:
                self._look()
                self.trouble = None
            except (RedlockBeatError, redis.RedisError, OSError) as exc:
                self.trouble = str(exc)
            self.done.wait(LOOK_CLOSELY if self._closely.is_set() else LOOK)

    def close(self) -> None:
        """Look once more, and no more after that."""
        self.done.set()
        self.join(10)
        with contextlib.suppress(RedlockBeatError, redis.RedisError, OSError):
            self._look()
        self.schedule.close()
        self._client.close()

    def await_leader(
        self, other_than: str | None, patience: float, hopeless: Callable[[], bool] = lambda: False
    ) -> Takeover | None:
        """Wait until another beat leads; how long that took, or None when nobody did in time, or none is left."""
        began = time.monotonic()
        self._closely.set()
        try:
            while (passed := time.monotonic() - began) < patience and not self.done.is_set() and not hopeless():
                leader = self.leader
                if self.trouble is None and leader is not None and leader != other_than:
                    return Takeover(other_than, passed, leader)
                time.sleep(LOOK_CLOSELY / 2)
        finally:
            self._closely.clear()
        return None

    def await_sent(self, more: int, patience: float) -> float | None:
        """Wait until so many more are sent; how many seconds that took, or None."""
        began, goal = time.monotonic(), self.numbers.sent + more
        while (passed := time.monotonic() - began) < patience and not self.done.is_set():
            if self.numbers.sent >= goal:
                return passed
            time.sleep(LOOK_CLOSELY)
        return None

    def _look(self) -> None:
        status = self.schedule.status()
        self.leader, self.epoch, self.entries = status.leader, status.epoch, status.entries
        if self._closely.is_set():
            return
        since = self._newest.at - timedelta(seconds=1) if self._newest else None
        for row in reversed(self.schedule.history(since=since, n=2000)):
            mark = (row.what, row.entry, row.task_id, row.at, row.outcome)
            if mark not in self._known:
                self._known.append(mark)
                self._count(row)
        self.coming = self.schedule.preview(n=8)
        found: list[Any] = self._client.lrange(RUNS, self._read, -1)
        for text in map(str, found):
            self._read += 1
            if text.startswith(AGAIN):
                continue
            self.numbers.runs += 1
            self.numbers.twice += text in self._run_ids
            self._run_ids.add(text)

    def _count(self, row: LedgerRow) -> None:
        numbers = self.numbers
        if row.what == "ran":
            outcome = row.outcome or "?"
            numbers.outcomes[outcome] = numbers.outcomes.get(outcome, 0) + 1
        if row.what == "sent":
            numbers.sent += 1
            if row.task_id is not None:
                numbers.twice += row.task_id in self._sent_ids
                self._sent_ids.add(row.task_id)
            if row.source is None and row.lateness is not None:
                numbers.lateness.append(row.lateness)
            if self._newest is not None:
                numbers.pause = max(numbers.pause, (row.at - self._newest.at).total_seconds())
            self._newest = row
        self.rows.append(row)
