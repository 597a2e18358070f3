"""Due entries become commit items: planned from the definition where that is enough, else from the whole entry."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import Any

from ..clock import monotonic, score
from ..entries.codec import READ, decode, decoded
from ..entries.entry import Entry
from ..entries.occurrence import Ids, Occurrence
from ..entries.policies import COUNT_SECONDS, Plan, plan
from ..entries.state import State, parse_state
from ..entries.timing import CLOSER, Closer, Timings
from ..errors import InvalidSchedule
from ..recurrence import NO_CALENDARS
from ..settings import Settings
from ..store.store import Store
from ..store.values import CommitItem, DueItem
from .commits import Commits
from .lookahead import LookAhead
from .making import RENDER_SPAN, Later, Maker
from .quarantine import Quarantine
from .usercode import UserError

#: Seconds that one turn may spend on counting missed slots.
COUNTING_SPAN = 0.2


class DueEntries:
    """Sends the slots of entries that are due."""

    def __init__(
        self, settings: Settings, store: Store, maker: Maker, commits: Commits, quarantine: Quarantine, ahead: LookAhead
    ) -> None:
        self.settings = settings
        self.store = store
        self.maker = maker
        self.code = maker.code
        self.commits = commits
        self.quarantine = quarantine
        #: The calendars that entries may name.
        self.calendars = NO_CALENDARS
        #: Entries that were put off: what is ready does not wait for them.
        self.put_off: list[DueItem] = []
        self._aside: set[str] = set()
        self._ahead = ahead
        self._timings = Timings(settings.cron_grace)
        self._ids = Ids(settings.prefix)
        self._counting = COUNTING_SPAN
        self._kept_for, self._kept = (0, 0, 0), ("", "")

    def begin(self, aside: set[str]) -> None:
        """A turn begins: these entries are put off."""
        self._aside = aside
        self.put_off = []
        self._counting = COUNTING_SPAN

    def take_put_off(self) -> list[DueItem]:
        """The entries that were put off; from now on none is."""
        items, self.put_off = self.put_off, []
        self._aside = set()
        return items

    def send(self, item: DueItem, now: int) -> None:
        """Plan the slots of an entry and commit them: from the definition if that is enough, else from the entry."""
        name, data = item.name, item.data
        following: int | Closer | None = CLOSER
        acts: tuple[int, int | None] | None = None
        try:
            uid, rev, slot, _, count, attempts = item.state.split(" ")
            nominal, sent = int(slot), int(count)
            if data["uid"] == uid and data["rev"] == int(rev) and data["v"] in READ:
                if name in self._aside or (attempts != "0" and self.maker.in_a_hurry):
                    self._later(item)
                    return
                following = self._timings.following(name, data, nominal, sent, now)
                if "jitter" in data and following is not CLOSER:
                    acts = self._timings.acts(name, data, nominal, following)
        except (AttributeError, KeyError, TypeError, ValueError, InvalidSchedule):
            following = CLOSER  # rubbish, or a finished entry
        except Exception as exc:  # noqa: BLE001 - a fault of this code: log it, and send what is due all the same
            self.maker.messages.unexpected(name, exc)
            following = CLOSER
        if following is CLOSER:
            self._closely(item, now)
            return
        act, act_after = acts or (nominal, following)
        if following is None or act_after is None:
            after, then = "", "" if _goes(data) else f"{uid} {rev} - {now} {sent + 1} 0"
        else:
            after, moved = self._after(act_after, following, now)
            then = f"{uid} {rev} {moved} {sent + 1} 0"
        occurrence = Occurrence(name, uid, data["rev"], nominal, self._ids.of(uid, nominal), data)
        commit = CommitItem(occurrence, item.score, item.state, after, then, act)
        if attempts != "0":
            commit.alone = True
        self._commit(commit, now)

    def _after(self, act: int, following: int, now: int) -> tuple[str, str]:
        """The score at the next slot and what the state says of it: the same for most that are due together."""
        if self._kept_for != (act, following, now):
            self._kept_for = act, following, now
            self._kept = score(act), f"{following} {now}"
        return self._kept

    def _closely(self, item: DueItem, now: int) -> None:
        """The same with the whole entry: it may be rubbish, have several due slots, or run code of the user."""
        name, state = item.name, parse_state(item.state)
        if state is None:
            self._unreadable(item, "it has no readable state in Redis")
            return
        text = None if item.data is not None else self.store.definitions([name])[0]
        try:
            entry = self._whole(item, state, text)
            if entry is None:
                return
            todo = Plan((), None, None)
            if state.nominal is not None:
                work = partial(self._plan, entry, state.nominal, state.count, now)
                todo = self.maker.run(("plan", entry.schedule.kind), name, work)
        except InvalidSchedule as exc:
            self._unreadable(item, str(exc))
        except Later:
            self._later(item)
        except UserError as exc:
            self._failed(item, state.nominal or 0, exc, "compute")
        else:
            data = item.data if item.data is not None else json.loads(text or "")
            self._slots(item, data, state, todo, now)

    def _whole(self, item: DueItem, state: State, text: str | None) -> Entry | None:
        """The entry; None when it was edited since it was read, for the next turn reads it again."""
        data = item.data
        if data is None and text is None:
            raise InvalidSchedule("it is due, but has no definition")
        if data is None or (isinstance(data, dict) and data.get("kind") == "custom"):
            entry = decode(item.name, text or json.dumps(data))
        else:  # no schedule but a custom one has dates and the like, and arguments are not asked here
            entry = decoded(item.name, data)
        entry = entry.with_calendars(self.calendars)
        if (entry.uid, entry.revision) == (state.uid, state.revision):
            return entry
        # No read falls into the middle of an edit, so the entry was edited since, or it is rubbish.
        if self.store.read([item.name])[1][0].state != item.state:
            return None
        raise InvalidSchedule("its state belongs to another revision")

    def _plan(self, entry: Entry, nominal: int, sent: int, now: int) -> Plan:
        began = monotonic()
        limit, cron_grace = self.settings.catchup_limit, self.settings.cron_grace
        todo = plan(entry, nominal, sent, now, limit, cron_grace, min(COUNT_SECONDS, self._counting))
        if todo.missed is not None:
            self._counting = max(0.0, self._counting - (monotonic() - began))
        return todo

    def _slots(self, item: DueItem, data: dict[str, Any], state: State, todo: Plan, now: int) -> None:
        """Commit the slots of a plan, each on top of the one before; without any, the entry just moves on."""
        acts, missed = todo.acts or {}, todo.missed
        expected, text = item.score, item.state
        alone = bool(state.attempts) or len(todo.sends) > 1
        sends: tuple[int | None, ...] = todo.sends or (None,)
        for nominal, following in zip(sends, (*todo.sends[1:], todo.pending), strict=True):
            state = replace(state, nominal=following, attempts=0)
            if nominal is not None:
                state = replace(state, last=now, count=state.count + 1)
            after = "" if following is None else score(acts.get(following, following))
            then = "" if following is None and _goes(data) else state.text()
            slot, id_ = (0, "") if nominal is None else (nominal, self._ids.of(state.uid, nominal))
            occurrence = Occurrence(item.name, state.uid, state.revision, slot, id_, data)
            commit = CommitItem(occurrence, expected, text, after, then, acts.get(slot, slot))
            commit.alone = alone
            if missed is not None:
                commit.missed, commit.rows, missed = missed, [self.maker.missed_row(item.name, missed)], None
            if not self._commit(commit, now):
                return
            expected, text = after, then

    def _commit(self, commit: CommitItem, now: int) -> bool:
        """Commit a slot with its message; whether the next slot of the entry may follow."""
        occurrence = commit.occurrence
        try:
            if occurrence.id:
                self.maker.fill(commit, now)
        except (Later, UserError, InvalidSchedule) as exc:
            item = DueItem(occurrence.name, commit.expected, commit.state, occurrence.definition)
            self._not_now(item, occurrence.nominal, exc)
            return False
        self.commits.add(commit)
        if not self.maker.in_a_hurry and self.commits.age > RENDER_SPAN:
            self.commits.send()
        if self.code.slow:
            self.code.done(occurrence.name)
        room = self.maker.room
        return room is None or room > 0

    # --- what is not committed now ---

    def _not_now(self, item: DueItem, nominal: int, exc: Exception) -> None:
        """Deal with an entry whose message could not be made, or is not made in the burst."""
        if isinstance(exc, Later):
            self._later(item)
        elif isinstance(exc, UserError):
            self._failed(item, nominal, exc, "render")
        else:
            self._unreadable(item, str(exc))

    def _later(self, item: DueItem) -> None:
        self.put_off.append(item)
        self._ahead.left.add(item.name)

    def _failed(self, item: DueItem, nominal: int, exc: UserError, step: str) -> None:
        state = parse_state(item.state)
        if state is None or state.text() != item.state:  # what is sent has a new state, but attempts count in this one
            self._unreadable(item, f"it failed ({exc}), and its state in Redis cannot be read")
            return
        self._ahead.left.add(item.name)
        self.quarantine.failed(item.name, state, nominal, exc.cause, step)

    def _unreadable(self, item: DueItem, why: str) -> None:
        self._ahead.left.add(item.name)
        # The text as Redis has it, which the quarantine keeps.
        definition = self.store.definitions([item.name])[0]
        self.quarantine.unreadable(item.name, item.state, definition, why)

    def readable(self, items: list[DueItem]) -> list[DueItem]:
        """The same items, each with its definition: when one of a page is rubbish, Redis sends none of them."""
        if all(item.data is not None for item in items):
            return items
        found = []
        for item, text in zip(items, self.store.definitions([item.name for item in items]), strict=True):
            try:
                data = json.loads(text or "null")
            except (ValueError, RecursionError):
                data = None
            found.append(replace(item, data=data))
        return found


def _goes(data: dict[str, Any]) -> bool:
    """Whether an entry is removed with its last slot."""
    return data.get("kind") == "once" and not data.get("keep")
