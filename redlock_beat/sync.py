"""``beat_schedule`` -> Redis, by the leader alone, three-way.

For each name three things are compared: what the configuration said before (``configured``), what
it says now, and what stands in Redis. One digest over the whole configuration skips an unchanged
one; otherwise only what changed is written, in pages, between which the loop goes on dispatching.

==========  ==========  ===========  ================================================================
before      now         in Redis     what happens
==========  ==========  ===========  ================================================================
--          there       --           created; revived, when the archive has it
--          there       there        made at runtime under this name: left alone, with a warning
there       the same    anything     nothing: an edit, a pause, a removal at runtime stays
there       changed     there        the configuration wins; uid, count and phase stay
there       changed     --           created
there       --          anything     archived with its state, and whether it was removed at runtime
==========  ==========  ===========  ================================================================
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .clock import MICROS, score
from .codec import compact, decode, definition, written
from .config import Settings
from .edits import created, readable, updated
from .entry import Entry
from .errors import InvalidSchedule, mask
from .lease import Lease, Term
from .make import make_entry
from .policies import act_at, next_slot
from .state import State, parse_state
from .steps import ABSENT, ANY, DROP, PAGE, Edit, Stored
from .store import Store

logger = logging.getLogger("redlock_beat")

#: An entry that left the configuration and came back within this time is a roll-out that flapped:
#: what came due meanwhile falls under its policy. Later, it counts from now.
FLAP = 3600 * MICROS

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


@dataclass(frozen=True, slots=True)
class Configured:
    """One entry as the configuration says it."""

    entry: Entry
    digest: str


@dataclass(frozen=True, slots=True)
class Configuration:
    """The whole of ``beat_schedule``, read and checked without asking Redis."""

    entries: Mapping[str, Configured]
    raw: Mapping[str, Any]
    errors: Mapping[str, str]
    digest: str


def read_configuration(app: Any) -> Configuration:
    """The configured entries of an app, with Celery's own default ones."""
    raw: dict[str, Any] = {**_defaults(app), **dict(app.conf.beat_schedule or {})}
    entries: dict[str, Configured] = {}
    errors: dict[str, str] = {}
    for name, given in raw.items():
        try:
            entry, data = _configured_entry(app, str(name), given)
            entries[str(name)] = Configured(entry, _digest(entry, data, given))
        except Exception as exc:  # noqa: BLE001 - one bad entry is one bad entry
            errors[str(name)] = str(exc)
            logger.error("beat_schedule[%r] cannot be used and is left out: %s", name, mask(exc))  # noqa: TRY400
    parts = [f"{name}\n{one.digest}" for name, one in sorted(entries.items())]
    parts += [f"{name}\nbad" for name in sorted(errors)]
    whole = hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return Configuration(entries, {str(k): v for k, v in raw.items()}, errors, whole)


def _defaults(app: Any) -> dict[str, Any]:
    """Celery's own: results are cleaned up once a day where the backend does not do it."""
    if app.conf.result_expires and not app.backend.supports_autoexpire:
        from celery.schedules import crontab

        return {
            "celery.backend_cleanup": {
                "task": "celery.backend_cleanup",
                "schedule": crontab("0", "4", "*"),
                "options": {"expires": 12 * 3600},
            }
        }
    return {}


def _configured_entry(app: Any, name: str, given: Any) -> tuple[Entry, dict[str, Any]]:
    """An entry and its definition."""
    if not isinstance(given, Mapping):
        fields = ("task", "schedule", "args", "kwargs", "options")
        given = {key: getattr(given, key) for key in fields if hasattr(given, key)}
    data = dict(given)
    for known in ("name", "app", "last_run_at", "total_run_count"):
        data.pop(known, None)
    if "task" not in data or "schedule" not in data:
        raise InvalidSchedule("it needs at least 'task' and 'schedule'.")
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


