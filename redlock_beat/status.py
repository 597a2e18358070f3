"""What a person on call wants to know at a glance: who leads, what waits, what is wrong."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from .clock import MICROS
from .lease import owner_of
from .store import Store

#: Seconds of silence after which a standby counts as gone.
SILENT = 60.0


@dataclass(frozen=True, slots=True)
class Replica:
    """One beat, as it last said of itself."""

    host: str
    pid: int
    version: str
    role: str
    age: float
    skew: float
    delivery: str
    broker: str | None


@dataclass(frozen=True, slots=True)
class Status:
    """The schedule as a whole, at one moment."""

    leader: str | None
    epoch: int
    lease_left: float
    entries: int
    overdue: int
    oldest_due: float
    outbox: int
    quarantine: dict[str, str]
    replicas: list[Replica]

    def json(self) -> dict[str, Any]:
        """As JSON-able data."""
        return asdict(self)


def read_status(store: Store) -> Status:
    """Ask Redis how things stand."""
    text, left, epoch = store.lease()
    now = store.now()
    overdue, oldest = store.overdue(now)
    return Status(
        leader=owner_of(text),
        epoch=int(epoch or 0),
        lease_left=max(0, left) / 1000,
        entries=store.size(),
        overdue=overdue,
        oldest_due=0.0 if oldest is None or not overdue else max(0, now - oldest) / MICROS,
        outbox=store.outbox_size(),
        quarantine={name: _error(report) for name, report in store.quarantined().items()},
        replicas=sorted(_replicas(store, now, owner_of(text)), key=lambda one: (one.role, one.host, one.pid)),
    )


def _replicas(store: Store, now: int, leader: str | None) -> list[Replica]:
    found = []
    for text in store.beats().values():
        try:
            data = json.loads(text)
            owner = f"{data['host']}:{data['pid']}"
            age = max(0, now - int(data["at"])) / MICROS
            found.append(
                Replica(
                    host=str(data["host"]),
                    pid=int(data["pid"]),
                    version=str(data["version"]),
                    role="leader" if owner == leader else "standby" if age < SILENT else "gone",
                    age=age,
                    skew=int(data["skew"]) / MICROS,
                    delivery=str(data["delivery"]),
                    broker=data.get("broker"),
                )
            )
        except (ValueError, KeyError, TypeError):
            continue
    return found


def _error(report: str) -> str:
    try:
        return str(json.loads(report)["error"])
    except (ValueError, KeyError, TypeError):
        return report[:200]
