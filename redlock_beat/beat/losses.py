"""Redis has less than it once had: the log, the hooks and `health` say so.

A beat notices it when the counter of terms is lower than before, or when a server with older data answers in the middle
of a term.
"""

from __future__ import annotations

from .. import hooks
from ..clock import MICROS, RedisClock, moment
from ..errors import Replaced, mask
from ..log import log
from ..store import requests
from ..store.client import TROUBLE
from ..store.store import Store

#: Seconds for which `health` shows a loss.
KEPT = 3600


class Losses:
    """What this beat knows that Redis had, and what it reports when that is gone."""

    def __init__(self, store: Store, clock: RedisClock) -> None:
        self.store = store
        self.clock = clock
        #: Entries this beat has seen in the schedule; None before it has seen any.
        self.entries: int | None = None
        self._set_back_from = 0
        self._unnoted: str | None = None

    def saw(self, entries: int | None) -> None:
        """Remember how many entries there are; None says nothing new."""
        if entries is not None:
            self.entries = entries

    def set_back(self, before: int, now: int, entries: int | None = None) -> None:
        """Report that the counter of terms is lower than before: what Redis had is gone, all of it or the newest."""
        if before <= self._set_back_from:
            return  # it is reported already
        if entries is None:
            entries = self.store.run(requests.census(self.store.keys)).entries
        self._set_back_from = before
        known = self.entries
        were = "" if known is None else f", {known} before"
        why = (
            f"Redis has lost data: it counts {now} terms and counted {before} before; the schedule has {entries} "
            f"entries{were}. Entries and edits made at runtime that are missing are lost, unless you have a backup. "
            "Beat writes the entries of beat_schedule again."
        )
        self._say(why, known, entries, before, now)

    def came_back_older(self, exc: Replaced, epoch: int, entries: int) -> None:
        """Report that another server answers in the middle of this term, without what the last one had."""
        span = f"at least {exc.older:.1f} s older" if exc.older else "without what this beat had written"
        why = f"Redis has come back {span}: edits of that time are lost, and what was sent in it may be sent again."
        self._say(why, None, entries, epoch, epoch)

    def note(self) -> None:
        """Record a loss in Redis, for `health`."""
        if self._unnoted is None:
            return
        try:
            self.store.note_loss(self._unnoted, KEPT)
        except TROUBLE as exc:  # Redis may be full, and still has a leader: the next turn tries again
            log.debug("data.loss_not_noted", "What Redis has lost is not noted yet: %(why)s", why=mask(exc))
        else:
            self._unnoted = None

    def _say(self, why: str, entries_before: int | None, entries_now: int, epoch_before: int, epoch_now: int) -> None:
        log.critical("data.lost", "%(why)s", why=why, entries=entries_now, epoch=epoch_now)
        at = self.clock.now()
        hooks.emit(hooks.DataLost(at / MICROS, why, entries_before, entries_now, epoch_before, epoch_now))
        self._unnoted = f"{moment(at):%Y-%m-%d %H:%M:%S} UTC: {why}"
        self.note()
