"""Redis has less than it once had: this is said loudly, in the log, to hooks, and to whoever asks for the health.

A counter of terms that stands lower than before gives it away, or a server that came back older in the
middle of a term.
"""

from __future__ import annotations

import logging

from .. import hooks
from ..clock import MICROS, RedisClock, moment
from ..errors import Replaced, mask
from ..store import requests
from ..store.client import TROUBLE
from ..store.store import Store

logger = logging.getLogger("redlock_beat")

#: Seconds for which `health` shows a loss.
KEPT = 3600


class Losses:
    """What this beat knows of what Redis had, and what it says when that is gone."""

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
        """The counter of terms stands lower than it once did: what Redis had is gone, all of it or the newest."""
        if before <= self._set_back_from:
            return  # it has been said
        if entries is None:
            entries = self.store.run(requests.census(self.store.keys)).entries
        self._set_back_from = before
        known = self.entries
        were = "" if known is None else f", {known} before"
        self._say(
            f"Redis has lost data: it counts {now} terms and counted {before} before; the schedule has {entries} "
            f"entries{were}. Entries and edits made at runtime that are missing are lost, unless you have a backup. "
            f"The entries of beat_schedule are written again.", known, entries, before, now,
        )  # fmt: skip

    def came_back_older(self, exc: Replaced, epoch: int, entries: int) -> None:
        """In the middle of this term another server answers, without what the last one had."""
        span = f"at least {exc.older:.1f} s older" if exc.older else "without what this beat had written"
        self._say(
            f"Redis has come back {span}: edits of that time are lost, and what was sent in it may be sent again.",
            None, entries, epoch, epoch,
        )  # fmt: skip

    def note(self) -> None:
        """Note a loss in Redis, for those who ask later."""
        if self._unnoted is None:
            return
        try:
            self.store.note_loss(self._unnoted, KEPT)
        except TROUBLE as exc:  # kept until Redis takes it; one that is full still has a leader
            logger.debug("What Redis has lost could not be noted yet: %s", mask(exc))
        else:
            self._unnoted = None

    def _say(self, why: str, entries_before: int | None, entries_now: int, epoch_before: int, epoch_now: int) -> None:
        logger.critical("%s", why)
        at = self.clock.now()
        hooks.emit(hooks.DataLost(at / MICROS, why, entries_before, entries_now, epoch_before, epoch_now))
        self._unnoted = f"{moment(at):%Y-%m-%d %H:%M:%S} UTC: {why}"
        self.note()
