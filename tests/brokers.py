"""Brokers that are not the schedule's Redis: where messages go, and what has arrived there."""

from __future__ import annotations

from typing import Any

from kombu import Connection

from redlock_beat import Schedule

from .servers import Server, rabbitmq


def conf(server: Server, queue: str, **more: Any) -> dict[str, Any]:
    """The configuration of a beat whose schedule is on a server and whose messages go to a queue elsewhere."""
    return {"redlock_beat_url": server.url(), "task_default_queue": queue, **more}


def every(seconds: float, name: str = "tasks.add", **options: Any) -> dict[str, Any]:
    """A configured entry with options for the broker."""
    return {"task": name, "schedule": seconds, "options": options}


def taken(url: str, queue: str) -> list[Any]:
    """The messages in a queue, taken out; kept across calls by the caller."""
    found = []
    with Connection(url, transport_options={"polling_interval": 0.01}) as connection:
        simple = connection.SimpleQueue(queue)
        while True:
            try:
                message = simple.get(block=False)
            except simple.Empty:
                break
            found.append(message)
            message.ack()
        simple.close()
    return found


def drained(url: str, queue: str) -> list[str]:
    """The ids of what is in a queue of RabbitMQ, taken out; the queue must be there."""
    found = []
    with Connection(url) as connection:
        channel = connection.channel()
        while (message := channel.basic_get(queue, no_ack=True)) is not None:
            found.append(message.headers["id"])
    return found


def burst(valkey: Server, beats: Any, queue: str, many: int) -> Any:
    """A beat behind RabbitMQ, with so many entries that are due at once."""
    with Schedule.from_url(valkey.url()).batch() as batch:
        for i in range(many):
            batch.add(f"e{i}", "tasks.add", 3600, args=(i,), run_now=True)
    return beats(rabbitmq(), redlock_beat_url=valkey.url(), task_default_queue=queue)
