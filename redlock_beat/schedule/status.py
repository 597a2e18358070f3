"""What a person on call wants to know at a glance: who leads, what waits, what is wrong."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..clock import MICROS
from ..store.values import Held, Standing

#: A standby speaks once a TTL; after so many TTLs without a word it counts as gone.
SILENT = 4.0
#: A leader that has lost the lease notices within a third of the TTL, if it lives; after so much of one it is gone.
DEPOSED = 0.5
#: The TTL of a beat that does not say it, in seconds.
TTL = 15.0


@dataclass(frozen=True, slots=True)
class Replica:
    """One beat, as it last said of itself."""

    host: str
    pid: int
    version: str
    role: str
    #: Seconds since its loop was last heard of.
    age: float
    #: Seconds its wall clock is ahead of Redis's; harmless, and worth mending.
    skew: float
    delivery: str
    #: Why the broker refuses, or None.
    broker: str | None
    #: Occurrences it has sent since it started; and of those it rendered by themselves, which is slower, why.
    sent: int = 0
    rendered: dict[str, int] = field(default_factory=dict)
    #: Entries of which the broker refuses a message, with the reason; ten of them.
    refused: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Status:
    """The schedule as a whole, at one moment."""

    leader: str | None
    epoch: int
    lease_left: float
    entries: int
    #: Entries and manual sends that are due and not yet sent, and for how long the oldest has been.
    overdue: int
    oldest_due: float
    outbox: int
    #: Seconds of lateness over the newest rows of the ledger; None when nothing was sent.
    lateness_p50: float | None
    lateness_p99: float | None
    quarantine: dict[str, str]
    replicas: list[Replica]
    #: Entries of `beat_schedule` that are not in force, each with the reason (a hundred of them), and how many in all.
    left_out: dict[str, str] = field(default_factory=dict)
    left_out_total: int = 0
    #: What Redis has lost lately, in words; None when nothing is known or somebody has taken note.
    loss: str | None = None
    #: What waits to be sent by hand, due or not: triggers, backfills, slots settled by an edit.
    waiting: int = 0

    def json(self) -> dict[str, Any]:
        """As JSON-able data."""
        return asdict(self)


def status_of(standing: Standing, lateness: Sequence[float]) -> Status:
    """The status of what was read; *lateness* in ascending order."""
    held = Held.parse(standing.lease)
    oldest = standing.oldest
    total, left_out = left_out_of(standing.left_out)
    return Status(
        leader=held.owner if held else None,
        epoch=standing.epoch,
        lease_left=standing.lease_left_ms / 1000,
        entries=standing.entries,
        overdue=standing.overdue + standing.manual,
        oldest_due=0.0 if oldest is None or not standing.overdue else max(0, standing.now - oldest) / MICROS,
        outbox=standing.outbox,
        lateness_p50=_percentile(lateness, 0.50),
        lateness_p99=_percentile(lateness, 0.99),
        quarantine={name: _error(report) for name, report in standing.quarantine.items()},
        replicas=sorted(_replicas(standing), key=lambda one: (one.role, one.host, one.pid)),
        left_out=left_out,
        left_out_total=total,
        loss=standing.loss,
        waiting=standing.waiting,
    )


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
        return 1, {"?": f"the record of what was left out cannot be read: {str(record)[:200]}"}


def _percentile(values: Sequence[float], part: float) -> float | None:
    return values[min(len(values) - 1, int(len(values) * part))] if values else None


def _role(leads: bool, said: str, silent: float, ttl: float) -> str:
    """What a beat is, which last said that it is *said*, so many seconds ago."""
    if leads:
        return "leader"
    return "gone" if silent > ttl * (DEPOSED if said == "leader" else SILENT) else "standby"


def _replicas(standing: Standing) -> list[Replica]:
    found, held = [], Held.parse(standing.lease)
    for token, text in standing.beats.items():
        try:
            data = json.loads(text)
            age = max(0, standing.now - int(data["at"])) / MICROS
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
