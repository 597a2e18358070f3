"""The answers to the two questions of probes.

*Does the loop of this replica turn?* (:func:`machine_health`) is for liveness. A local file answers it, so an outage of
Redis restarts nobody, and a standby is healthy. The same file says whether the replica leads or could: readiness.
*Is the schedule well?* (:func:`schedule_health`) is for alerts: a beat leads, nothing due is older than a limit, outbox
and quarantine are empty. Neither imports Celery, so ``python -m redlock_beat health`` is quick.
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
from ..store.requests import Operation
from ..store.values import Snapshot
from ..words import many
from .given import is_number
from .status import hold_of, left_out_of


@dataclass(frozen=True, slots=True)
class Health:
    """Whether all is well, and one line that says why."""

    ok: bool
    why: str


def machine_health(file: str | None = None, ready: bool = False) -> Health:
    """Whether the loops of the beats on this machine (or of the one that writes *file*) turn.

    With *ready*: and whether each of them leads or could.
    """
    if file:
        found = heartbeat.read(Path(file))
        pulses = [found] if found is not None and found.running else []
        where = file
    else:
        pulses, where = heartbeat.read_all(), str(heartbeat.directory())
        if heartbeat.directory() is None:
            return Health(
                False,
                f"no beat can write its heartbeat file here: {heartbeat.nowhere()}. Set redlock_beat_heartbeat_file to "
                "a file that it can write, and ask with --file",
            )
    if not pulses:
        return Health(False, f"no beat of this user runs here (no heartbeat file in {where})")
    late = [one for one in pulses if one.late > 0]
    if late:
        worst = max(late, key=lambda one: one.late)
        return Health(
            False, f"the loop of process {worst.pid} has not turned for {worst.age:.0f} s ({worst.allowed:.0f} allowed)"
        )
    unfit = [one for one in pulses if ready and not one.ready]
    if unfit:
        return Health(
            False,
            f"process {unfit[0].pid} turns, but can neither lead nor stand by: it does not reach Redis or the broker, "
            "or the schedule is another application's. Its log says which",
        )
    return Health(True, ", ".join(f"process {one.pid} turned {one.age:.1f} s ago" for one in pulses))


def schedule_health(keys: Keys, max_lag: float) -> Operation[Health]:
    """Whether the schedule is well."""
    if not is_number(max_lag) or not max_lag >= 0:
        raise InvalidSetting(f"max_lag is {max_lag!r}, but must be a number of seconds, 0 or more.")
    now = yield requests.now(keys)
    snapshot = yield requests.snapshot(keys, now)
    items = (yield requests.outbox_sample(keys)) if snapshot.outbox else []
    return judged(snapshot, items, max_lag)


def judged(snapshot: Snapshot, outbox: Sequence[str], max_lag: float) -> Health:
    """Whether a schedule is well that looks like this; *outbox* are some items of its outbox."""
    hold = hold_of(snapshot)
    if hold is not None:
        alone = "" if snapshot.lease else "; nobody leads, either"
        return Health(False, f"everything is held {hold.words} (`celery redlock release` ends it){alone}")
    if not snapshot.lease:
        due = many(snapshot.countdowns_due, "countdown", "is", "are")
        behind = f", and {due} due" if snapshot.countdowns_due else ""
        return Health(False, f"nobody leads: nothing is sent{behind}")
    if snapshot.loss:
        return Health(False, f"{snapshot.loss} `celery redlock health --ack` acknowledges it")
    if snapshot.overdue and snapshot.oldest is not None:
        lag = (snapshot.now - snapshot.oldest) / MICROS
        if lag > max_lag:
            return Health(False, f"{snapshot.overdue} due, the oldest for {lag:.1f} s ({max_lag:g} allowed)")
    lag = snapshot.countdown_lag
    if lag > max_lag:
        count = snapshot.countdowns_due
        return Health(False, f"{many(count, 'countdown')} due, the first for {lag:.1f} s ({max_lag:g} allowed)")
    waiting = [(snapshot.now - (item.at or item.nominal)) / MICROS for item in _items(outbox)]
    if waiting and max(waiting) > max_lag:
        wait = many(snapshot.outbox, "message", "waits", "wait")
        return Health(False, f"{wait} for the broker, one for {max(waiting):.1f} s ({max_lag:g} allowed)")
    if len(waiting) < len(outbox):
        return Health(False, "the outbox holds an item that cannot be read and is never published")
    if snapshot.quarantine:
        more = f" and {snapshot.quarantined - 1} more" if snapshot.quarantined > 1 else ""
        return Health(False, f"in quarantine: {min(snapshot.quarantine)!r}{more}; `celery redlock doctor` says why")
    total, left_out = left_out_of(snapshot.left_out)
    if total:
        more = f" and {total - 1} more" if total > 1 else ""
        return Health(
            False, f"left out of beat_schedule: {next(iter(left_out), '?')!r}{more}; `celery redlock status` says why"
        )
    return Health(True, f"led, nothing due for longer than {max_lag:g} s, {many(snapshot.entries, 'entry')}")


def _items(texts: Sequence[str]) -> list[Item]:
    found = []
    for text in texts:
        with contextlib.suppress(ValueError):
            found.append(unstamp("", text))
    return found
