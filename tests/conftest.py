"""Servers, clients and beats, shared by all tests."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from redlock_beat import hooks, register_schedule
from redlock_beat.beat.lease import Lease
from redlock_beat.messages import messages
from redlock_beat.settings import Settings
from redlock_beat.store.client import Listener, Target
from redlock_beat.store.store import Store

from .beats import Beat, make_app
from .costly import Costly
from .servers import KINDS, RabbitMQ, Server, close_shared, shared
from .workers import Workers

# No example fails because the machine was busy, wherever the tests run: in CI, hypothesis sees to that by itself.
settings.register_profile(
    "any machine",
    settings.default,
    deadline=None,
    suppress_health_check={*settings.default.suppress_health_check, HealthCheck.too_slow},
)
settings.load_profile("any machine")


@pytest.fixture(scope="session", autouse=True)
def _stop_servers() -> Iterator[None]:
    yield
    close_shared()


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
    return shared(request.param)


@pytest.fixture
def valkey() -> Server:
    """The embedded Valkey, empty: for what does not depend on the kind of server."""
    return shared("valkey")


@pytest.fixture(params=["filled", "rendered"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Messages filled in by the quick way, and rendered one by one."""
    if request.param == "rendered":
        monkeypatch.setattr(messages, "app_refusal", lambda app: "a test wants it so")
    return str(request.param)


@pytest.fixture
def told() -> Iterator[list[hooks.Event]]:
    """What hooks are told during a test."""
    events: list[hooks.Event] = []
    hooks.add_hook(events.append)
    yield events
    hooks.remove_hook(events.append)


@pytest.fixture
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for the heartbeat files of this test alone."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def costly() -> Iterator[Callable[[float], Costly]]:
    """A schedule whose every slot takes so long to compute."""
    # Here, not where the class stands: pytest may load that module twice, and the class of this one is meant.
    register_schedule("costly", Costly, dump=lambda _: {})

    def taking(seconds: float) -> Costly:
        Costly.seconds = seconds
        return Costly()

    yield taking
    Costly.seconds = 0.0


@pytest.fixture
def workers(valkey: Server, tmp_path: Path) -> Iterator[Callable[..., Workers]]:
    """Real workers of the project `tests.runs` on the schedule of this test, and a record of their runs."""
    made: list[Workers] = []

    def make(broker: str | None = None, **settings: str) -> Workers:
        made.append(Workers(valkey, tmp_path, broker, **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def candidate() -> Iterator[Callable[..., Lease]]:
    """Standings in the election of a server, each with a subscription that ends with the test."""
    listeners: list[Listener] = []

    def make(server: Server, token: str, ttl: float = 60, port: int | None = None) -> Lease:
        url = server.url() if port is None else f"redis://127.0.0.1:{port}/0"
        target = Target(Settings(url=url, lease_ttl=ttl, render_limit=60, socket_timeout=1.0))
        listeners.append(Listener(target, token))
        return Lease(Store(target), listeners[-1], target.settings, f"host:{token}")

    yield make
    for one in listeners:
        one.close()


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
