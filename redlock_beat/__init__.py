"""A Celery beat scheduler on Redis: many replicas, one sender, each occurrence enqueued once.

Start it with ``celery -A proj beat -S redlock_beat.RedisScheduler``; edit the schedule with
:class:`Schedule` while it runs.

The rooms of the house, in the order in which data flows; each imports only from those above it:

==============  ==================================================================================
errors          what can go wrong, in words a person can act on
clock           instants and spans; the only place that knows what time it is
compat          where the supported releases of Celery differ
config          the ``redlock_beat_*`` settings, validated once
keys            every key name, with the data model
heartbeat       the local file that says the loop turns, for probes that ask nobody else
hooks           what happens, as frozen values, and who is told
state           how far an entry has come
item            one message in the outbox, as a value and as the text it is in Redis
zones           time zones as segments of one offset each
schedules       the next slot: a pure function, per kind of schedule
entry           Entry and its policies, as values
policies        which slots are sent, missed or skipped: a pure function
codec           Entry <-> JSON
cache           decoded entries, as many as a setting allows
documents       an entry as a document that people read and edit, and back
make            what users write -> Entry; the one place that checks it
connection      a URL -> a client; the subscription; retries
lua/            one atomic step a file
steps           what is asked of Redis and how its answer reads: values, without a network
store           takes the steps; one typed method per script of the leader's
status          who leads, what waits, what is wrong
health          the two questions of probes: does this loop turn, is the whole well
metrics         the hook that feeds Prometheus (an extra)
manual          what waits to be sent besides the schedule: one reader, one writer
edits           what an edit does to an entry: pure functions, for every way in
lease           Term; acquire, renew, steal, release
usercode        the code of entries, run under watch: whose fault is it, and who is slow
render          an occurrence -> messages, rendered by Celery and captured
broker          whether the broker is the schedule's Redis, found out beside the loop
confirms        a channel on which an AMQP broker answers for each message
outbox          publishing to a broker that is not this Redis
reasons         why messages are rendered one by one: said once, and counted
failures        attempts that failed: noted together, one traceback a reason
wire            commands sent ahead, their answers read later
template        a message rendered once, with places to fill in
express         the quick way from due to sent: messages filled in, many at a time
dispatch        due occurrences -> messages -> one commit
sync            ``beat_schedule`` -> Redis, three-way, by the leader
turns           who asks Redis when; one reader for all who follow the ledger
operations      what users do to a schedule, written once, without a network
schedule        Schedule and AsyncSchedule: the schedule as users edit it
transfer        export and import, as JSON lines
migrate         from RedBeat and django-celery-beat, in phase
doctor          what could go wrong, looked for before it does
scheduler       RedisScheduler: lead, due, dispatch, wait
cli/            ``celery redlock ...``
==============  ==================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Names are loaded when used, so that probes and scripts that import the package start fast.
_HOMES = {
    "RedisScheduler": "scheduler",
    "Schedule": "schedule",
    "AsyncSchedule": "schedule",
    "Batch": "schedule",
    "AsyncBatch": "schedule",
    "Slot": "operations",
    "Happened": "operations",
    "Foreseen": "operations",
    "Waiting": "operations",
    "Status": "status",
    "Verdict": "health",
    "Hook": "hooks",
    "Event": "hooks",
    "add_hook": "hooks",
    "remove_hook": "hooks",
    "BatchFailed": "errors",
    "ScheduleBusy": "errors",
    "Entry": "entry",
    "State": "state",
    "Settings": "config",
    "next_due": "schedules",
    "register_schedule": "schedules",
    "Crontab": "schedules",
    "Interval": "schedules",
    "Solar": "schedules",
    "RRule": "schedules",
    "Once": "schedules",
    "RedlockBeatError": "errors",
    "InvalidSetting": "errors",
    "InvalidSchedule": "errors",
    "EntryExists": "errors",
    "NoSuchEntry": "errors",
    "StaleRevision": "errors",
    "UnsupportedServer": "errors",
    "RedisUnavailable": "errors",
    "AccessDenied": "errors",
    "Policies": "entry",
    "Changes": "entry",
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
    from .config import Settings
    from .entry import Changes, Entry, Policies
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
    from .health import Verdict
    from .hooks import Event, Hook, add_hook, remove_hook
    from .operations import Foreseen, Happened, Slot, Waiting
    from .schedule import AsyncBatch, AsyncSchedule, Batch, Schedule
    from .scheduler import RedisScheduler
    from .schedules import Crontab, Interval, Once, RRule, Solar, next_due, register_schedule
    from .state import State
    from .status import Status


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
