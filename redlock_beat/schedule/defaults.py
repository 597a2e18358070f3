"""Defaults: entries that come with an application. They are loaded once, and then belong to whoever edits them.

Loading again compares three things: what the default said when it was last loaded (``loaded``), what it says now, and
what Redis has.

==========  ==========  ===========  ============================================================
loaded      now         in Redis     what happens
==========  ==========  ===========  ============================================================
--          there       --           added
--          there       the same     noted: it is the default's from now on
--          there       another      kept: somebody has made an entry of its name
there       the same    anything     kept: an edit, a pause, a removal stays
there       changed     as loaded    changed; a pause stays
there       changed     edited, --   kept
==========  ==========  ===========  ============================================================

With *renew* the default wins everywhere, except over a configured entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..entries.build import make_entry
from ..entries.document import differences
from ..entries.entry import Entry
from ..errors import InvalidSchedule
from ..store import requests
from ..store.requests import PAGE
from ..store.values import ABSENT, ANY, Edit, Stored
from .changes import Change
from .configuration import ConfiguredEntry, digest_of, is_floating, says_something_else
from .edits import created, readable, updated
from .schedule import Schedule
from .transfer import Difference


@dataclass(frozen=True, slots=True)
class Default:
    """An entry that comes with an application, and where it stands."""

    entry: Entry
    source: str
    digest: str
    #: Whether its start is the moment at which this process read it.
    floating: bool = False

    @classmethod
    def of(cls, entry: Entry, source: str) -> Default:
        """The default that says what an entry says."""
        floating = is_floating(entry)
        return cls(entry, source, digest_of(entry, floating), floating)

    def settled(self, there: Entry | None) -> Entry:
        """The entry; with the start that Redis has, where its own means nothing."""
        if there is None:
            return self.entry
        return ConfiguredEntry(self.entry, self.digest, self.floating).settled(there)


def default_of(schedule: Schedule, name: str, given: Any, source: str) -> Default:
    """A default as ``beat_schedule`` would have it: ``{"task": ..., "schedule": ..., "args": ..., policies}``."""
    if not isinstance(given, Mapping):
        raise InvalidSchedule(f"entry {name!r} is {str(given)[:100]!r}, but must be a dictionary.")
    data = dict(given)
    if "task" not in data or "schedule" not in data:
        raise InvalidSchedule(f"entry {name!r} needs at least 'task' and 'schedule'.")
    parts = [data.pop("task"), data.pop("schedule"), data.pop("args", None) or ()]
    parts += [data.pop("kwargs", None), data.pop("options", None)]
    calendars = schedule.operations.calendars
    return Default.of(make_entry(schedule.app, name, *parts, calendars=calendars, **data), source)


def load_defaults(
    schedule: Schedule, defaults: Iterable[Default], *, renew: bool = False, dry_run: bool = False
) -> Iterator[Difference]:
    """Load defaults, page by page; what becomes of each: ``added``, ``changed``, ``unchanged`` or ``kept``."""
    page: list[Default] = []
    for one in defaults:
        page.append(one)
        if len(page) >= PAGE:
            yield from _load_page(schedule, page, renew, dry_run)
            page = []
    if page:
        yield from _load_page(schedule, page, renew, dry_run)


def _load_page(schedule: Schedule, page: list[Default], renew: bool, dry_run: bool) -> list[Difference]:
    names = [one.entry.name for one in page]
    digests = schedule.ask(requests.some(schedule.keys.loaded, names))
    loaded = dict(zip(names, digests, strict=True))
    if dry_run:
        now, stored = schedule.ask(requests.read(schedule.keys, names))
        return [
            _difference(one, there, now, loaded[there.name], renew) for one, there in zip(page, stored, strict=True)
        ]
    said: dict[str, Difference] = {}
    changes = [_loading(schedule, one, loaded[one.entry.name], renew, said) for one in page]
    schedule.ask(schedule.operations.many(changes))
    # After the edits: when this is lost, the next time finds the entries as they are in the defaults, and notes them.
    noted = {one.entry.name: one.digest for one in page if said[one.entry.name].what != "kept"}
    if noted:
        schedule.ask(requests.note_loaded(schedule.keys, noted))
    return [said[name] for name in names]


def _loading(
    schedule: Schedule, default: Default, loaded: str | None, renew: bool, said: dict[str, Difference]
) -> Change:
    name, operations = default.entry.name, schedule.operations

    def make(stored: Stored, now: int) -> Edit:
        what = said[name] = _difference(default, stored, now, loaded, renew)
        if what.what in ("unchanged", "kept"):
            return Edit(name, ANY)
        there = readable(stored, now, operations.calendars)
        if there is None or there.state is None:
            return created(default.entry, now, expected=stored.state or (ANY if stored.definition else ABSENT))
        catching_up = operations.settings.catchup_limit, operations.settings.cron_grace
        return updated(there, _paused_as(there, default.settled(there)), now, stored.state or ANY, *catching_up)

    change = Change(name, make, lambda edit: None, "changed")
    return operations.signed(change, None, f"default of {default.source}")


def _paused_as(there: Entry, new: Entry) -> Entry:
    """The new entry; paused, when somebody has paused the one that is there, and with the slots that it skips."""
    new = replace(new, skip=there.skip)
    if not there.paused or there.paused_by is None:
        return new
    new = replace(new, enabled=there.enabled, until=there.until, paused_slot=there.paused_slot)
    return replace(new, note=there.note, paused_by=there.paused_by)


def _difference(default: Default, stored: Stored, now: int, loaded: str | None, renew: bool) -> Difference:
    """What loading a default changes of what is stored."""
    name, there = default.entry.name, readable(stored, now)
    if there is None:
        return Difference(name, "added" if loaded is None or renew else "kept")
    if there.origin == "config":
        return Difference(name, "kept")
    changed = differences(there, _paused_as(there, default.settled(there)))
    if not changed:
        return Difference(name, "unchanged")
    untouched = loaded is not None and loaded != default.digest and not says_something_else(there, loaded)
    return Difference(name, "changed", changed) if renew or untouched else Difference(name, "kept", changed)
