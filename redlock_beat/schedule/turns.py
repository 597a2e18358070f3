"""Taking turns at Redis: so many callers ask at a time, and one reads the ledger for all who follow it.

A thousand calls at once are slower on a thousand connections than on a few, and an empty pool does not mean that Redis
is away. So a caller waits for its turn while Redis answers anybody, and gets an error only when nobody had an answer
for `retry_for` seconds. Of those who follow the ledger one reads for all: a hundred and fifty hold one connection.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from ..clock import monotonic

#: Callers of one schedule that ask Redis at the same time.
PLACES = 32
#: Rows of the ledger that are kept for followers who are slower than others.
KEPT = 5_000


class NoTurn(Exception):
    """Nobody had an answer for as long as this caller waits."""


class _Turns:
    def __init__(self) -> None:
        #: When anybody last had an answer (monotonic).
        self.answered = monotonic()

    def _left(self, began: float, patience: float) -> float:
        left = max(began, self.answered) + patience - monotonic()
        if left <= 0:
            raise NoTurn
        return left


class Turns(_Turns):
    """Turns for threads."""

    def __init__(self, places: int = PLACES) -> None:
        super().__init__()
        self._free = threading.Semaphore(places)

    @contextmanager
    def turn(self, patience: float) -> Iterator[None]:
        """Wait for a turn, and take it; :class:`NoTurn` when nobody is answered any more."""
        began = monotonic()
        if not self._free.acquire(blocking=False):
            while not self._free.acquire(timeout=self._left(began, patience)):
                pass
        try:
            yield
        finally:
            self._free.release()


class AsyncTurns(_Turns):
    """Turns for the tasks of one event loop."""

    def __init__(self, places: int = PLACES) -> None:
        super().__init__()
        self._free = asyncio.Semaphore(places)

    @asynccontextmanager
    async def turn(self, patience: float) -> AsyncIterator[None]:
        """Wait for a turn, and take it; :class:`NoTurn` when nobody is answered any more."""
        began = monotonic()
        if self._free.locked():
            while not await self._acquired(self._left(began, patience)):
                pass
        else:
            await self._free.acquire()
        try:
            yield
        finally:
            self._free.release()

    async def _acquired(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self._free.acquire()
        except TimeoutError:
            return False


def _order(row_id: str) -> tuple[int, int]:
    time, _, number = row_id.partition("-")
    return int(time), int(number or 0)


class News:
    """The newest rows of the ledger, for all who follow it.

    >>> news = News()
    >>> news.start("5-0")
    '5-0'
    >>> news.add([("6-0", "a"), ("7-0", "b")])
    >>> news.after("6-0")
    [('7-0', 'b')]
    >>> news.after("4-0") is None  # rows between are not kept here
    True
    """

    def __init__(self, keep: int = KEPT) -> None:
        self._rows: deque[tuple[str, Any]] = deque()
        self._keep = keep
        #: Every row later than this one, up to the newest that was read, is kept.
        self.since: str | None = None
        self._newest: str | None = None
        #: Done when the one who reads now has read; None while nobody reads.
        self.reading: Future[None] | None = None
        #: Held for microseconds, so tasks of an event loop may take it, too.
        self._lock = threading.Lock()

    def next(self, row_id: str) -> tuple[list[tuple[str, Any]] | None, str | None, Future[None] | None]:
        """The kept rows after one, as :meth:`after` gives them, and how to get more.

        Either the row from which the caller reads on, for all who follow (and then calls :meth:`tell`); or the reading
        of another, to wait for with :func:`heard`.
        """
        with self._lock:
            kept = self.after(row_id)
            if kept == [] and self.reading is None:
                self.reading = Future()
                return kept, self.start(row_id), None
            return kept, None, self.reading

    def tell(self, rows: Sequence[tuple[str, Any]], error: Exception | None) -> None:
        """Tell all who follow what was read, or why nothing could be."""
        with self._lock:
            self.add(rows)
            reading, self.reading = self.reading, None
        assert reading is not None
        if error is None:
            reading.set_result(None)
        else:
            reading.set_exception(error)

    def after(self, row_id: str) -> list[tuple[str, Any]] | None:
        """The kept rows after one; None when some of those after it are not kept."""
        at = _order(row_id)
        if self.since is not None and at < _order(self.since):
            return None
        found = []
        for row in reversed(self._rows):
            if _order(row[0]) <= at:
                break
            found.append(row)
        return found[::-1]

    def start(self, row_id: str) -> str:
        """The row after which to read on, for one who has read up to *row_id* and for all others."""
        if self._newest is None or _order(row_id) > _order(self._newest):
            self._rows.clear()  # nobody has followed for a while
            self.since = self._newest = row_id
        return self._newest

    def add(self, rows: Sequence[tuple[str, Any]]) -> None:
        """Keep what was read after :meth:`start`."""
        self._rows.extend(rows)
        if rows:
            self._newest = rows[-1][0]
        while len(self._rows) > self._keep:
            self.since = self._rows.popleft()[0]


def heard(reading: Future[None]) -> None:
    """Wait until another has read for all; raise what that one raised."""
    reading.result()


async def async_heard(reading: Future[None]) -> None:
    """As :func:`heard`, on an event loop. One that stops waiting stops no other."""
    await asyncio.shield(asyncio.wrap_future(reading))


def nap(seconds: float) -> None:
    """Wait a moment before asking again."""
    time.sleep(seconds)


async def async_nap(seconds: float) -> None:
    """As :func:`nap`, on an event loop."""
    await asyncio.sleep(seconds)
