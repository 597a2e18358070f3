"""A hold during which beats are killed and replaced sends nothing and loses nothing: real processes."""

from __future__ import annotations

import signal
import uuid
from collections import Counter

import pytest
from kombu import Connection

from redlock_beat import Schedule
from redlock_beat.clock import micros
from redlock_beat.store.keys import Keys
from tests.beats import Replicas, comes, duplicates, ledger
from tests.brokers import drained
from tests.servers import eventually, rabbitmq

K = Keys("redlock-beat")
EVERY, STEP = 0.2, 200_000


@pytest.fixture(params=["same server", "rabbitmq"])
def broker(request):
    """Where messages go: '' for the schedule's Redis, and the queue."""
    queue = f"redlock-test-{uuid.uuid4().hex}"
    if request.param == "same server":
        yield "", queue
        return
    yield rabbitmq(), queue
    with Connection(rabbitmq()) as connection:
        connection.default_channel.queue_delete(queue)


def test_a_hold_during_which_beats_are_killed_and_replaced_sends_nothing_and_loses_nothing(own_server, broker):
    url, queue = broker
    server = own_server()
    client, schedule = server.client(), Schedule.from_url(server.url())
    conf = f'{{"task_default_queue": "{queue}", "redlock_beat_policies": {{"entry-01": {{"missed": "all"}}}}}}'
    replicas = Replicas(server, 2, broker=url, PROJECT_TTL="1", PROJECT_EVERY=str(EVERY), PROJECT_CONF=conf)
    arrived: list[str] = []

    def took() -> list[str]:
        if url:
            arrived.extend(drained(url, queue))
            return arrived
        return client.lrange(queue, 0, -1)

    try:
        replicas.goes_on(5)
        hold = schedule.hold(note="a new database")
        assert hold.confirmed
        before, sent = len(took()), ledger(client, "sent")
        for _ in range(2):  # with each the next one leads, and the one after it comes new
            killed = replicas.leader()
            killed.end(signal.SIGKILL)
            replicas.add()
            assert replicas.leader() is not killed
            eventually(lambda: schedule.held().confirmed, "it knows of the hold")
        triggered = schedule.trigger("entry-00")
        schedule.add("once", "tasks.add", schedule.now())
        comes(schedule, micros(schedule.now()) + 3 * STEP)
        assert len(took()) == before, "nothing is sent"
        assert ledger(client, "sent") == sent
        assert client.hlen(K.outbox) == 0
        replicas.leader().end(signal.SIGTERM)
        replicas.add()
        schedule.release()
        late = {"once", *(f"entry-{i:02d}" for i in range(5))}
        eventually(lambda: {row["entry"] for row in ledger(client, "sent")[len(sent) :]} >= late, "they are sent")
        eventually(lambda: triggered in {row["id"] for row in ledger(client, "sent")}, "the trigger is sent")
        assert "once" not in schedule
        schedule.hold()  # so that it can be counted
        rows = ledger(client)
        assert Counter(row["id"] for row in rows if row["is"] == "sent").most_common(1)[0][1] == 1
        assert len(took()) == len([row for row in rows if row["is"] == "sent"])
        assert url or duplicates(client, queue) == 0
        for i in range(5):
            every_slot_is_accounted_for(schedule, rows, f"entry-{i:02d}")
        assert {row["is"] for row in rows} == {"sent", "missed"}
        assert not [row for row in rows if row["is"] == "missed" and row["entry"] == "entry-01"]
    finally:
        replicas.close()


def every_slot_is_accounted_for(schedule, rows, name):
    entry = schedule[name]
    slots: Counter[int] = Counter()
    for row in rows:
        if row["entry"] == name and not row.get("how"):
            last = row["nominal"] if row["is"] == "sent" else row["to"]
            slots.update(range(int(row["nominal"] if row["is"] == "sent" else row["from"]), int(last) + 1, STEP))
    assert slots == Counter(range(entry.anchor + STEP, entry.state.nominal, STEP)), name
