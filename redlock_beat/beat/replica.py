"""A replica: one running beat of several, and its two roles.

It is built whole and without asking a server; :meth:`Replica.prepare` does the slow things. Then each turn is the
standby's or the leader's, and whatever went wrong in it is answered here.
"""

from __future__ import annotations

import logging
from typing import Any

from redis.exceptions import ReadOnlyError
from redis.exceptions import TimeoutError as RedisTimeout

from .. import hooks
from ..clock import MICROS, monotonic
from ..errors import BrokerAway, Deposed, InvalidSetting, Replaced, UnsupportedServer
from ..settings import Settings
from ..store.client import TROUBLE, Target, drop_connections
from ..store.store import Store
from ..store.values import Held
from .leading import Leader
from .lease import LOOK, Term
from .parts import Parts, build
from .standing import Standby
from .troubles import Troubles

logger = logging.getLogger("redlock_beat")

#: Seconds a SIGTERM waits for the one message that is being published.
FINISH = 1.0

TIMED_OUT = (RedisTimeout, TimeoutError)


class Replica:
    """Stands by or leads, a turn at a time."""

    def __init__(self, app: Any, settings: Settings, target: Target, troubles: Troubles) -> None:
        self.target = target
        # For the signal handler alone: the loop's own client may be in the middle of a reply.
        self._exit_store = Store(target, target.client(min(settings.socket_timeout, 1.0)))
        self.parts: Parts = build(app, settings, target)
        self.standby = Standby(self.parts)
        #: The leader's role; None while this replica stands by.
        self.leader: Leader | None = None
        self._troubles = troubles
        self._prepared = False

    @property
    def term(self) -> Term | None:
        """The term that this replica leads; None while it stands by."""
        leader = self.leader
        return None if leader is None else leader.term

    def turn(self) -> None:
        """One turn of the loop. It raises only for what no waiting can mend."""
        try:
            self._turn()
        except Deposed:
            self.stand_down()
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
        """The slow things, before standing for election: connect, prove the broker, subscribe."""
        parts = self.parts
        asked = monotonic()
        hello = parts.store.hello()
        parts.lease.clock.told(hello.now, asked)
        if hello.maxmemory and hello.policy not in ("", "noeviction"):
            logger.warning(
                "The Redis at %s may evict keys when it is full (maxmemory-policy %s): parts of the schedule could "
                "disappear. Set maxmemory-policy noeviction, or keep the schedule on a server of its own.",
                self.target, hello.policy,
            )  # fmt: skip
        parts.broker.known(LOOK)
        if not parts.listener.subscribe():
            logger.info("The wake-up subscription is not confirmed (is pub/sub denied?); a takeover waits for the TTL.")
        self._prepared = True
        logger.info(
            "redlock_beat %s: schedule at %s (%s), broker %s, delivery by %s.",
            _version(), self.target, hello.version or "version unknown", parts.renderer.where(),
            parts.broker.delivery(),
        )  # fmt: skip

    # --- from one role to the other ---

    def lead(self, term: Term, stolen_from: str = "") -> None:
        """Lead this term from now on; *stolen_from* is the lease of a leader that is gone."""
        self.leader = Leader(self.parts, term)
        if stolen_from:
            gone = Held.parse(stolen_from)
            logger.warning("The leader %s is gone; its term is taken over.", gone.owner if gone else stolen_from)
        self.standby.say(f"leader, term {term.epoch}")
        hooks.emit(hooks.TermBegan(self.parts.dispatcher.now() / MICROS, term.epoch))

    def stand_down(self) -> None:
        """The term is over: stand by."""
        term, self.leader = self.term, None
        self.parts.publisher.lead(None)
        self.parts.losses.saw(self.parts.dispatcher.entries or None)
        self.standby.begin()
        if term is not None:
            logger.warning("Term %d is over: another beat leads, or will. This one stands by.", term.epoch)
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
        """Everything that is known of Redis is read again, from the outbox to the configuration."""
        self.parts.broker.doubt()
        if self.leader is not None:
            self.leader.begun = False
        if exc.older is None:
            logger.info("Another Redis process answers at %s than before; its state is read again.", self.target)
        elif self.leader is not None:
            self.parts.losses.came_back_older(exc, self.leader.term.epoch, self.parts.dispatcher.entries or 0)

    # --- the end ---

    def hand_over(self) -> None:
        """Give the term back; safe in a signal handler that interrupts a turn."""
        publisher = self.parts.publisher
        if publisher.finish(FINISH):
            publisher.close()  # what was accepted is removed from the outbox before another leads
        else:
            logger.warning("A message is still on its way to the broker after %.0f s; beat ends anyway.", FINISH)
        term, self.leader = self.term, None
        self._exit_store.release(term.fence if term else None, self.parts.lease.token)
        if term is not None:
            logger.info("Term %d is given back.", term.epoch)
            hooks.emit(hooks.TermEnded(self.parts.dispatcher.now() / MICROS, term.epoch))

    def close(self) -> None:
        """Close the connections; nothing is in use any more."""
        self.parts.listener.close()
        self.parts.renderer.close()
        self._exit_store.client.close()
        self.parts.store.client.close()


def _version() -> str:
    from .. import __version__

    return __version__
