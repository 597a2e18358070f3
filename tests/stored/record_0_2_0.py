"""Writes what 0.2.0 stores in Redis beyond what 0.1.0 did, by running it: ``record_0_1_0.py`` says how."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from configured import LATER_SCHEDULE
from dump import commands

import redlock_beat
from redlock_beat import Schedule, keep_countdowns
from redlock_beat.clock import MICROS
from redlock_beat.entries.policies import plan
from redlock_beat.store import locks
from redlock_beat.store.keys import Keys
from redlock_beat.store.locks import Who
from tests.beats import Beat, make_app, messages
from tests.servers import Server, eventually

KEYS = Keys("redlock-beat")
FAR = datetime(2199, 1, 1, tzinfo=UTC)


def record() -> None:
    server = Server("redis6").start()
    try:
        client = server.client()
        app = make_app(server.url(), LATER_SCHEDULE, redlock_beat_lease_ttl=0.5, redlock_beat_eta_threshold=60)
        keep_countdowns(app)
        beat = Beat(app).lead()
        schedule = Schedule(app, actor="anna")
        ends = datetime.now(UTC) + timedelta(seconds=35)
        add(schedule, ends)
        call = app.tasks["tasks.add"].apply_async((5, 6), countdown=70)  # it is past when it is read
        who = Who("digest", "lock-id", "tasks.add", "[1]")
        beat.parts.store.run(
            locks.take(KEYS, who, "c", cools=False, takes=True, replaces=False, sending_ms=10**9, remember_ms=10**9)
        )
        beat.parts.store.run(locks.sent(KEYS, [(who, 10**12)]))
        beat.until(lambda: len(messages(client)) >= 3, "entries of which one run at a time is wanted are sent")
        beat.until(lambda: client.hlen(KEYS.buffered), "the next slot waits until the run is over")
        hold = schedule.hold(note="the move", why="we move house")
        beat.until(lambda: client.hget(KEYS.hold, "seen"), "the leader has stopped")
        lease = client.get(KEYS.lease)
        beat.crash()
        eventually(lambda: datetime.now(UTC) > ends, "the last slot has come", 60)
        client.set(KEYS.lease, lease, px=500)
        entries = {entry.name: entry for entry in schedule}
        head = {
            "redlock_beat": "stored",
            "release": redlock_beat.__version__,
            "at": datetime.now(UTC).isoformat(),
            "uids": {name: entry.uid for name, entry in entries.items()},
            "words": {name: entry.words for name, entry in entries.items()},
            "labels": {name: dict(entry.labels) for name, entry in entries.items() if entry.labels},
            "plans": {name: planned(entry) for name, entry in entries.items() if name in ("labelled", "once")},
            "hold": [hold.note, hold.actor],
            "call": call.id,
            "log": [[row.what, row.entry, row.actor] for row in schedule.log()],
        }
        print(json.dumps(head, ensure_ascii=False))
        for key in sorted(client.keys("*")):
            if key.startswith("{redlock-beat}") and ":request:" not in key:
                for command in commands(client, key):
                    print(json.dumps(command, ensure_ascii=False))
    finally:
        server.close()


def add(schedule: Schedule, ends: datetime) -> None:
    """What entries have since 0.1.0."""
    ending: dict[str, Any] = {"ends": ends, "keep": True}
    schedule.add("labelled", "tasks.add", 10, labels={"team": "a", "env": "b"}, exclude=["2020-01-01"], **ending)
    schedule.add("skips", "tasks.add", 10, **ending)
    schedule.skip("skips", 1, why="not this one")
    schedule.add("once", "tasks.add", ends - timedelta(seconds=2), keep=True)
    schedule.add("seconds", "tasks.add", "30 0 3 * * *")
    schedule.add(
        "crontab", "tasks.add", "30 3 * * 1-5", timezone="Europe/Berlin", exclude=["12-24..12-26"], shift="next"
    )
    schedule.add("paused for long", "tasks.add", "0 7 * * *")
    schedule.pause("paused for long", note="spring", until=datetime(2036, 11, 1, tzinfo=UTC))
    for overlap in ("skip", "buffer_one", "buffer_all"):
        schedule.add(f"one at a time, {overlap}", "tasks.add", 1, overlap=overlap, pause_on_failure=3, **ending)
    schedule.pause("configured, paused", why="not now")
    schedule.remove("configured, removed")


def planned(entry: Any) -> list[int]:
    """The slots that would be sent long after the end."""
    assert entry.state is not None
    if entry.state.nominal is None:
        return []
    return list(plan(entry, entry.state.nominal, entry.state.count, round(FAR.timestamp() * MICROS)).sends)


record()
