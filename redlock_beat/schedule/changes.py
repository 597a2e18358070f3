"""The edits that users ask for, as values: what each makes of an entry as it stands, and what it answers.

Nothing here asks Redis: :class:`~redlock_beat.schedule.operations.Operations` applies them.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

from ..clock import MICROS, instant_of, moment, score
from ..entries.codec import decode, plain
from ..entries.document import differences
from ..entries.entry import POLICIES, Entry
from ..entries.occurrence import Ids
from ..entries.state import State, parse_state
from ..entries.waiting import ManualItem
from ..errors import EntryExists, InvalidSchedule, NoSuchEntry, RedlockBeatError, StaleRevision, Uncomputable
from ..store.values import ABSENT, ANY, DROP, KEEP, PRESENT, Edit, Stored
from .describing import Describer
from .edit_log import Signature, as_reason
from .edits import created, known_state, paused, readable, removed, renamed, resumed, skipped, updated
from .given import is_text, named, whole

#: The longest pause that ends by itself.
LONGEST_PAUSE = 3_660 * 86_400 * MICROS
#: The parts of an entry that the edit log tells of some edits.
_TELLING = {"paused": ("paused_until",), "skipped": ("skip",), "triggered": ("args", "kwargs", "options")}
#: The most slots to skip.
MOST_SKIPPED = 1_000


@dataclass(frozen=True, slots=True)
class Change:
    """An edit that a user asks for: what it makes of the entry as it stands, and what it answers."""

    name: str
    make: Callable[[Stored, int], Edit]
    answer: Callable[[Edit], Any]
    #: What the edit log calls it.
    what: str = "changed"
    #: Who asks for it, and why; None for whoever uses the schedule.
    signature: Signature | None = None
    #: How many slots it is about; None where that is not the question.
    count: int | None = None
    #: The id of the task that it sends, once it is made; None where it sends none.
    task_id: Callable[[], str] | None = None
    #: Whether it has a row of its own in the edit log.
    logged: bool = True

    def __post_init__(self) -> None:
        named(self.name)

    @property
    def names(self) -> tuple[str, ...]:
        """The entries it reads."""
        return (self.name,)

    def edits(self, there: Mapping[str, Stored], now: int) -> list[Edit]:
        """The edits that it consists of; the last one is the answer."""
        return [self.make(there[self.name], now)]

    def log_row(self, signature: Signature, before: Stored, made: Edit) -> list[Any]:
        """The row of the edit log; none for an edit that leaves all as it is."""
        if not self.logged or (made.definition, made.state, made.manual) == (KEEP, KEEP, []):
            return []
        if self.what in _TELLING:
            changes = () if made.entries is None else differences(*made.entries, _TELLING[self.what])
            task_id = None if self.task_id is None else self.task_id()
            facts: dict[str, Any] = {"revision": _revision(made), "count": self.count, "task_id": task_id}
            return signature.row(self.what, self.name, changes=changes, **facts)
        if made.definition in (KEEP, DROP) or self.what not in ("added", "changed", "imported"):
            return signature.row(self.what, self.name, revision=_revision(made))
        if before.definition is None:
            return signature.row("added" if self.what == "changed" else self.what, self.name, revision=_revision(made))
        what = "changed" if self.what == "added" else self.what
        changes = () if made.entries is None else differences(*made.entries)
        return signature.row(what, self.name, revision=_revision(made), changes=changes)


@dataclass(frozen=True, slots=True)
class Transfer:
    """An edit that reads one entry and makes another: a copy, or a new name."""

    name: str
    new: str
    make: Callable[[Stored, Stored, int], list[Edit]]
    #: Whether the entry leaves its old name: then no manual item may wait under that name.
    leaves: bool
    signature: Signature | None = None

    def __post_init__(self) -> None:
        named(self.name)
        if not is_text(self.new):
            raise InvalidSchedule(f"the new name is {self.new!r}, but must be a text.")

    @property
    def names(self) -> tuple[str, ...]:
        """The entries it reads."""
        return (self.name, self.new)

    def edits(self, there: Mapping[str, Stored], now: int) -> list[Edit]:
        """The edits that it consists of; the last one is the answer."""
        return self.make(there[self.name], there[self.new], now)

    def log_row(self, signature: Signature, before: Stored, made: Edit) -> list[Any]:
        """The row of the edit log."""
        what = "renamed" if self.leaves else "copied"
        return signature.row(what, self.new, revision=_revision(made), source=self.name)

    def answer(self, edit: Edit) -> Any:
        """The answer: the entry that was made."""
        return after(self.new, edit)


AnyChange = TypeVar("AnyChange", bound=Change | Transfer)


class ChangeMaker(Describer):
    """Makes the edits of one schedule."""

    def signed(self, change: AnyChange, actor: str | None, why: str | None) -> AnyChange:
        """The same change, made by *actor* for a reason; what is None stays as it is."""
        before = change.signature or self._own
        if actor is None and why is None and change.signature is None:
            return change
        who, reason = before.actor if actor is None else actor, before.why if why is None else why
        return replace(change, signature=Signature(who, reason))

    def adding(self, entry: Entry, *, replace_existing: bool, run_now: bool) -> Change:
        """Add an entry, or replace the one of its name."""

        def make(stored: Stored, now: int) -> Edit:
            if stored.definition is None and stored.state is None:
                edit = created(entry, now, run_now=run_now, expected=ABSENT)
            elif not replace_existing:
                raise EntryExists(entry.name)
            else:
                known = readable(stored, now, self.calendars)
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

        return Change(entry.name, make, lambda edit: after(entry.name, edit), "added")

    def updating(self, name: str, revision: int | None, changes: dict[str, Any]) -> Change:
        """Change parts of an entry."""

        def change(old: Entry, now: int, current: str) -> Edit:
            edit = updated(old, self.changed(old, changes), now, current, *self._catching_up)
            if not old.paused and old.state is not None and old.state.nominal is not None:
                _never(after(name, edit), edit)
            return edit

        return self._changing(name, revision, change)

    def copying(self, name: str, new: str, changes: Mapping[str, Any]) -> Transfer:
        """Add a copy of an entry."""

        def make(stored: Stored, place: Stored, now: int) -> list[Edit]:
            old = self.entry_of(stored, now)
            if old.reference:
                raise InvalidSchedule(
                    f"entry {name!r} cannot be copied: its arguments are not JSON, so only beat_schedule holds them. "
                    "Copy it there."
                )
            if place.definition is not None or place.state is not None:
                raise EntryExists(new)
            fresh = replace(self.changed(old, dict(changes)), name=new, origin="api", anchor=0, revision=1, skip=None)
            edit = created(fresh, now, expected=ABSENT)
            _never(fresh, edit)
            return [edit]

        return Transfer(name, new, make, leaves=False)

    def renaming(self, name: str, new: str, revision: int | None) -> Transfer:
        """Give an entry another name; its definition and its state stay."""

        def make(stored: Stored, place: Stored, now: int) -> list[Edit]:
            old = self.entry_of(stored, now)
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
        """Remove an entry, even one that cannot be read."""

        def make(stored: Stored, now: int) -> Edit:
            if stored.definition is None and stored.state is None:
                raise NoSuchEntry(name)
            state = parse_state(stored.state)
            _fresh(name, revision, state.revision if state else None)
            return removed(name, stored.state if stored.state is not None else ANY)

        return Change(name, make, lambda edit: None, "removed")

    def pausing(
        self, name: str, note: str | None, actor: str | None, revision: int | None, until: datetime | None = None
    ) -> Change:
        """Pause an entry, perhaps until an instant."""
        who = self.actor if actor is None else actor
        end = None if until is None else instant_of(until, "until")

        def change(old: Entry, now: int, current: str) -> Edit:
            if end is not None:
                _ends(end, now)
            return paused(old, note, who, current, now, end)

        return replace(self._changing(name, revision, change, "paused"), signature=Signature(who, as_reason(note)))

    def resuming(self, name: str, catch_up: bool, revision: int | None) -> Change:
        """Resume an entry."""

        def change(old: Entry, now: int, current: str) -> Edit:
            edit = resumed(old, now, current, catch_up=catch_up)
            if not old.paused and old.state is not None and old.state.nominal is not None:
                _never(old, edit)
            return edit

        return self._changing(name, revision, change, "resumed")

    def skipping(self, name: str, n: int, actor: str | None, why: str | None, revision: int | None) -> Change:
        """Skip the next slots of an entry; with 0, none."""
        whole(n, "n, how many slots to skip,", 0, MOST_SKIPPED)
        signature = self.signature(actor, why)

        def change(old: Entry, now: int, current: str) -> Edit:
            return skipped(old, n, signature.actor, signature.why, current, now, *self._catching_up)

        return replace(self._changing(name, revision, change, "skipped"), signature=signature, count=n)

    def triggering(self, name: str, args: Any = None, kwargs: Any = None, options: Any = None) -> Change:
        """Send an entry once, now; perhaps with other arguments or options."""
        parts = (("args", args), ("kwargs", kwargs), ("options", options))
        given = {part: value for part, value in parts if value is not None}
        request = secrets.token_hex(12)
        ids: list[str] = []

        def make(stored: Stored, now: int) -> Edit:
            entry = self.entry_of(stored, now)
            ids[:] = [Ids(self.settings.prefix).of(entry.uid, now, request)]
            item = ManualItem(name, entry.uid, "trigger", now, now, request)
            edit = Edit(name, PRESENT)
            if given:
                once = self._for_once(entry, given)
                item.call = {part: plain(getattr(once, part)) for part in given}
                edit.entries = (entry, once)
            edit.manual = [(item.text(), score(now))]
            return edit

        return Change(name, make, lambda edit: ids[0], "triggered", task_id=lambda: ids[0])

    def _changing(
        self, name: str, revision: int | None, change: Callable[[Entry, int, str], Edit], what: str = "changed"
    ) -> Change:
        def make(stored: Stored, now: int) -> Edit:
            old = self.entry_of(stored, now)
            _fresh(name, revision, old.revision)
            if old.state is None:
                old = old.with_state(known_state(old, now))
            return change(old, now, stored.state or ANY)

        return Change(name, make, lambda edit: after(name, edit), what)

    def as_celery_spells_it(
        self, when: Any, sig: Any, args: Any, kwargs: Any, name: str | None, opts: dict[str, Any]
    ) -> Change:
        """``add_periodic_task``: keywords that are policies are policies, the others are options."""
        policies = {key: opts.pop(key) for key in list(opts) if key in POLICIES and key != "expires"}
        entry = self.making(name or repr(sig), sig, when, args, kwargs, opts, policies)
        return self.adding(entry, replace_existing=True, run_now=False)


def _fresh(name: str, expected: int | None, found: int | None) -> None:
    if expected is not None and expected != found:
        raise StaleRevision(name, expected, found)


def _ends(until: int, now: int) -> None:
    """Refuse the end of a pause that has gone by, or that nobody lives to see."""
    if until <= now:
        raise InvalidSchedule(
            f"until is {moment(until)}, which has gone by: it is {moment(now)} now. Nothing was paused; give a time "
            "to come."
        )
    if until - now > LONGEST_PAUSE:
        raise InvalidSchedule(
            f"until is {moment(until)}, more than ten years from now. Leave it out to pause until somebody resumes."
        )


def _never(entry: Entry, edit: Edit) -> None:
    state = State.parse(edit.state) if edit.made is None else edit.made.state
    if (state is None or state.nominal is None) and entry.enabled:
        raise InvalidSchedule(
            f"entry {entry.name!r} would never be sent: its schedule ({entry.schedule}) has no slot after now"
            + (" within its bounds" if entry.starts is not None or entry.ends is not None else "")
            + (" on a day on which it is sent (exclude, only)." if entry.exclude or entry.only else ".")
        )


def _revision(edit: Edit) -> int | None:
    if edit.made is not None:
        return edit.made.revision
    state = parse_state(edit.state)
    return state.revision if state else None


def after(name: str, edit: Edit) -> Entry:
    if edit.made is not None:
        return edit.made
    return decode(name, edit.definition, State.parse(edit.state))


def uncomputable(name: str, exc: Exception) -> Uncomputable:
    """The error for an entry whose schedule raises, or whose class this process has not registered."""
    return Uncomputable(
        f"the slots of entry {name!r} cannot be computed here: "
        + (str(exc) if isinstance(exc, RedlockBeatError) else f"its schedule raised {exc!r}.")
    )
