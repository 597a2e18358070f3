"""What hears the events of this process and hands them on: pings for checks of jobs, StatsD.

``install``   those that the settings ask for, added while a beat or a worker runs
``pings``     which URL an event asks for
``sending``   the thread that asks for URLs, and its queue
``statsd``    events as metrics in datagrams

They are hooks like any other (:mod:`redlock_beat.hooks`), so you may add them yourself.
"""

from __future__ import annotations

from .pings import Pings
from .statsd import StatsD

__all__ = ["Pings", "StatsD"]
