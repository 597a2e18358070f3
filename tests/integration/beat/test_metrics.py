"""What Prometheus is told."""

from __future__ import annotations

import json
import sys
import urllib.request

import pytest
from prometheus_client import CollectorRegistry

from redlock_beat import InvalidSetting, Schedule, hooks
from redlock_beat.beat.metrics import MetricsServer, PrometheusHook
from tests.beats import Process, messages
from tests.servers import eventually, free_port


def scraped(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if line and line[0] != "#"}


def test_beats_serve_metrics_standbys_too(own_server):
    server = own_server()
    ports = [free_port(), free_port()]
    made = []
    try:
        for port in ports:
            conf = json.dumps({"redlock_beat_metrics_port": port, "redlock_beat_metrics_host": "127.0.0.1"})
            made.append(Process(server.url(), PROJECT_CONF=conf).says("This beat is "))
        leader = eventually(lambda: next((p for p in ports if scraped(p)["redlock_beat_sent_total"] > 5), None))
        found = scraped(leader)
        assert found["redlock_beat_leader"] == 1
        assert found["redlock_beat_epoch"] == 1
        assert found["redlock_beat_entries"] >= 5
        assert found["redlock_beat_terms_total"] == 1
        assert found["redlock_beat_lateness_seconds_count"] >= 5
        assert found["redlock_beat_loop_age_seconds"] < 60
        standby = scraped(next(p for p in ports if p != leader))
        assert (standby["redlock_beat_leader"], standby["redlock_beat_sent_total"]) == (0, 0)
    finally:
        for one in made:
            one.close()


def test_every_event_is_counted():
    from prometheus_client import CollectorRegistry

    registry = CollectorRegistry()
    hook = PrometheusHook(registry)
    for event in (
        hooks.TermBegan(1.0, 4),
        hooks.Sent(2.0, "a", "t", 1.9, "id", 4),
        hooks.Sent(2.0, "a", "t", 1.0, "id", 4, "backfill"),
        hooks.Missed(2.0, "a", 1.0, 2.0, 7, "grace"),
        hooks.Skipped(2.0, "a", "removed"),
        hooks.Failed(2.0, "a", "publish", "why"),
        hooks.Turned(2.0, "leader", 4, 10, 2, 3, 1),
    ):
        hook(event)

    def value(name, **labels):
        return registry.get_sample_value(f"redlock_beat_{name}", labels)

    assert (value("leader"), value("epoch"), value("terms_total")) == (1, 4, 1)
    assert (value("sent_total"), value("sent_manual_total", source="backfill")) == (2, 1)
    assert (value("lateness_seconds_count"), value("missed_total", reason="grace")) == (1, 7)
    assert (value("skipped_total", reason="removed"), value("failures_total", step="publish")) == (1, 1)
    assert value("publish_failures_total") == 1
    assert [value(name) for name in ("entries", "backlog", "outbox", "quarantined")] == [10, 2, 3, 1]
    hook(hooks.TermEnded(3.0, 4))
    assert value("leader") == 0


def test_a_port_in_use_stops_no_beat(caplog):
    first = MetricsServer(0, "127.0.0.1")
    second = MetricsServer(first.port, "127.0.0.1")
    assert second.port is None
    assert "beat goes on without" in caplog.text
    first.close()
    second.close()
    assert not hooks.listening()


def test_without_prometheus_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(InvalidSetting, match=r"pip install 'redlock-beat\[prometheus\]'"):
        MetricsServer(0, "127.0.0.1")


def overdue(valkey, count, **more):
    schedule = Schedule.from_url(valkey.url())
    for i in range(count):
        schedule.add(f"e{i}", "tasks.add", 3600, args=(i,), run_now=True, **more)
    return schedule


def rendered(beat):
    """How many messages were rendered by themselves, for which reasons."""
    return beat.parts.dispatcher.messages.reasons.summary()


def test_prometheus_counts_what_was_rendered_by_reason(valkey, beats):
    registry = CollectorRegistry()
    hook = PrometheusHook(registry)
    hooks.add_hook(hook)
    try:
        beat = beats(valkey, task_compression="gzip").lead()
        overdue(valkey, 2)
        beat.until(lambda: len(messages(valkey.client())) == 2)
    finally:
        hooks.remove_hook(hook)
    (why,) = rendered(beat)
    assert "compressed" in why or "not JSON" in why
    assert registry.get_sample_value("redlock_beat_rendered_total", {"reason": why}) == 2


def test_what_is_sent_and_missed_is_counted_by_a_label_of_the_entries():
    registry = CollectorRegistry()
    hook = PrometheusHook(registry, "cost-center")

    def sent(value: str | None, how: str | None = None) -> None:
        hook(hooks.Sent(2.0, "a", "t", 1.9, "id", 4, how, {} if value is None else {"cost-center": value, "x": "y"}))

    for i in range(300):
        sent(str(i % 150))
    sent(None)
    sent("7", "trigger")
    hook(hooks.Missed(2.0, "a", 1.0, 2.0, 7, "grace", {"cost-center": "7"}))

    def value(name, **labels):
        return registry.get_sample_value(f"redlock_beat_{name}", labels)

    assert value("sent_total", cost_center="7") == 3
    assert value("sent_total", cost_center="other") == 101  # beyond a hundred values; and what has none, late
    assert value("sent_manual_total", source="trigger", cost_center="7") == 1
    assert value("missed_total", reason="grace", cost_center="7") == 7
    assert value("lateness_seconds_count", cost_center="7") == 2


@pytest.mark.parametrize("where", ["commit", "outbox"])
def test_messages_are_counted_by_label_whichever_way_they_go(valkey, own_server, beats, where):
    broker = valkey if where == "commit" else own_server("valkey")
    registry = CollectorRegistry()
    hook = PrometheusHook(registry, "team")
    hooks.add_hook(hook)
    try:
        beat = beats(broker, redlock_beat_url=valkey.url()).lead()
        schedule = Schedule(beat.app)
        schedule.add("a", "tasks.add", 0.5, labels={"team": "ops"})
        schedule.add("b", "tasks.add", 0.5)
        schedule.add("c", "tasks.add", 3600, labels={"team": "billing"})
        schedule.trigger("c")

        def count(team):
            return registry.get_sample_value("redlock_beat_sent_total", {"team": team}) or 0

        beat.until(lambda: min(count("ops"), count(""), count("billing")) >= 1)
        assert count("billing") == 1
    finally:
        hooks.remove_hook(hook)
