"""What a person on call wants to know: who leads, what waits, what is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..clock import MICROS, moment
from ..store import holds
from ..store.values import Held, Snapshot
from .answers import Hold

#: A standby writes a heartbeat once a TTL; after so many TTLs without one it counts as gone.
SILENT = 4.0
#: A leader that lost the lease notices within a third of the TTL if it lives; after this part of one it is gone.
DEPOSED = 0.5
#: The TTL in seconds of a beat whose heartbeat does not say it.
TTL = 15.0


@dataclass(frozen=True, slots=True)
class Replica:
    """One beat, as its last heartbeat describes it."""

    host: str
    pid: int
    version: str
    role: str
    #: Seconds since its last heartbeat.
    age: float
    #: Seconds by which its wall clock is ahead of Redis's: harmless, and worth mending.
    skew: float
    delivery: str
    #: Why the broker refuses, or None.
    broker: str | None
    #: Occurrences that it has sent since it started; why, and how many, Celery rendered one by one, which is slower.
    sent: int = 0
    rendered: dict[str, int] = field(default_factory=dict)
    #: Entries of which the broker refuses a message, with the reason; ten at most.
    refused: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Status:
    """The whole schedule at one moment."""

    leader: str | None
    epoch: int
    lease_left: float
    entries: int
    #: Entries and manual items that are due and not yet sent, and for how many seconds the oldest has been.
    overdue: int
    oldest_due: float
    outbox: int
    #: Seconds of lateness over the newest rows of the ledger; None when nothing was sent.
    lateness_p50: float | None
    lateness_p99: float | None
    #: Entries in quarantine, each with the reason (a hundred at most); :attr:`quarantined` says how many there are.
    quarantine: dict[str, str]
    replicas: list[Replica]
    #: Configured entries that are not in force, each with the reason (a hundred at most), and how many in all.
    left_out: dict[str, str] = field(default_factory=dict)
    left_out_total: int = 0
    #: What Redis has lost lately, in words; None when nobody knows of a loss, or somebody has acknowledged it.
    loss: str | None = None
    #: The hold of everything: nothing is sent while there is one.
    hold: Hold | None = None
    #: Manual items that wait to be sent, due or not: triggers, backfilled and settled slots.
    waiting: int = 0
    #: Calls with a countdown or eta: how many are kept, how many of them are due, and for how long the first has been.
    countdowns: int = 0
    countdowns_due: int = 0
    countdowns_late: float = 0.0
    #: Workers that report (`redlock_beat.watch`), and runs that are under way there.
    workers: int = 0
    running: int = 0
    #: How runs ended, among the newest rows of the ledger: outcome -> how many.
    outcomes: dict[str, int] = field(default_factory=dict)
    #: Entries whose last runs have failed, with how many in a row (a hundred of them), and how many entries in all.
    failing: dict[str, int] = field(default_factory=dict)
    failing_total: int = 0
    #: How many entries are in quarantine, and locks of unique tasks.
    quarantined: int = 0
    locks: int = 0

    def json(self) -> dict[str, Any]:
        """As JSON-able data."""
        data = asdict(self)
        for name in ("since", "until") if self.hold else ():
            at = getattr(self.hold, name)
            data["hold"][name] = at and at.isoformat()
        return data


def status_of(snapshot: Snapshot, lateness: Sequence[float], outcomes: Mapping[str, int] | None = None) -> Status:
    """The status that a snapshot shows; *lateness* in ascending order."""
    held = Held.parse(snapshot.lease)
    oldest = snapshot.oldest
    total, left_out = left_out_of(snapshot.left_out)
    return Status(
        leader=held.owner if held else None,
        epoch=snapshot.epoch,
        lease_left=snapshot.lease_left_ms / 1000,
        entries=snapshot.entries,
        overdue=snapshot.overdue + snapshot.manual,
        oldest_due=0.0 if oldest is None or not snapshot.overdue else max(0, snapshot.now - oldest) / MICROS,
        outbox=snapshot.outbox,
        lateness_p50=_percentile(lateness, 0.50),
        lateness_p99=_percentile(lateness, 0.99),
        quarantine={name: _error(report) for name, report in sorted(snapshot.quarantine.items())},
        replicas=sorted(_replicas(snapshot), key=lambda one: (one.role, one.host, one.pid)),
        left_out=left_out,
        left_out_total=total,
        loss=snapshot.loss,
        hold=hold_of(snapshot),
        waiting=snapshot.waiting,
        countdowns=snapshot.countdowns,
        countdowns_due=snapshot.countdowns_due,
        countdowns_late=snapshot.countdown_lag,
        workers=snapshot.workers,
        running=snapshot.running,
        outcomes=dict(outcomes or {}),
        failing=dict(sorted(snapshot.failing.items(), key=lambda one: (-one[1], one[0]))[:100]),
        failing_total=snapshot.failing_total,
        quarantined=snapshot.quarantined,
        locks=snapshot.locks,
    )


def hold_of(snapshot: Snapshot) -> Hold | None:
    """The hold that stands at the moment of a snapshot."""
    return shown(holds.Hold.parse(snapshot.hold, snapshot.now), Held.parse(snapshot.lease))


def shown(hold: holds.Hold | None, lease: Held | None) -> Hold | None:
    """A hold as people see it, where *lease* says who leads."""
    if hold is None:
        return None
    since, until = moment(hold.at), None if hold.until is None else moment(hold.until)
    return Hold(hold.id, since, until, hold.actor, hold.note, hold.seen_by(lease))


def left_out_of(record: str | None) -> tuple[int, dict[str, str]]:
    """How many configured entries are not in force, and why some of them are not.

    >>> left_out_of('{"total": 2, "entries": {"a": "its class is away"}}')
    (2, {'a': 'its class is away'})
    """
    try:
        data = json.loads(record or "{}")
        entries = {str(name): str(why) for name, why in dict(data.get("entries", {})).items()}
        return max(int(data.get("total", 0)), len(entries)), entries
    except (ValueError, TypeError, AttributeError):
        return 1, {"?": f"the record of what is left out cannot be read: {str(record)[:200]}"}


def _percentile(values: Sequence[float], part: float) -> float | None:
    return values[min(len(values) - 1, int(len(values) * part))] if values else None


def _role(leads: bool, said: str, silent: float, ttl: float) -> str:
    """The role of a beat that said it was *said* so many seconds ago."""
    if leads:
        return "leader"
    return "gone" if silent > ttl * (DEPOSED if said == "leader" else SILENT) else "standby"


def _replicas(snapshot: Snapshot) -> list[Replica]:
    found, held = [], Held.parse(snapshot.lease)
    for token, text in snapshot.beats.items():
        try:
            data = json.loads(text)
            age = max(0, snapshot.now - int(data["at"])) / MICROS
            leads = held is not None and held.token == token
            found.append(
                Replica(
                    host=str(data["host"]),
                    pid=int(data["pid"]),
                    version=str(data["version"]),
                    role=_role(leads, str(data.get("role")), age, float(data.get("ttl", TTL))),
                    age=age,
                    skew=int(data["skew"]) / MICROS,
                    delivery=str(data["delivery"]),
                    broker=data.get("broker"),
                    sent=int(data.get("sent") or 0),
                    refused={str(name): str(why) for name, why in (data.get("refused") or {}).items()},
                    rendered={str(why): int(many) for why, many in (data.get("rendered") or {}).items()},
                )
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return found


def _error(report: str) -> str:
    try:
        return str(json.loads(report)["error"])
    except (ValueError, KeyError, TypeError):
        return report[:200]
