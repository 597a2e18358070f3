"""Reads what is due, and recognizes whether it is still the same Redis."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from typing import Any

from .. import __version__, hooks
from ..clock import MICROS, monotonic
from ..entries.codec import compact
from ..errors import Replaced
from ..store.store import Store
from ..store.values import Due
from .lease import Lease, Term


class Reader:
    """Reads what is due for a leader; each read renews the term, and now and then carries a heartbeat along.

    *facts* adds to the heartbeat, which says who and when.
    """

    def __init__(self, store: Store, lease: Lease, facts: Callable[[], dict[str, Any]]) -> None:
        self.store = store
        self.lease = lease
        #: Entries in the schedule at the last read; None before the first.
        self.entries: int | None = None
        #: The mark of the configuration at the last read.
        self.mark = ""
        self._facts = facts
        # The server process that answered last, and the time in the last heartbeat that Redis surely has.
        self._server = ""
        self._beaten: int | None = None
        self._beaten_at = self._pulse_at = float("-inf")
        self._pulse = ""

    def begin(self) -> None:
        """Begin a term: its first read writes a heartbeat."""
        self._beaten = None
        self._beaten_at = self._pulse_at = float("-inf")

    def read(self, term: Term, limit: int) -> Due:
        """What is due now; :class:`Replaced` when Redis has less than it had."""
        started = monotonic()
        heartbeat = ""
        if started - self._beaten_at > self.lease.ttl / 3:  # an idle leader: its renewal carries it along
            heartbeat, self._beaten_at = self.heartbeat("leader", term), started
        due = self.store.due(term.fence, limit, self.lease.token, heartbeat)
        self.lease.trust(term, started, held=bool(due.hold))
        self.lease.clock.told(due.now, started)
        self.looked(due, term)
        self._recognize(due, heartbeat)
        return due

    def looked(self, due: Due, term: Term) -> None:
        """Note what Redis says is due."""
        self.mark, self.entries = due.mark, due.total
        self.lease.noted(due.seen)
        if hooks.listening():
            facts = (due.total, due.backlog, due.outbox, due.quarantined, due.countdowns, due.countdowns_due)
            hooks.emit(hooks.Turned(due.now / MICROS, "leader", term.epoch, *facts, bool(due.hold)))

    def _recognize(self, due: Due, heartbeat: str) -> None:
        """Raise :class:`Replaced` when another server answers, or one without what this beat has written."""
        server, self._server = self._server, due.server or self._server
        beaten = self._beaten
        if due.before:
            # This beat's idea of Redis's time may have been ahead: heartbeats from now on are as Redis says.
            at = _at(heartbeat)
            self._beaten = None if at is None else min(at, due.now)
        # A commit may have written a heartbeat made half a second before: that little is no loss.
        older = beaten - (_at(due.before) or beaten) if due.before not in ("", "-") and beaten is not None else 0
        lost = beaten is not None and (due.before == "-" or older > MICROS)
        if lost or (server and server != self._server):
            raise Replaced(older / MICROS if lost else None)

    # --- heartbeats ---

    def pulse(self, term: Term) -> str:
        """The heartbeat that a commit carries along, made anew twice a second, not for each."""
        now = monotonic()
        if now - self._pulse_at > 0.5:
            self._pulse, self._pulse_at = self.heartbeat("leader", term), now
        return self._pulse

    def heartbeat(self, role: str, term: Term | None) -> str:
        """What this replica says of itself."""
        return compact(
            {
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "version": __version__,
                "role": role,
                "epoch": term.epoch if term else None,
                "at": self.lease.clock.now(),
                "ttl": self.lease.ttl,
                "skew": self.lease.clock.skew,
                **self._facts(),
            }
        )


def _at(heartbeat: str) -> int | None:
    """When a heartbeat was made, in Redis's time."""
    try:
        return int(json.loads(heartbeat)["at"])
    except (ValueError, KeyError, TypeError):
        return None


def prune_beats(store: Store, now: int, after: int = 3600 * MICROS) -> None:
    """Remove the heartbeats of replicas that wrote their last one long ago."""
    gone = []
    for token, text in store.beats().items():
        at = _at(text)
        if at is None or now - at > after:
            gone.append(token)
    store.forget_beats(gone)
