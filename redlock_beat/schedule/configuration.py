"""The configuration (``beat_schedule`` and ``redlock_beat_policies``), read and checked without Redis."""

from __future__ import annotations

import difflib
import functools
import hashlib
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from ..clock import age_of, monotonic
from ..entries.build import make_entry
from ..entries.codec import definition, written
from ..entries.entry import POLICIES, Entry
from ..errors import InvalidSchedule, InvalidSetting, mask
from ..log import log
from ..recurrence import NO_CALENDARS, Calendars, RRule
from ..recurrence.zones import zone
from .calendars import read_calendars

#: Entries that are read between two looks at the clock.
SOME = 20
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


@dataclass(frozen=True, slots=True)
class ConfiguredEntry:
    """One entry of the configuration."""

    entry: Entry
    digest: str
    #: Whether its start is the moment at which this process read it: each has another, so the stored one stays.
    floating: bool = False

    def settled(self, there: Entry) -> Entry:
        """The entry; where its start means nothing and the rule is the same, with the start that Redis has."""
        new, old = self.entry.schedule, there.schedule
        same = isinstance(new, RRule) and isinstance(old, RRule) and new.rule == old.rule
        return replace(self.entry, schedule=old) if self.floating and same else self.entry


@dataclass(frozen=True, slots=True)
class Configuration:
    """The configured entries of an app, and why others cannot be used."""

    entries: Mapping[str, ConfiguredEntry]
    errors: Mapping[str, str]
    digest: str
    #: The calendars that entries may name.
    calendars: Calendars = NO_CALENDARS


class Reading:
    """The configured entries of an app, with Celery's own default ones, as they are read: many take seconds.

    What is wrong with the whole raises at once; what is wrong with an entry leaves that one out, as it is read.
    """

    def __init__(self, app: Any) -> None:
        given = app.conf.beat_schedule or {}
        if not isinstance(given, Mapping):
            raise InvalidSetting(
                f"beat_schedule is {str(given)[:200]!r}, but must be a dictionary of names and entries."
            )
        #: The calendars that entries may name.
        self.calendars = read_calendars(app.conf.get("redlock_beat_calendars") or {})
        self._app = app
        self._raw = {str(name): one for name, one in {**_defaults(app), **given}.items()}
        self._policies = _policies(app, self._raw)
        self._entries: dict[str, ConfiguredEntry] = {}
        self._errors: dict[str, str] = {}
        self._left = iter(list(self._raw))
        #: All of it; None until it is read to its end.
        self.configuration: Configuration | None = None

    def read_for(self, seconds: float) -> bool:
        """Read on for so long; whether all is read."""
        until = monotonic() + seconds
        while self.configuration is None and monotonic() < until:
            names = list(islice(self._left, SOME))
            for name in names:
                self.entry(name)
            if not names:
                digest = _whole(self._entries, self._errors)
                self.configuration = Configuration(self._entries, self._errors, digest, self.calendars)
        return self.configuration is not None

    def entry(self, name: str) -> Entry | None:
        """One entry, read now if it was not yet; None when there is none, or it cannot be used."""
        if name in self._raw and name not in self._entries and name not in self._errors:
            self._read(name)
        found = self._entries.get(name)
        return None if found is None else found.entry

    def _read(self, name: str) -> None:
        given = self._raw[name]
        try:
            entry, text = _configured_entry(self._app, name, given, self._policies.get(name), self.calendars)
            floating = is_floating(entry)
            self._entries[name] = ConfiguredEntry(entry, digest_of(entry, floating, text, given), floating)
            if floating:
                log.warning(
                    "config.floating_start",
                    "beat_schedule[%(entry)r]: its rrule has no dtstart of its own, or one made by now(), so each "
                    "process would count from a different time. Beat keeps the start that was stored first while the "
                    "rule stays the same. Give the rule a fixed dtstart.",
                    entry=name,
                )
        except Exception as exc:  # noqa: BLE001 - one bad entry is one bad entry
            self._errors[name] = str(exc)
            words = "beat_schedule[%(entry)r] cannot be used and is left out: %(why)s"
            log.error("config.unusable", words, entry=name, why=mask(exc))


def read_configuration(app: Any) -> Configuration:
    """The configured entries of an app, all read at once."""
    reading = Reading(app)
    reading.read_for(math.inf)
    assert reading.configuration is not None
    return reading.configuration


