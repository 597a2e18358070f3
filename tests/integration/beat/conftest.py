"""Queues and channels of one test."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from kombu import Connection

from redlock_beat.beat.publisher import Publisher
from redlock_beat.store.client import Target
from redlock_beat.store.store import Store
from tests.beats import make_app
from tests.publishing import make_settings
from tests.servers import Server, rabbitmq


@pytest.fixture
def publisher(valkey: Server) -> Iterator[Publisher]:
    """A publisher of its own, without a beat."""
    app = make_app("memory://", redlock_beat_url=valkey.url(), task_default_queue=f"q-{uuid.uuid4().hex}")
    one = Publisher(app, Store(Target(make_settings(valkey.url()))), 1.0)
    yield one
    one.close()


@pytest.fixture(params=["memory", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """A broker URL and a queue of one's own, drained by `tests.brokers.taken`."""
    url = "memory://" if request.param == "memory" else rabbitmq()
    queue = f"redlock-test-{uuid.uuid4().hex}"
    yield url, queue
    if request.param == "rabbitmq":
        with Connection(url) as connection, contextlib.suppress(Exception):
            connection.default_channel.queue_delete(queue)


@pytest.fixture
def name() -> Iterator[str]:
    """What a queue of one's own is called; that and one for what is bad are deleted at the end."""
    start = f"redlock-test-{uuid.uuid4().hex}"
    yield start
    with Connection(rabbitmq()) as connection:
        for one in (start, f"{start}-bad"):
            with contextlib.suppress(Exception):
                connection.channel().queue_delete(one)
            with contextlib.suppress(Exception):
                connection.channel().exchange_delete(one)


@pytest.fixture
def channel() -> Iterator[Any]:
    """A channel to RabbitMQ."""
    with Connection(rabbitmq()) as connection:
        yield connection.channel()
