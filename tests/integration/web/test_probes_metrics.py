"""The schedule in numbers, beside /healthz."""

from __future__ import annotations

import json
import sys
import time

from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from redlock_beat.beat.metrics import PrometheusHook
from redlock_beat.schedule.gauges import GAUGES, SHARED

#: What Prometheus itself sends.
SCRAPER = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"


def test_what_redis_knows_of_the_schedule_is_scraped(page, visitor, valkey, schedule):
    client, keys = valkey.client(), schedule.keys
    schedule.add("mail", "tasks.mail", 3600)
    schedule.trigger("mail")
    client.zadd(keys.due, {"mail": 1000})
    client.hset(keys.quarantine, mapping={f"bad-{i}": json.dumps({"error": "e"}) for i in range(300)})
    client.hset(keys.outbox, "i", "rubbish")
    client.zadd(keys.countdowns, {"call": 1000})
    client.zadd(keys.lock_ends, {"lapsed": 1000, "held": (time.time() + 3600) * 1000})
    client.set(keys.loss, "the ledger is older")
    now = int(time.time() * 1e6)
    client.xadd(keys.ledger, {"is": "sent", "entry": "mail", "at": now, "nominal": now - 250_000, "id": "i"})
    schedule.hold(actor="ann")
    found = page.ask("GET", "/metrics", accept=None)
    assert found.response.type.startswith("text/plain")
    values = {
        (sample.name.removeprefix("redlock_beat_"), *sample.labels.values()): sample.value
        for family in plain(found.html)
        for sample in family.samples
    }
    assert {name for name, *_ in values} == {one.name for one in GAUGES}
    expected = {"led": 0, "entries": 1, "backlog": 2, "quarantined": 300, "outbox": 1, "held": 1, "countdowns_due": 1}
    expected |= {"locks": 1, "lost": 1, "waiting": 1, "epoch": 0}
    assert {name: values[name,] for name in expected} == expected
    assert values["recent_lateness_seconds", "0.99"] == 0.25
    assert values["oldest_due_seconds",] > 1e9
    assert values["beats", "standby"] == 0
    scraped = page.ask("GET", "/metrics", accept=SCRAPER)
    assert scraped.response.type.startswith("application/openmetrics-text")
    assert len(list(openmetrics(scraped.html))) == len(GAUGES)
    rows = page.json("/metrics")["metrics"]
    assert {"name": "redlock_beat_quarantined", "labels": {}, "value": 300.0} in rows
    assert schedule.status().quarantined == 300
    assert len(schedule.status().quarantine) == 100  # of many, a page reads some
    assert "280 more are not shown." in page.get("/beats").text
    assert visitor(access=lambda request: None).get("/metrics").status == 403


def test_a_beat_gives_what_both_know_the_same_name():
    registry = CollectorRegistry()
    PrometheusHook(registry)
    names = {family.name.removeprefix("redlock_beat_") for family in registry.collect()}
    assert set(SHARED) <= names
    assert {one.name for one in GAUGES} & names == {*SHARED, "epoch"}


def test_without_prometheus_it_says_what_to_install_and_still_answers_programs(page, monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    found = page.get("/metrics")
    assert (found.status, "pip install 'redlock-beat[prometheus]'" in found.text) == (501, True)
    assert page.json("/metrics")["metrics"]
