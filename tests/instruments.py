"""A process of its own that sends with an instrument installed, and prints what came of it as JSON.

Instruments put their functions into Celery's classes, for all that a process does from then on:

    python -m tests.instruments SERVER INSTRUMENT SCHEDULER

sends what is due on the server, by redlock_beat (``ours``) or by Celery's own scheduler (``celery``).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from celery import Celery
from celery.schedules import crontab, schedule, solar

from .servers import eventually

#: What is scheduled, by name; all of it is due at once.
SCHEDULES: dict[str, Any] = {
    "minutes": schedule(timedelta(minutes=5)),
    "hours": schedule(timedelta(hours=2)),
    "cron": crontab(minute="30", hour="7", day_of_week="1-5"),
    "seconds": schedule(timedelta(seconds=30)),
    "sun": solar("sunset", 52.5, 13.4),
    "left-out": schedule(timedelta(hours=1)),
    "unknown": schedule(timedelta(minutes=10)),
}


def sentry() -> Callable[[], Any]:
    """Sentry with Crons, whose transport keeps what it is given."""
    import sentry_sdk
    from sentry_sdk.integrations.celery import CeleryIntegration
    from sentry_sdk.transport import Transport

    told: list[Any] = []

    class Kept(Transport):
        def capture_envelope(self, envelope: Any) -> None:
            told.extend((item.type, item.payload.json) for item in envelope.items)

    integration = CeleryIntegration(
        monitor_beat_tasks=os.environ.get("CRONS", "1") == "1", exclude_beat_tasks=["left-.*"]
    )
    sentry_sdk.init(
        dsn="https://key@sentry.invalid/1", transport=Kept, traces_sample_rate=1.0, integrations=[integration]
    )
    return lambda: [payload for kind, payload in told if kind == "check_in"]


def opentelemetry() -> Callable[[], Any]:
    """OpenTelemetry's instrumentation, whose spans stay in memory."""
    from opentelemetry import trace
    from opentelemetry.instrumentation.celery import CeleryInstrumentor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    provider, kept = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    trace.set_tracer_provider(provider)
    CeleryInstrumentor().instrument()
    return lambda: [
        {"name": one.name, "trace": f"{one.context.trace_id:032x}", "attributes": dict(one.attributes)}
        for one in kept.get_finished_spans()
    ]


def datadog() -> Callable[[], Any]:
    """Datadog's, whose spans stay in memory."""
    os.environ |= {
        "DD_CELERY_DISTRIBUTED_TRACING": "true",
        "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
        "DD_REMOTE_CONFIGURATION_ENABLED": "false",
    }
    from ddtrace import patch
    from ddtrace.trace import TraceFilter, tracer

    spans: list[Any] = []

    class Kept(TraceFilter):
        def process_trace(self, trace: list[Any]) -> None:
            spans.extend(trace)  # and nothing is left to be sent

    tracer.configure(trace_processors=[Kept()])
    patch(celery=True)
    return lambda: [{"name": one.name, "resource": one.resource, "trace": f"{one.trace_id:032x}"} for one in spans]


def none() -> Callable[[], Any]:
    return list


INSTRUMENTS = {"sentry": sentry, "opentelemetry": opentelemetry, "datadog": datadog, "none": none}


def make_app(url: str) -> Celery:
    app = Celery("instruments", broker=url)  # the current one: instruments look for tasks there
    app.conf.update(
        result_expires=None,
        redlock_beat_lease_ttl=2.0,
        redlock_beat_render_limit=3.0,
        task_send_sent_event=os.environ.get("EVENTS") == "1",
        **json.loads(os.environ.get("CONF", "{}")),
    )

    @app.task(name="tasks.add", shared=False)
    def add(x: int = 0, y: int = 0) -> int:
        return x + y

    app.finalize()
    return app


def task_of(name: str) -> str:
    return "tasks.of.another.project" if name == "unknown" else "tasks.add"


def send_with_ours(app: Celery, client: Any) -> dict[str, Any]:
    from redlock_beat import Schedule

    from .beats import Beat

    edited = Schedule(app)
    for i, (name, when) in enumerate(SCHEDULES.items()):
        edited.add(name, task_of(name), when, args=(i, 1), options={"headers": {"mine": name}}, run_now=True)
    beat = Beat(app)
    try:
        beat.until(lambda: client.llen("celery") == len(SCHEDULES), "all is sent")
        reasons = beat.parts.dispatcher.messages.reasons.summary()
        return {"filled": beat.parts.dispatcher.messages.filled, "rendered": reasons}
    finally:
        beat.close()


def send_with_celerys(app: Celery, client: Any) -> dict[str, Any]:
    from celery.beat import Scheduler

    scheduler = Scheduler(app=app)
    for i, (name, when) in enumerate(SCHEDULES.items()):
        entry = scheduler.Entry(
            name=name, task=task_of(name), schedule=when, args=[i, 1], options={"headers": {"mine": name}}, app=app
        )
        scheduler.apply_entry(entry, producer=scheduler.producer)
    eventually(lambda: client.llen("celery") == len(SCHEDULES), "all is sent")
    return {}


def work(app: Celery, is_done: Callable[[], bool]) -> None:
    """Have a worker in this process run what is in the queue."""
    from celery.contrib.testing.worker import start_worker

    with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=30):
        eventually(is_done, "the worker has run it")


def main(url: str, instrument: str, scheduler: str) -> None:
    from redis import Redis

    told = INSTRUMENTS[instrument]()
    app, client = make_app(url), Redis.from_url(url, decode_responses=True)
    sent = {"ours": send_with_ours, "celery": send_with_celerys}[scheduler](app, client)
    if os.environ.get("WORK"):
        work(app, lambda: sum(one["status"] == "ok" for one in told()) == int(os.environ["WORK"]))
    print(json.dumps({**sent, "told": told()}, default=str))


if __name__ == "__main__":
    main(*sys.argv[1:])
