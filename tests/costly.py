"""A schedule class of a project's own whose slots take long to find, as by a look into a table."""

from __future__ import annotations

import time
from datetime import datetime

from redlock_beat.clock import MICROS, micros, moment


class Costly:
    """A slot every second, each found in *seconds*."""

    seconds = 0.0

    def next_slot(self, after: datetime) -> datetime:
        time.sleep(Costly.seconds)
        return moment((micros(after) // MICROS + 1) * MICROS)
