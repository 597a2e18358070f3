"""The parts of a running beat, built in one place.

Building them asks no server; only the client of a cluster connects as it is made.
"""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass
from typing import Any

from ..messages.renderer import Renderer
from ..schedule.configuration import Reading
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
    """The parts that both roles of a replica use."""

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
    #: The configuration, as far as this process has read it.
    reading: Reading


def build(app: Any, settings: Settings, target: Target) -> Parts:
    """Build the parts of one beat."""
    store = Store(target)
    renderer = Renderer(app, settings.socket_timeout)
    listener = Listener(target, secrets.token_urlsafe(12))
    lease = Lease(store, listener, settings, owner=f"{socket.gethostname()}:{os.getpid()}")
    broker = Broker(app, settings, store, renderer)
    publisher = Publisher(app, store, settings.publish_timeout)
    dispatcher = Dispatcher(settings, store, lease, renderer, publisher, broker)
    reading = Reading(app)
    dispatcher.entries.calendars = dispatcher.quarantine.calendars = reading.calendars
    renderer.configured = reading.entry
    losses = Losses(store, lease.clock)
    roles = (renderer, broker, publisher, dispatcher)
    return Parts(settings, target, store, listener, lease, *roles, losses, reading)