def _digest(entry: Entry, data: dict[str, Any], given: Any) -> str:
    text = written(entry.name, {**data, "uid": "-", "rev": 0, "at": 0})
    if entry.reference:
        text += _described([given])
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


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

    def __init__(self, settings: Settings, store: Store, lease: Lease, configuration: Configuration) -> None:
        self.settings = settings
        self.store = store
        self.lease = lease
        self.configuration = configuration
        #: Pages written so far in this term; nothing is written for an unchanged configuration.
        self.pages = 0

    @property
    def _mark(self) -> str:
        version = self.settings.config_version
        return f"{'' if version is None else version}:{self.configuration.digest}"

    def run(self, term: Term) -> Iterator[None]:
        """Write what changed, and yield after each page."""
        known = self.store.config()
        if known == self._mark:
            return
        if known is not None and self._older(known):
            return
        before = self.store.configured()
        now_there = self.configuration.entries
        changed = [name for name, one in now_there.items() if before.get(name) != one.digest]
        gone = [name for name in before if name not in now_there and name not in self.configuration.errors]
        for page in _pages(changed):
            self._write(term, page, before)
            yield
        for page in _pages(gone):
            self._archive(term, page, before)
            yield
        self.store.edit([], fence=term.fence, config=self._mark)
        self.pages += 1
        if changed or gone:
            logger.info("Configuration synced: %d entries new or changed, %d gone.", len(changed), len(gone))

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

    def _write(self, term: Term, names: list[str], before: Mapping[str, str]) -> None:
        for _ in range(5):  # what changed under our hands is read and compared again
            now, stored = self.store.read(names)
            fresh = [one.name for one in stored if one.definition is None and one.name not in before]
            archive = self.store.archived(fresh)
            edits = [self._edit(one, before, archive.get(one.name), now) for one in stored]
            left_out = self._apply(term, [edit for edit in edits if edit is not None])
            if not left_out:
                return
            names = left_out

    def _apply(self, term: Term, edits: list[Edit]) -> list[str]:
        self.lease.renew_if_needed(term)
        if not edits:
            return []
        left_out = self.store.edit(edits, fence=term.fence, each=True)
        self.pages += 1
        assert isinstance(left_out, list)
        return [edits[i].name for i in left_out]

    def _edit(self, stored: Stored, before: Mapping[str, str], archived: str | None, now: int) -> Edit | None:
        one = self.configuration.entries[stored.name]
        new = replace(one.entry, anchor=now)
        if stored.definition is None:
            edit = None
            if stored.name not in before and archived is not None:
                edit = _revived(new, one.digest, archived, now, self.settings.catchup_limit)
            edit = edit or created(new, now)
            edit.expected = stored.state or ABSENT
            edit.archive = DROP
        elif stored.name not in before:
            known = readable(stored)
            if known is None or known.origin != "config":
                logger.warning(
                    "beat_schedule[%r] is left out: an entry of that name was made at runtime, and those are never "
                    "touched. Rename one of the two.", stored.name,
                )  # fmt: skip
                return Edit(stored.name, ANY, configured=one.digest)
            edit = updated(known, new, now, stored.state or ANY, self.settings.catchup_limit)
        else:
            known = readable(stored)
            if known is None or known.state is None:
                edit = created(replace(new, revision=_revision(stored) + 1), now, expected=ANY)
            else:
                edit = updated(known, new, now, stored.state or ANY, self.settings.catchup_limit)
        edit.configured = one.digest
        return edit

    def _archive(self, term: Term, names: list[str], before: Mapping[str, str]) -> None:
        for _ in range(5):
            now, stored = self.store.read(names)
            edits = []
            for one in stored:
                known = readable(one)
                edit = Edit(one.name, ANY, configured=DROP)
                if one.definition is None:
                    edit.archive = compact({"removed": True, "digest": before[one.name], "at": now})
                elif known is None or known.origin == "config":
                    edit.expected = one.state or ANY
                    edit.definition = edit.state = edit.score = DROP
                    edit.archive = compact(
                        {"definition": one.definition, "state": one.state, "digest": before[one.name], "at": now}
                    )
                edits.append(edit)
            names = self._apply(term, edits)
            if not names:
                return


def _revived(new: Entry, digest: str, archived: str, now: int, catchup_limit: int) -> Edit | None:
    """An entry that came back to the configuration: its state and edits come back with it."""
    try:
        kept = json.loads(archived)
        same = kept["digest"] == digest
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
        edit = updated(old, new, now, ABSENT, catchup_limit)
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
