"""The standby: sees who leads, and stands for election when nobody does."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from .. import hooks
from ..clock import MICROS, monotonic
from ..store import requests
from ..store.values import Census, Held
from .lease import LOOK, Term
from .parts import Parts

logger = logging.getLogger("redlock_beat")

#: Seconds between two complaints about another application's schedule.
STRANGE = 60.0


@dataclass(frozen=True, slots=True)
class Won:
    """An election that this beat has won."""

    term: Term
    #: Who held the lease and is gone; '' when it was free.
    stolen_from: str
    #: The newest term that was known of before, and what Redis counted.
    newest: int
    census: Census


class Standby:
    """The role of a replica that does not lead."""

    def __init__(self, parts: Parts) -> None:
        self.settings, self.target = parts.settings, parts.target
        self.store, self.listener, self.lease = parts.store, parts.listener, parts.lease
        self.renderer, self.broker = parts.renderer, parts.broker
        self.dispatcher, self.losses = parts.dispatcher, parts.losses
        self._beaten_at = float("-inf")
        self._strange_again_at = float("-inf")
        self._said: str | None = None

    def begin(self) -> None:
        """This beat stands by from now on: its next heartbeat says so."""
        self._beaten_at = float("-inf")

    def say(self, role: str | None) -> None:
        """Say what this beat is when it has changed; None forgets what was said."""
        if role != self._said:
            self._said = role
            if role is not None:
                logger.info("This beat is %s.", role)

    def turn(self) -> Won | None:
        """See who leads, and wait; or lead from now on."""
        self.lease.stay_subscribed()
        heartbeat = self._heartbeat()
        newest = self.lease.lowest_epoch
        seen, free = self.lease.look(heartbeat)
        holder = Held.parse(seen.held)
        if holder is not None and 0 < holder.epoch < newest:
            self.losses.set_back(newest, holder.epoch)
        if hooks.listening():
            hooks.emit(hooks.Turned(self.dispatcher.now() / MICROS, "standby"))
        role = f"standby; {holder.owner if holder else 'another beat'} leads"
        if free:
            if self.renderer.direct and self.broker.unproved is None:
                self.broker.doubt()  # it is proved once a term
            census = self.store.run(requests.census(self.store.keys))
            obstacle = self._obstacle(census)
            if obstacle is None:
                steal = "" if holder is not None and holder.token == self.lease.token else seen.held
                term = self.lease.acquire(steal)
                if term is not None:
                    return Won(term, steal, newest, census)
            else:
                role = obstacle
        self.say(role)
        self._wait()
        return None

    def _heartbeat(self) -> str:
        """What to say of this beat, once a TTL; else ''. As often it sees what is in the schedule."""
        now = monotonic()
        if now - self._beaten_at <= self.settings.lease_ttl:
            return ""
        heartbeat = self.dispatcher.heartbeat("standby", None)
        self._beaten_at = now
        census = self.store.run(requests.census(self.store.keys))
        self._is_ours(census)
        if census.epoch >= self.lease.lowest_epoch:
            self.losses.saw(census.entries)
        return heartbeat

    def _obstacle(self, census: Census) -> str | None:
        """Why this beat does not stand for election, though nobody leads; None when it does."""
        if not self._is_ours(census):
            return "standby; the schedule is another application's"
        if not self.broker.known(LOOK):
            return "standby until it is known whether the broker is the schedule's Redis"
        return None

    def _is_ours(self, census: Census) -> bool:
        """Whether this beat may lead here: not where another application's schedule is."""
        ours, theirs = self.settings.application, census.application
        ok = not ours or not theirs or ours == theirs
        if not ok and monotonic() >= self._strange_again_at:
            self._strange_again_at = monotonic() + STRANGE
            logger.error(
                "The schedule at %s with prefix %r belongs to the application %r, and this beat runs %r: it does not "
                "lead, and its schedule is not sent. Set redlock_beat_prefix to a name of this application's own; or, "
                "if the application was renamed, set redlock_beat_application = %r.",
                self.target, self.settings.prefix, theirs, ours, theirs,
            )  # fmt: skip
        return ok

    def _wait(self) -> None:
        # An edit is the leader's business; a release is ours.
        deadline = monotonic() + min(LOOK, self.settings.lease_ttl / 3)
        while (left := deadline - monotonic()) > 0 and self.listener.wait(left) != "release":
            pass
