"""Attempts that failed: one traceback for each reason in the log, and one line for many entries.

Thousands of entries may fail for one reason (a module that is gone, a queue of the wrong type).
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import mask, traceback_of
from ..log import log

#: Failures of one reason that a turn logs one by one, and names in the line for the others.
LINES, NAMES = 3, 5
#: Reasons whose traceback a term logs, at most.
REASONS = 500


@dataclass(frozen=True, slots=True)
class Failure:
    """One attempt that failed."""

    name: str
    #: ``compute``, ``render``, ``decode`` or ``enqueue``.
    step: str
    #: The error, or Redis's answer, as text.
    why: str
    #: Seconds until the next attempt; None when that waits for the next term or an edit.
    pause: float | None
    error: BaseException | None = None
    #: ``trigger``, ``backfill`` or ``settled`` for a manual item.
    source: str = ""

    @property
    def reason(self) -> str:
        """What it shares with others: the kind and the place of an error. Its text may differ each time."""
        if self.error is None:
            return f"{self.step} {self.why}"
        frames = traceback.extract_tb(self.error.__traceback__)
        place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
        return f"{self.step} {type(self.error).__name__} {place}"


_DONE = {"compute": "computed", "render": "rendered", "decode": "read", "enqueue": "enqueued"}


class FailureLog:
    """Logs what failed: the first of a reason with its traceback, a few one by one, many in one line."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def begin(self) -> None:
        """A new term: log tracebacks again."""
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
                words = f"%(count)d more could not be {_DONE[rest[0].step]} for that reason: %(names)s."
                log.error("entries.failed", words, count=len(rest), step=rest[0].step, names=names + more)

    def _one(self, one: Failure, reason: str) -> None:
        said = mask(one.why)
        if one.error is not None and reason not in self._said and len(self._said) < REASONS:
            self._said.add(reason)
            said = traceback_of(one.error)
        if one.pause is None:
            then = "Beat gives it up" if one.source else "It stays in quarantine"
        else:
            then = "Nothing of it was sent; beat tries again in %(pause).1f s"
        log.error(
            "entry.failed",
            f"Entry %(entry)r could not be {_DONE[one.step]}: %(why)s. {then}. Other entries go on.",
            entry=one.name,
            step=one.step,
            why=said,
            pause=one.pause,
            source=one.source or None,
        )
