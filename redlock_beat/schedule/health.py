"""The two questions of probes, kept apart.

*Does this replica's loop turn?* (:func:`this`) is for liveness: it is answered from a local file, so an
outage of Redis restarts nobody, and standbys are healthy. *Is the whole well?* (:func:`whole`) is for
alerts and readiness: a leader exists, nothing due is older than a limit, outbox and quarantine are
empty. Neither imports Celery, so ``python -m redlock_beat health`` is quick.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import liveness as heartbeat
from ..clock import MICROS
from ..errors import InvalidSetting
from ..store import requests
from ..store.item import Item, unstamp
from ..store.keys import Keys
from ..store.requests import Asking
from ..store.values import Standing
from .status import left_out_of


@dataclass(frozen=True, slots=True)
class Verdict:
    """Well or not, and one line why."""

    ok: bool
    why: str


def this(file: str | None = None) -> Verdict:
    """Whether the loops of the beats on this machine (or of the one that writes *file*) turn."""
    if file:
        found = heartbeat.read(Path(file))
        pulses = [found] if found is not None and found.running else []
        where = file
    else:
        pulses, where = heartbeat.read_all(), str(heartbeat.directory())
        if heartbeat.directory() is None:
            return Verdict(
                False,
                f"no beat can write its heartbeat here: {heartbeat.nowhere()}. Set redlock_beat_heartbeat_file to a "
                "file that can be, and ask with --file",
            )
    if not pulses:
        return Verdict(False, f"no beat of this user runs here (no heartbeat in {where})")
    late = [one for one in pulses if one.late > 0]
    if late:
        worst = max(late, key=lambda one: one.late)
        return Verdict(
            False, f"the loop of process {worst.pid} has not turned for {worst.age:.0f} s ({worst.allowed:.0f} allowed)"
        )
    return Verdict(True, ", ".join(f"process {one.pid} turned {one.age:.1f} s ago" for one in pulses))


def whole(keys: Keys, max_lag: float) -> Asking[Verdict]:
    """Ask whether the schedule as a whole is well."""
    if not max_lag >= 0:  # nothing is ever later than NaN
        raise InvalidSetting(f"max_lag is {max_lag!r}, but must be a number of seconds, 0 or more.")
    now = yield requests.now(keys)
    standing = yield requests.standing(keys, now)
    items = (yield requests.outbox_sample(keys)) if standing.outbox else []
    return judged(standing, items, max_lag)


def judged(standing: Standing, outbox: Sequence[str], max_lag: float) -> Verdict:
    """Whether that is well; *outbox* are some of its items."""
    if not standing.lease:
        return Verdict(False, "nobody leads: nothing is sent")
    if standing.loss:
        return Verdict(False, f"{standing.loss} `celery redlock health --ack` acknowledges it")
    if standing.overdue and standing.oldest is not None:
        lag = (standing.now - standing.oldest) / MICROS
        if lag > max_lag:
            return Verdict(False, f"{standing.overdue} due, the oldest for {lag:.1f} s ({max_lag:g} allowed)")
    waiting = [(standing.now - (item.at or item.nominal)) / MICROS for item in _items(outbox)]
    if waiting and max(waiting) > max_lag:
        return Verdict(
            False, f"{standing.outbox} messages wait for the broker, one for {max(waiting):.1f} s ({max_lag:g} allowed)"
        )
    if len(waiting) < len(outbox):
        return Verdict(False, "the outbox holds an item that cannot be read and is never published")
    if standing.quarantine:
        names = sorted(standing.quarantine)
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        return Verdict(False, f"in quarantine: {names[0]!r}{more}; `celery redlock doctor` says why")
    total, left_out = left_out_of(standing.left_out)
    if total:
        more = f" and {total - 1} more" if total > 1 else ""
        return Verdict(
            False, f"left out of beat_schedule: {next(iter(left_out), '?')!r}{more}; `celery redlock status` says why"
        )
    return Verdict(True, f"led, nothing due for longer than {max_lag:g} s, {standing.entries} entries")


def _items(texts: Sequence[str]) -> list[Item]:
    found = []
    for text in texts:
        with contextlib.suppress(ValueError):
            found.append(unstamp("", text))
    return found
