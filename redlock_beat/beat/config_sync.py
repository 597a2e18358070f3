"""The sync: the leader brings Redis up to the configuration.

For each name it compares three things: what the configuration said before (``configured``), what it says now, and what
Redis has. One digest over the whole configuration skips an unchanged one; otherwise the leader writes only what
changed, in pages, and sends what is due between two of them.

==========  ==========  ===============  ============================================================
before      now         in Redis         what happens
==========  ==========  ===============  ============================================================
--          there       --               created; revived, when the archive has it
--          there       configured       the configuration wins (an older Redis came back without the mark)
--          there       made at runtime  left alone, and reported as left out
there       the same    anything         nothing: an edit, a pause, a removal at runtime stays
there       changed     configured       the configuration wins; uid, count and phase stay
there       changed     made at runtime  left alone, and reported as left out
there       changed     --               created
there       --          configured, --   archived with its state, and whether it was removed at runtime
there       --          made at runtime  left alone; what the configuration said before is forgotten
==========  ==========  ===============  ============================================================

What is left out gets no mark in ``configured``, so it counts as new or changed until it is in force. The leader tries
it again every so often, and so does the next one: it comes into force when the entry in its place is removed, or when
its next slot can be computed.
"""

from __future__ import annotations

import functools
import json
import logging
import secrets
from collections.abc import Collection, Generator, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ..clock import MICROS, score
from ..entries.codec import compact, decode
from ..entries.document import differences
from ..entries.entry import Entry
from ..entries.policies import act_at, next_slot
from ..entries.state import State, parse_state
from ..errors import InvalidSchedule, mask, traceback_of
from ..log import log
from ..recurrence import Calendars
from ..schedule.configuration import Configuration, ConfiguredEntry
from ..schedule.edit_log import Signature
from ..schedule.edits import created, readable, updated
from ..settings import Settings
from ..store.requests import PAGE
from ..store.store import Store
from ..store.values import ABSENT, ANY, DROP, Edit, Stored
from .lease import Lease, Term
from .usercode import UserCode, UserError

#: When an entry leaves the configuration and comes back within this time, a roll-out has flapped: its policy
#: `missed` decides about what came due meanwhile. After a longer time the entry counts from now.
FLAP = 3600 * MICROS

#: Rounds of one sync after the first, at most. Unless Redis loses something meanwhile, the next finds nothing to write.
ROUNDS = 20

#: Names in the record of what is left out, and characters of each reason.
NAMED, REASON = 100, 300


