"""A hold as the leader sees it: nothing is sent until it is released, or its time has come.

Scripts that send look at the hold themselves, so nothing here keeps a commit from succeeding. What no script can stop
is a message that the outbox has already and a thread hands to another broker. The thread needs the term's trust
(:mod:`~redlock_beat.beat.lease`), which no script grants while everything is held: it stops with the first answer that
says so. The leader tells the hold once no message is under way any more, and whoever holds waits for that word.
"""

from __future__ import annotations

from collections.abc import Callable

from .. import hooks
from ..clock import MICROS, moment
from ..log import log
from ..store import holds
from ..store.holds import Hold
from ..store.store import Store
from ..store.values import Due
from .lease import Term
from .publisher import Publisher

#: Seconds until a leader looks again whether the message under way has ended.
SOON = 0.01


class Holding:
    """What a leader knows of the hold."""

    def __init__(self, store: Store, publisher: Publisher, now: Callable[[], int]) -> None:
        self.store = store
        self.publisher = publisher
        self.now = now
        # The hold that this term knows of, and whether it knows that this leader sends nothing more.
        self._hold: Hold | None = None
        self._told = False
        self._may_publish = False

    def begin(self) -> None:
        """Begin a term: each leader learns of a hold, and says so."""
        self._hold, self._told, self._may_publish = None, False, False

    def saw(self, term: Term, due: Due) -> bool:
        """Note what a read says of the hold; whether everything is held."""
        if not due.hold:
            self._go_on()
            return False
        self._may_publish = False
        if self._hold is None or self._hold.id != due.hold:
            self._told = False
        if not self._told:
            quiet = self.publisher.quiet
            hold = self.store.run(holds.seen(self.store.keys, term.fence, due.hold, quiet))
            if hold is not None:
                self._note(hold)
                self._told = quiet
        return True

    def again(self, due: Due) -> int | None:
        """When to look again: at the end of the hold, or soon while a message is still under way."""
        return due.hold_ends if self._told else due.now + round(SOON * MICROS)

    def _note(self, hold: Hold) -> None:
        known, self._hold = self._hold, hold
        if known is not None and known.id == hold.id:
            return
        until = None if hold.until is None else moment(hold.until)
        log.warning(
            "schedule.held",
            "Everything is held by %(actor)s %(until)s (%(why)s): nothing is sent, and what is due stays due.",
            actor=hold.actor,
            until="until it is released" if until is None else f"until {until:%Y-%m-%d %H:%M:%S} UTC",
            why=hold.note or "no note",
        )
        if hooks.listening():
            ends = None if hold.until is None else hold.until / MICROS
            hooks.emit(hooks.Held(self.now() / MICROS, hold.actor, ends, hold.note))

    def _go_on(self) -> None:
        hold, self._hold = self._hold, None
        if not self._may_publish:
            self._may_publish = True
            self.publisher.resume()
        if hold is not None:
            now = self.now()
            over = hold.until is not None and hold.until <= now
            what = "its time has come" if over else "it was released"
            log.warning("schedule.released", "The hold is over: %(why)s. Beat sends again.", why=what)
            if hooks.listening():
                hooks.emit(hooks.Released(now / MICROS, over))
