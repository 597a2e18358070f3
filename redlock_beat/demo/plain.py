"""The demo as lines: for a pipe, a log, or a terminal that can do no more."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..schedule.answers import LedgerRow
from .actions import Actions
from .processes import Processes
from .watch import Watch

#: Seconds that it runs unless told otherwise.
SECONDS = 20.0
#: What happens when, as parts of the whole time.
PLAY = ((0.35, "kill_leader"), (0.65, "restart_redis"))


def show(processes: Processes, seconds: float | None) -> int:
    """Print what happens for so many seconds, with a kill and a restart on the way; 0 when nothing came twice."""
    tell = _Lines()
    watch = Watch(processes.url)
    actions = Actions(processes, watch, tell)
    try:
        tell(f"An embedded Valkey at {processes.url}, and {len(processes.beats)} beats on the same schedule.")
        if not actions.begin():
            return 1
        _play(actions, tell, seconds or SECONDS)
    except KeyboardInterrupt:
        tell("Interrupted.")
    finally:
        watch.close()
    tell(summary(watch))
    return 1 if watch.numbers.twice else 0


def _play(actions: Actions, tell: _Lines, seconds: float) -> None:
    began, play = time.monotonic(), list(PLAY)
    while (passed := time.monotonic() - began) < seconds:
        tell.rows(actions.watch)
        if play and passed >= play[0][0] * seconds:
            action: Callable[[], None] = getattr(actions, play.pop(0)[1])
            action()
        time.sleep(0.1)
    tell.rows(actions.watch)


class _Lines:
    """Prints lines, and each row of the ledger once."""

    def __init__(self) -> None:
        self._last: LedgerRow | None = None

    def __call__(self, words: str) -> None:
        print(words, flush=True)

    def rows(self, watch: Watch) -> None:
        rows = list(watch.rows)
        new = rows[rows.index(self._last) + 1 :] if self._last in rows else rows
        for row in new:
            print(f"  {row_words(row)}", flush=True)
        self._last = rows[-1] if rows else None


def row_words(row: LedgerRow) -> str:
    """A row of the ledger as a line.

    >>> from datetime import UTC, datetime
    >>> at = datetime(2026, 1, 1, tzinfo=UTC)
    >>> row_words(LedgerRow("sent", "mail", at, at, "id-1", 1, "host:1", None, None))
    'sent      mail                0 ms late  id-1'
    """
    if row.what == "ran":
        took = f"in {row.took * 1000:.0f} ms" if row.took is not None else ""
        return f"{row.outcome or 'ran':<9} {row.entry:<16} {took:>9}       {row.task_id or ''}"
    late = f"{row.lateness * 1000:.0f} ms late" if row.lateness is not None else ""
    return f"{row.what:<9} {row.entry:<16} {late:>12}  {row.task_id or row.why or ''}".rstrip()


def summary(watch: Watch) -> str:
    """What was counted, in a sentence."""
    numbers = watch.numbers
    late = f", half of them within {(numbers.late(0.5) or 0) * 1000:.0f} ms" if numbers.lateness else ""
    return (
        f"{numbers.sent} messages sent{late}; the longest pause between two was {numbers.pause:.2f} s. "
        f"{numbers.runs} runs on the worker; {numbers.twice} of them twice."
    )
