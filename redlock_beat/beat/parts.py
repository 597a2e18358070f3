"""What a running beat consists of, built whole and in one place.

Nothing here is asked of a server yet; only the client of a cluster connects as it is made.
"""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass
from typing import Any

from ..messages.renderer import Renderer
from ..schedule.configuration import Configuration, read_configuration
from ..settings import Settings
from ..store.client import Listener, Target
from ..store.store import Store
from .broker import Broker
from .dispatch import Dispatcher
from .lease import Lease
from .losses import Losses
from .publisher import Publisher


@dataclass(frozen=True, slots=True)
class Parts:
    """What both roles of a replica use."""

    settings: Settings
    target: Target
    store: Store
    listener: Listener
    lease: Lease
    renderer: Renderer
    broker: Broker
    publisher: Publisher
    dispatcher: Dispatcher
    losses: Losses
    #: What ``beat_schedule`` says.
    configuration: Configuration


def build(app: Any, settings: Settings, target: Target) -> Parts:
    """The parts of one beat of this process."""
    store = Store(target)
    renderer = Renderer(app, settings.socket_timeout)
    listener = Listener(target, secrets.token_urlsafe(12))
    lease = Lease(store, listener, settings, owner=f"{socket.gethostname()}:{os.getpid()}")
    broker = Broker(app, settings, store, renderer)
    publisher = Publisher(app, store, settings.publish_timeout, settings.retry_pause)
    dispatcher = Dispatcher(settings, store, lease, renderer, publisher, broker)
    configuration = read_configuration(app)
    renderer.configuration = {name: one.entry for name, one in configuration.entries.items()}
    return Parts(
        settings, target, store, listener, lease, renderer, broker, publisher, dispatcher,
        Losses(store, lease.clock), configuration,
    )  # fmt: skip
