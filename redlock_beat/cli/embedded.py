"""A warning to a worker that was meant to embed this scheduler and does not.

In Celery's worker ``-S`` means ``--statedb``: ``worker -B -S redlock`` keeps its state in a file named ``redlock`` and
silently runs Celery's own beat. Each worker loads this module with the plugins of the command line, so it can say so.
"""

from __future__ import annotations

import os
from typing import Any

from celery.signals import celeryd_after_setup

from ..log import log

_HOMES = ("redlock_beat", "redlock_beat.beat.scheduler")
#: Names of this scheduler, which nobody would give to a file.
_SCHEDULER = {"redlock", *(f"{home}{sign}RedisScheduler" for home in _HOMES for sign in ".:")}


def warn(instance: Any = None, conf: Any = None, **kwargs: Any) -> None:
    """Warn when the worker's state file is named like this scheduler."""
    statedb = os.path.basename(str(getattr(instance, "statedb", None) or ""))
    if statedb not in _SCHEDULER:
        return
    scheduler = getattr(instance, "scheduler", None) or conf.beat_scheduler
    log.warning(
        "worker.statedb",
        "A worker's -S is --statedb, not --scheduler: this one keeps its state in a file named %(path)r, and a beat "
        "embedded with -B runs %(scheduler)s. Write --scheduler redlock instead of -S, or set beat_scheduler = "
        "'redlock'.",
        path=statedb,
        scheduler=scheduler,
    )


celeryd_after_setup.connect(warn, weak=False)
