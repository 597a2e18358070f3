"""A word to a worker that was meant to embed this scheduler and does not.

Celery's worker spells ``-S`` as ``--statedb``: ``worker -B -S redlock`` keeps its state in a file named
``redlock`` and runs Celery's own beat, in silence. This module is loaded with the command line's plugins
in each worker, so it can say so.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from celery.signals import celeryd_after_setup

logger = logging.getLogger("redlock_beat")

#: Names of this scheduler, which nobody would give to a file.
_SCHEDULER = ("redlock", "redlock_beat.RedisScheduler", "redlock_beat:RedisScheduler",
              "redlock_beat.beat.scheduler.RedisScheduler", "redlock_beat.beat.scheduler:RedisScheduler")  # fmt: skip


def warn(instance: Any = None, conf: Any = None, **kwargs: Any) -> None:
    """Warn when the worker's state file is named like this scheduler."""
    statedb = os.path.basename(str(getattr(instance, "statedb", None) or ""))
    if statedb not in _SCHEDULER:
        return
    scheduler = getattr(instance, "scheduler", None) or conf.beat_scheduler
    logger.warning(
        "A worker's -S is --statedb, not --scheduler: this one keeps its state in a file named %r, and a beat embedded "
        "with -B runs %s. Write --scheduler redlock instead of -S, or set beat_scheduler = 'redlock'.",
        statedb, scheduler,
    )  # fmt: skip


celeryd_after_setup.connect(warn, weak=False)
