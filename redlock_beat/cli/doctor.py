"""What could go wrong, looked for before it does: each finding with what it means and what to do."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..clock import MICROS, micros, wall_micros
from ..errors import RedlockBeatError, UnsupportedServer, mask
from ..schedule.schedule import Schedule
from ..schedule.status import Status
from ..store.client import TROUBLE
from ..store.server import keeps_every_change, minimal_rule, permissions
from ..store.store import Store

#: Seconds of clock difference that are worth a word.
SKEW = 1.0
#: Names in one finding.
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """``ok``, ``warning``, ``error``, or ``unknown`` where it could not be looked at."""

    level: str
    what: str
    why: str
    advice: str = ""


def examine(schedule: Schedule, app: Any = None) -> Iterator[Finding]:
    """Look at everything, one finding after the other; what cannot be looked at is said, too."""
    checks: tuple[Callable[[Schedule, Any], Iterator[Finding]], ...] = (
        _server, _permissions, _whole, _clocks, _entries, _workers, _settings,
    )  # fmt: skip
    for check in checks:
        try:
            yield from check(schedule, app)
        except (RedlockBeatError, *TROUBLE) as exc:
            yield Finding("error", check.__name__.strip("_"), mask(exc), "Fix that first, then run doctor again.")
            if check is _server:
                return


def _store(schedule: Schedule) -> contextlib.closing[Store]:
    """The server itself: what it answers is not tried again, and not put in other words."""
    return contextlib.closing(Store(schedule.target))


def _server(schedule: Schedule, app: Any) -> Iterator[Finding]:
    with _store(schedule) as store:
        try:
            hello = store.hello()
        except UnsupportedServer as exc:
            yield Finding("error", "server", str(exc))
            return
        yield Finding("ok", "server", f"version {hello.version or 'unknown'} at {store.target}")
        if hello.maxmemory and hello.policy not in ("", "noeviction"):
            yield Finding(
                "warning", "eviction", f"maxmemory-policy is {hello.policy}: parts of the schedule may disappear",
                "Set maxmemory-policy noeviction, or keep the schedule on a server of its own.",
            )  # fmt: skip
        elif hello.policy:
            yield Finding(
                "ok", "eviction", f"maxmemory-policy is {hello.policy}, maxmemory {hello.maxmemory or 'unlimited'}"
            )
        if not keeps_every_change(store):
            yield Finding(
                "warning", "persistence", "AOF is off: a restart of Redis forgets what came since the last snapshot",
                "Set appendonly yes. Entries made at runtime live nowhere else.",
            )  # fmt: skip
        else:
            yield Finding("ok", "persistence", "AOF is on")


def _permissions(schedule: Schedule, app: Any) -> Iterator[Finding]:
    with _store(schedule) as store:
        found = permissions(store)
    same = app is not None and schedule.settings.url == app.conf.broker_write_url
    queues = sorted(app.amqp.queues) if same else ()
    rule = minimal_rule(schedule.keys.prefix, queues, cluster=schedule.target.cluster, sharded=found.sharded)
    if found.refused:
        names = ", ".join(found.refused)
        yield Finding("error", "permissions", f"this user may not {names}", f"The smallest rule for its ACL is: {rule}")
    else:
        yield Finding("ok", "permissions", f"all commands may be used; the smallest ACL rule: {rule}")


def _whole(schedule: Schedule, app: Any) -> Iterator[Finding]:
    verdict, status = schedule.health(), schedule.status()
    if verdict.ok:
        yield Finding("ok", "health", verdict.why)
    else:
        yield Finding("error" if status.leader is None else "warning", "health", verdict.why)
    for name, why in list(status.quarantine.items())[:SHOWN]:
        yield Finding(
            "error", "quarantine", f"{name!r}: {why}", "Edit the entry or remove it; each term tries it again."
        )
    if len(status.quarantine) > SHOWN:
        yield Finding("error", "quarantine", f"and {len(status.quarantine) - SHOWN} more")
    for name, why in list(status.left_out.items())[:SHOWN]:
        yield Finding(
            "error", "left out", f"beat_schedule[{name!r}] is not in force: {why}",
            "Correct it in the configuration and deploy. What may pass by itself is tried again.",
        )  # fmt: skip
    if status.left_out_total > SHOWN:
        yield Finding("error", "left out", f"and {status.left_out_total - SHOWN} more")
    versions = {one.version for one in status.replicas if one.role != "gone"}
    if len(versions) > 1:
        yield Finding("warning", "versions", f"replicas run {', '.join(sorted(versions))}", "Finish the roll-out.")
    for one in status.replicas:
        if one.broker and one.role == "leader":
            yield Finding("error", "broker", f"the broker refuses messages: {one.broker}")
        for name, why in one.refused.items() if one.role == "leader" else ():
            yield Finding(
                "error", "broker", f"the broker refuses a message of entry {name!r}: {why}",
                "Correct the entry, or what it needs at the broker. It sends nothing more until then.",
            )  # fmt: skip


def _clocks(schedule: Schedule, app: Any) -> Iterator[Finding]:
    here = (wall_micros() - micros(schedule.now())) / MICROS
    status: Status = schedule.status()
    wrong = [(f"{one.host}:{one.pid}", one.skew) for one in status.replicas if one.role != "gone"]
    wrong = [(name, skew) for name, skew in [("this machine", here), *wrong] if abs(skew) > SKEW]
    for name, skew in wrong:
        yield Finding(
            "warning", "clock", f"{name} is {abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} Redis",
            "It does no harm to the schedule, which goes by Redis's time; logs and tasks may be confused. Run NTP.",
        )  # fmt: skip
    if not wrong:
        yield Finding("ok", "clock", f"this machine is {here:+.3f} s off Redis's time")


def _entries(schedule: Schedule, app: Any) -> Iterator[Finding]:
    total, never = 0, []
    for entry in schedule.entries():
        total += 1
        if entry.enabled and entry.next_due is None:
            never.append(entry.name)
    if never:
        yield Finding(
            "warning", "never again", f"{len(never)} of {total} entries have no further slot: {_some(never)}",
            "They are finished. Remove them, or give each another schedule.",
        )  # fmt: skip
    else:
        yield Finding("ok", "entries", f"{total} entries, each of them paused or with a next slot")


def _workers(schedule: Schedule, app: Any) -> Iterator[Finding]:
    if app is None:
        return
    try:
        answers = app.control.inspect(timeout=1.0).registered() or {}
    except Exception as exc:  # noqa: BLE001 - whatever a transport raises
        yield Finding("unknown", "tasks", f"workers could not be asked: {mask(exc)}")
        return
    if not answers:
        yield Finding("unknown", "tasks", "no worker answered, so it is not known whether workers know the tasks")
        return
    known = {str(text).split(" ")[0] for texts in answers.values() for text in texts}
    lost: dict[str, str] = {}
    for entry in schedule.entries():
        if entry.canvas is None and entry.task not in known and not entry.task.startswith("celery."):
            lost.setdefault(entry.task, entry.name)
    for task, name in list(lost.items())[:SHOWN]:
        yield Finding(
            "warning", "tasks", f"no worker knows {task!r} (entry {name!r} sends it)",
            "A worker that gets it will discard it. Deploy the workers, or correct the entry.",
        )  # fmt: skip
    if not lost:
        yield Finding("ok", "tasks", f"{len(answers)} workers answered, and know every task")


def _settings(schedule: Schedule, app: Any) -> Iterator[Finding]:
    settings, odd = schedule.settings, 0
    said: list[tuple[str, str]] = []
    if settings.socket_timeout > settings.lease_ttl:
        said.append((
            f"redlock_beat_socket_timeout ({settings.socket_timeout:g}) is above redlock_beat_lease_ttl "
            f"({settings.lease_ttl:g})", "One slow answer of Redis can cost the term. Lower the first.",
        ))  # fmt: skip
    if settings.ledger_size == 0:
        said.append(("redlock_beat_ledger_size is 0", "There is no history, and `status` cannot know the lateness."))
    if settings.batch_size * 20 > settings.ledger_size > 0:
        said.append((
            f"redlock_beat_ledger_size ({settings.ledger_size}) holds fewer than twenty full batches",
            "A burst may push its own first rows out.",
        ))  # fmt: skip
    if app is not None:
        said.extend(_celery_settings(app))
    said.extend(_state_files())
    for why, advice in said:
        odd += 1
        yield Finding("warning", "settings", why, advice)
    if not odd:
        yield Finding("ok", "settings", "no settings contradict each other")


def _celery_settings(app: Any) -> Iterator[tuple[str, str]]:
    conf = app.conf
    if conf.get("task_always_eager"):
        yield "task_always_eager is on", "Nothing reaches a queue: tasks would run inside beat. Turn it off."
    if conf.get("beat_max_loop_interval"):
        yield ("beat_max_loop_interval is set", "It has no effect: the loop wakes when something is due.")
    other = str(conf.get("beat_scheduler") or "")
    if other and "redlock" not in other and other != "celery.beat:PersistentScheduler":
        yield (f"beat_scheduler is {other!r}", "A beat started without -S uses that one, not this.")


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


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(repr(name) for name in names[:SHOWN]) + more


def as_json(findings: list[Finding]) -> str:
    """Findings for programs."""
    return json.dumps([{"level": f.level, "what": f.what, "why": f.why, "advice": f.advice} for f in findings])