class ConfigSync:
    """Brings Redis up to the configuration, page by page."""

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
        # Whether each edit of this round has a row of its own in the edit log.
        self._one_by_one = True
        #: The mark of the configuration that this sync left in Redis; when Redis has another, it has lost something.
        self.mark = ""

    @property
    def _catching_up(self) -> tuple[int, float | None]:
        """What :func:`~redlock_beat.entries.policies.plan` needs of the settings."""
        return self.settings.catchup_limit, self.settings.cron_grace

    def _readable(self, stored: Stored, now: int) -> Entry | None:
        return readable(stored, now, self.configuration.calendars)

    @property
    def _ours(self) -> str:
        return f"{self._version}:{self.configuration.digest}"

    @property
    def _version(self) -> str:
        version = self.settings.config_version
        return "" if version is None else str(version)

    @property
    def unfinished(self) -> bool:
        """Whether to go on after a while: something failed, or is left out for a reason that may pass."""
        return not self._done or bool(self._waiting())

    def lost(self, mark: str) -> bool:
        """Whether Redis has another mark than this sync left there."""
        return self._done and mark != self.mark

    def _waiting(self) -> list[str]:
        return [name for name in self.left_out if name in self.configuration.entries]

    def again(self, term: Term) -> Iterator[None]:
        """Try again what is left out, and yield after each page."""
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

        It repeats until a round finds nothing to write: what Redis has lost meanwhile, it writes in the next round.
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
            if any(found):
                continue
            self._publish(term)  # before the mark: a beat that finds the mark, and nothing left out, skips the sync
            if self.store.config_mark(term.fence, self.mark, self._ours):
                break
        else:
            raise RuntimeError(f"{ROUNDS} rounds have not brought Redis up to the configuration")
        self.mark, self._done = self._ours, True
        if written or gone:
            words = "The configuration is synced: %(entries)d entries are new or changed, %(count)d are gone."
            log.info("config.synced", words, entries=written, count=len(gone))

    def _round(self, term: Term, leave: Collection[str]) -> Generator[None, None, tuple[list[str], list[str]]]:
        """Write what differs; the names that are new or changed, and those that are gone."""
        # Each round has a mark of its own: when Redis has another at the end, it has lost what was written.
        self.mark = f"{self._version}:~{secrets.token_hex(8)}"
        self.store.edit([], fence=term.fence, config=self.mark)
        before = self.store.configured()
        there = self.configuration.entries
        fresh = [name for name, one in there.items() if before.get(name) != one.digest and name not in leave]
        gone = [name for name in before if name not in there and name not in self.configuration.errors]
        self._one_by_one = len(fresh) + len(gone) <= PAGE
        for page in _pages(fresh):
            yield from self._write(term, page, before)
        for page in _pages(gone):
            yield from self._archive(term, page, before)
        return fresh, gone

    def _publish(self, term: Term) -> None:
        """Record in Redis what is left out."""
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
            words = "beat_schedule[%(entry)r] is left out: %(why)s. Beat tries it again."
            log.at(level, "config.left_out", words, entry=name, why=mask(why))

    def _older(self, known: str) -> bool:
        theirs, ours = known.split(":", 1)[0], self.settings.config_version
        if not theirs or (ours is not None and ours >= int(theirs)):
            return False
        log.warning(
            "config.older",
            "The schedule has configuration version %(schedule_version)s, and redlock_beat_config_version of this "
            "beat is %(version)s. This beat sends what is due and leaves the configured entries as they are.",
            schedule_version=theirs,
            version="not set" if ours is None else ours,
        )
        return True

    def _write(self, term: Term, names: list[str], before: Mapping[str, str]) -> Iterator[None]:
        while names:  # read and compare again what changed meanwhile
            now, stored = self.store.read(names)
            fresh = [one.name for one in stored if one.definition is None and one.name not in before]
            archive = self.store.archived(fresh)
            edits = []
            for one in stored:
                edit = self._edit(term, one, before, archive.get(one.name), now)
                if edit is not None:
                    edits.append(edit)
                    if self._one_by_one:
                        edit.rows = [self._configured_row(edit)]
            self._log_page(edits, "configured")
            names = self._apply(term, edits)
            yield

    def _configured_row(self, edit: Edit) -> list[Any]:
        changes = () if edit.entries is None else differences(*edit.entries)
        return self._signature.row("configured", edit.name, changes=changes)

    def _log_page(self, edits: list[Edit], what: str) -> None:
        """One row for a page of many: a large configuration would push all else out of the edit log."""
        if edits and not self._one_by_one:
            edits[0].rows = [self._signature.row(what, "", count=len(edits))]

    @property
    def _signature(self) -> Signature:
        version = self.settings.config_version
        return Signature(f"beat_schedule at {self.lease.owner}", None if version is None else f"version {version}")

    def _apply(self, term: Term, edits: list[Edit]) -> list[str]:
        """Apply a page; the names of those that changed meanwhile."""
        self.lease.renew_if_needed(term)
        if not edits:
            return []
        conflicts = self.store.edit(edits, fence=term.fence, each=True, log_size=self.settings.edit_log_size)
        assert isinstance(conflicts, list)
        return [edits[i].name for i in conflicts]

    def _edit(
        self, term: Term, stored: Stored, before: Mapping[str, str], archived: str | None, now: int
    ) -> Edit | None:
        """The edit of one entry; None when it is left out."""
        name, marked, there = stored.name, stored.name in before, self._readable(stored, now)
        if _made_at_runtime(stored, there, marked):
            why = "an entry made at runtime has its name, and beat never touches those. Rename or remove one of the two"
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
                log.debug("config.traceback", "Computing %(entry)r raised:\n%(why)s", entry=name, why=traceback_of(exc))
            return None
        self.left_out.pop(name, None)
        edit.configured = self.configuration.entries[name].digest
        return edit

    def _configured(self, stored: Stored, there: Entry | None, archived: str | None, now: int) -> Edit:
        """The edit that brings the configured entry into force."""
        one = self.configuration.entries[stored.name]
        new = replace(one.entry if there is None else one.settled(there), anchor=now)
        if stored.definition is None:
            calendars = self.configuration.calendars
            edit = _revived(one, archived, now, calendars, *self._catching_up) if archived else None
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
                elif not _made_at_runtime(one, readable(one, now), marked=True):
                    edit.expected = one.state or ANY
                    edit.definition = edit.state = edit.score = DROP
                    edit.archive = compact(
                        {"definition": one.definition, "state": one.state, "digest": before[one.name], "at": now}
                    )
                    if self._one_by_one:
                        edit.rows = [self._signature.row("removed", one.name)]
                edits.append(edit)
            self._log_page(edits, "removed")
            names = self._apply(term, edits)
            yield


def _made_at_runtime(stored: Stored, there: Entry | None, marked: bool) -> bool:
    """Whether an entry is a user's; one that cannot be read is, unless the configuration once had its name."""
    if there is not None:
        return there.origin != "config"
    if stored.definition is None:
        return False
    try:
        data = json.loads(stored.definition)
        return bool(data.get("from", "api") != "config")
    except (ValueError, AttributeError):
        return not marked


def _revived(
    one: ConfiguredEntry, archived: str, now: int, calendars: Calendars, catchup_limit: int, cron_grace: float | None
) -> Edit | None:
    """The edit that revives an entry: back in the configuration, it has its state and its edits again."""
    new = replace(one.entry, anchor=now)
    try:
        kept = json.loads(archived)
        same = kept["digest"] == one.digest
        if kept.get("removed"):
            # Removed at runtime, and still the same in the configuration: it stays removed.
            return Edit(new.name, ABSENT) if same else None
        state = State.parse(kept["state"])
        old = decode(new.name, kept["definition"], state).with_calendars(calendars)
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
