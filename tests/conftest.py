"""Servers, clients and beats, shared by all tests."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .beats import Beat, make_app
from .servers import KINDS, RabbitMQ, Server

_running: dict[str, Server] = {}


def _server(kind: str) -> Server:
    if kind not in _running:
        _running[kind] = Server(kind).start()
    server = _running[kind]
    client = server.client()
    client.flushall()
    client.config_set("maxmemory", "0")
    return server


@pytest.fixture(scope="session", autouse=True)
def _stop_servers() -> Iterator[None]:
    yield
    for server in _running.values():
        server.close()


@pytest.fixture
def untraced() -> Iterator[None]:
    """For tests that do the same thing hundreds of thousands of times: coverage looks away."""
    tracer = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(tracer)


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest) -> Server:
    """Each kind of server in turn, empty."""
    return _server(request.param)


@pytest.fixture
def valkey() -> Server:
    """The embedded Valkey, empty: for what does not depend on the kind of server."""
    return _server("valkey")


@pytest.fixture(params=["filled", "rendered"])
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """Messages filled in by the quick way, and rendered one by one: a receiver of a signal makes the difference."""
    from celery.signals import before_task_publish

    def receiver(**kwargs: Any) -> None:
        """It does nothing."""

    if request.param == "rendered":
        before_task_publish.connect(receiver)
    yield request.param
    before_task_publish.disconnect(receiver)


@pytest.fixture
def own_server() -> Iterator[Callable[..., Server]]:
    """Servers that a test may stop, restart or reconfigure."""
    started: list[Server] = []

    def start(kind: str = "valkey", *args: str) -> Server:
        server = Server(kind, *args).start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.close()


@pytest.fixture(scope="session")
def own_rabbitmq() -> Iterator[RabbitMQ]:
    """A RabbitMQ node whose alarms a test may set."""
    node = RabbitMQ()
    try:
        yield node.start()
    finally:
        node.close()


@pytest.fixture
def beats() -> Iterator[Callable[..., Beat]]:
    """Schedulers in this process, closed at the end."""
    made: list[Beat] = []

    def make(where: Any, schedule: dict[str, Any] | None = None, **conf: Any) -> Beat:
        app = where if not isinstance(where, (Server, str)) else None
        if app is None:
            url = where if isinstance(where, str) else where.url()
            app = make_app(url, schedule, **conf)
        beat = Beat(app)
        made.append(beat)
        return beat

    yield make
    for beat in made:
        beat.close()
