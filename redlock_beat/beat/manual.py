"""Manual items: triggers, backfilled slots, and slots that an edit has settled.

When the items of an entry fail, one of them is tried and the others wait with it; an edit brings them forward.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ..clock import MICROS, from_score, monotonic
from ..entries.codec import READ
from ..entries.occurrence import Ids, Occurrence
from ..entries.state import parse_state
from ..entries.waiting import ManualItem
from ..errors import InvalidSchedule, mask
from ..log import log
from ..settings import Settings
from ..store import requests
from ..store.store import Store
from ..store.values import CommitItem, Drop
from .commits import Commits
from .failures import Failure
from .lease import Term
from .lookahead import LookAhead
from .making import Later, Maker
from .quarantine import PAGE, RETRY_LIMIT
from .recorder import Recorder
from .refusing import Refusing
from .usercode import UserError

#: Entries whose items fail that beat remembers; and items that come forward in one turn after an edit.
HELD, FORWARD = 10_000, 250
#: How long beat tries an item that cannot be rendered.
LIMIT = 3600 * MICROS


@dataclass(frozen=True, slots=True)
class _Held:
    """The items of one entry wait together: one was tried, and failed."""

    uid: str
    revision: int
    until: int


@dataclass(slots=True)
class Waiting:
    """A manual item that is due, with its entry as Redis has it."""

    text: str
    due: int
    item: ManualItem
    revision: int
    definition: dict[str, Any]


class Manual:
    """Sends manual items while a term lasts."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        maker: Maker,
        commits: Commits,
        recorder: Recorder,
        ahead: LookAhead,
        refusing: Refusing,
    ) -> None:
        self.store = store
        self.maker = maker
        self.commits = commits
        self.recorder = recorder
        #: Items that were put off: what is ready does not wait for them.
        self.put_off: list[Waiting] = []
        self._ahead = ahead
        self._ids = Ids(settings.prefix)
        self._epoch = 0
        self._refusing = refusing
        self._held: dict[str, _Held] = {}
        # Entries whose items come forward, and until when they were to wait.
        self._forward: dict[str, int] = {}
        self._drops: list[Drop] = []
        self._given_up: dict[str, list[Waiting]] = {}
        self._turn_at = 0

    def begin(self) -> None:
        """A new term."""
        self._held.clear()
        self._forward.clear()

    def turn(self, epoch: int, now: int) -> None:
        """Begin a turn: items of an entry that fail in it wait together."""
        self._epoch, self._turn_at = epoch, now
        self.put_off = []
        self._drops.clear()
        self._given_up.clear()

    # --- what is due ---

    def found(self, waiting: list[tuple[str, str]]) -> Iterator[Waiting]:
        """The items of a page to send, each with its entry; others are dropped, or wait longer."""
        items = []
        # What is not sent stays where it is until the end of the turn, before what comes next.
        self._ahead.left_waiting.update(text for text, _ in waiting)
        for text, due in waiting:
            try:
                items.append((text, from_score(due), ManualItem.parse(text)))
            except ValueError as exc:
                words = "Beat drops a manual item that cannot be read: %(item)s (%(why)s)."
                log.warning("manual.unreadable", words, item=text[:200], why=str(exc)[:200])
                row = ["is", "skipped", "epoch", self._epoch, "why", f"a manual item that cannot be read: {text[:200]}"]
                self._drops.append(Drop(text, row=row))
        entries = self._entries(list(dict.fromkeys(item.entry for _, _, item in items)))
        for text, when, item in items:
            definition, revision, why = entries[item.entry]
            # A dictionary of its own for what is otherwise for once: that of the entry is shared.
            one = Waiting(text, when, item, revision, {**definition, **item.call} if item.call else definition)
            if why:
                self.drop(text, item, why, "unreadable")
            elif definition.get("uid") != item.uid:
                self.drop(text, item, "the entry was removed", "removed")
            elif item.source in ("settled", "buffered") and _paused(definition, self._turn_at):
                # Jitter held it back, or another run did, and then the entry was paused.
                self.drop(text, item, "the entry is paused", "paused")
            elif not self._waits_longer(one):
                yield one

    def _entries(self, names: list[str]) -> dict[str, tuple[dict[str, Any], int, str]]:
        """The definition and revision of each of these (none: it is gone), or why it is unreadable."""
        if not names:
            return {}
        found = self.store.run(requests.definitions(self.store.keys, names))
        entries = {name: _checked(name, data, state) for name, (data, state) in zip(names, found, strict=True)}
        if all(data is None for data, _ in found):  # all of them are gone, or one of them is rubbish
            for one in self.store.read(names)[1]:
                try:
                    entries[one.name] = _checked(one.name, json.loads(one.definition or "null"), one.state or "")
                except (ValueError, RecursionError) as exc:
                    entries[one.name] = {}, 0, f"the definition of {one.name!r} cannot be read: {exc!r}"
        return entries

    def send(self, one: Waiting, now: int) -> None:
        """Commit an item with its message."""
        item, name = one.item, one.item.entry
        id_ = "" if item.nominal is None else self._ids.of(item.uid, item.nominal, item.request)
        occurrence = Occurrence(name, item.uid, one.revision, item.nominal or 0, id_, one.definition, item.source)
        commit = CommitItem(occurrence, one.text, "", "", "", one.due)
        commit.retry = self.again(item) or now + RETRY_LIMIT
        if item.missed is not None:
            commit.missed, commit.rows = item.missed, [self.maker.missed_row(name, item.missed)]
        if id_:
            try:
                self.maker.fill(commit, now, replace(item, missed=None).text() if self.maker.room is not None else "")
            except Later:
                self.put_off.append(one)
                return
            except UserError as exc:
                self.failed(one, exc.cause)
                return
            except InvalidSchedule as exc:
                self.drop(one.text, item, str(exc), "unreadable")
                return
        self._ahead.left_waiting.discard(one.text)
        self.commits.add(commit)
        if self.tested(name):  # one is tried, before the others are
            self.commits.flush()

    def send_put_off(self, until: float) -> None:
        """Commit the items that were put off, at least one and until a time of the local clock."""
        for one in self.put_off:
            if self.commits.forgotten or self.maker.full:
                break
            self.send(one, self.recorder.now())
            if monotonic() > until:
                break

    def _waits_longer(self, one: Waiting) -> bool:
        """Whether an item is not tried now, but put off, or given up with others."""
        name, uid = one.item.entry, one.item.uid
        until = self._refusing.until(name, uid, one.revision)
        held = self._held.get(name)
        if until is None and held is not None and (held.uid, held.revision) == (uid, one.revision):
            until = held.until if held.until > self.recorder.now() else None
        if until is not None:
            self._drops.append(Drop(one.text, until))
            return True
        if name in self._given_up and self.again(one.item) is None:
            self._given_up[name].append(one)
            return True
        return False

    def drop(self, text: str, item: ManualItem, why: str, reason: str) -> None:
        """Drop an item: it is never sent."""
        self.recorder.dropped(item.entry, item.source, why, reason)
        row = ["is", "skipped", "entry", item.entry, "how", item.source, "epoch", self._epoch, "why", mask(why)[:300]]
        self._drops.append(Drop(text, row=row))

    def again(self, item: ManualItem) -> int | None:
        """When to try an item again: it waits for as long as it is old; None when beat gives it up, after an hour."""
        age = self._turn_at - item.at
        return self._turn_at + min(RETRY_LIMIT, max(MICROS, age)) if age < LIMIT else None

    # --- what fails ---

    def tested(self, name: str) -> bool:
        """Whether items of this entry have failed: then one is tried before the others."""
        return name in self._held

    def sent(self, items: list[CommitItem]) -> None:
        """These were committed: what waits of the same entries is tried again."""
        if self._held:
            for item in items:
                if item.retry is not None:
                    self._held.pop(item.occurrence.name, None)

    def hold(self, name: str, uid: str, revision: int, until: int) -> None:
        """Try no item of this entry before *until*."""
        if len(self._held) >= HELD:
            self._held.clear()
        self._held[name] = _Held(uid, revision, until)

    def failed(self, one: Waiting, exc: Exception) -> None:
        """Put off, or give up, an item that could not be rendered."""
        item, again = one.item, self.again(one.item)
        pause = None if again is None else (again - self.recorder.now()) / MICROS
        self.recorder.failed(Failure(item.entry, "render", repr(exc), pause, exc, item.source))
        if again is None:
            self._given_up[item.entry] = [one]
            return
        self.hold(item.entry, item.uid, one.revision, again)
        row = ["is", "failed", "entry", item.entry, "how", item.source, "epoch", self._epoch]
        self._drops.append(Drop(one.text, again, [*row, "why", mask(f"it could not be rendered: {exc!r}")[:300]]))

    def note(self, term: Term) -> None:
        """Write to Redis what is dropped and put off; items of one entry that beat gives up are one ledger row."""
        for group in self._given_up.values():
            self._drops += _gave_up(group, term.epoch)
        self._given_up.clear()
        drops, self._drops = self._drops, []
        self.store.drop_manual(term.fence, drops)

    # --- edits ---

    def bring_forward(self, term: Term) -> None:
        """Bring forward the items of entries that were edited, a page in each turn."""
        if self._held:
            names = list(self._held)[:PAGE]
            for name, state in zip(names, map(parse_state, self.store.states(names)), strict=True):
                held = self._held[name]
                if state is None or (state.uid, state.revision) != (held.uid, held.revision):
                    del self._held[name]
                    self._forward[name] = held.until
        for name, until in list(self._forward.items()):
            texts = [text for text in self.store.manual_at(until, FORWARD) if _is_of(text, name)]
            self.store.drop_manual(term.fence, [Drop(text, self.recorder.now()) for text in texts])
            if not texts:
                del self._forward[name]


