"""Metrics for Prometheus: one hook, and a small server beside the loop.

With ``pip install 'redlock-beat[prometheus]'`` and ``redlock_beat_metrics_port`` set, every beat serves
them, standbys too. Names, types and example alerts are in the README.
"""

from __future__ import annotations

import logging
from typing import Any

from .. import hooks
from ..clock import monotonic
from ..errors import InvalidSetting

logger = logging.getLogger("redlock_beat")

#: Bounds of the lateness histogram, in seconds.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class PrometheusHook:
    """Counts events for Prometheus, in a registry of its own or in one of yours.

    >>> from prometheus_client import CollectorRegistry
    >>> registry = CollectorRegistry()
    >>> hook = PrometheusHook(registry)
    >>> hook(hooks.Sent(10.0, "mail", "tasks.mail", 9.5, "id", 1))
    >>> registry.get_sample_value("redlock_beat_sent_total")
    1.0
    """

    def __init__(self, registry: Any) -> None:
        try:
            from prometheus_client import Counter, Gauge, Histogram
        except ImportError:
            raise InvalidSetting(
                "redlock_beat_metrics_port is set, but prometheus_client is not installed: "
                "pip install 'redlock-beat[prometheus]'."
            ) from None

        def gauge(name: str, words: str) -> Any:
            return Gauge(f"redlock_beat_{name}", words, registry=registry)

        def counter(name: str, words: str, *labels: str) -> Any:
            return Counter(f"redlock_beat_{name}", words, labels, registry=registry)

        self._leader = gauge("leader", "1 where this beat leads, else 0.")
        self._epoch = gauge("epoch", "The term this beat last led.")
        self._entries = gauge("entries", "Entries in the schedule (known to the leader).")
        self._backlog = gauge("backlog", "Occurrences due and not yet sent (known to the leader).")
        self._outbox = gauge("outbox", "Messages claimed and not yet accepted by the broker (known to the leader).")
        self._quarantined = gauge("quarantined", "Entries that do not decode, compute or render.")
        self._terms = counter("terms", "Terms this beat has begun.")
        self._sent = counter("sent", "Occurrences sent by this beat.")
        self._by_hand = counter("sent_by_hand", "Of those, triggers, backfills and settled slots.", "how")
        self._skipped = counter("skipped", "Occurrences given up.", "reason")
        self._missed = counter("missed", "Slots that went by.", "reason")
        self._failed = counter("failures", "Attempts that failed and are repeated.", "step")
        self._rendered = counter("rendered", "Occurrences rendered by themselves, not filled in.", "reason")
        self._publish = counter("publish_failures", "Messages a foreign broker did not take at once.")
        self._losses = counter("data_losses", "Times Redis came back with less than it had.")
        self._lateness = Histogram(
            "redlock_beat_lateness_seconds", "From nominal to being sent.", registry=registry, buckets=BUCKETS
        )
        self._turned = monotonic()
        age = gauge("loop_age_seconds", "Seconds since the loop last turned.")
        age.set_function(lambda: monotonic() - self._turned)

    def __call__(self, event: hooks.Event) -> None:
        """Count an event."""
        if isinstance(event, hooks.Sent):
            self._sent.inc()
            if event.how is None:
                self._lateness.observe(max(0.0, event.lateness))
            else:
                self._by_hand.labels(event.how).inc()
        elif isinstance(event, hooks.Turned):
            self._turn(event)
        elif isinstance(event, hooks.Missed):
            self._missed.labels(event.reason).inc(event.count)
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

    def _turn(self, event: hooks.Turned) -> None:
        self._turned = monotonic()
        known = ((self._entries, event.entries), (self._backlog, event.backlog), (self._outbox, event.outbox),
                 (self._quarantined, event.quarantined))  # fmt: skip
        for gauge, value in known:
            gauge.set(float("nan") if value is None else value)


class Served:
    """The metrics of this process, served over HTTP until closed."""

    def __init__(self, port: int, host: str) -> None:
        self.hook: PrometheusHook | None = None
        self._server: Any = None
        try:
            from prometheus_client import CollectorRegistry, start_http_server
        except ImportError:
            PrometheusHook(None)  # says what to install
            raise
        registry = CollectorRegistry()
        self.hook = PrometheusHook(registry)
        hooks.add_hook(self.hook)
        try:
            self._server, _ = start_http_server(port, addr=host, registry=registry)
            self.port: int | None = self._server.server_port
            logger.info("Metrics are served at http://%s:%d/metrics.", host, self.port)
        except OSError as exc:
            self.port = None
            logger.warning("Metrics cannot be served at %s:%d (%s); beat goes on without.", host, port, exc)

    def close(self) -> None:
        """Serve no more."""
        if self.hook is not None:
            hooks.remove_hook(self.hook)
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
