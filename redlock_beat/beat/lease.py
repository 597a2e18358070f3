"""The lease: who sends.

One key in Redis says who holds the term: ``token epoch seen owner``. Acquiring it increments the epoch; every script
that writes for a leader first compares token and epoch, so a beat that was paused, cut off or deposed can write
nothing, however long it believes in itself.

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
*start* of the attempt counts: Redis may have renewed then, however late its answer came. While everything is held no
script grants that trust, so whoever holds need only wait for the leader's word, or for the end of its lease.

**How it is lost.** The holder's scripts answer "deposed"; it becomes a standby and stands again.
Redis being away changes nothing by itself: nobody else can take the lease either. The holder goes
on with its term if the term still stands when Redis is back. A term that is given back is over for
good: the release increments the epoch, so what its holder had under way comes too late.

**How it is taken over.** (1) A released lease is announced on the wake-up channel. (2) A process
that dies drops its subscription to the channel named after its token, and the server knows that
within milliseconds: a standby that sees no subscriber in two looks, a quarter of a second apart,
steals the lease, by a script that looks a third time. (3) A machine that vanishes keeps its
connections open: the TTL counts.

**When an absence means a death.** Subscriptions are counted by the script, at the server that holds
the lease; what a client believes of its own says nothing, for after a failover it may still stand at
the old server, and so may everybody's. Therefore:

- The *holder* notes in the lease whether its own scripts see its subscription there (``seen`` or
  ``unseen``): each of its scripts does, at every renewal, so the word is as true as the lease is young. Only
  the absence of one who was seen is a death. A leader that lives and loses its subscription says
  ``unseen`` with its next script, and is left alone. The word is not compared by the fence: the term
  is the first two words, which never change.
- The *standby* judges only while the script sees the standby's own subscription, and has seen it for
  a TTL: a witness that is not there itself sees nobody.
- And never within one TTL of a server start, a promotion or a mass disconnect (this standby's own
  subscription being younger than one TTL): then everybody's subscriptions are missing.

**A subscription that is elsewhere.** It stands, its owner believes, and yet the owner's script does
not see it: it is dropped and made anew where the schedule is now (on a cluster by the topology as it
is then; there it is a sharded one, which a failover ends by itself). Who is deaf and does not know
it finds out by a PING once a TTL.

**A lost reply.** An acquire whose answer was lost finds its own token in the key and succeeds.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..clock import RedisClock, monotonic
from ..settings import Settings
from ..store.client import Listener
from ..store.store import Store
from ..store.values import Fence, Held, Look

#: Seconds between two looks of a standby.
LOOK = 0.25
#: Seconds between two checks of the subscription while user code runs.
GLANCE = 0.05


@dataclass(slots=True)
class Term:
    """One holding of the lease."""

    fence: Fence
    #: Until when (monotonic) a beat may act on it outside Redis; in the past while everything is held.
    trusted_until: float
    #: The start of the last attempt that renewed the lease (monotonic).
    renewed_at: float

    @property
    def epoch(self) -> int:
        """Which term this is; only grows."""
        return self.fence.epoch


class Lease:
    """What this process knows of the lease, and how it stands for election.

    ``acquire()`` returns a :class:`Term` or None; what needs a term gets it as an argument.
    """

    def __init__(self, store: Store, listener: Listener, settings: Settings, owner: str) -> None:
        self.store = store
        self.listener = listener
        self.ttl = settings.lease_ttl
        self.margin = settings.margin
        self.token = listener.token
        self.owner = owner
        self.clock = RedisClock()
        self.lowest_epoch = 0
        #: Since when the scripts see this beat's subscription (monotonic); None while they do not.
        self.seen_since: float | None = None
        # The subscription that a script did not see, by when it was made.
        self._unseen: float | None = None
        self._missing: tuple[str, float] | None = None
        self._replid: tuple[str, float] = ("", 0.0)
        self._glanced = 0.0

    @property
    def ttl_ms(self) -> int:
        """The TTL as Redis takes it."""
        return round(self.ttl * 1000)

    def acquire(self, steal: str = "") -> Term | None:
        """Stand for election; the term, or None when another holds it."""
        started = monotonic()
        won, seen, held = self.store.acquire(self.token, self.ttl_ms, self.owner, self.lowest_epoch, steal)
        self.noted(seen)
        self._missing = None
        if isinstance(won, str):
            self._remember(won)
            return None
        self.lowest_epoch = max(self.lowest_epoch, won.epoch)
        term = Term(won, 0.0, started)
        self.trust(term, started, held=held)
        return term

    def trust(self, term: Term, started: float, ttl: float | None = None, *, held: bool = False) -> None:
        """Note that a script, begun at *started*, has renewed the term; and whether everything is *held*."""
        term.renewed_at = started
        term.trusted_until = float("-inf") if held else started + (ttl or self.ttl) - self.margin

    def renew(self, term: Term, ttl: float | None = None) -> None:
        """Renew the term, perhaps for longer than usual; :class:`Deposed` when it is over."""
        started = monotonic()
        may_send = self.store.renew(term.fence, None if ttl is None else round(ttl * 1000))
        self.trust(term, started, ttl, held=not may_send)

    def renew_if_needed(self, term: Term) -> None:
        """Renew the term after a third of the TTL; called between the calls of user code.

        Also when the subscription is lost: the script then says so in the lease, before a standby judges.
        """
        now, lost = monotonic(), False
        if now - self._glanced > GLANCE:
            self._glanced = now
            lost = self.listener.confirmed and not self.listener.glance()
        if lost or now - term.renewed_at > self.ttl / 3:
            self.renew(term)

    def noted(self, seen: bool) -> None:
        """Note whether a script sees this beat's subscription."""
        if not seen:
            self.seen_since, self._unseen = None, self.listener.since
        elif self.seen_since is None:
            self.seen_since = monotonic()
            self.listener.arrived()

    def stay_subscribed(self) -> None:
        """Keep the subscription where the scripts see it."""
        if not self.listener.confirmed:
            self.listener.subscribe()
        elif self._unseen == self.listener.since:
            self.listener.move()

    def look(self, heartbeat: str = "") -> tuple[Look, bool]:
        """See who leads, and whether this beat may acquire the lease."""
        asked = monotonic()
        seen = self.store.look(self.token, heartbeat)
        now = monotonic()
        self.clock.told(seen.now, asked)
        self.noted(seen.seen)
        held = self._remember(seen.held)
        if seen.replid != self._replid[0]:
            self._replid = (seen.replid, now if self._replid[0] else float("-inf"))
        if not seen.held:
            self._missing = None
            return seen, True
        if held is not None and held.token == self.token:
            return seen, True
        gone = held is not None and held.seen and not seen.holder_seen
        if not gone or not self.may_judge(seen, now):
            self._missing = None
            return seen, False
        if self._missing is None or self._missing[0] != seen.held:
            self._missing = (seen.held, now)
            return seen, False
        return seen, now - self._missing[1] >= LOOK

    def may_judge(self, seen: Look, now: float) -> bool:
        """Whether a missing subscription means a dead process, and not one that is lost or elsewhere."""
        subscribed, visible = self.listener.since, self.seen_since
        return (
            subscribed is not None
            and visible is not None
            and now - max(subscribed, visible) >= self.ttl
            and seen.uptime >= self.ttl + 1
            and now - self._replid[1] >= self.ttl
        )

    def _remember(self, text: str) -> Held | None:
        held = Held.parse(text)
        if held is not None:
            self.lowest_epoch = max(self.lowest_epoch, held.epoch)
        return held
