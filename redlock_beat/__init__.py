"""A Celery beat scheduler on Redis: many replicas, one sender, each occurrence enqueued once.

Start it with ``celery -A proj beat -S redlock_beat.RedisScheduler``; edit the schedule with
:class:`Schedule` while it runs.

The folders are the plan. Each knows only those above it, and its docstring says what stands in it:

===========  =====================================================================================
.            the ground: errors, log, clock, settings, hooks, liveness, JSON, and what differs between Celerys
adapters     hooks that hand events on: pings for checks of jobs, StatsD
recurrence   when: kinds of schedule and their next slot, pure
entries      what: an entry, its policies and state, as values
store        the one room that speaks to the schedule's Redis
messages     Celery's call becomes a message
schedule     what users do to a schedule
beat         the running beat
tasks        the worker's side: what it tells of runs, what it may hold; knows nothing of the beat
web          the schedule in a browser; knows nothing of messages, beats and workers
cli          ``celery redlock ...``
django       for Django projects, with the extra of that name; it asks the schedule, and knows no beat
===========  =====================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

# Names are loaded when used, so that probes and scripts that import the package start fast.
_HOMES = {
    "RedisScheduler": "beat.scheduler",
    "Schedule": "schedule.schedule",
    "AsyncSchedule": "schedule.aio",
    "Batch": "schedule.schedule",
    "AsyncBatch": "schedule.aio",
    "Selection": "schedule.schedule",
    "AsyncSelection": "schedule.aio",
    "Slot": "schedule.answers",
    "LedgerRow": "schedule.answers",
    "SimulatedRow": "schedule.answers",
    "Waiting": "schedule.answers",
    "Countdown": "schedule.answers",
    "TaskLock": "schedule.answers",
    "Hold": "schedule.answers",
    "Status": "schedule.status",
    "Health": "schedule.health",
    "Hook": "hooks",
    "Event": "hooks",
    "add_hook": "hooks",
    "remove_hook": "hooks",
    "BatchFailed": "errors",
    "ScheduleBusy": "errors",
    "EditRow": "schedule.edit_log",
    "Entry": "entries.entry",
    "State": "entries.state",
    "Settings": "settings",
    "watch": "tasks",
    "keep_countdowns": "tasks",
    "NotKept": "errors",
    "next_due": "recurrence",
    "register_schedule": "recurrence",
    "Crontab": "recurrence",
    "crontab6": "recurrence",
    "explain": "recurrence",
    "Interval": "recurrence",
    "Solar": "recurrence",
    "RRule": "recurrence",
    "Once": "recurrence",
    "RedlockBeatError": "errors",
    "InvalidSetting": "errors",
    "InvalidSchedule": "errors",
    "InvalidTask": "errors",
    "DuplicateCall": "errors",
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
    "AsyncSelection",
    "Batch",
    "BatchFailed",
    "Changes",
    "Countdown",
    "Crontab",
    "DuplicateCall",
    "EditRow",
    "Entry",
    "EntryExists",
    "Event",
    "Health",
    "Hold",
    "Hook",
    "Interval",
    "InvalidSchedule",
    "InvalidSetting",
    "InvalidTask",
    "LedgerRow",
    "NoSuchEntry",
    "NotKept",
    "Once",
    "Policies",
    "RRule",
    "RedisScheduler",
    "RedisUnavailable",
    "RedlockBeatError",
    "Schedule",
    "ScheduleBusy",
    "Selection",
    "Settings",
    "SimulatedRow",
    "Slot",
    "Solar",
    "StaleRevision",
    "State",
    "Status",
    "TaskLock",
    "UnsupportedServer",
    "Waiting",
    "__version__",
    "add_hook",
    "crontab6",
    "explain",
    "keep_countdowns",
    "next_due",
    "register_schedule",
    "remove_hook",
    "watch",
]

if TYPE_CHECKING:
    from .beat.scheduler import RedisScheduler
    from .entries.entry import Changes, Entry, Policies
    from .entries.state import State
    from .errors import (
        AccessDenied,
        BatchFailed,
        DuplicateCall,
        EntryExists,
        InvalidSchedule,
        InvalidSetting,
        InvalidTask,
        NoSuchEntry,
        NotKept,
        RedisUnavailable,
        RedlockBeatError,
        ScheduleBusy,
        StaleRevision,
        UnsupportedServer,
    )
    from .hooks import Event, Hook, add_hook, remove_hook
    from .recurrence import Crontab, Interval, Once, RRule, Solar, crontab6, explain, next_due, register_schedule
    from .schedule.aio import AsyncBatch, AsyncSchedule, AsyncSelection
    from .schedule.answers import Countdown, Hold, LedgerRow, SimulatedRow, Slot, TaskLock, Waiting
    from .schedule.edit_log import EditRow
    from .schedule.health import Health
    from .schedule.schedule import Batch, Schedule, Selection
    from .schedule.status import Status
    from .settings import Settings
    from .tasks import keep_countdowns, watch


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
