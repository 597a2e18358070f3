"""Why messages are rendered one by one, which is slower than filling them in: each reason said once, and counted."""

from __future__ import annotations

import logging
from collections import Counter

logger = logging.getLogger("redlock_beat")

#: Reasons that are counted apart; all others are one.
MOST = 20
OTHERS = "other reasons"
#: Things said at most; after so many different ones nothing more is.
SAID = 1_000
_LONGEST = 200


class Reasons:
    """The reasons of one beat, since it started.

    >>> reasons = Reasons()
    >>> reasons.count("it is a canvas")
    'it is a canvas'
    >>> reasons.summary()
    {'it is a canvas': 1}
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._said: set[str] = set()

    def say(self, about: str, level: int, words: str, *args: object) -> None:
        """Log something, unless something was said *about* the same before."""
        if about not in self._said and len(self._said) < SAID:
            self._said.add(about)
            logger.log(level, words, *args)

    def count(self, why: str) -> str:
        """One more message was rendered by itself; the reason it is counted under."""
        why = why[:_LONGEST]
        if why not in self._counts and len(self._counts) >= MOST:
            why = OTHERS
        self._counts[why] += 1
        return why

    def summary(self) -> dict[str, int]:
        """Reason -> messages, the most frequent first; bounded, so that a heartbeat can carry it."""
        return dict(self._counts.most_common())
