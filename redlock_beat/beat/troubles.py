"""Redis or the network fail: log it, and wait a little longer each time."""

from __future__ import annotations

import logging
import threading

from ..errors import mask, traceback_of
from ..log import log
from ..store.client import TROUBLE, Listener, Pauses, Target


def level_of(attempt: int) -> int:
    """The level at which an attempt is logged: the first ones are errors, later only one now and then."""
    return logging.ERROR if attempt <= 3 or attempt % 30 == 0 else logging.DEBUG


class Troubles:
    """The pauses of the loop."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._pauses = Pauses()

    def pause(self, exc: BaseException, listener: Listener | None) -> None:
        """Log what happened and wait, where there is a subscription for a wake-up on it."""
        pause = self._pauses.next()
        attempt = self._pauses.attempts
        said = mask(f"{type(exc).__name__}: {exc}")
        then = "What is due stays due. Attempt %(attempt)d follows in %(pause).2f s."
        level, later = level_of(attempt), {"attempt": attempt, "pause": pause}
        if isinstance(exc, TROUBLE):
            words = f"Redis at %(server)s does not serve this beat (%(why)s). {then}"
            log.at(level, "redis.away", words, server=str(self.target), why=said, **later)
        else:
            words = f"Beat met an error that it did not expect, and goes on: %(why)s. {then}"
            log.at(level, "beat.error", words, why=traceback_of(exc) if attempt <= 3 else said, **later)
        if listener is not None and listener.confirmed:
            listener.wait(pause)
        else:
            threading.Event().wait(pause)

    def over(self) -> None:
        """Note that a turn went well."""
        if self._pauses.attempts:
            log.info("beat.recovered", "All is well again.")
            self._pauses.reset()
