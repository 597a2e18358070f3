"""Which occurrence of an entry a run is of."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ..errors import RedisUnavailable
from ..messages.headers import HEADER_DUE, HEADER_ENTRY, HEADER_EPOCH
from ..store import requests
from .client import store_of

#: Rows of the ledger, from its end, in which the outcome of the run before is looked for.
ROWS = 1_000


@dataclass(frozen=True, slots=True)
class TaskOccurrence:
    """The occurrence of an entry that a run is of.

    >>> class Request:
    ...     id = "7"
    ...     headers = {"redlock_beat_entry": "nightly", "redlock_beat_due": 1767225600.0, "redlock_beat_epoch": 3}
    >>> occurrence = TaskOccurrence.of(Request)
    >>> occurrence.entry, occurrence.nominal.isoformat(), occurrence.epoch
    ('nightly', '2026-01-01T00:00:00+00:00', 3)
    """

    #: The name of the entry.
    entry: str
    #: When the schedule says that it is due (UTC).
    nominal: datetime
    #: Seconds from then to now, by this machine's clock.
    lateness: float
    #: The id of its task: the same in every delivery of it.
    task_id: str
    #: The number of the term that has sent it. A later occurrence of the entry never has a lower one, so a store of
    #: your own can refuse what comes from an old one; None in a message of an older release.
    epoch: int | None
    _app: Any = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, request: Any, app: Any = None) -> TaskOccurrence | None:
        """That of a request; None where it is not of an entry."""
        headers = request.headers or {}
        entry, due, epoch = (headers.get(name) for name in (HEADER_ENTRY, HEADER_DUE, HEADER_EPOCH))
        if not isinstance(entry, str) or isinstance(due, bool) or not isinstance(due, (int, float)):
            return None
        nominal = datetime.fromtimestamp(due, UTC)
        known = epoch if isinstance(epoch, int) else None
        return cls(entry, nominal, max(0.0, time.time() - due), str(request.id), known, app)

    @property
    def previous(self) -> str | None:
        """How the entry's run before this one ended, as ``history`` says it (``succeeded``, ``failed``, ...).

        It is read from the end of the ledger when it is asked for. None when it is not there, or Redis is away.
        """
        try:
            store = store_of(self._app)
            rows = store.run(requests.ledger(store.keys, "-", "+", ROWS, newest_first=True))
        except RedisUnavailable:
            return None
        for _, row in rows:
            if row.get("is") == "ran" and row.get("entry") == self.entry and row.get("id") != self.task_id:
                return row.get("outcome")
        return None
