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

import functools
import json
import logging
import secrets
from collections.abc import Collection, Generator, Iterator, Mapping
from dataclasses import replace

from ..clock import MICROS, score
from ..entries.codec import compact, decode
from ..entries.entry import Entry
from ..entries.policies import act_at, next_slot
from ..entries.state import State, parse_state
from ..errors import InvalidSchedule, mask, traceback_of
from ..schedule.configuration import Configuration, Configured
from ..schedule.edits import created, readable, updated
from ..settings import Settings
from ..store.requests import PAGE
from ..store.store import Store
from ..store.values import ABSENT, ANY, DROP, Edit, Stored
from .lease import Lease, Term
from .usercode import UserCode, UserError

logger = logging.getLogger("redlock_beat")

#: An entry that left the configuration and came back within this time is a roll-out that flapped:
#: what came due meanwhile falls under its policy. Later, it counts from now.
FLAP = 3600 * MICROS

#: Rounds of one sync after the first: the next finds nothing to be written, unless Redis loses something meanwhile.
ROUNDS = 20

#: Names in the record of what is left out, and characters of each reason.
NAMED, REASON = 100, 300


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
        """What :func:`~redlock_beat.entries.policies.plan` takes from the settings."""
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
            if any(found):
                continue
            self._publish(term)  # before the mark: who finds that, and nothing said to be left out, looks no further
            if self.store.config_mark(term.fence, self.mark, self._ours):
                break
        else:
            raise RuntimeError(f"{ROUNDS} rounds have not brought Redis up to the configuration")
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
