"""Metrics for Prometheus: one hook, and a small server beside the loop.

With ``pip install 'redlock-beat[prometheus]'`` and ``redlock_beat_metrics_port`` set, every beat serves
them, standbys too. ``docs/reference/metrics.md`` lists them, ``docs/howto/monitoring.md`` has alerts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import hooks
from ..clock import monotonic
from ..log import log
from ..schedule.gauges import SHARED, prometheus

#: Bounds of the lateness histogram, in seconds.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)

#: Values of the label that are counted apart; those after them are counted as one.
VALUES = 100


class PrometheusHook:
    """Counts events for Prometheus, in a registry that you give it.

    >>> from prometheus_client import CollectorRegistry
    >>> registry = CollectorRegistry()
    >>> hook = PrometheusHook(registry)
    >>> hook(hooks.Sent(10.0, "mail", "tasks.mail", 9.5, "id", 1))
    >>> registry.get_sample_value("redlock_beat_sent_total")
    1.0

    With a *label*, what is sent and missed is counted apart for each of its values. The metrics call it as it is
    named, with ``_`` for each ``.`` and ``-``, and ``label_`` before a name that has another meaning there.
    """

    def __init__(self, registry: Any, label: str | None = None) -> None:
        client = prometheus("redlock_beat_metrics_port is set, and no metrics can be served")

        def gauge(name: str, words: str) -> Any:
            return client.Gauge(f"redlock_beat_{name}", words, registry=registry)

        def counter(name: str, words: str, *labels: str) -> Any:
            return client.Counter(f"redlock_beat_{name}", words, labels, registry=registry)

        self._leader = gauge("leader", "1 where this beat leads, else 0.")
        self._epoch = gauge("epoch", "The term that this beat last led.")
        self._known = {name: gauge(name, f"{words} (known to the leader).") for name, words in SHARED.items()}
        self._terms = counter("terms", "Terms that this beat has begun.")
        self._label = label
        self._values: set[str] = set()
        by = () if label is None else (_metric_label(label),)
        self._sent = counter("sent", "Occurrences sent by this beat.", *by)
        self._manual = counter("sent_manual", "Of those, manual items and countdowns.", "source", *by)
        self._skipped = counter("skipped", "Occurrences that are not sent.", "reason")
        self._missed = counter("missed", "Slots that were missed.", "reason", *by)
        self._failed = counter("failures", "Attempts that failed; beat tries again.", "step")
        self._rendered = counter("rendered", "Occurrences that Celery rendered one by one, which is slower.", "reason")
        self._publish = counter("publish_failures", "Messages that another broker did not take at once.")
        self._losses = counter("data_losses", "Times Redis came back with less than it had.")
        self._lateness = client.Histogram(
            "redlock_beat_lateness_seconds",
            "Seconds from nominal to the moment it was sent.",
            by,
            registry=registry,
            buckets=BUCKETS,
        )
        self._turned = monotonic()
        age = gauge("loop_age_seconds", "Seconds since the loop last turned.")
        age.set_function(lambda: monotonic() - self._turned)

    def __call__(self, event: hooks.Event) -> None:
        """Count an event."""
        if isinstance(event, hooks.Sent):
            by = self._by(event.labels)
            _of(self._sent, by).inc()
            if event.source is None:
                _of(self._lateness, by).observe(max(0.0, event.lateness))
            else:
                self._manual.labels(event.source, *by).inc()
        elif isinstance(event, hooks.Turned):
            self._turn(event)
        elif isinstance(event, hooks.Missed):
            self._missed.labels(event.reason, *self._by(event.labels)).inc(event.count)
        elif isinstance(event, hooks.Skipped):
            self._skipped.labels(event.reason).inc()
        elif isinstance(event, hooks.Failed):
            self._failed.labels(event.step).inc()
            if event.step == "publish":
                self._publish.inc()
        elif isinstance(event, hooks.Rendered):
            self._rendered.labels(event.reason).inc()
        elif isinstance(event, hooks.TermBegan):
            self._terms.inc()
            self._leader.set(1)
            self._epoch.set(event.epoch)
        elif isinstance(event, hooks.DataLost):
            self._losses.inc()
        elif isinstance(event, hooks.TermEnded):
            self._leader.set(0)

    def _by(self, labels: Mapping[str, str]) -> tuple[str, ...]:
        """The value that an entry is counted under; '' without the label, and ``other`` when there are too many."""
        if self._label is None:
            return ()
        value = labels.get(self._label, "")
        if value not in self._values:
            if len(self._values) >= VALUES:
                return ("other",)
            self._values.add(value)
        return (value,)

    def _turn(self, event: hooks.Turned) -> None:
        self._turned = monotonic()
        for name, gauge in self._known.items():
            value = getattr(event, name)
            gauge.set(float("nan") if value is None else value)


def _of(metric: Any, by: tuple[str, ...]) -> Any:
    return metric.labels(*by) if by else metric


def _metric_label(label: str) -> str:
    """A label of entries as one of metrics.

    >>> _metric_label("cost-center"), _metric_label("source")
    ('cost_center', 'label_source')
    """
    name = label.replace(".", "_").replace("-", "_")
    return f"label_{name}" if name in ("source", "reason", "le") or name.startswith("__") else name


class MetricsServer:
    """The metrics of this process, served over HTTP until closed."""

    def __init__(self, port: int, host: str, label: str | None = None) -> None:
        self.hook: PrometheusHook | None = None
        self._server: Any = None
        client = prometheus("redlock_beat_metrics_port is set, and no metrics can be served")
        registry = client.CollectorRegistry()
        self.hook = PrometheusHook(registry, label)
        hooks.add_hook(self.hook)
        try:
            self._server, _ = client.start_http_server(port, addr=host, registry=registry)
            self.port: int | None = self._server.server_port
            log.info(
                "metrics.served", "Metrics are served at %(address)s.", address=f"http://{host}:{self.port}/metrics"
            )
        except OSError as exc:
            self.port = None
            words = "Metrics cannot be served at %(address)s (%(why)s); beat goes on without them."
            log.warning("metrics.failed", words, address=f"{host}:{port}", why=str(exc))

    def close(self) -> None:
        """Serve no more."""
        if self.hook is not None:
            hooks.remove_hook(self.hook)
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
