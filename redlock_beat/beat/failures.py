"""Attempts that failed, noted together: one script for many, and one traceback for each reason.

Thousands of entries may fail for one reason (a module that is gone, a queue of the wrong type).
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import mask, traceback_of

logger = logging.getLogger("redlock_beat")

#: Failures of one reason that are logged one by one in a turn, and names in the line that stands for the others.
LINES, NAMES = 3, 5
#: Reasons whose traceback was logged in this term, at most.
REASONS = 500


@dataclass(frozen=True, slots=True)
class Failure:
    """One attempt that failed."""

    name: str
    #: ``compute``, ``render``, ``decode`` or ``enqueue``.
    step: str
    #: What was raised, or said.
    why: str
    #: Seconds until the next attempt; None when there is none before the next term or edit.
    pause: float | None
    error: BaseException | None = None
    #: ``trigger``, ``backfill`` or ``settled`` for what was to be sent by hand.
    how: str = ""

    @property
    def reason(self) -> str:
        """What it has in common with others: the kind and place of an error, not its text, which may be any."""
        if self.error is None:
            return f"{self.step} {self.why}"
        frames = traceback.extract_tb(self.error.__traceback__)
        place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
        return f"{self.step} {type(self.error).__name__} {place}"


_DONE = {"compute": "computed", "render": "rendered", "decode": "read", "enqueue": "enqueued"}


class FailureLog:
    """Says what failed: the first of a reason in full, few one by one, many in one line."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def begin(self) -> None:
        """A new term: everything is said in full again."""
        self._said.clear()

    def say(self, failures: Sequence[Failure]) -> None:
        """Log what failed in one turn."""
        groups: dict[str, list[Failure]] = {}
        for one in failures:
            groups.setdefault(one.reason, []).append(one)
        for reason, group in groups.items():
            for one in group[:LINES]:
                self._one(one, reason)
            rest = group[LINES:]
            if rest:
                names = ", ".join(repr(one.name) for one in rest[:NAMES])
                more = f" and {len(rest) - NAMES} more" if len(rest) > NAMES else ""
                logger.error(
                    "%d more could not be %s for that reason: %s%s.", len(rest), _DONE[rest[0].step], names, more
                )

    def _one(self, one: Failure, reason: str) -> None:
        said = mask(one.why)
        if one.error is not None and reason not in self._said and len(self._said) < REASONS:
            self._said.add(reason)
            said = traceback_of(one.error)
        if one.pause is None:
            then = "It is given up" if one.how else "It is set aside, kept in quarantine"
        else:
            then = f"Nothing of it was sent; it is tried again in {one.pause:.1f} s"
        logger.error("Entry %r could not be %s: %s. %s. Other entries go on.", one.name, _DONE[one.step], said, then)
