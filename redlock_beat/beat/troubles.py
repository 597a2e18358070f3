"""When the world outside is not as it should be: say so, and wait a little longer each time."""

from __future__ import annotations

import logging
import threading

from ..errors import mask, traceback_of
from ..store.client import TROUBLE, Listener, Pauses, Target

logger = logging.getLogger("redlock_beat")


def level_of(attempt: int) -> int:
    """Each attempt is an error in the log at first; later only now and then."""
    return logging.ERROR if attempt <= 3 or attempt % 30 == 0 else logging.DEBUG


class Troubles:
    """The pauses of the loop."""

    def __init__(self, target: Target, longest: float) -> None:
        self.target = target
        self._pauses = Pauses(longest)

    def pause(self, exc: BaseException, listener: Listener | None) -> None:
        """Say what happened and wait, on the subscription where there is one: an error nobody expected passes, too."""
        pause = self._pauses.next()
        attempt = self._pauses.attempts
        said = mask(f"{type(exc).__name__}: {exc}")
        if isinstance(exc, TROUBLE):
            what = f"Redis at {self.target} does not serve us ({said})"
        else:
            what = "The scheduler met an error it did not expect and goes on: "
            what += traceback_of(exc) if attempt <= 3 else said
        logger.log(level_of(attempt), "%s. What is due stays due. Attempt %d follows in %.2f s.", what, attempt, pause)
        if listener is not None and listener.confirmed:
            listener.wait(pause)
        else:
            threading.Event().wait(pause)

    def over(self) -> None:
        """A turn went well."""
        if self._pauses.attempts:
            logger.info("All is well again; beat goes on.")
            self._pauses.reset()
