"""Says of calls that have taken their locks that they are with the broker: behind their back, many at a time.

A call waits for one answer of Redis, that it has the lock; this second word may be a moment late. Until it is said the
lock stands for a short time only, which is what frees it when a process dies between the lock and the queue.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections import deque
from typing import Any
from weakref import WeakKeyDictionary

from ..errors import RedisUnavailable
from ..log import log
from ..store import locks
from ..store.locks import PAGE, Who
from .client import TaskStore, store_of

#: Seconds for which more are awaited.
GATHER = 0.02
#: Of more than these the oldest are not said: their locks end early.
MOST = 100_000


class Sent:
    """What a process has to say of the calls it has sent, by one store."""

    def __init__(self, store: TaskStore) -> None:
        self.store = store
        self._pid = os.getpid()
        self._waiting: deque[tuple[Who, int]] = deque(maxlen=MOST)
        self._wake = threading.Event()
        self._started = False
        self._starting = threading.Lock()
        self._saying = threading.Lock()

    def note(self, who: Who, wait_ms: int) -> None:
        """The message of a call is with the broker, where it may wait so long."""
        self._waiting.append((who, wait_ms))
        if not self._started:
            with self._starting:
                if not self._started:
                    self._started = True
                    threading.Thread(target=self._run, name="redlock_beat sent", daemon=True).start()
                    atexit.register(self.say)
        if not self._wake.is_set():
            self._wake.set()

    def say(self) -> None:
        """Say what waits to be said."""
        if os.getpid() != self._pid:
            return  # the end of a process that was forked: its parent says it, and may hold the lock for ever here
        with self._saying:
            while self._waiting:
                page = [self._waiting.popleft() for _ in range(min(PAGE, len(self._waiting)))]
                try:
                    self.store.run(locks.sent(self.store.keys, page))
                except RedisUnavailable as exc:
                    words = "The locks of %(count)d calls that were sent may end early: %(why)s"
                    log.debug("lock.not_said", words, count=len(page), why=str(exc))

    def _run(self) -> None:
        while True:
            self._wake.wait()
            time.sleep(GATHER)
            self._wake.clear()
            self.say()


_all: WeakKeyDictionary[Any, tuple[int, Sent]] = WeakKeyDictionary()


def sent_of(app: Any) -> Sent:
    """What this process has to say of an app's calls."""
    pid = os.getpid()
    found = _all.get(app)
    if found is None or found[0] != pid:  # what waited before a fork, the parent says
        found = _all[app] = (pid, Sent(store_of(app)))
    return found[1]
