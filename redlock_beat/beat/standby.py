"""The standby: sees who leads, and stands for election when nobody does."""

from __future__ import annotations

from dataclasses import dataclass

from .. import hooks
from ..clock import MICROS, monotonic
from ..log import log
from ..store import requests
from ..store.values import Census, Held
from .lease import LOOK, Term
from .pages import SLICE
from .parts import Parts

#: Seconds between two log records about another application's schedule.
STRANGE = 60.0
#: The layouts of the schedule's keys with which this release can lead.
LAYOUTS = ("", "1")


@dataclass(frozen=True, slots=True)
class Won:
    """An election that this beat has won."""

    term: Term
    #: Who held the lease and is gone; '' when it was free.
    stolen_from: str
    #: The newest term that this beat knew of before, and what Redis counted.
    newest: int
    census: Census


class Standby:
    """The role of a replica that does not lead."""

    def __init__(self, parts: Parts) -> None:
        self.settings, self.target = parts.settings, parts.target
        self.store, self.listener, self.lease = parts.store, parts.listener, parts.lease
        self.renderer, self.broker = parts.renderer, parts.broker
        self.dispatcher, self.losses, self.reading = parts.dispatcher, parts.losses, parts.reading
        self._beaten_at = float("-inf")
        self._strange_again_at = float("-inf")
        self._said: str | None = None
        #: Whether this beat may lead when the leader goes.
        self.fit = True

    def begin(self) -> None:
        """Stand by from now on: the next heartbeat says so."""
        self._beaten_at = float("-inf")

    def say(self, role: str | None, epoch: int | None = None) -> None:
        """Log what this beat is, when that has changed; None forgets what was logged."""
        if role != self._said:
            self._said = role
            if role is not None:
                log.info("role.changed", "This beat is %(role)s.", role=role, epoch=epoch)

    def turn(self) -> Won | None:
        """See who leads, and wait; or win the election."""
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
                self.broker.doubt()  # each term needs a proof of its own
            census = self.store.run(requests.census(self.store.keys))
            obstacle = self._obstacle(census)
            if obstacle is None:
                steal = "" if holder is not None and holder.token == self.lease.token else seen.held
                term = self.lease.acquire(steal)
                if term is not None:
                    return Won(term, steal, newest, census)
            else:
                role, self.fit = obstacle, False
        self.say(role)
        self._wait()
        return None

    def _heartbeat(self) -> str:
        """The heartbeat of this beat once a TTL, else ''. As often, it counts the entries of the schedule."""
        now = monotonic()
        if now - self._beaten_at <= self.settings.lease_ttl:
            return ""
        heartbeat = self.dispatcher.reader.heartbeat("standby", None)
        self._beaten_at = now
        census = self.store.run(requests.census(self.store.keys))
        self._is_ours(census)
        if census.epoch >= self.lease.lowest_epoch:
            self.losses.saw(census.entries)
        return heartbeat

    def _obstacle(self, census: Census) -> str | None:
        """Why this beat does not stand for election although nobody leads; None when it does."""
        if not self._is_ours(census):
            return "standby; the schedule is another application's"
        if census.layout not in LAYOUTS:
            self._say_layout(census.layout)
            return "standby; a later release of redlock_beat has changed how the schedule is stored"
        if not self.broker.known(LOOK):
            return "standby until it knows whether the broker is the schedule's Redis"
        return None

    def _say_layout(self, layout: str) -> None:
        if monotonic() >= self._strange_again_at:
            self._strange_again_at = monotonic() + STRANGE
            log.error(
                "layout.later",
                "The schedule at %(server)s with prefix %(prefix)r is stored in layout %(layout)s, and this release of "
                "redlock_beat knows layout %(known)s: this beat does not lead, because it would damage what it does "
                "not know. Upgrade this beat.",
                server=str(self.target),
                prefix=self.settings.prefix,
                layout=layout[:20],
                known=LAYOUTS[-1],
            )

    def _is_ours(self, census: Census) -> bool:
        """Whether this beat may lead here: the schedule is not another application's."""
        ours, theirs = self.settings.application, census.application
        self.fit = ok = not ours or not theirs or ours == theirs
        if not ok and monotonic() >= self._strange_again_at:
            self._strange_again_at = monotonic() + STRANGE
            log.error(
                "application.other",
                "The schedule at %(server)s with prefix %(prefix)r belongs to the application %(owner)r, and this beat "
                "runs %(application)r: it does not lead, and its schedule is not sent. Set redlock_beat_prefix to a "
                "name of this application's own; or, if the application was renamed, set redlock_beat_application = "
                "%(owner)r.",
                server=str(self.target),
                prefix=self.settings.prefix,
                owner=theirs,
                application=ours,
            )
        return ok

    def _wait(self) -> None:
        # An edit concerns the leader; a release concerns the standby.
        deadline = monotonic() + min(LOOK, self.settings.lease_ttl / 3)
        while (left := deadline - monotonic()) > 0:
            read = self.reading.read_for(min(left, SLICE))  # so that a leader need not: it may be one soon
            if self.listener.wait(left if read else 0) == "release":
                return
