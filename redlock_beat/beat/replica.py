"""A replica: one running beat of several, and its two roles.

Building it asks no server; :meth:`Replica.prepare` does the slow things. After that each turn is the standby's or the
leader's, and this module deals with what goes wrong in it.
"""

from __future__ import annotations

from typing import Any

from redis.exceptions import ReadOnlyError
from redis.exceptions import TimeoutError as RedisTimeout

from .. import hooks
from ..clock import MICROS, monotonic
from ..errors import BrokerAway, Deposed, InvalidSetting, OnHold, Replaced, UnsupportedServer
from ..log import log
from ..settings import Settings
from ..store.client import TROUBLE, Target, drop_connections
from ..store.store import Store
from ..store.values import Held
from .leader import Leader
from .lease import LOOK, Term
from .parts import Parts, build
from .standby import Standby
from .troubles import Troubles

#: Seconds that SIGTERM waits for the one message that is on its way to the broker.
FINISH = 1.0

TIMED_OUT = (RedisTimeout, TimeoutError)


class Replica:
    """Stands by or leads, a turn at a time."""

    def __init__(self, app: Any, settings: Settings, target: Target, troubles: Troubles) -> None:
        self.target = target
        # For the signal handler alone: the client of the loop may be in the middle of a reply.
        self._exit_store = Store(target, target.client(min(settings.socket_timeout, 1.0)))
        self.parts: Parts = build(app, settings, target)
        self.standby = Standby(self.parts)
        #: The leader's role; None while this replica stands by.
        self.leader: Leader | None = None
        #: Whether it leads or could: its last turn met no trouble. For probes.
        self.ready = False
        self._troubles = troubles
        self._prepared = False

    @property
    def term(self) -> Term | None:
        """The term that this replica leads; None while it stands by."""
        leader = self.leader
        return None if leader is None else leader.term

    def turn(self) -> None:
        """One turn of the loop. It raises only what no waiting can mend."""
        ready, self.ready = self.ready, False
        try:
            self._turn()
            self.ready = self.leader is not None or self.standby.fit
        except Deposed:
            self.stand_down()
            self.ready = ready
        except OnHold:
            self.ready = ready  # since a moment ago: the next turn sees it
        except (UnsupportedServer, InvalidSetting):
            raise
        except BrokerAway as exc:
            self.parts.broker.away(exc)
        except Replaced as exc:
            self._replaced(exc)
        except TROUBLE as exc:
            self._trouble(exc)
        except Exception as exc:  # noqa: BLE001 - a beat that dies sends nothing at all
            self._troubles.pause(exc, self.parts.listener)

    def _turn(self) -> None:
        if not self._prepared:
            self.prepare()
        self.parts.losses.note()
        if self.leader is not None:
            self.leader.turn()
        elif (won := self.standby.turn()) is not None:
            self.lead(won.term, won.stolen_from)
            if won.census.epoch < won.newest:
                self.parts.losses.set_back(won.newest, won.census.epoch, won.census.entries)
        self._troubles.over()

    def prepare(self) -> None:
        """Do the slow things before standing for election: connect, prove the broker, subscribe."""
        parts = self.parts
        asked = monotonic()
        hello = parts.store.hello()
        parts.lease.clock.told(hello.now, asked)
        if hello.maxmemory and hello.policy not in ("", "noeviction"):
            log.warning(
                "redis.evicts",
                "The Redis at %(server)s may evict keys when it is full (maxmemory-policy %(why)s), so parts of the "
                "schedule may disappear. Set maxmemory-policy noeviction, or keep the schedule on a server of its own.",
                server=str(self.target),
                why=hello.policy,
            )
        parts.broker.known(LOOK)
        if not parts.listener.subscribe():
            words = "The wake-up subscription is not confirmed (is pub/sub denied?). A takeover waits for the TTL."
            log.info("subscription.missing", words)
        self._prepared = True
        log.info(
            "beat.ready",
            "redlock_beat %(version)s: schedule at %(server)s (%(redis_version)s), broker %(broker)s, delivery by "
            "%(delivery)s.",
            version=_version(),
            server=str(self.target),
            redis_version=hello.version or "version unknown",
            broker=parts.renderer.where(),
            delivery=parts.broker.delivery(),
        )

    # --- from one role to the other ---

    def lead(self, term: Term, stolen_from: str = "") -> None:
        """Lead this term from now on; *stolen_from* is the lease of a leader that is gone."""
        self.leader = Leader(self.parts, term)
        if stolen_from:
            gone = Held.parse(stolen_from)
            holder = gone.owner if gone else stolen_from
            log.warning("term.stolen", "The leader %(holder)s is gone. This beat takes over.", holder=holder)
        self.standby.say(f"leader, term {term.epoch}", term.epoch)
        hooks.emit(hooks.TermBegan(self.parts.dispatcher.now() / MICROS, term.epoch))

    def stand_down(self) -> None:
        """The term is over: stand by."""
        term, self.leader = self.term, None
        self.parts.publisher.lead(None)
        self.parts.losses.saw(self.parts.dispatcher.reader.entries or None)
        self.standby.begin()
        if term is not None:
            words = "Term %(epoch)d is over: another beat leads, or will. This one stands by."
            log.warning("term.ended", words, epoch=term.epoch)
            self.standby.say(None)
            hooks.emit(hooks.TermEnded(self.parts.dispatcher.now() / MICROS, term.epoch))

    # --- when the world outside is not as it should be ---

    def _trouble(self, exc: BaseException) -> None:
        parts = self.parts
        # A promotion or a restart may have brought another server to this address.
        parts.broker.doubt()
        readonly = isinstance(exc, ReadOnlyError) or "READONLY" in str(exc)
        if readonly:
            drop_connections(parts.store.client)
        if readonly or isinstance(exc, TIMED_OUT):
            # The subscription goes to the same server: it may be open at this end only.
            parts.listener.close()
        self._troubles.pause(exc, parts.listener)

    def _replaced(self, exc: Replaced) -> None:
        """Another server answers: read everything again, from the outbox to the configuration."""
        self.parts.broker.doubt()
        if self.leader is not None:
            self.leader.begun = False
        if exc.older is None:
            words = "Another Redis process than before answers at %(server)s. Beat reads its state again."
            log.info("redis.replaced", words, server=str(self.target))
        elif self.leader is not None:
            self.parts.losses.came_back_older(exc, self.leader.term.epoch, self.parts.dispatcher.reader.entries or 0)

    # --- the end ---

    def hand_over(self) -> None:
        """Release the term; safe in a signal handler that interrupts a turn."""
        publisher = self.parts.publisher
        if publisher.finish(FINISH):
            publisher.close()  # it removes from the outbox what the broker has accepted, before another leads
        else:
            words = "A message is still on its way to the broker after %(pause).0f s. Beat ends anyway."
            log.warning("message.abandoned", words, pause=FINISH)
        term, self.leader = self.term, None
        self._exit_store.release(term.fence if term else None, self.parts.lease.token)
        if term is not None:
            log.info("term.released", "Term %(epoch)d is released.", epoch=term.epoch)
            hooks.emit(hooks.TermEnded(self.parts.dispatcher.now() / MICROS, term.epoch))

    def close(self) -> None:
        """Close the connections, when nothing uses them any more."""
        self.parts.dispatcher.canceller.stop()
        self.parts.listener.close()
        self.parts.renderer.close()
        self._exit_store.client.close()
        self.parts.store.client.close()


def _version() -> str:
    from .. import __version__

    return __version__
