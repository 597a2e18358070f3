"""The adapters that the settings ask for, added to the hooks of this process.

A beat and a worker may share a process (``worker -B`` without processes of its own), and a forked one has the hooks of
its parent: what the same settings ask for is added once, and removed when the last that asked for it ends.
"""

from __future__ import annotations

import threading

from .. import hooks
from ..settings import Settings
from .pings import Pings
from .statsd import StatsD, read_address

_lock = threading.Lock()
_users: dict[str, int] = {}
_added: dict[str, list[Pings | StatsD]] = {}


def check(settings: Settings) -> None:
    """InvalidSetting where the settings of an adapter cannot be used."""
    Pings(settings.pings).close()
    if settings.statsd:
        read_address(settings.statsd)


def begin(settings: Settings) -> None:
    """Add them, for a beat or a worker that begins."""
    asked = _asked(settings)
    with _lock:
        if not _users.get(asked):
            _added[asked] = _made(settings)
            for one in _added[asked]:
                hooks.add_hook(one)
        _users[asked] = _users.get(asked, 0) + 1


def end(settings: Settings) -> None:
    """Remove them, once nobody needs them any more."""
    asked = _asked(settings)
    with _lock:
        _users[asked] = _users.get(asked, 0) - 1
        gone = []
        if _users[asked] <= 0:
            del _users[asked]
            gone = _added.pop(asked, [])
    for one in gone:
        hooks.remove_hook(one)
        one.close()


def _asked(settings: Settings) -> str:
    """What the settings ask for: two projects in one process may ask for different things."""
    return repr((settings.pings, settings.statsd, settings.statsd_prefix, settings.statsd_tags))


def _made(settings: Settings) -> list[Pings | StatsD]:
    made: list[Pings | StatsD] = []
    if settings.pings:
        made.append(Pings(settings.pings))
    if settings.statsd:
        made.append(StatsD(settings.statsd, settings.statsd_prefix, settings.statsd_tags))
    return made
