"""Finds what could go wrong before it does; each finding says what it means and what to do."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..clock import MICROS, micros, wall_micros
from ..errors import RedlockBeatError, UnsupportedServer, mask
from ..schedule.schedule import Schedule
from ..schedule.status import Replica
from ..settings import Settings
from ..store.client import TROUBLE
from ..store.server import keeps_every_change, minimal_rule, permissions
from ..store.store import Store
from ..words import many

#: Seconds by which a clock may be off without a warning.
SKEW = 1.0
#: Rows that the ledger should have room for.
BURST = 10_000
#: Names in one finding.
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked: ``ok``, ``warning``, ``error``, or ``unknown`` where it could not be."""

    level: str
    what: str
    why: str
    advice: str = ""


ok, warning, error = partial(Finding, "ok"), partial(Finding, "warning"), partial(Finding, "error")


def examine(schedule: Schedule, app: Any = None) -> Iterator[Finding]:
    """Check everything, one finding after the other; a check that fails is a finding, too."""
    for what, check in _CHECKS.items():
        try:
            yield from check(schedule, app)
        except (RedlockBeatError, *TROUBLE) as exc:
            yield error(what, mask(exc), "Fix that first, then run doctor again.")
            if what == "server":
                return


def _store(schedule: Schedule) -> contextlib.closing[Store]:
    """The server itself: a command that fails is not repeated, and its error is what the server says."""
    return contextlib.closing(Store(schedule.target))


def _server(schedule: Schedule, app: Any) -> Iterator[Finding]:
    with _store(schedule) as store:
        try:
            hello = store.hello()
        except UnsupportedServer as exc:
            yield error("server", str(exc))
            return
        yield ok("server", f"version {hello.version or 'unknown'} at {store.target}")
        policy = f"maxmemory-policy is {hello.policy}"
        if hello.maxmemory and hello.policy not in ("", "noeviction"):
            advice = "Set maxmemory-policy noeviction, or keep the schedule on a server of its own."
            yield warning("eviction", f"{policy}: parts of the schedule may disappear", advice)
        elif hello.policy:
            yield ok("eviction", f"{policy}, maxmemory {hello.maxmemory or 'unlimited'}")
        if keeps_every_change(store):
            yield ok("persistence", "AOF is on")
        else:
            why = "AOF is off: a restart of Redis forgets what changed since the last snapshot"
            yield warning("persistence", why, "Set appendonly yes. Entries made at runtime are stored nowhere else.")


def _permissions(schedule: Schedule, app: Any) -> Iterator[Finding]:
    with _store(schedule) as store:
        found = permissions(store)
    same = app is not None and schedule.settings.url == app.conf.broker_write_url
    queues = sorted(app.amqp.queues) if same else ()
    rule = minimal_rule(schedule.keys.prefix, queues, cluster=schedule.target.cluster, sharded=found.sharded)
    if found.refused:
        yield error(
            "permissions", f"this user may not {', '.join(found.refused)}", f"The smallest rule for its ACL is: {rule}"
        )
    else:
        yield ok("permissions", f"this user may use every command it needs; the smallest ACL rule: {rule}")


def _health(schedule: Schedule, app: Any) -> Iterator[Finding]:
    health, status = schedule.health(), schedule.status()
    level = "ok" if health.ok else "error" if status.leader is None else "warning"
    yield Finding(level, "health", health.why)
    for name, why in list(status.quarantine.items())[:SHOWN]:
        yield error("quarantine", f"{name!r}: {why}", "Edit the entry or remove it; each term tries it again.")
    if status.quarantined > SHOWN:
        yield error("quarantine", f"and {status.quarantined - SHOWN} more")
    for name, why in list(status.left_out.items())[:SHOWN]:
        advice = "Correct it in the configuration and deploy. Beat tries again what may pass by itself."
        yield error("left out", f"beat_schedule[{name!r}] is not in force: {why}", advice)
    if status.left_out_total > SHOWN:
        yield error("left out", f"and {status.left_out_total - SHOWN} more")
    versions = sorted({one.version for one in status.replicas if one.role != "gone"})
    if len(versions) > 1:
        yield warning("versions", f"replicas run {', '.join(versions)}", "Finish the roll-out.")
    for one in status.replicas:
        if one.role == "leader":
            yield from _broker(one)


def _broker(leader: Replica) -> Iterator[Finding]:
    if leader.broker:
        yield error("broker", f"the broker refuses messages: {leader.broker}")
    for name, why in leader.refused.items():
        advice = "Correct the entry, or what it needs at the broker. The entry sends nothing more until then."
        yield error("broker", f"the broker refuses a message of entry {name!r}: {why}", advice)


def _clocks(schedule: Schedule, app: Any) -> Iterator[Finding]:
    here = (wall_micros() - micros(schedule.now())) / MICROS
    skews = [(f"{one.host}:{one.pid}", one.skew) for one in schedule.status().replicas if one.role != "gone"]
    wrong = [(name, skew) for name, skew in [("this machine", here), *skews] if abs(skew) > SKEW]
    for name, skew in wrong:
        why = f"{name} is {abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} Redis"
        advice = "The schedule goes by Redis's time and is not harmed; logs and tasks may be wrong. Run NTP."
        yield warning("clock", why, advice)
    if not wrong:
        yield ok("clock", f"this machine is {here:+.3f} s off Redis's time")


