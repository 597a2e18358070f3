"""``beat_schedule`` and ``redlock_beat_policies``, read and checked without asking Redis."""

from __future__ import annotations

import difflib
import functools
import hashlib
import logging
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from ..clock import age_of
from ..entries.build import make_entry
from ..entries.codec import definition, written
from ..entries.entry import POLICIES, Entry
from ..errors import InvalidSchedule, InvalidSetting, mask
from ..recurrence import RRule
from ..recurrence.zones import zone

logger = logging.getLogger("redlock_beat")

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


@dataclass(frozen=True, slots=True)
class Configured:
    """One entry as the configuration says it."""

    entry: Entry
    digest: str
    #: Its start was made as the process read it, so each process has another: the stored one is kept.
    floating: bool = False

    def settled(self, there: Entry) -> Entry:
        """The entry, with the start that stands in Redis if its own means nothing and the rule is the same."""
        new, old = self.entry.schedule, there.schedule
        same = isinstance(new, RRule) and isinstance(old, RRule) and new.rule == old.rule
        return replace(self.entry, schedule=old) if self.floating and same else self.entry


@dataclass(frozen=True, slots=True)
class Configuration:
    """The whole of ``beat_schedule``, read and checked without asking Redis."""

    entries: Mapping[str, Configured]
    errors: Mapping[str, str]
    digest: str


def read_configuration(app: Any) -> Configuration:
    """The configured entries of an app, with Celery's own default ones."""
    given = app.conf.beat_schedule or {}
    if not isinstance(given, Mapping):
        raise InvalidSetting(f"beat_schedule is {str(given)[:200]!r}, but must be a dictionary of names and entries.")
    raw = {str(name): one for name, one in {**_defaults(app), **given}.items()}
    policies = _policies(app, raw)
    entries: dict[str, Configured] = {}
    errors: dict[str, str] = {}
    for name, given in raw.items():
        try:
            entry, data = _configured_entry(app, name, given, policies.get(name))
            floating = _is_floating(entry)
            entries[name] = Configured(entry, _digest(entry, data, given, floating), floating)
            if floating:
                logger.warning(
                    "beat_schedule[%r]: its rrule has no dtstart of its own, or one made by now(): each process would "
                    "count from another moment. The start that was stored first is kept while the rule stays the same. "
                    "Give it a fixed dtstart.", name,
                )  # fmt: skip
        except Exception as exc:  # noqa: BLE001 - one bad entry is one bad entry
            errors[name] = str(exc)
            logger.error("beat_schedule[%r] cannot be used and is left out: %s", name, mask(exc))  # noqa: TRY400
    parts = [f"{name}\n{one.digest}" for name, one in sorted(entries.items())]
    parts += [f"{name}\nbad" for name in sorted(errors)]
    whole = hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return Configuration(entries, errors, whole)


def _policies(app: Any, names: Iterable[str]) -> Mapping[str, Any]:
    """``redlock_beat_policies``; names that ``beat_schedule`` has not are warned of."""
    given: Mapping[str, Any] = app.conf.get("redlock_beat_policies") or {}
    known = set(names)
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            logger.warning(
                "redlock_beat_policies[%r] has no effect: beat_schedule has no entry of that name.%s",
                name, f" Did you mean {near[0]!r}?" if near else "",
            )  # fmt: skip
    return given


def _with_policies(name: str, data: dict[str, Any], policies: Any) -> dict[str, Any]:
    """An entry with the policies that stand apart from it, checked so that each is said in one place."""
    where = f"redlock_beat_policies[{name!r}]"
    if not isinstance(policies, Mapping):
        raise InvalidSchedule(f"{where} is {str(policies)[:100]!r}, but must be a dictionary of policies.")
    accepted = (*POLICIES, "relative")
    unknown = [str(key) for key in policies if key not in accepted]
    if unknown:
        raise InvalidSchedule(f"{where}: {', '.join(unknown)} is no policy. The policies are {', '.join(accepted)}.")
    for key, value in policies.items():
        if key in data and data[key] != value:
            raise InvalidSchedule(
                f"{key} is {data[key]!r} in beat_schedule and {value!r} in {where}: say it in one of the two."
            )
    return {**data, **policies}


