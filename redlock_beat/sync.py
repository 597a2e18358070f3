"""``beat_schedule`` -> Redis, by the leader alone, three-way.

For each name three things are compared: what the configuration said before (``configured``), what
it says now, and what stands in Redis. One digest over the whole configuration skips an unchanged
one; otherwise only what changed is written, in pages, between which the loop goes on dispatching.

==========  ==========  ===============  ============================================================
before      now         in Redis         what happens
==========  ==========  ===============  ============================================================
--          there       --               created; revived, when the archive has it
--          there       configured       the configuration wins (an older Redis came back without the mark)
--          there       made at runtime  left alone, and said to be left out
there       the same    anything         nothing: an edit, a pause, a removal at runtime stays
there       changed     configured       the configuration wins; uid, count and phase stay
there       changed     made at runtime  left alone, and said to be left out
there       changed     --               created
there       --          configured, --   archived with its state, and whether it was removed at runtime
there       --          made at runtime  left alone; what the configuration said before is forgotten
==========  ==========  ===============  ============================================================

What is left out gets no mark in ``configured``: it is new or changed until it is in force. So it comes
into force when the entry in its place is removed, or when its next slot can be computed: tried again
every so often, by the next leader, and after a restart.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import json
import logging
import os
import re
import secrets
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from .clock import MICROS, age_of, score
from .codec import compact, decode, definition, written
from .config import Settings
from .edits import created, readable, updated
from .entry import POLICIES, Entry
from .errors import InvalidSchedule, InvalidSetting, mask, traceback_of
from .lease import Lease, Term
from .make import make_entry
from .policies import act_at, next_slot
from .schedules import RRule
from .state import State, parse_state
from .steps import ABSENT, ANY, DROP, PAGE, Edit, Stored
from .store import Store
from .usercode import UserCode, UserError
from .zones import zone

logger = logging.getLogger("redlock_beat")

#: An entry that left the configuration and came back within this time is a roll-out that flapped:
#: what came due meanwhile falls under its policy. Later, it counts from now.
FLAP = 3600 * MICROS

#: Rounds of one sync after the first: the next finds nothing to be written, unless Redis loses something meanwhile.
ROUNDS = 20

#: Names in the record of what is left out, and characters of each reason.
NAMED, REASON = 100, 300

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
                "redlock_beat_policies[%r] is for no entry: beat_schedule has none of that name.%s",
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
        raise InvalidSchedule(f"{where}: {', '.join(unknown)} is no policy. There are {', '.join(accepted)}.")
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


class ConfigSync:
    """Brings Redis up to the configuration, a page at a time."""

    def __init__(
        self, settings: Settings, store: Store, lease: Lease, configuration: Configuration, code: UserCode
    ) -> None:
        self.settings = settings
        self.code = code
        self.store = store
        self.lease = lease
        self.configuration = configuration
        #: Configured entries that are not in force, and why.
        self.left_out: dict[str, str] = dict(configuration.errors)
        self._done = False
        self._said: str | None = None
        #: What was left in Redis as the configuration's mark: another one there says that Redis has lost something.
        self.mark = ""

    @property
    def _catching_up(self) -> tuple[int, float | None]:
        """What :func:`~redlock_beat.policies.plan` takes from the settings."""
        return self.settings.catchup_limit, self.settings.cron_grace

    @property
    def _ours(self) -> str:
        return f"{self._version}:{self.configuration.digest}"

    @property
    def _version(self) -> str:
        version = self.settings.config_version
        return "" if version is None else str(version)

    @property
    def unfinished(self) -> bool:
        """Whether to go on after a while: something broke, or is left out for a reason that may pass."""
        return not self._done or bool(self._waiting())

    def lost(self, mark: str) -> bool:
        """Whether another mark stands in Redis than the one that was left there."""
        return self._done and mark != self.mark

    def _waiting(self) -> list[str]:
        return [name for name in self.left_out if name in self.configuration.entries]

    def again(self, term: Term) -> Iterator[None]:
        """Try once more what was left out, and yield after each page."""
        if not self._done:
            yield from self.run(term)
            return
        waiting = self._waiting()
        before = self.store.configured(waiting)
        for page in _pages(waiting):
            yield from self._write(term, page, before)
        self._publish(term)

    def run(self, term: Term) -> Iterator[None]:
        """Write what changed, and yield after each page.

        It goes round until a look finds nothing to be written: what a Redis that came back older has lost
        meanwhile is written in the next round.
        """
        self._done = False
        known, self._said = self.store.config(), self.store.left_out()
        whole = self._said is None and not self.configuration.errors
        if (known == self._ours and whole) or (known is not None and self._older(known)):
            self.mark, self._done = known or "", True
            return
        fresh, gone = yield from self._round(term, ())
        written = len(fresh) - len(self._waiting())
        for _ in range(ROUNDS):
            found = yield from self._round(term, self._waiting())
            if not any(found) and self.store.config_mark(term.fence, self.mark, self._ours):
                break
        else:
            raise RuntimeError(f"{ROUNDS} rounds have not brought Redis up to the configuration")
        self._publish(term)
        self.mark, self._done = self._ours, True
        if written or gone:
            logger.info("Configuration synced: %d entries new or changed, %d gone.", written, len(gone))

    def _round(self, term: Term, leave: Collection[str]) -> Generator[None, None, tuple[list[str], list[str]]]:
        """Write what differs; which those were."""
        # A text of this round's own: where it no longer stands at the end, Redis has lost what was written.
        self.mark = f"{self._version}:~{secrets.token_hex(8)}"
        self.store.edit([], fence=term.fence, config=self.mark)
        before = self.store.configured()
        there = self.configuration.entries
        fresh = [name for name, one in there.items() if before.get(name) != one.digest and name not in leave]
        gone = [name for name in before if name not in there and name not in self.configuration.errors]
        for page in _pages(fresh):
            yield from self._write(term, page, before)
        for page in _pages(gone):
            yield from self._archive(term, page, before)
        return fresh, gone

    def _publish(self, term: Term) -> None:
        """Let everybody know what is left out."""
        names = sorted(self.left_out)
        record = ""
        if names:
            entries = {name: mask(self.left_out[name])[:REASON] for name in names[:NAMED]}
            record = json.dumps({"total": len(names), "entries": entries})  # in ASCII: a name may be no UTF-8
        if record != (self._said or ""):
            self.store.leave_out(term.fence, record)
            self._said = record

    def _leave_out(self, name: str, why: str, *, level: int = logging.ERROR) -> None:
        if self.left_out.get(name) != why:
            self.left_out[name] = why
            logger.log(level, "beat_schedule[%r] is left out: %s. It is tried again.", name, mask(why))

    def _older(self, known: str) -> bool:
        theirs, ours = known.split(":", 1)[0], self.settings.config_version
        if not theirs or (ours is not None and ours >= int(theirs)):
            return False
        logger.warning(
            "The schedule was synced by configuration version %s and this beat's redlock_beat_config_version is %s: "
            "it dispatches, and leaves the configured entries as they are.",
            theirs, "not set" if ours is None else ours,
        )  # fmt: skip
        return True

    def _write(self, term: Term, names: list[str], before: Mapping[str, str]) -> Iterator[None]:
        while names:  # what changed under our hands is read and compared again
            now, stored = self.store.read(names)
            fresh = [one.name for one in stored if one.definition is None and one.name not in before]
            archive = self.store.archived(fresh)
            edits = []
            for one in stored:
                edit = self._edit(term, one, before, archive.get(one.name), now)
                if edit is not None:
                    edits.append(edit)
            names = self._apply(term, edits)
            yield

    def _apply(self, term: Term, edits: list[Edit]) -> list[str]:
        """Apply a page; the names of those that were changed by others meanwhile."""
        self.lease.renew_if_needed(term)
        if not edits:
            return []
        conflicts = self.store.edit(edits, fence=term.fence, each=True)
        assert isinstance(conflicts, list)
        return [edits[i].name for i in conflicts]

    def _edit(
        self, term: Term, stored: Stored, before: Mapping[str, str], archived: str | None, now: int
    ) -> Edit | None:
        """What is to be done about one entry; None when it is left out."""
        name, marked, there = stored.name, stored.name in before, readable(stored)
        if _made_at_runtime(stored, there, marked):
            why = "an entry made at runtime has its name, and those are never touched. Rename or remove one of the two"
            self._leave_out(name, why, level=logging.WARNING)
            return None
        try:
            edit = self.code.run(
                term, name, functools.partial(self._configured, stored, there, None if marked else archived, now)
            )
        except UserError as error:  # one bad entry is one bad entry
            exc = error.cause
            known = isinstance(exc, InvalidSchedule)
            self._leave_out(name, str(exc).rstrip(".") if known else f"its next slot cannot be computed: {exc!r}")
            if not known:
                logger.debug("Computing %r raised:\n%s", name, traceback_of(exc))
            return None
        self.left_out.pop(name, None)
        edit.configured = self.configuration.entries[name].digest
        return edit

    def _configured(self, stored: Stored, there: Entry | None, archived: str | None, now: int) -> Edit:
        """The edit that brings the configured entry into force."""
        one = self.configuration.entries[stored.name]
        new = replace(one.entry if there is None else one.settled(there), anchor=now)
        if stored.definition is None:
            edit = _revived(one, archived, now, *self._catching_up) if archived else None
            edit = edit or created(new, now)
            edit.expected = stored.state or ABSENT
            edit.archive = DROP
            return edit
        if there is None or there.state is None:
            return created(replace(new, revision=_revision(stored) + 1), now, expected=stored.state or ANY)
        return updated(there, new, now, stored.state or ANY, *self._catching_up)

    def _archive(self, term: Term, names: list[str], before: Mapping[str, str]) -> Iterator[None]:
        while names:
            now, stored = self.store.read(names)
            edits = []
            for one in stored:
                edit = Edit(one.name, ANY, configured=DROP)
                if one.definition is None:
                    edit.archive = compact({"removed": True, "digest": before[one.name], "at": now})
                elif not _made_at_runtime(one, readable(one), marked=True):
                    edit.expected = one.state or ANY
                    edit.definition = edit.state = edit.score = DROP
                    edit.archive = compact(
                        {"definition": one.definition, "state": one.state, "digest": before[one.name], "at": now}
                    )
                edits.append(edit)
            names = self._apply(term, edits)
            yield


def _made_at_runtime(stored: Stored, there: Entry | None, marked: bool) -> bool:
    """Whether what stands there is a user's; what cannot be read is, unless the configuration once had that name."""
    if there is not None:
        return there.origin != "config"
    if stored.definition is None:
        return False
    try:
        data = json.loads(stored.definition)
        return bool(data.get("from", "api") != "config")
    except (ValueError, AttributeError):
        return not marked


