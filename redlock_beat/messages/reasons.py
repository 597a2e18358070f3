"""Why Celery renders messages one by one, which is slower than filling them in: logged once, and counted."""

from __future__ import annotations

from collections import Counter

#: Reasons that are counted apart; all others count as one.
MOST = 20
OTHERS = "other reasons"
#: The most reasons that are logged.
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

    def first(self, about: str) -> bool:
        """Whether this is the first time; from now on it is not."""
        if about in self._said or len(self._said) >= SAID:
            return False
        self._said.add(about)
        return True

    def count(self, why: str) -> str:
        """Count a message that was rendered by itself; the reason under which it counts."""
        why = why[:_LONGEST]
        if why not in self._counts and len(self._counts) >= MOST:
            why = OTHERS
        self._counts[why] += 1
        return why

    def summary(self) -> dict[str, int]:
        """Reason -> messages, the most frequent first; bounded, so that a heartbeat can carry it."""
        return dict(self._counts.most_common())