def _defaults(app: Any) -> dict[str, Any]:
    """Celery's own: results are cleaned up once a day where the backend does not do it."""
    try:
        expires = app.conf.result_expires and not app.backend.supports_autoexpire
    except Exception as exc:  # noqa: BLE001 - a module that is not there, a package it needs, an address it cannot read
        raise InvalidSetting(f"result_backend cannot be used: {mask(f'{type(exc).__name__}: {exc}')}") from None
    if expires:
        from celery.schedules import crontab

        return {
            "celery.backend_cleanup": {
                "task": "celery.backend_cleanup",
                "schedule": crontab("0", "4", "*"),
                "options": {"expires": 12 * 3600},
            }
        }
    return {}


def _configured_entry(app: Any, name: str, given: Any, policies: Any = None) -> tuple[Entry, dict[str, Any]]:
    """An entry and its definition."""
    if not isinstance(given, Mapping):
        fields = ("task", "schedule", "args", "kwargs", "options")
        given = {key: getattr(given, key) for key in fields if hasattr(given, key)}
    data = dict(given)
    for known in ("name", "app", "last_run_at", "total_run_count"):
        data.pop(known, None)
    if "task" not in data or "schedule" not in data:
        raise InvalidSchedule("it needs at least 'task' and 'schedule'.")
    if policies is not None:
        data = _with_policies(name, data, policies)
    entry = make_entry(
        app, name, data.pop("task"), data.pop("schedule"), data.pop("args", None) or (), data.pop("kwargs", None),
        data.pop("options", None), origin="config", carry=False, **data,
    )  # fmt: skip
    try:
        data = definition(entry)
        written(name, data)
    except InvalidSchedule:
        # JSON cannot carry it: Redis holds a reference, and the leader renders it from here.
        entry = replace(entry, reference=True)
        data = definition(entry)
        written(name, data)
    return entry, data


def _is_floating(entry: Entry) -> bool:
    """Whether an rrule starts at a moment at which this process was running: nobody has written that down."""
    if not isinstance(entry.schedule, RRule):
        return False
    start = entry.schedule.start
    if start.tzinfo is not None:
        ago = [(datetime.now(UTC) - start).total_seconds()]
    else:  # now() of any zone: dateutil takes the machine's
        zones = (None, UTC, zone(entry.timezone))
        ago = [(datetime.now(tz).replace(tzinfo=None) - start).total_seconds() for tz in zones]
    return any(-1 <= seconds <= _running_for() + 2 for seconds in ago)


def _running_for() -> float:
    """Seconds since this process began, or the worker in which it is embedded."""
    from billiard.process import current_process

    pids = [os.getpid(), getattr(current_process(), "_parent_pid", None)]
    ages = [age for pid in pids if pid is not None and (age := age_of(pid)) is not None]
    return max(ages, default=60.0)


def _digest(entry: Entry, data: dict[str, Any], given: Any, floating: bool = False) -> str:
    data = {**data, "uid": "-", "rev": 0, "at": 0}
    if floating:
        del data["s_start"]
    text = written(entry.name, data)
    if entry.reference:
        text += _described([given])
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def edited(entry: Entry, digest: str | None) -> bool:
    """Whether an entry of the configuration says something else by now than the configuration did.

    *digest* is what stands under ``configured``. A pause is no edit. Of an entry whose arguments stay in
    the configuration it cannot be told.
    """
    if entry.origin != "config" or entry.reference or digest is None:
        return False
    running = replace(entry, enabled=True, note=None, paused_by=None)
    floating = (False, True) if isinstance(entry.schedule, RRule) else (False,)
    return digest not in {_digest(one, definition(one), None, free) for one in (entry, running) for free in floating}


def _described(value: Any) -> str:
    """A text for what JSON cannot carry that is the same in every process."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_described(one)}" for key, one in sorted(value.items(), key=str)) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(_described(one) for one in value) + "]"
    if isinstance(value, (str, int, float, bool, bytes)) or value is None:
        return repr(value)
    func = getattr(value, "_func", None)
    if func is not None:  # BeatLazyFunc
        name = getattr(func, "__qualname__", type(func).__qualname__)
        return f"lazy {getattr(func, '__module__', '')}.{name} {_described(getattr(value, '_func_params', {}))}"
    if isinstance(value, functools.partial):
        return f"partial {_described(value.func)} {_described(value.args)} {_described(value.keywords)}"
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return f"{type(value).__module__}.{type(value).__qualname__} {_ADDRESS.sub('', repr(value))}"
