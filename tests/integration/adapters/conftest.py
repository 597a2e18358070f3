"""Servers that adapters tell."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.checks import Checks


@pytest.fixture
def checks() -> Iterator[Checks]:
    server = Checks()
    yield server
    server.close()


@pytest.fixture
def udp() -> Iterator[socket.socket]:
    """A socket that receives datagrams."""
    with socket.socket(type=socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(20)
        yield server
