"""A Celery beat scheduler on Redis: many replicas, one sender, each occurrence enqueued once.

Start it with ``celery -A proj beat -S redlock_beat.RedisScheduler``; edit the schedule with
:class:`Schedule` while it runs.

The folders are the plan. Each knows only those above it, and its docstring says what stands in it:

===========  =====================================================================================
.            the ground: errors, clock, settings, hooks, liveness, and what differs between Celerys
recurrence   when: kinds of schedule and their next slot, pure
entries      what: an entry, its policies and state, as values
store        the one room that speaks to the schedule's Redis
messages     Celery's call becomes a message
schedule     what users do to a schedule
beat         the running beat
cli          ``celery redlock ...``
===========  =====================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Names are loaded when used, so that probes and scripts that import the package start fast.
_HOMES = {
    "RedisScheduler": "beat.scheduler",
    "Schedule": "schedule.schedule",
    "AsyncSchedule": "schedule.aio",
    "Batch": "schedule.schedule",
    "AsyncBatch": "schedule.aio",
    "Slot": "schedule.answers",
    "Happened": "schedule.answers",
    "Foreseen": "schedule.answers",
    "Waiting": "schedule.answers",
    "Status": "schedule.status",
    "Verdict": "schedule.health",
    "Hook": "hooks",
    "Event": "hooks",
    "add_hook": "hooks",
    "remove_hook": "hooks",
    "BatchFailed": "errors",
    "ScheduleBusy": "errors",
    "Entry": "entries.entry",
    "State": "entries.state",
    "Settings": "settings",
    "next_due": "recurrence",
    "register_schedule": "recurrence",
    "Crontab": "recurrence",
    "Interval": "recurrence",
    "Solar": "recurrence",
    "RRule": "recurrence",
    "Once": "recurrence",
    "RedlockBeatError": "errors",
    "InvalidSetting": "errors",
    "InvalidSchedule": "errors",
    "EntryExists": "errors",
    "NoSuchEntry": "errors",
    "StaleRevision": "errors",
    "UnsupportedServer": "errors",
    "RedisUnavailable": "errors",
    "AccessDenied": "errors",
    "Policies": "entries.entry",
    "Changes": "entries.entry",
}

__all__ = [
    "AccessDenied",
    "AsyncBatch",
    "AsyncSchedule",
    "Batch",
    "BatchFailed",
    "Changes",
    "Crontab",
    "Entry",
    "EntryExists",
    "Event",
    "Foreseen",
    "Happened",
    "Hook",
    "Interval",
    "InvalidSchedule",
    "InvalidSetting",
    "NoSuchEntry",
    "Once",
    "Policies",
    "RRule",
    "RedisScheduler",
    "RedisUnavailable",
    "RedlockBeatError",
    "Schedule",
    "ScheduleBusy",
    "Settings",
    "Slot",
    "Solar",
    "StaleRevision",
    "State",
    "Status",
    "UnsupportedServer",
    "Verdict",
    "Waiting",
    "__version__",
    "add_hook",
    "next_due",
    "register_schedule",
    "remove_hook",
]

if TYPE_CHECKING:
    from .beat.scheduler import RedisScheduler
    from .entries.entry import Changes, Entry, Policies
    from .entries.state import State
    from .errors import (
        AccessDenied,
        BatchFailed,
        EntryExists,
        InvalidSchedule,
        InvalidSetting,
        NoSuchEntry,
        RedisUnavailable,
        RedlockBeatError,
        ScheduleBusy,
        StaleRevision,
        UnsupportedServer,
    )
    from .hooks import Event, Hook, add_hook, remove_hook
    from .recurrence import Crontab, Interval, Once, RRule, Solar, next_due, register_schedule
    from .schedule.aio import AsyncBatch, AsyncSchedule
    from .schedule.answers import Foreseen, Happened, Slot, Waiting
    from .schedule.health import Verdict
    from .schedule.schedule import Batch, Schedule
    from .schedule.status import Status
    from .settings import Settings


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
