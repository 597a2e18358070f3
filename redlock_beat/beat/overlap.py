"""Entries that have one run at a time: what a commit is told of them, and runs that others take the place of.

Whether a run is under way is decided by the commit itself. A run that is to be cancelled stands in Redis until it
was revoked, so that a leader that dies in between leaves it to the next.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

from kombu.exceptions import OperationalError

from ..entries.entry import span_micros
from ..entries.occurrence import Occurrence
from ..entries.waiting import ManualItem
from ..errors import mask
from ..log import log
from ..messages.connections import bounded_connection
from ..settings import Settings
from ..store.client import TROUBLE, Pauses
from ..store.store import Store
from ..store.values import Overlap

#: Runs that wait to be revoked, at most; and seconds between two attempts, at most.
MOST, PAUSE = 10_000, 30.0
#: How long a run waits for a worker, and how many slots wait for it, of an entry that does not say.
QUEUE_LIMIT, BUFFER_LIMIT = 3600.0, 100


def overlap_of(one: Occurrence, now: int) -> Overlap | None:
    """What becomes of an occurrence while a run of its entry is under way; None when it runs beside it."""
    policy = one.definition.get("overlap")
    if policy is None or policy == "allow" or not one.id:
        return None
    limit = span_micros(one.definition.get("wait", QUEUE_LIMIT))
    if policy == "skip":
        return Overlap("skip", limit)
    if policy == "cancel_previous":
        return Overlap("cancel", limit, terminate=bool(one.definition.get("end")))
    most = 1 if policy == "buffer_one" else int(one.definition.get("buffer", BUFFER_LIMIT))
    waiter = "" if one.source else ManualItem(one.name, one.uid, "buffered", one.nominal, now).text()
    return Overlap("buffer", limit, most, waiter)


class Canceller:
    """Revokes runs from a thread of its own: the loop waits for no broker."""

    def __init__(self, app: Any, store: Store, settings: Settings) -> None:
        self._app = app
        self._store = store
        self._timeout = settings.publish_timeout
        self._waiting: deque[tuple[str, bool]] = deque(maxlen=MOST)
        self._wake = threading.Event()
        self._over = threading.Event()
        self._pauses = Pauses(PAUSE)
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Revoke what stands in Redis: the term before has left it, or an answer was lost."""
        for id_, terminate in self._store.cancelling().items():
            self.cancel(id_, terminate)

    def cancel(self, id_: str, terminate: bool) -> None:
        """Have a run revoked, and terminated when it has begun and that is wanted."""
        self._waiting.append((id_, terminate))
        self._wake.set()
        if self._thread is None and not self._over.is_set():
            self._thread = threading.Thread(target=self._run, name="redlock_beat canceller", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread; what is not revoked yet is left to the next leader."""
        self._over.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(1.0)

    def _run(self) -> None:
        while not self._over.is_set():
            self._wake.wait()
            self._wake.clear()
            while self._waiting and not self._over.is_set():
                id_, terminate = self._waiting[0]
                if self._revoked(id_, terminate):
                    self._waiting.popleft()
                    self._pauses.reset()
                else:
                    self._over.wait(self._pauses.next())

    def _revoked(self, id_: str, terminate: bool) -> bool:
        try:
            with bounded_connection(self._app, self._timeout) as connection:
                self._app.control.revoke(id_, terminate=terminate, connection=connection)
            self._store.forget_cancelling(id_)
        except (OperationalError, *TROUBLE) as exc:
            if self._pauses.attempts == 0:
                words = "Run %(task_id)s could not be revoked: %(why)s. Beat tries again."
                log.warning("run.not_revoked", words, task_id=id_, why=mask(exc))
            return False
        except Exception as exc:  # noqa: BLE001 - a broker's client may raise anything, and one run must not stop the others
            log.warning(
                "run.not_revoked", "Run %(task_id)s could not be revoked: %(why)s.", task_id=id_, why=mask(repr(exc))
            )
        return True