def _whole(entries: Mapping[str, ConfiguredEntry], errors: Mapping[str, str]) -> str:
    """One digest over the whole configuration."""
    parts = [f"{name}\n{one.digest}" for name, one in sorted(entries.items())]
    parts += [f"{name}\nbad" for name in sorted(errors)]
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _policies(app: Any, names: Iterable[str]) -> Mapping[str, Any]:
    """``redlock_beat_policies``; the log warns of names that ``beat_schedule`` does not have."""
    given: Mapping[str, Any] = app.conf.get("redlock_beat_policies") or {}
    known = set(names)
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            meant = " Did you mean %(suggestion)r?" if near else ""
            words = "redlock_beat_policies[%(entry)r] has no effect: beat_schedule has no entry of that name."
            log.warning("config.unknown_policies", words + meant, entry=name, suggestion=near[0] if near else None)
    return given


def _with_policies(name: str, data: dict[str, Any], policies: Any) -> dict[str, Any]:
    """An entry with its policies of ``redlock_beat_policies``; none may say something else in each place."""
    where = f"redlock_beat_policies[{name!r}]"
    if not isinstance(policies, Mapping):
        raise InvalidSchedule(f"{where} is {str(policies)[:100]!r}, but must be a dictionary of policies.")
    accepted = (*POLICIES, "relative")
    unknown = [str(key) for key in policies if key not in accepted]
    if unknown:
        raise InvalidSchedule(f"{where}: {', '.join(unknown)} is not a policy. The policies are {', '.join(accepted)}.")
    for key, value in policies.items():
        if key in data and data[key] != value:
            raise InvalidSchedule(
                f"{key} is {data[key]!r} in beat_schedule and {value!r} in {where}: set it in one of the two."
            )
    return {**data, **policies}


def _defaults(app: Any) -> dict[str, Any]:
    """Celery's own entry: it cleans up results once a day where the backend does not."""
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


def _configured_entry(
    app: Any, name: str, given: Any, policies: Any = None, calendars: Calendars = NO_CALENDARS
) -> tuple[Entry, str]:
    """An entry, and the text that its digest is made of."""
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
    task, when = data.pop("task"), data.pop("schedule")
    args, kwargs, options = data.pop("args", None) or (), data.pop("kwargs", None), data.pop("options", None)
    entry = make_entry(
        app, name, task, when, args, kwargs, options, origin="config", carry=False, calendars=calendars, **data
    )
    try:
        return entry, _said(entry)
    except InvalidSchedule:
        # JSON cannot carry it: Redis holds a reference, and the leader renders it from here.
        entry = replace(entry, reference=True)
        return entry, _said(entry)


def is_floating(entry: Entry) -> bool:
    """Whether an rrule starts while this process is running: then it is now(), and nobody has written it down."""
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
    """Seconds since this process began, or the worker that embeds it."""
    from billiard.process import current_process

    pids = [os.getpid(), getattr(current_process(), "_parent_pid", None)]
    ages = [age for pid in pids if pid is not None and (age := age_of(pid)) is not None]
    return max(ages, default=60.0)


def _said(entry: Entry, floating: bool = False) -> str:
    """What an entry says, without what is its own in each process: its definition as JSON."""
    data = definition(entry)
    data["uid"], data["rev"], data["at"] = "-", 0, 0
    if floating:
        del data["s_start"]
    return written(entry.name, data)


def digest_of(entry: Entry, floating: bool = False, text: str | None = None, given: Any = None) -> str:
    """A short text for what an entry says, whoever made it and when.

    *text* is its definition where that is known, and *given* what the configuration has of one that JSON cannot carry.
    """
    if text is None or floating:
        text = _said(entry, floating)
    if entry.reference:
        text += _described([given])
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def edited(entry: Entry, digest: str | None) -> bool:
    """Whether a configured entry was edited at runtime.

    *digest* is its value in ``configured``. A pause is no edit. Of an entry whose arguments only the configuration
    holds nobody can tell.
    """
    if entry.origin != "config" or entry.reference or digest is None:
        return False
    return says_something_else(entry, digest)


def says_something_else(entry: Entry, digest: str) -> bool:
    """Whether an entry says something else than when it had this digest; a pause is nothing else."""
    entry = replace(entry, until=None, paused_slot=None, skip=None)
    running = replace(entry, enabled=True, note=None, paused_by=None)
    floating = (False, True) if isinstance(entry.schedule, RRule) else (False,)
    return digest not in {digest_of(one, free) for one in (entry, running) for free in floating}


def _described(value: Any) -> str:
    """A text, the same in every process, for what JSON cannot carry."""
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