def _revived(one: Configured, archived: str, now: int, catchup_limit: int, cron_grace: float | None) -> Edit | None:
    """An entry that came back to the configuration: its state and edits come back with it."""
    new = replace(one.entry, anchor=now)
    try:
        kept = json.loads(archived)
        same = kept["digest"] == one.digest
        if kept.get("removed"):
            # Removed at runtime, and still the same in the configuration: it stays removed.
            return Edit(new.name, ABSENT) if same else None
        state = State.parse(kept["state"])
        old = decode(new.name, kept["definition"], state)
        since = int(kept["at"])
    except (ValueError, KeyError, TypeError, InvalidSchedule):
        return None
    if now - since > FLAP and state.nominal is not None and state.nominal <= now:
        state = replace(state, nominal=next_slot(old, now), attempts=0)
        old = old.with_state(state)
    if not same:
        new = replace(one.settled(old), anchor=now)
        edit = updated(old, new, now, ABSENT, catchup_limit, cron_grace)
        if edit.score == "=":
            after = State.parse(edit.state)
            edit.score = DROP if after.nominal is None else score(act_at(new, after.nominal))
        return edit
    when = DROP
    if old.enabled and state.nominal is not None:
        when = score(act_at(old, state.nominal))
    return Edit(new.name, ABSENT, definition=kept["definition"], state=state.text(), score=when)


def _revision(stored: Stored) -> int:
    state = parse_state(stored.state)
    return state.revision if state else 0


def _pages(names: list[str]) -> Iterator[list[str]]:
    for i in range(0, len(names), PAGE):
        yield names[i : i + PAGE]
