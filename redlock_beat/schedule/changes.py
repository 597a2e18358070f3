"""The edits that users ask for, as values: how each is made of the entry as it stands, and what is answered.

Nothing here asks Redis: :class:`~redlock_beat.schedule.operations.Operations` applies them.
"""

from __future__ import annotations

import getpass
import os
import secrets
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..clock import moment, score
from ..entries.build import make_entry
from ..entries.codec import decode
from ..entries.entry import POLICIES, Entry
from ..entries.state import State, parse_state
from ..entries.waiting import ManualItem
from ..errors import EntryExists, InvalidSchedule, NoSuchEntry, RedlockBeatError, StaleRevision, Uncomputable
from ..recurrence import Interval
from ..settings import Settings
from ..store.keys import Keys
from ..store.values import ABSENT, ANY, PRESENT, Edit, Stored
from .edits import created, known_state, paused, readable, removed, renamed, resumed, updated


@dataclass(frozen=True, slots=True)
class Change:
    """One edit somebody asks for: how to make it from an entry as it stands, and what they are told."""

    name: str
    make: Callable[[Stored, int], Edit]
    answer: Callable[[Edit], Any]

    @property
    def names(self) -> tuple[str, ...]:
        """The entries it reads."""
        return (self.name,)

    def edits(self, there: Mapping[str, Stored], now: int) -> list[Edit]:
        """The edits it consists of; the last of them is what is answered."""
        return [self.make(there[self.name], now)]


