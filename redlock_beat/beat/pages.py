"""The configuration of a term, written a page at a time between two turns: dispatch never waits for it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from ..clock import monotonic
from ..errors import Deposed, traceback_of
from ..store.client import TROUBLE
from .configured import ConfigSync
from .lease import Term
from .parts import Parts

logger = logging.getLogger("redlock_beat")

#: Seconds after which configured entries that were left out are tried again.
AGAIN = 10.0


class Pages:
    """What is still to be written of the configuration."""

    def __init__(self, parts: Parts, term: Term) -> None:
        self.term = term
        self.dispatcher = parts.dispatcher
        self._sync = ConfigSync(parts.settings, parts.store, parts.lease, parts.configuration, parts.dispatcher.code)
        self._left: Iterator[None] | None = self._sync.run(term)
        self._again_at = 0.0

    @property
    def written(self) -> bool:
        """Whether no page is under way."""
        return self._left is None

    def write_next(self) -> bool:
        """Write a page; whether there was one."""
        left = self._under_way()
        if left is None:
            return False
        try:
            next(left)
        except StopIteration:
            self._end()
        except (Deposed, *TROUBLE):
            self._left = self._sync.run(self.term)  # an iterator that raised is over; what is done is done
            raise
        except Exception as exc:  # noqa: BLE001 - whatever it is, what is in force is sent, and the rest tried again
            self._end()
            logger.error(  # noqa: TRY400 - the traceback may hold a URL
                "Part of the configuration is not in force; it is tried again in %.0f s:\n%s",
                AGAIN,
                traceback_of(exc),
            )
        return True

    def _under_way(self) -> Iterator[None] | None:
        if self._left is None and self._sync.lost(self.dispatcher.mark):
            logger.warning("Redis has lost part of the configuration that this beat wrote; it is written again.")
            self._left = self._sync.run(self.term)
        if self._left is None and self._sync.unfinished and monotonic() >= self._again_at:
            self._left = self._sync.again(self.term)
        return self._left

    def _end(self) -> None:
        self._left, self._again_at = None, monotonic() + AGAIN