def _entries(schedule: Schedule, app: Any) -> Iterator[Finding]:
    total, never = 0, []
    for entry in schedule.entries():
        total += 1
        if not entry.paused and entry.next_due is None:
            never.append(entry.name)
    if never:
        why = f"{many(len(never), 'entry', 'has', 'have')} no further slot, of {total}: {_some(never)}"
        yield warning("never again", why, "What is finished can be removed, or given another schedule.")
    else:
        yield ok("entries", f"{many(total, 'entry')}, each of them paused or with a next slot")


def _workers(schedule: Schedule, app: Any) -> Iterator[Finding]:
    if app is None:
        return
    try:
        answers = app.control.inspect(timeout=1.0).registered() or {}
    except Exception as exc:  # noqa: BLE001 - whatever a transport raises
        yield Finding("unknown", "tasks", f"workers could not be asked: {mask(exc)}")
        return
    if not answers:
        yield Finding("unknown", "tasks", "no worker answers, so nobody knows whether workers know the tasks")
        return
    known = {str(text).split(" ")[0] for texts in answers.values() for text in texts}
    lost: dict[str, str] = {}
    for entry in schedule.entries():
        if entry.canvas is None and entry.task not in known and not entry.task.startswith("celery."):
            lost.setdefault(entry.task, entry.name)
    for task, name in list(lost.items())[:SHOWN]:
        advice = "A worker that gets it discards it. Deploy the workers, or correct the entry."
        yield warning("tasks", f"no worker knows {task!r} (entry {name!r} sends it)", advice)
    if not lost:
        yield ok("tasks", f"every task is known to {many(len(answers), 'worker')} that answered")


def _reports(schedule: Schedule, app: Any) -> Iterator[Finding]:
    """Whether anybody tells of runs that others wait for."""
    status = schedule.status()
    with _store(schedule) as store:
        claims = int(store.client.hlen(store.keys.claims))
    if status.workers:
        yield ok("reports", f"what becomes of runs is reported by {many(status.workers, 'worker')}")
    elif claims:
        why = f"of {many(claims, 'entry')} a run is under way, and no worker says when a run is over"
        yield warning(
            "reports", why, "Each is sent once per queue_limit. Call redlock_beat.watch(app) in the workers' app."
        )


def _settings(schedule: Schedule, app: Any) -> Iterator[Finding]:
    contradictions = [*_own_settings(schedule.settings), *(_celery_settings(app) if app else ()), *_state_files()]
    for why, advice in contradictions:
        yield warning("settings", why, advice)
    if not contradictions:
        yield ok("settings", "no settings contradict each other")


def _own_settings(settings: Settings) -> Iterator[tuple[str, str]]:
    answer, lease, size = settings.socket_timeout, settings.lease_ttl, settings.ledger_size
    if answer > lease:
        why = f"redlock_beat_socket_timeout ({answer:g}) is above redlock_beat_lease_ttl ({lease:g})"
        yield why, "One slow answer of Redis can cost the term. Lower the first."
    if size == 0:
        yield "redlock_beat_ledger_size is 0", "There is no history, and `status` does not know the lateness."
    elif size < BURST:
        why = f"redlock_beat_ledger_size ({size}) is below {BURST}"
        yield why, "A burst may push its own first rows out of the ledger."


def _celery_settings(app: Any) -> Iterator[tuple[str, str]]:
    conf = app.conf
    if conf.get("task_always_eager"):
        yield "task_always_eager is on", "Nothing reaches a queue: tasks would run inside beat. Turn it off."
    if conf.get("beat_max_loop_interval"):
        yield "beat_max_loop_interval is set", "It has no effect: the loop wakes when something is due."
    other = str(conf.get("beat_scheduler") or "")
    if other and "redlock" not in other and other != "celery.beat:PersistentScheduler":
        yield f"beat_scheduler is {other!r}", "A beat started without -S uses that one, not this."


#: What `celery worker -B -S redlock` leaves behind: there -S is --statedb.
_STATE_FILES = ("redlock", "redlock.db", "redlock.dat")


def _state_files() -> Iterator[tuple[str, str]]:
    for name in _STATE_FILES:
        if Path(name).is_file():
            yield (
                f"there is a file {name!r} here, as a worker's `-S redlock` leaves it",
                "With `celery worker -B` it means --statedb, and Celery's own scheduler runs. Write --scheduler "
                "redlock, or set beat_scheduler = 'redlock'; then remove the file.",
            )


_CHECKS: dict[str, Callable[[Schedule, Any], Iterator[Finding]]] = {
    "server": _server,
    "permissions": _permissions,
    "health": _health,
    "clocks": _clocks,
    "entries": _entries,
    "workers": _workers,
    "reports": _reports,
    "settings": _settings,
}


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(repr(name) for name in names[:SHOWN]) + more


def as_json(findings: list[Finding]) -> str:
    """Findings for programs."""
    return json.dumps([asdict(one) for one in findings])
