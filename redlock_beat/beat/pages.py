"""The configuration, read and written piece by piece between two turns: what is due never waits for it.

Until it is read, what stands in Redis is in force, as it is until it is written.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..clock import monotonic
from ..errors import Deposed, traceback_of
from ..log import log
from ..store.client import TROUBLE
from .config_sync import ConfigSync
from .lease import Term
from .parts import Parts

#: Seconds until the next attempt with configured entries that are left out.
AGAIN = 10.0
#: Seconds of reading at a time: as long may what is due, or the word of a leader that goes, wait for it.
SLICE = 0.02


class Pages:
    """What is still to write of the configuration in one term."""

    def __init__(self, parts: Parts, term: Term) -> None:
        self.term = term
        self.parts = parts
        self.dispatcher = parts.dispatcher
        self._sync: ConfigSync | None = None  # until the configuration is read
        self._left: Iterator[None] | None = self._run()
        self._again_at = 0.0

    def _run(self) -> Iterator[None]:
        """Read what is left of the configuration, then write what changed."""
        parts = self.parts
        while not parts.reading.read_for(SLICE):
            yield
        if self._sync is None:
            assert parts.reading.configuration is not None
            lease, code = parts.lease, self.dispatcher.code
            self._sync = ConfigSync(parts.settings, parts.store, lease, parts.reading.configuration, code)
        yield from self._sync.run(self.term)

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
            self._left = self._run()  # an iterator that raised is over; what it has written stays
            raise
        except Exception as exc:  # noqa: BLE001 - whatever it is: beat sends what is in force, and tries again
            self._end()
            words = "Part of the configuration is not in force; beat tries again in %(pause).0f s:\n%(why)s"
            log.error("config.failed", words, pause=AGAIN, why=traceback_of(exc))
        return True

    def _under_way(self) -> Iterator[None] | None:
        if self._left is not None:
            return self._left
        if self._sync is None:
            if monotonic() >= self._again_at:
                self._left = self._run()
        elif self._sync.lost(self.dispatcher.reader.mark):
            log.warning(
                "config.lost", "Redis has lost part of the configuration that this beat wrote; beat writes it again."
            )
            self._left = self._run()
        elif self._sync.unfinished and monotonic() >= self._again_at:
            self._left = self._sync.again(self.term)
        return self._left

    def _end(self) -> None:
        self._left, self._again_at = None, monotonic() + AGAIN