def _checked(name: str, data: Any, text: str) -> tuple[dict[str, Any], int, str]:
    """A definition and its revision, checked but for the details; or why it is unreadable."""
    state = parse_state(text)
    if state is None or data is None:
        return {}, 0, ""
    if not isinstance(data, dict) or data.get("v") not in READ or not isinstance(data.get("task"), str):
        return {}, 0, f"the definition of {name!r} cannot be used"
    return data, state.revision, ""


def _paused(definition: dict[str, Any], now: int) -> bool:
    """Whether an entry is paused; one that is paused until an instant is until then."""
    until = definition.get("until")
    return definition.get("enabled") is False or (isinstance(until, int) and until > now)


def _is_of(text: str, name: str) -> bool:
    """Whether an item is of an entry."""
    try:
        return ManualItem.parse(text).entry == name
    except ValueError:
        return False


def _gave_up(group: list[Waiting], epoch: int) -> list[Drop]:
    """Items of one entry that could not be rendered for an hour, in one row of the ledger."""
    first = group[0].item
    slots = [one.item.nominal for one in group if one.item.nominal is not None]
    row = ["is", "failed", "entry", first.entry, "how", first.source, "epoch", epoch]
    row += ["why", "it could not be rendered for an hour, and beat gives it up"]
    if len(group) > 1:
        row += ["from", min(slots), "to", max(slots), "count", len(group)]
    return [Drop(one.text, row=row if i == 0 else []) for i, one in enumerate(group)]