@dataclass(frozen=True, slots=True)
class Transfer:
    """An edit that reads one entry and makes another: a copy, or a new name."""

    name: str
    new: str
    make: Callable[[Stored, Stored, int], list[Edit]]
    #: Whether the first leaves its name, so that nothing of it may wait to be sent under that name.
    leaves: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The entries it reads."""
        return (self.name, self.new)

    def edits(self, there: Mapping[str, Stored], now: int) -> list[Edit]:
        """The edits it consists of; the last of them is what is answered."""
        return self.make(there[self.name], there[self.new], now)

    def answer(self, edit: Edit) -> Any:
        """What they are told: the entry that was made."""
        return after(self.new, edit)


class ChangeMaker:
    """Makes the edits of one schedule."""

    def __init__(self, app: Any, settings: Settings, keys: Keys, timezone: str = "UTC") -> None:
        self.app = app
        self.settings = settings
        self.keys = keys
        #: The zone of entries that name none, where there is no app to say it.
        self.timezone = timezone

    @property
    def _catching_up(self) -> tuple[int, float | None]:
        """What :func:`~redlock_beat.entries.policies.plan` takes from the settings."""
        return self.settings.catchup_limit, self.settings.cron_grace

    def adding(self, entry: Entry, *, replace_existing: bool, run_now: bool) -> Change:
        """Add an entry, or put it in the place of one that is there."""

        def make(stored: Stored, now: int) -> Edit:
            if stored.definition is None and stored.state is None:
                edit = created(entry, now, run_now=run_now, expected=ABSENT)
            elif not replace_existing:
                raise EntryExists(entry.name)
            else:
                known = readable(stored)
                if known is None or known.state is None or run_now:
                    fresh = entry
                    if known is not None:
                        fresh = replace(entry, revision=known.revision + 1, origin=known.origin)
                    edit = created(fresh, now, run_now=run_now, expected=stored.state or ANY)
                else:
                    new = replace(entry, origin=known.origin)
                    edit = updated(known, new, now, stored.state or ANY, *self._catching_up)
            _never(entry, edit)
            return edit

        return Change(entry.name, make, lambda edit: after(entry.name, edit))

    def updating(self, name: str, revision: int | None, changes: dict[str, Any]) -> Change:
        """Change parts of an entry."""

        def change(old: Entry, now: int, current: str) -> Edit:
            edit = updated(old, self._changed(old, changes), now, current, *self._catching_up)
            if old.enabled and old.state is not None and old.state.nominal is not None:
                _never(decode(name, edit.definition), edit)
            return edit

        return _changing(name, revision, change)

    def copying(self, name: str, new: str, changes: Mapping[str, Any]) -> Transfer:
        """Add an entry that says what another says."""

        def make(stored: Stored, place: Stored, now: int) -> list[Edit]:
            old = present(stored)
            if old.reference:
                raise InvalidSchedule(
                    f"entry {name!r} cannot be copied: its arguments are not JSON and stand in beat_schedule alone. "
                    "Copy it there."
                )
            if place.definition is not None or place.state is not None:
                raise EntryExists(new)
            fresh = replace(self._changed(old, dict(changes)), name=new, origin="api", anchor=0, revision=1)
            edit = created(fresh, now, expected=ABSENT)
            _never(fresh, edit)
            return [edit]

        return Transfer(name, new, make, leaves=False)

    def renaming(self, name: str, new: str, revision: int | None) -> Transfer:
        """Give an entry another name, with all it is and how far it has come."""

        def make(stored: Stored, place: Stored, now: int) -> list[Edit]:
            old = present(stored)
            _fresh(name, revision, old.revision)
            if old.origin == "config":
                raise InvalidSchedule(
                    f"entry {name!r} comes from beat_schedule, which would bring the old name back: rename it there, "
                    "or copy it under the new name and remove this one."
                )
            if new != name and (place.definition is not None or place.state is not None):
                raise EntryExists(new)
            if old.state is None:
                old = old.with_state(known_state(old, now))
            return renamed(old, new, stored.state or ANY, stored.score)

        return Transfer(name, new, make, leaves=True)

    def removing(self, name: str, revision: int | None) -> Change:
        """Remove an entry, also one that cannot be read."""

        def make(stored: Stored, now: int) -> Edit:
            if stored.definition is None and stored.state is None:
                raise NoSuchEntry(name)
            state = parse_state(stored.state)
            _fresh(name, revision, state.revision if state else None)
            return removed(name, stored.state if stored.state is not None else ANY)

        return Change(name, make, lambda edit: None)

    def pausing(self, name: str, note: str | None, by: str | None, revision: int | None) -> Change:
        """Pause an entry."""
        who = by or somebody()
        return _changing(name, revision, lambda old, now, current: paused(old, note, who, current, now))

    def resuming(self, name: str, catch_up: bool, revision: int | None) -> Change:
        """Resume an entry."""

        def change(old: Entry, now: int, current: str) -> Edit:
            edit = resumed(old, now, current, catch_up=catch_up)
            if old.enabled and old.state is not None and old.state.nominal is not None:
                _never(old, edit)
            return edit

        return _changing(name, revision, change)

    def triggering(self, name: str) -> Change:
        """Send an entry once, now."""
        from ..messages.renderer import task_id

        request = secrets.token_hex(12)
        ids: list[str] = []

        def make(stored: Stored, now: int) -> Edit:
            entry = present(stored)
            ids[:] = [task_id(self.settings.prefix, entry.uid, now, request)]
            item = ManualItem(name, entry.uid, "trigger", now, now, request)
            return Edit(name, PRESENT, manual=[(item.text(), score(now))])

        return Change(name, make, lambda edit: ids[0])

    def making(
        self, name: str, task: Any, when: Any, args: Any, kwargs: Any, options: Any, policies: dict[str, Any],
        relative: bool = False,
    ) -> Entry:  # fmt: skip
        """The entry of what users write."""
        if self.app is None and policies.get("timezone") is None:
            policies = {**policies, "timezone": self.timezone}
        return make_entry(self.app, name, task, when, args, kwargs, options, relative=relative, **policies)

    def as_celery_spells_it(
        self, when: Any, sig: Any, args: Any, kwargs: Any, name: str | None, opts: dict[str, Any]
    ) -> Change:
        """``add_periodic_task``: what is a policy of ours is taken as one, the rest are options."""
        policies = {key: opts.pop(key) for key in list(opts) if key in POLICIES and key != "expires"}
        entry = self.making(name or repr(sig), sig, when, args, kwargs, opts, policies)
        return self.adding(entry, replace_existing=True, run_now=False)

    def _changed(self, old: Entry, changes: dict[str, Any]) -> Entry:
        given = dict(changes)
        known = {"task", "when", "args", "kwargs", "options", "relative", *POLICIES}
        unknown = sorted(set(given) - known)
        if unknown:
            raise InvalidSchedule(
                f"entry {old.name!r}: {', '.join(unknown)} cannot be changed. You can change "
                f"{', '.join(sorted(known))}."
            )
        lost = [part for part in ("task", "args", "kwargs", "options", "expires") if part in given]
        if old.reference and lost:
            raise InvalidSchedule(
                f"entry {old.name!r}: {', '.join(lost)} cannot be changed here, because its arguments are not JSON and "
                "stand in beat_schedule alone. Change them there."
            )
        if "relative" in given and "when" not in given:
            if not isinstance(old.schedule, Interval):
                raise InvalidSchedule(f"entry {old.name!r}: relative is for intervals; its schedule is {old.schedule}.")
            given["when"] = Interval(old.schedule.every)
        parts: dict[str, Any] = {
            "task": old.canvas if old.canvas is not None else old.task, "when": old.schedule, "args": old.args,
            "kwargs": old.kwargs, "options": old.options,
        }  # fmt: skip
        if old.canvas is not None and "task" not in given:
            # Its arguments are inside the signature.
            parts.update(args=(), kwargs=None, options=None)
        if "task" in given and isinstance(given["task"], Mapping):
            parts.update(args=(), kwargs=None, options=None)
        policies = {name: getattr(old, name) for name in POLICIES if name not in ("expires", "starts", "ends")}
        bounds = {name: moment(at) for name in ("starts", "ends") if (at := getattr(old, name)) is not None}
        merged = {**parts, **policies, **bounds, **given}
        merged = {k: v for k, v in merged.items() if not (k in ("starts", "ends") and v is None)}
        if given.get("expires", ...) is None:
            merged.pop("expires")
            merged["options"] = {k: v for k, v in dict(merged["options"] or {}).items() if k != "expires"}
        new = make_entry(
            self.app, old.name, merged.pop("task"), merged.pop("when"), merged.pop("args"), merged.pop("kwargs"),
            merged.pop("options"), carry=not old.reference, **merged,
        )  # fmt: skip
        return replace(new, origin=old.origin, reference=old.reference, paused_by=old.paused_by)


def present(stored: Stored) -> Entry:
    if stored.definition is None:
        raise NoSuchEntry(stored.name)
    return decode(stored.name, stored.definition, parse_state(stored.state))


def _changing(name: str, revision: int | None, change: Callable[[Entry, int, str], Edit]) -> Change:
    def make(stored: Stored, now: int) -> Edit:
        old = present(stored)
        _fresh(name, revision, old.revision)
        if old.state is None:
            old = old.with_state(known_state(old, now))
        return change(old, now, stored.state or ANY)

    return Change(name, make, lambda edit: after(name, edit))


def _fresh(name: str, expected: int | None, found: int | None) -> None:
    if expected is not None and expected != found:
        raise StaleRevision(name, expected, found)


def _never(entry: Entry, edit: Edit) -> None:
    if State.parse(edit.state).nominal is None and entry.enabled:
        raise InvalidSchedule(
            f"entry {entry.name!r} would never be sent: its schedule ({entry.schedule}) has no slot after now"
            + (" within its bounds." if entry.starts is not None or entry.ends is not None else ".")
        )


def after(name: str, edit: Edit) -> Entry:
    return decode(name, edit.definition, State.parse(edit.state))


def uncomputable(name: str, exc: Exception) -> Uncomputable:
    """The error for an entry whose schedule raises, or whose class is not registered in this process."""
    return Uncomputable(
        f"the slots of entry {name!r} cannot be computed here: "
        + (str(exc) if isinstance(exc, RedlockBeatError) else f"its schedule raised {exc!r}.")
    )


def somebody() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
