"""Runs the code of entries under watch: schedule classes, lazy arguments, ``apply_async``, signal receivers.

What that code raises is the entry's fault, and comes out as a :class:`UserError`; what else is raised while it runs
(Redis does not answer a renewal, the term is over) is not. An entry whose code takes longer than half a lease is slow:
it runs alone from then on, under a lease of ``render_limit``; after :data:`OVERRUNS` overruns of that it goes to
quarantine.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from ..clock import monotonic
from ..errors import BrokerAway, InvalidSchedule, mask
from ..log import log
from ..settings import Settings
from ..store.client import TROUBLE
from ..store.store import Store
from .lease import Lease, Term

#: How often an entry may overrun `render_limit`, alone, before it goes to quarantine.
OVERRUNS = 3

T = TypeVar("T")


class UserError(Exception):
    """An entry's own code raised *cause*."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(repr(cause))
        self.cause = cause


class Watch:
    """A thread that notes in Redis which entry's code takes too long: the loop may never come back.

    It notes and does nothing else: only the loop renews the lease.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._current: tuple[str, float, float] | None = None
        self._noted: str | None = None
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, name: str, limit: float) -> None:
        """An entry's code begins; it should take less than *limit* seconds."""
        self._current = (name, monotonic(), limit)
        if not self._wake.is_set():
            self._wake.set()
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="redlock-beat-watch", daemon=True)
            self._thread.start()

    def end(self) -> bool:
        """The code has ended; whether it overran."""
        current, self._current = self._current, None
        noted, self._noted = self._noted, None
        if current is None:
            return False
        overran = monotonic() - current[1] > current[2]
        if overran and noted != current[0]:
            self._note(current[0])
        return overran

    def rest(self) -> None:
        """Let the thread sleep: no code of an entry runs for a while."""
        self._wake.clear()

    def _run(self) -> None:
        while True:
            self._wake.wait()
            current = self._current
            if current is not None:
                name, began, limit = current
                left = began + limit - monotonic()
                if left <= 0 and self._noted != name:
                    self._noted = name
                    self._note(name)
                time.sleep(max(0.02, min(left if left > 0 else limit, 0.5)))
            else:
                time.sleep(0.1)

    def _note(self, name: str) -> None:
        try:
            self.store.note_slow(name)
        except TROUBLE as exc:
            words = "Redis could not note that entry %(entry)r is slow: %(why)s"
            log.debug("entry.slow_not_noted", words, entry=name, why=mask(exc))


class UserCode:
    """Runs the code of entries for one leader.

    *flush* commits what is ready, so that nothing waits for a slow entry.
    """

    def __init__(self, settings: Settings, store: Store, lease: Lease, flush: Callable[[Term], None]) -> None:
        self.settings = settings
        self.store = store
        self.lease = lease
        self.flush = flush
        self.watch = Watch(store)
        #: Slow entries, with how often they overran.
        self.slow: dict[str, int] = {}
        # The longest time in seconds that a slow entry took since it was last done; infinite when it overran.
        self._longest: dict[str, float] = {}

    def learn(self) -> None:
        """Read from Redis which entries are slow."""
        self.slow = self.store.slow()

    def run(self, term: Term, name: str, work: Callable[[], T]) -> T:
        """Run the code of an entry; :class:`UserError` with what it raises."""
        overruns = self.slow.get(name, 0)
        if overruns:
            return self._run_alone(term, name, work, overruns)
        self.lease.renew_if_needed(term)
        self.watch.begin(name, self.lease.ttl / 2)
        try:
            return _own(work)
        finally:
            if self.watch.end():
                self.slow[name] = 1
                self._longest[name] = float("inf")
                words = (
                    "Entry %(entry)r took longer than half the lease to compute or render. It runs alone from now on."
                )
                log.warning("entry.slow", words, entry=name)

    def _run_alone(self, term: Term, name: str, work: Callable[[], T], overruns: int) -> T:
        self.flush(term)
        limit = self.settings.render_limit
        if overruns > OVERRUNS:
            raise UserError(
                InvalidSchedule(
                    f"computing or rendering it has taken more than {limit:g} s {overruns - 1} times; an edit of the "
                    "entry gives it another chance"
                )
            )
        self.lease.renew(term, limit)
        self.watch.begin(name, limit)
        began = monotonic()
        try:
            return _own(work)
        finally:
            took = monotonic() - began
            if self.watch.end():
                self.slow[name] = overruns + 1
                took = float("inf")
            self._longest[name] = max(took, self._longest.get(name, 0.0))

    def done(self, name: str) -> None:
        """An entry is computed and rendered: a slow one that was quick this time runs with the others again.

        Perhaps it was slow once, or this process was frozen. One that was in time starts to count its overruns anew.
        """
        longest = self._longest.pop(name, None)
        if longest is None or longest > self.settings.render_limit:
            return
        self.slow[name] = 1
        if longest < self.lease.ttl / 4:
            del self.slow[name]
            try:
                self.store.forget_slow(name)
            except TROUBLE as exc:
                words = "Redis could not note that entry %(entry)r is quick again: %(why)s"
                log.debug("entry.quick_not_noted", words, entry=name, why=mask(exc))


def _own(work: Callable[[], T]) -> T:
    try:
        return work()
    except BrokerAway:
        raise  # rendering asks the broker now and then, and it did not answer
    except Exception as exc:
        raise UserError(exc) from exc
