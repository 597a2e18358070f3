"""The leader: one term, from its beginning to its end."""

from __future__ import annotations

import time

from ..clock import MICROS, monotonic
from ..errors import Deposed
from .dispatch import Turn
from .lease import LOOK, Term
from .pages import Pages
from .parts import Parts
from .reader import prune_beats

#: Seconds before an instant at which a wait on the socket ends and a precise one begins; seconds past it to be sure.
EARLY, PAST = 0.002, 0.0001

#: Seconds until the next turn while the outbox is full and the broker takes messages.
SOON = 0.01

#: Seconds that a turn of a leader waits for the proof that the broker is its Redis.
PROOF = 0.05


class Leader:
    """The role of the replica that holds the lease; a new one for each term."""

    def __init__(self, parts: Parts, term: Term) -> None:
        self.parts = parts
        self.term = term
        self.settings, self.store, self.lease = parts.settings, parts.store, parts.lease
        self.listener, self.broker = parts.listener, parts.broker
        self.dispatcher, self.publisher = parts.dispatcher, parts.publisher
        #: What is still to write of the configuration.
        self.pages = Pages(parts, term)
        #: Whether :meth:`begin` is done.
        self.begun = False

    @property
    def settled(self) -> bool:
        """Whether the term has begun and the configuration is written."""
        return self.begun and self.pages.written

    def begin(self) -> None:
        """Begin the term; repeated from the start when Redis fails in the middle of it."""
        application = self.settings.application
        if application and self.store.introduce(self.term.fence, application) != application:
            # Another application came between the look and the term.
            self.store.release(self.term.fence, self.lease.token)
            raise Deposed
        self.dispatcher.begin(self.term)
        self.pages = Pages(self.parts, self.term)
        prune_beats(self.store, self.store.now())
        self.begun = True

    def turn(self) -> None:
        """Send what is due, write a page of the configuration, or wait."""
        known = self.broker.known(PROOF)
        self.listener.glance()  # a busy leader never waits, so it would not notice a lost subscription
        self.lease.stay_subscribed()
        if not self.begun:
            self.begin()
        turn = self.dispatcher.turn(self.term) if known else self.dispatcher.only_look(self.term)
        if self.pages.write_next() or turn.busy:
            return
        left = self._pause_after(turn, known)
        if left > 0:
            self._wait(left)

    def _pause_after(self, turn: Turn, known: bool) -> float:
        """Seconds until there is something to do, at the latest to renew the lease."""
        left = self.settings.lease_ttl / 3 - (monotonic() - self.term.renewed_at)
        if not known:
            left = min(left, PROOF)
        if turn.blocked:  # the outbox is full: while the broker takes messages there is room in a moment
            left = min(left, LOOK if self.publisher.failing else SOON)
        if turn.next_at is not None:
            left = min(left, (turn.next_at - self.dispatcher.now()) / MICROS)
        return left

    def _wait(self, seconds: float) -> None:
        """Wait for a wake-up, and end precisely: the timeout of a socket is late by a millisecond or more."""
        deadline = monotonic() + seconds + PAST
        if self.listener.wait(max(0.0, seconds - EARLY)) is None:
            rest = deadline - monotonic()
            if rest > 0:
                time.sleep(min(rest, EARLY + PAST))
