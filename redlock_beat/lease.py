"""The lease: who sends.

One key in Redis says who holds the term: ``token epoch confirmed owner``. Taking it increments the
epoch; every script that writes for a leader first compares the whole text, so a beat that was
paused, cut off or deposed can write nothing, however long it believes in itself.

::

            +---------+   lease free: acquire          +--------+
            | standby | -----------------------------> | leader |
            |         |   holder's process gone: steal |        |
            |         | <----------------------------- |        |
            +---------+   a script says "deposed"      +--------+
                 ^                                          |
                 |            SIGTERM: release, wake others |
                 +------------------------------------------+

**What keeps it.** The loop renews, with each due, commit and wait, and between the calls of user
code; nothing else does. A loop that is stuck therefore loses its lease. A lease that lapsed while
nobody else took it (the epoch is unchanged) is retaken by the next script.

**What may be done on its strength.** Inside Redis: anything, since the script checks. Outside (a
publish to another broker): only before ``trusted until = attempt started + ttl - margin``. The
*start* of the attempt counts: Redis may have renewed then, however late its answer came.

**How it is lost.** The holder's scripts answer "deposed"; it becomes a standby and stands again.
Redis being away changes nothing by itself: nobody else can take the lease either. The holder goes
on with its term if the term still stands when Redis is back.

**How it is taken over.** (1) A released lease is announced on the wake-up channel. (2) A process
that dies drops its subscription to the channel named after its token, and the server knows that
within milliseconds: a standby that sees no subscriber in two looks, a quarter of a second apart,
steals the lease, by a script that looks a third time. It does so only if the lease says that the
subscription had been confirmed, and never within one TTL of a server start, a promotion or a mass
disconnect (this standby's own subscription being younger than one TTL): then everybody's
subscriptions are missing. (3) A machine that vanishes keeps its connections open: the TTL counts.

**A lost reply.** An acquire whose answer was lost finds its own token in the key and succeeds.
"""

from __future__ import annotations

from dataclasses import dataclass

from .clock import monotonic
from .config import Settings
from .connection import Listener
from .steps import Fence
from .store import Look, Store

#: Seconds between two looks of a standby.
LOOK = 0.25


@dataclass(slots=True)
class Term:
    """One holding of the lease."""

    fence: Fence
    #: Until when (monotonic) it may be relied upon outside Redis.
    trusted_until: float
    #: When the lease was last known to be renewed: the start of that attempt.
    renewed_at: float

    @property
    def epoch(self) -> int:
        """Which term this is; only grows."""
        return self.fence.epoch


class Lease:
    """This process's standing in the election.

    ``acquire()`` returns a :class:`Term` or None; whatever needs one takes it as an argument.
    """

    def __init__(self, store: Store, listener: Listener, settings: Settings, owner: str) -> None:
        self.store = store
        self.listener = listener
        self.ttl = settings.lease_ttl
        self.margin = settings.margin
        self.token = listener.token
        self.owner = owner
        self.lowest_epoch = 0
        self._missing: tuple[str, float] | None = None
        self._replid: tuple[str, float] = ("", 0.0)

    @property
    def ttl_ms(self) -> int:
        """The TTL as Redis takes it."""
        return round(self.ttl * 1000)

    def acquire(self, steal: str = "") -> Term | None:
        """Stand for election; the term, or None when another holds it."""
        started = monotonic()
        won = self.store.acquire(self.token, self.ttl_ms, self.listener.confirmed, self.owner, self.lowest_epoch, steal)
        self._missing = None
        if isinstance(won, str):
            self._remember(won)
            return None
        self.lowest_epoch = max(self.lowest_epoch, won.epoch)
        term = Term(won, 0.0, started)
        self.trust(term, started)
        return term

    def trust(self, term: Term, started: float, ttl: float | None = None) -> None:
        """A script that renews the term, begun at *started*, has succeeded."""
        term.renewed_at = started
        term.trusted_until = started + (ttl or self.ttl) - self.margin

    def renew(self, term: Term, ttl: float | None = None) -> None:
        """Renew the term, perhaps for longer than usual; :class:`Deposed` when it is over."""
        started = monotonic()
        self.store.renew(term.fence, None if ttl is None else round(ttl * 1000))
        self.trust(term, started, ttl)

    def renew_if_needed(self, term: Term) -> None:
        """Renew the term when a third of the TTL has gone by; called between the calls of user code."""
        if monotonic() - term.renewed_at > self.ttl / 3:
            self.renew(term)

    def look(self, heartbeat: str = "") -> tuple[Look, bool]:
        """See who leads, and whether the lease is there to be taken."""
        seen = self.store.look(self.token, heartbeat)
        self._remember(seen.held)
        now = monotonic()
        if seen.replid != self._replid[0]:
            self._replid = (seen.replid, now if self._replid[0] else float("-inf"))
        if not seen.held:
            self._missing = None
            return seen, True
        if seen.held.startswith(self.token + " "):
            return seen, True
        if seen.subscribers != 0 or not _confirmed(seen.held) or not self._quiet(seen, now):
            self._missing = None
            return seen, False
        if self._missing is None or self._missing[0] != seen.held:
            self._missing = (seen.held, now)
            return seen, False
        return seen, now - self._missing[1] >= LOOK

    def _quiet(self, seen: Look, now: float) -> bool:
        """Whether a missing subscription means a dead process, and not a server that lost them all."""
        since = self.listener.since
        return (
            since is not None
            and now - since >= self.ttl
            and seen.uptime >= self.ttl + 1
            and now - self._replid[1] >= self.ttl
        )

    def _remember(self, held: str) -> None:
        parts = held.split(" ")
        if len(parts) > 1 and parts[1].isdigit():
            self.lowest_epoch = max(self.lowest_epoch, int(parts[1]))


def _confirmed(held: str) -> bool:
    parts = held.split(" ")
    return len(parts) > 2 and parts[2] == "1"
