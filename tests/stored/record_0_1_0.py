"""Writes what a release stores in Redis to a file, by running that release.

Run in a checkout of the release, with the oldest server there is, so that every server can read it::

    git worktree add ../0.1.0 9499eb7
    cd ../0.1.0 && PYTHONPATH=. python ../redlock-beat/tests/stored/record_0_1_0.py > ../redlock-beat/tests/stored/0.1.0.jsonl

The first line says what the release itself says of its schedule; each other line is a command that puts it back. Do
not write a file anew: it is what stands in somebody's Redis.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from celery import chain, chord, group
from celery.schedules import crontab, solar
from configured import ENDS, Twice, beat_schedule
from dateutil.rrule import MINUTELY, rrule
from dump import commands
from redlock_beat.entry import Entry
from redlock_beat.keys import Keys
from redlock_beat.policies import plan

import redlock_beat
from redlock_beat import Schedule, register_schedule, schedules
from redlock_beat.clock import MICROS
from tests.beats import Beat, ledger, make_app
from tests.servers import Server, eventually

KEYS = Keys("redlock-beat")
ENDING = {"ends": ENDS, "keep": True}


def record() -> None:
    server, broker = Server("redis6").start(), Server("redis6").start()
    try:
        client = server.client()
        started = datetime.now(UTC)
        assert timedelta(seconds=30) < ENDS - started < timedelta(minutes=10), "set ENDS in configured.py"
        register_schedule("twice", Twice, dump=lambda _: {})
        conf = {"redlock_beat_url": server.url(), "redlock_beat_lease_ttl": 0.5, "result_backend": broker.url(1)}
        first = Beat(make_app(broker.url(), beat_schedule(left=True), **conf)).lead()
        schedule = Schedule(first.app)
        edit_what_is_configured(schedule)
        add(first.app, schedule, started)
        spoil(client)
        schedules._registry.pop("twice")
        first.until(lambda: len(ledger(client, "sent")) > 20 and broker.client().llen("celery") > 20, "much is sent")
        aside = ("no json", "of a later release", "custom", "without a route")
        first.until(lambda: all(client.hmget(KEYS.quarantine, aside)), "what cannot be read is aside", 40)
        first.until(lambda: ledger(client, "failed"), "what cannot be rendered fails")
        first.until(lambda: not client.hlen(KEYS.outbox), "all is published")
        first.close()

        second = Beat(make_app(broker.url(), beat_schedule(), **conf)).lead()  # an entry has left the configuration
        broker.process.send_signal(signal.SIGSTOP)
        second.until(lambda: client.hlen(KEYS.outbox) > 5, "claimed messages wait for the broker")
        register_schedule("twice", Twice, dump=lambda _: {})
        stalled = [client.hget(KEYS.outbox, one) for one in client.hkeys(KEYS.outbox)]
        assert {json.loads(one.split("\n")[0].split(" ", 1)[1])[3] for one in stalled} == {0, 1}, "of both kinds"
        lease = client.get(KEYS.lease)
        second.crash()
        broker.process.send_signal(signal.SIGCONT)
        broker.close()

        schedule.trigger("interval")
        schedule.backfill("crontab, in a zone", started - timedelta(minutes=5), started, rate=1000)
        eventually(lambda: due(schedule), "a slot of it is due")
        schedule.update("settled", when=7)
        client.set(KEYS.lease, lease, px=500)  # as the beat left it: it was killed
        write(schedule, client)
    finally:
        server.close()
        with contextlib.suppress(Exception):
            broker.close()


def due(schedule: Schedule) -> bool:
    """Whether the entry whose schedule is edited has a slot that is not sent yet."""
    state = schedule["settled"].state
    assert state is not None
    assert state.nominal is not None
    return state.nominal < datetime.now(UTC).timestamp() * MICROS


def edit_what_is_configured(schedule: Schedule) -> None:
    schedule.update("configured, edited", args=(7, 8))
    schedule.pause("configured, paused", note="the month's end", by="anna")
    schedule.remove("configured, removed")


def add(app: Any, schedule: Schedule, started: datetime) -> None:
    """An entry of every kind, and with every policy."""
    task = "tasks.add"
    typed = (started, Decimal("1.50"), uuid.UUID(int=7), [None, True, 1.5, "ä€😀"])
    options = {"queue": "celery", "priority": 3, "expires": 120.0, "headers": {"tenant": "a"}}
    schedule.add("interval", task, 10, **ENDING)
    schedule.add(
        "interval, with all", "tasks.mail", 10, args=typed, kwargs={"y": {"a": [1]}}, options=options, **ENDING
    )
    schedule.add("interval, relative", task, timedelta(minutes=1), relative=True, **ENDING)
    schedule.add("crontab", task, crontab(), **ENDING)
    schedule.add("crontab, in a zone", task, crontab(), timezone="Asia/Kathmandu", **ENDING)
    schedule.add(
        "crontab, for ever", task, crontab(minute=30, hour=2), timezone="Europe/Berlin", dst_gap="skip", dst_fold="both"
    )
    schedule.add("interval, for ever", task, 7.5, args=(1,))
    schedule.add("solar", task, solar("sunset", 48.2, 16.4))
    schedule.add("rrule", task, rrule(MINUTELY, dtstart=started.replace(microsecond=0)), **ENDING)
    schedule.add("custom", task, Twice(), **ENDING)
    schedule.add("once, to come", task, datetime(2199, 1, 1, tzinfo=UTC), args=(9,))
    schedule.add("once, not sent", task, started + timedelta(seconds=60), keep=True)
    schedule.add("once, finished", task, started + timedelta(seconds=1), keep=True)
    schedule.add("all missed", task, 10, missed="all", **ENDING)
    schedule.add("skipped when missed", task, 10, missed="skip", grace=5, **ENDING)
    schedule.add("late at most", task, 10, jitter=2.0, starts=started, **ENDING)
    schedule.add("three times", task, 1, max_runs=3, **ENDING)
    schedule.add("at most once", task, 1, delivery="at_most_once", **ENDING)
    schedule.add("paused", task, 10, **ENDING)
    schedule.pause("paused", note="provider is down", by="ben")
    schedule.add("edited", task, 10, **ENDING)
    schedule.update("edited", args=(4, 5))
    schedule.add("settled", task, 10, args=(6,), **ENDING)
    add = app.signature(task, args=(1, 1))
    schedule.add("chain", chain(add, app.signature(task, args=(2,))), 10, **ENDING)
    schedule.add("group", group(add, add), 10, **ENDING)
    schedule.add("chord", chord([add, add], app.signature("tasks.sum")), 10, **ENDING)
    schedule.add("no json", task, 10, **ENDING)
    schedule.add("of a later release", task, 10, **ENDING)
    schedule.add("slow", task, 10, **ENDING)
    schedule.add("without a route", task, 1, options={"serializer": "no such"}, **ENDING)


def spoil(client: Any) -> None:
    """What no release can read, or none of today."""
    client.hset(KEYS.entries, "no json", '{"v": 1, "task": "tasks.add", "schedule')
    later = {**json.loads(client.hget(KEYS.entries, "of a later release")), "v": 99}
    client.hset(KEYS.entries, "of a later release", json.dumps(later))
    client.hincrby(KEYS.slow, "slow", 1)


def write(schedule: Schedule, client: Any) -> None:
    entries: dict[str, Entry] = {}
    for name in sorted(client.hkeys(KEYS.entries)):
        with contextlib.suppress(redlock_beat.RedlockBeatError):
            entries[name] = schedule[name]
    head = {
        "redlock_beat": "stored",
        "release": redlock_beat.__version__,
        "commit": subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout[:12],
        "at": datetime.now(UTC).isoformat(),
        "entries": {name: said(entry) for name, entry in entries.items()},
        "plans": {name: planned(entry) for name, entry in entries.items() if entry.ends or "once" in name},
        "ledger": len(schedule.history(n=100_000)),
    }
    print(json.dumps(head, ensure_ascii=False))
    for key in sorted(client.keys("*")):
        for command in commands(client, key):
            print(json.dumps(command, ensure_ascii=False))


def said(entry: Entry) -> dict[str, Any]:
    """What the release says of an entry."""
    names = "uid revision task origin enabled note paused_by timezone dst_gap dst_fold missed grace jitter starts ends"
    names += " max_runs keep delivery reference"
    found = {name: getattr(entry, name) for name in names.split()}
    found |= {"args": repr(entry.args), "kwargs": repr(entry.kwargs), "options": repr(entry.options)}
    found |= {"canvas": entry.canvas is not None, "schedule": str(entry.schedule), "anchor": entry.anchor}
    return found | {"state": entry.state and entry.state.text()}


def planned(entry: Entry) -> dict[str, Any]:
    """What the release would send and miss long after the end."""
    state = entry.state
    if state is None or state.nominal is None or not entry.enabled:
        return {"sends": [], "missed": None}
    then = plan(entry, state.nominal, state.count, round((ENDS.timestamp() + 365 * 86400) * MICROS))
    missed = then.missed
    return {"sends": then.sends, "missed": missed and [missed.first, missed.last, missed.count]}


record()
