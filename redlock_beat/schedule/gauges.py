"""The schedule in numbers for Prometheus: what every process that reaches its Redis knows of it.

The page serves them at ``/metrics``. What both a beat and the schedule can tell has one name, which is written here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import InvalidSetting
from .status import Status

#: What the leader tells too, each by its name and what it counts.
SHARED = {
    "entries": "Entries in the schedule",
    "backlog": "Occurrences due and not yet sent",
    "outbox": "Messages that wait for the broker",
    "quarantined": "Entries that do not decode, compute or render",
    "countdowns": "Calls with a countdown or eta that are kept",
    "countdowns_due": "Of those, due and not yet sent",
    "held": "1 while everything is held, else 0",
}

#: The values of the labels of a gauge -> its value; None where nobody knows it.
Values = Mapping[tuple[str, ...], float | None]


@dataclass(frozen=True, slots=True)
class Gauge:
    """A number of the schedule.

    >>> gauge("entries").metric
    'redlock_beat_entries'
    """

    name: str
    words: str
    values: Callable[[Status], Values]
    labels: tuple[str, ...] = ()

    @property
    def metric(self) -> str:
        """Its name in Prometheus."""
        return f"redlock_beat_{self.name}"


def gauge(name: str) -> Gauge:
    """The gauge of a name."""
    return next(one for one in GAUGES if one.name == name)


def _one(name: str, value: Callable[[Status], float], words: str = "") -> Gauge:
    return Gauge(name, f"{words or SHARED[name]}.", lambda status: {(): value(status)})


def _roles(status: Status) -> Values:
    roles = [one.role for one in status.replicas]
    return {(role,): roles.count(role) for role in ("leader", "standby", "gone")}


def _lateness(status: Status) -> Values:
    return {("0.5",): status.lateness_p50, ("0.99",): status.lateness_p99}


GAUGES = (
    _one("led", lambda status: status.leader is not None, "1 while a beat leads, else 0"),
    _one("epoch", lambda status: status.epoch, "The term of the schedule"),
    Gauge("beats", "Beats by their role: leader, standby, gone.", _roles, ("role",)),
    _one("entries", lambda status: status.entries),
    _one("backlog", lambda status: status.overdue),
    _one("oldest_due_seconds", lambda status: status.oldest_due, "Seconds for which the oldest of them has been due"),
    _one("waiting", lambda status: status.waiting, "Triggers, backfilled and settled slots that wait, due or not"),
    _one("outbox", lambda status: status.outbox),
    _one("quarantined", lambda status: status.quarantined),
    _one("left_out", lambda status: status.left_out_total, "Configured entries that are not in force"),
    _one("held", lambda status: status.hold is not None),
    _one("lost", lambda status: status.loss is not None, "1 while a loss of data waits to be acknowledged, else 0"),
    _one("countdowns", lambda status: status.countdowns),
    _one("countdowns_due", lambda status: status.countdowns_due),
    _one(
        "countdowns_late_seconds",
        lambda status: status.countdowns_late,
        "Seconds for which the first of them has been due",
    ),
    _one("workers", lambda status: status.workers, "Workers that report"),
    _one("running", lambda status: status.running, "Runs that are under way there"),
    _one("failing", lambda status: status.failing_total, "Entries whose last runs have failed"),
    _one("locks", lambda status: status.locks, "Locks of unique tasks"),
    Gauge(
        "recent_lateness_seconds",
        "Seconds from nominal to the moment it was sent, over the newest 1,000 rows of the ledger.",
        _lateness,
        ("quantile",),
    ),
)


def samples(status: Status) -> Iterator[tuple[Gauge, dict[str, str], float]]:
    """Every number that is known: its gauge, its labels and its value."""
    for one in GAUGES:
        for values, value in one.values(status).items():
            if value is not None:
                yield one, dict(zip(one.labels, values, strict=True)), float(value)


def exposed(status: Status, accept: str) -> tuple[bytes, str]:
    """The numbers as Prometheus reads them, in the format that *accept* asks for; and the name of that format."""
    client = prometheus("the page serves no metrics")
    from prometheus_client.core import GaugeMetricFamily
    from prometheus_client.exposition import choose_encoder

    families: dict[str, Any] = {}
    for one, labels, value in samples(status):
        if one.name not in families:
            families[one.name] = GaugeMetricFamily(one.metric, one.words, labels=one.labels)
        families[one.name].add_metric(list(labels.values()), value)
    registry = client.CollectorRegistry()
    registry.register(_Collected(families.values()))
    encode, type_ = choose_encoder(accept)
    return encode(registry), type_


class _Collected:
    """What a registry asks for its metrics."""

    def __init__(self, families: Iterable[Any]) -> None:
        self._families = families

    def collect(self) -> Iterable[Any]:
        """All of them."""
        return self._families


def prometheus(otherwise: str) -> Any:
    """The library ``prometheus_client``; *otherwise* says what does not work without it."""
    try:
        import prometheus_client
    except ImportError:
        raise InvalidSetting(
            f"{otherwise}: prometheus_client is not installed. Install it with pip install 'redlock-beat[prometheus]'."
        ) from None
    return prometheus_client
