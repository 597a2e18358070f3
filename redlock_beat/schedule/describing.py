"""Whose schedule it is, and the entries that users describe: new ones, changed ones, and what is otherwise for once."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Mapping
from dataclasses import replace
from functools import cache, cached_property
from typing import Any

from ..clock import moment
from ..entries.build import make_entry
from ..entries.codec import decode, encode
from ..entries.entry import POLICIES, Entry
from ..entries.state import parse_state
from ..errors import InvalidSchedule, NoSuchEntry
from ..recurrence import Interval
from ..settings import Settings
from ..store.keys import Keys
from ..store.values import Stored
from .calendars import read_calendars
from .edit_log import Signature


class Describer:
    """Makes entries of what users write, for one schedule."""

    def __init__(
        self, app: Any, settings: Settings, keys: Keys, timezone: str = "UTC", actor: str | None = None
    ) -> None:
        self.app = app
        self.settings = settings
        self.keys = keys
        #: The zone of entries that name none, where there is no app.
        self.timezone = timezone
        self._actor = actor
        #: The calendars that entries may name.
        self.calendars = read_calendars(settings.calendars)

    @property
    def actor(self) -> str:
        """Who makes the edits that nobody else signs."""
        return self._actor or current_user()

    def signature(self, actor: str | None, why: str | None) -> Signature:
        """Who makes an edit, and why."""
        return self._own if (actor, why) == (None, None) else Signature(self.actor if actor is None else actor, why)

    @cached_property
    def _own(self) -> Signature:
        return Signature(self.actor)

    @property
    def _catching_up(self) -> tuple[int, float | None]:
        """What :func:`~redlock_beat.entries.policies.plan` needs of the settings."""
        return self.settings.catchup_limit, self.settings.cron_grace

    def _for_once(self, entry: Entry, given: dict[str, Any]) -> Entry:
        """The entry with what is otherwise for once, checked as in an edit."""
        if entry.canvas is not None and ("args" in given or "kwargs" in given):
            raise InvalidSchedule(
                f"entry {entry.name!r}: it sends a {entry.canvas.get('subtask_type')}, whose arguments are inside its "
                "signatures, so it cannot be triggered with others. Call the signature itself, or add another entry."
            )
        once = self.changed(entry, given)
        encode(once)  # it may be too large
        return once

    def entry_of(self, stored: Stored, now: int) -> Entry:
        """The entry that stands there, as it is now; NoSuchEntry when there is none."""
        if stored.definition is None:
            raise NoSuchEntry(stored.name)
        entry = decode(stored.name, stored.definition, parse_state(stored.state))
        return entry.with_calendars(self.calendars).as_of(now)

    def making(
        self,
        name: str,
        task: Any,
        when: Any,
        args: Any,
        kwargs: Any,
        options: Any,
        policies: dict[str, Any],
        relative: bool = False,
    ) -> Entry:
        """The entry that a user describes."""
        if self.app is None and policies.get("timezone") is None:
            policies = {**policies, "timezone": self.timezone}
        return make_entry(
            self.app, name, task, when, args, kwargs, options, relative=relative, calendars=self.calendars, **policies
        )

    def changed(self, old: Entry, changes: Mapping[str, Any]) -> Entry:
        """What an entry would be after an update with these changes; nothing is edited."""
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
                f"entry {old.name!r}: {', '.join(lost)} cannot be changed here, because its arguments are not JSON, so "
                "only beat_schedule holds them. Change them there."
            )
        if "relative" in given and "when" not in given:
            if not isinstance(old.schedule, Interval):
                raise InvalidSchedule(f"entry {old.name!r}: relative is for intervals; its schedule is {old.schedule}.")
            given["when"] = Interval(old.schedule.every)
        task = old.task if old.canvas is None else old.canvas
        parts: dict[str, Any] = {"task": task, "when": old.schedule}
        if isinstance(given.get("task", task), Mapping):  # the arguments are inside the signature
            parts.update(args=(), kwargs=None, options=None)
        else:
            parts.update(args=old.args, kwargs=old.kwargs, options=old.options)
        policies = {name: getattr(old, name) for name in POLICIES if name not in ("expires", "starts", "ends")}
        bounds = {name: moment(at) for name in ("starts", "ends") if (at := getattr(old, name)) is not None}
        merged = {**parts, **policies, **bounds, **given}
        merged = {k: v for k, v in merged.items() if not (k in ("starts", "ends") and v is None)}
        if given.get("expires", ...) is None:
            merged.pop("expires")
            merged["options"] = {k: v for k, v in dict(merged["options"] or {}).items() if k != "expires"}
        what = [merged.pop(part) for part in ("task", "when", "args", "kwargs", "options")]
        new = make_entry(self.app, old.name, *what, carry=not old.reference, calendars=self.calendars, **merged)
        new = replace(new, origin=old.origin, reference=old.reference, paused_by=old.paused_by, skip=old.skip)
        if "enabled" in given:  # that ends a pause, or makes one without an end
            return new
        return replace(new, until=old.until, paused_slot=old.paused_slot)


@cache
def current_user() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
