"""One typed method per atomic step; nothing else talks to the schedule's Redis.

Repeating any of these is harmless: a write compares what it was made from, or carries a request id.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from ..clock import from_score, score
from ..errors import UnsupportedServer
from . import lua
from . import requests as steps
from .client import Target
from .keys import Keys
from .requests import KEEP, NO_FENCE, PAGE, Asking, Conflict, Edit, Fence, Step, Stored, T, counted


@dataclass(frozen=True, slots=True)
class Hello:
    """What the server said at first contact."""

    now: int
    version: str
    policy: str
    maxmemory: int


@dataclass(frozen=True, slots=True)
class Look:
    """What a standby sees."""

    held: str
    left_ms: int
    #: Whether this server sees the holder's subscription, and the own one.
    holder_seen: bool
    seen: bool
    uptime: int
    replid: str
    #: Redis's time.
    now: int


@dataclass(frozen=True, slots=True)
class DueItem:
    """An entry that is due: its name, the score and the state to compare at the commit."""

    name: str
    score: str
    state: str | None
    #: The JSON of its definition, read but not checked; None when it was not asked for, or cannot be read.
    data: Any = None


@dataclass(frozen=True, slots=True)
class Due:
    """What is due now, and when to look again."""

    now: int
    next_at: int | None
    outbox: int
    entries: list[DueItem]
    manual: list[tuple[str, str]]
    #: Entries there are, occurrences due in all, entries in quarantine.
    total: int
    backlog: int
    quarantined: int
    #: Whether a definition may hold dates and the like, which kombu writes as ``__type__``.
    typed: bool = False
    #: The mark of the configuration as last synced, and which server process it was that answered; '' for none.
    mark: str = ""
    server: str = ""
    #: Whether this server sees the own subscription.
    seen: bool = False
    #: The heartbeat of this beat that stood there before this one; '-' for none, '' when none was written now.
    before: str = ""


@dataclass(slots=True)
class Occurrence:
    """One occurrence as the commit takes it; see ``commit.lua``."""

    name: str
    expected: str
    state: str
    score_after: str
    state_after: str
    retry_score: str
    retry_state: str
    manual: bool = False
    away: bool = False
    pushes: list[list[Any]] = field(default_factory=list)
    rows: list[list[Any]] = field(default_factory=list)
    failed_row: list[Any] = field(default_factory=list)

    def words(self) -> list[Any]:
        """The arguments of the script."""
        out: list[Any] = [
            self.name, "m" if self.manual else "d", self.expected, self.state, self.score_after, self.state_after,
            self.retry_score, self.retry_state, "1" if self.away else "0",
        ]  # fmt: skip
        for lists in (self.pushes, self.rows):
            out.append(len(lists))
            for one in lists:
                out += counted(one)
        return out + counted(self.failed_row)


@dataclass(frozen=True, slots=True)
class SetAside:
    """An entry for quarantine: the state it is in, the report, and the row of the ledger."""

    name: str
    state: str
    report: str
    row: list[Any]
    #: When it is tried again, and its state then; None to leave `due`.
    retry: int | None = None
    state_then: str = ""


@dataclass(frozen=True, slots=True)
class Drop:
    """A manual item that is not sent: removed, or put off until *retry*; with a row of the ledger, or none."""

    item: str
    retry: int | None = None
    row: list[Any] = field(default_factory=list)


class Store:
    """The schedule's Redis, one method per atomic step.

    >>> from ..settings import Settings
    >>> Store(Target(Settings(url="redis://localhost"))).keys.due
    '{redlock-beat}:due'
    """

    def __init__(self, target: Target, client: Any = None) -> None:
        self.target = target
        self.keys = target.keys
        self.settings = target.settings
        if client is not None or not target.cluster:
            self.client = client if client is not None else target.client()
        self._scripts: dict[str, Any] = {}

    @cached_property
    def client(self) -> Any:
        """A cluster's is made when it is first used: it connects at once, and what fails then is tried again."""
        return self.target.client()

    def run(self, step: Step[T]) -> T:
        """Take one step."""
        if step.script:
            return step.answer(self._run(step.script, step.keys, step.args))
        if len(step.commands) == 1:
            return step.answer(self.client.execute_command(*step.commands[0]))
        pipe = self.client.pipeline(transaction=False)
        for words in step.commands:
            pipe.execute_command(*words)
        return step.answer(pipe.execute())

    def close(self) -> None:
        """Close the connections; they are made again when they are needed."""
        if "client" in self.__dict__:  # that of a cluster may never have been made
            self.client.close()

    def take(self, asking: Asking[T]) -> T:
        """Take every step that something asks for; what it ends with."""
        try:
            step = next(asking)
            while True:
                step = asking.send(self.run(step))
        except StopIteration as done:
            result: T = done.value
            return result

    def _fenced(self, name: str, keys: Sequence[str], fence: Fence, args: Sequence[Any], read: Any = int) -> Any:
        """Run a script that is called for a term; :class:`Deposed` when that is over."""
        k = self.keys
        return self.run(Step(read, name, [k.lease, k.epoch, *keys], [*fence.words, *args]))

    def _run(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        script = self._scripts.get(name)
        if script is None:
            script = self._scripts[name] = self.client.register_script(lua.source(name))
        return script(keys=keys, args=args)

    # --- first contact ---

    def hello(self) -> Hello:
        """First contact; :class:`UnsupportedServer` when the server can never work."""
        probe = self.keys.request("probe")
        why, now, version, policy, limit = self._run("hello", [probe], [])
        lowered = str(why).lower()
        if "unknown" in lowered and "command" in lowered:
            raise UnsupportedServer(
                f"the server at {self.target} is too old or has commands switched off (version {version or 'unknown'}, "
                f"GETDEL: {why}). redlock_beat needs Redis 6.2 or newer, or Valkey. Upgrade it, or point "
                "redlock_beat_url at one that is."
            )
        return Hello(int(now), str(version), str(policy), int(limit or 0))

    def now(self) -> int:
        """Redis's time."""
        return self.run(steps.now(self.keys))

    def prove(self, key: str, nonce: str, broker_db: int) -> str:
        """Whether the broker is this server; see ``prove.lua``."""
        if self.target.cluster:
            return "no: a cluster has no other database, and its keys lie on many servers"
        return str(self._run("prove", [], [key, nonce, broker_db, self.keys.db]))

    # --- the term ---

    def look(self, token: str, heartbeat: str) -> Look:
        """Who leads; writes the heartbeat of this replica when one is given."""
        k = self.keys
        held, left, holder, own, uptime, replid, now = self._run("look", [k.lease, k.beats], [token, heartbeat])
        return Look(str(held), int(left), bool(holder), bool(own), int(uptime), str(replid), int(now))

    def acquire(self, token: str, ttl_ms: int, owner: str, lowest: int, steal: str = "") -> tuple[Fence | str, bool]:
        """Stand for election: the fence of the term, or the text of the lease that another holds.

        And whether the server sees the own subscription.
        """
        k = self.keys
        won, epoch, text, seen = self._run("acquire", [k.lease, k.epoch], [token, ttl_ms, owner, lowest, steal])
        return Fence(str(text), int(epoch), ttl_ms) if won == 1 else str(text), bool(seen)

    def renew(self, fence: Fence, ttl_ms: int | None = None) -> None:
        """Renew the term, perhaps for longer; :class:`Deposed` when it is over."""
        self._fenced("renew", [], replace(fence, ttl_ms=ttl_ms or fence.ttl_ms), [])

    def release(self, fence: Fence | None, token: str) -> bool:
        """Give the term back and tell the others."""
        k = self.keys
        return bool(self._fenced("release", [k.beats], fence or NO_FENCE, [token, k.wake]))

    def introduce(self, fence: Fence, application: str) -> str:
        """Leave the application's name where none stands; the name that stands there."""
        return str(self._fenced("introduce", [self.keys.application], fence, [application], list)[0])

    def note_loss(self, what: str, seconds: int) -> None:
        """Keep for so long what Redis has lost. Unfenced: whoever notices it is right."""
        self.client.set(self.keys.loss, what, ex=seconds)

    # --- dispatch ---

    def due(self, fence: Fence, limit: int, token: str = "", heartbeat: str = "", *, skip: int = 0) -> Due:
        """What is due now; :class:`Deposed` when the term is over. Carries a heartbeat along.

        *skip* leaves out the first that are due.
        """
        return self.run(steps_due(self.keys, fence, limit, token, heartbeat, skip))

    def definitions(self, names: Sequence[str]) -> list[str | None]:
        """The definitions of some entries."""
        found: list[str | None] = []
        for i in range(0, len(names), 1000):
            found.extend(self.client.hmget(self.keys.entries, list(names[i : i + 1000])))
        return found

    def commit(
        self, fence: Fence, occurrences: Sequence[Occurrence], broker_db: int, token: str, heartbeat: str
    ) -> list[str]:
        """Turn due occurrences into sent ones; what became of each."""
        k = self.keys
        args: list[Any] = [
            self.settings.ledger_size, broker_db, k.db, token, heartbeat, len(occurrences),
        ]  # fmt: skip
        for one in occurrences:
            args.extend(one.words())
        keys = [k.due, k.state, k.entries, k.ledger, k.manual, k.beats]
        return [str(one) for one in self._fenced("commit", keys, fence, args, list)]

    def quarantine(self, fence: Fence, entries: Sequence[SetAside]) -> int:
        """Set entries aside; how many were, for one that has changed meanwhile is not."""
        k = self.keys
        args: list[Any] = [self.settings.ledger_size, len(entries)]
        for one in entries:
            retry = "" if one.retry is None else score(one.retry)
            args.extend((one.name, one.state, one.report, retry, one.state_then, *counted(one.row)))
        return int(self._fenced("quarantine", [k.due, k.state, k.quarantine, k.ledger], fence, args))

    def drop_manual(self, fence: Fence, items: Sequence[Drop]) -> None:
        """Remove manual items that are not sent, or put them off."""
        k = self.keys
        for i in range(0, len(items), PAGE):
            page = items[i : i + PAGE]
            args: list[Any] = [self.settings.ledger_size, len(page)]
            for one in page:
                args.extend((one.item, "" if one.retry is None else score(one.retry), *counted(one.row)))
            self._fenced("drop_manual", [k.manual, k.ledger], fence, args)

    def waiting(self, items: Sequence[str]) -> set[str]:
        """Which of these manual items still wait."""
        scores = self.client.zmscore(self.keys.manual, list(items))
        return {item for item, when in zip(items, scores, strict=True) if when is not None}

    def manual_at(self, instant: int, count: int) -> list[str]:
        """Some of the manual items that wait for an instant."""
        at = score(instant)
        return list(self.client.zrangebyscore(self.keys.manual, at, at, 0, count))

    def states(self, names: Sequence[str]) -> list[str | None]:
        """The states of some entries."""
        return list(self.client.hmget(self.keys.state, list(names)))

    def quarantined(self, cursor: str) -> tuple[str, dict[str, str]]:
        """Some of the reports in quarantine, and where to go on ("0": that was all)."""
        return self.run(steps.pairs(self.keys.quarantine, cursor, 100))

    def acquit(self, *names: str) -> None:
        """Take entries out of quarantine: they work again."""
        if names:
            self.client.hdel(self.keys.quarantine, *names)

    # --- slow entries: noted unfenced, even by a deposed leader ---

    def note_slow(self, name: str) -> int:
        """Note that rendering an entry overran; how often that has been."""
        return int(self.client.hincrby(self.keys.slow, name, 1))

    def forget_slow(self, name: str) -> None:
        """An entry renders in time again."""
        self.client.hdel(self.keys.slow, name)

    def slow(self) -> dict[str, int]:
        """Entries that render alone, with how often they overran."""
        return {name: int(times) for name, times in self.client.hgetall(self.keys.slow).items()}

    # --- the outbox ---

    def outbox_load(self, fence: Fence) -> Iterator[tuple[str, str]]:
        """Every item in the outbox, re-stamped as this term's: (id, item as stamped)."""
        cursor = "0"
        while True:
            cursor, found = self._fenced("outbox_load", [self.keys.outbox], fence, [cursor, 100], list)
            for i in range(0, len(found), 2):
                yield found[i], found[i + 1]
            if str(cursor) == "0":
                return

    def outbox_take(self, fence: Fence, item_id: str, item: str) -> bool:
        """Take an item out before it is published at most once; whether this beat may publish it."""
        return bool(self._fenced("outbox_take", [self.keys.outbox], fence, [item_id, item]))

    def outbox_done(self, rows: Sequence[tuple[str, bool, list[Any]]]) -> int:
        """Remove items by id, each with its ledger row; the flag: only if it was still there."""
        args: list[Any] = [self.settings.ledger_size, len(rows)]
        for item_id, must, row in rows:
            args.extend((item_id, int(must), *counted(row)))
        return int(self._run("outbox_done", [self.keys.outbox, self.keys.ledger], args))

    def outbox_again(self, fence: Fence, items: Sequence[tuple[str, str]]) -> None:
        """Have items rendered anew: each leaves the outbox, and its manual item is due now."""
        k = self.keys
        words = [word for item in items for word in item]
        self._fenced("outbox_again", [k.outbox, k.manual], fence, [k.wake, len(items), *words])

    def put_off(
        self, fence: Fence, entries: Sequence[tuple[str, str, str, int]], manual: Sequence[tuple[str, int]]
    ) -> None:
        """Let entries (name, expected score and state, until when) and manual items wait."""
        k = self.keys
        args: list[Any] = [len(entries)]
        for name, expected, state, until in entries:
            args.extend((name, expected, state, score(until)))
        args.append(len(manual))
        for item, until in manual:
            args.extend((item, score(until)))
        self._fenced("put_off", [k.due, k.state, k.manual], fence, args)

    def state(self, name: str) -> str | None:
        """The text of an entry's state."""
        got = self.client.hget(self.keys.state, name)
        return None if got is None else str(got)

    # --- edits ---

    def edit(
        self,
        edits: Sequence[Edit],
        *,
        request: str | None = None,
        fence: Fence | None = None,
        each: bool = False,
        config: str = KEEP,
    ) -> Conflict | list[int]:
        """Apply edits; see :func:`redlock_beat.store.requests.edit`."""
        return self.run(steps.edit(self.keys, edits, request=request, fence=fence, each=each, config=config))

    def read(self, names: Sequence[str]) -> tuple[int, list[Stored]]:
        """Redis's time, and some entries as they stand at that instant."""
        now, found = 0, []
        for i in range(0, max(len(names), 1), PAGE):
            now, page = self.run(steps.read(self.keys, names[i : i + PAGE]))
            found.extend(page)
        return now, found

    # --- the configuration ---

    def config(self) -> str | None:
        """Version and digest of the configuration as last synced."""
        got = self.client.get(self.keys.config)
        return None if got is None else str(got)

    def config_mark(self, fence: Fence, begun: str, mark: str) -> bool:
        """The configuration is synced; False when Redis no longer has what the sync began with."""
        return bool(self._fenced("config_mark", [self.keys.config], fence, [begun, mark]))

    def left_out(self) -> str | None:
        """What the last sync said of the configured entries that are not in force; None when all are."""
        got = self.client.get(self.keys.left_out)
        return None if got is None else str(got)

    def leave_out(self, fence: Fence, record: str) -> None:
        """Say which configured entries are not in force, and why ('' when all are)."""
        self._fenced("left_out", [self.keys.left_out], fence, [record])

    def configured(self, names: Sequence[str] | None = None) -> dict[str, str]:
        """Name -> digest of what the configuration last said, of some names or of all; read in pages."""
        if names is None:
            return dict(self.client.hscan_iter(self.keys.configured, count=1000))
        return self._fields(self.keys.configured, names)

    def archived(self, names: Sequence[str]) -> dict[str, str]:
        """What stands in the archive under these names."""
        return self._fields(self.keys.archive, names)

    def _fields(self, key: str, names: Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for i in range(0, len(names), 1000):
            page = list(names[i : i + 1000])
            texts = self.client.hmget(key, page)
            found.update({name: text for name, text in zip(page, texts, strict=True) if text is not None})
        return found

    # --- what there is to look at ---

    def beats(self) -> dict[str, str]:
        """Token -> heartbeat of every replica."""
        return dict(self.client.hgetall(self.keys.beats))

    def forget_beats(self, tokens: Iterable[str]) -> None:
        """Remove the heartbeats of replicas that are long gone."""
        gone = list(tokens)
        if gone:
            self.client.hdel(self.keys.beats, *gone)


def steps_due(keys: Keys, fence: Fence, limit: int, token: str, heartbeat: str, skip: int) -> Step[Due]:
    """Ask for what is due."""
    k = keys
    names = [k.lease, k.epoch, k.due, k.state, k.manual, k.outbox, k.beats, k.entries, k.quarantine, k.config]
    return Step(due_of, "due", names, [*fence.words, limit, token, heartbeat, skip])


def due_of(got: Any) -> Due:
    """The answer of ``due.lua``."""
    now, ahead, outbox, names, scores, states, texts, manual, total, backlog, quarantined, *here = got
    entries: list[DueItem] = []
    if names:
        found = json.loads(names)
        columns = (found, json.loads(scores), json.loads(states), _definitions(texts, len(found)))
        entries = [DueItem(name, when, state or None, data) for name, when, state, data in zip(*columns, strict=True)]
    return Due(
        int(now),
        from_score(ahead) if ahead else None,
        int(outbox),
        entries,
        [(manual[i], manual[i + 1]) for i in range(0, len(manual), 2)],
        int(total),
        int(backlog),
        int(quarantined),
        '"__type__"' in texts,
        str(here[0]),
        str(here[1]),
        bool(here[2]),
        str(here[3]),
    )


def _definitions(texts: str, count: int) -> list[Any]:
    """Definitions out of one text; when one of them is rubbish, none: each is then read by itself."""
    if texts:
        try:
            found = json.loads(texts)
            if len(found) == count:
                return list(found)
        except (ValueError, RecursionError):
            pass
    return [None] * count


@dataclass(slots=True)
class Many:
    """Occurrences for ``commit_many.lua`` that go to one list: what it is told of each, and the messages."""

    #: Name, expected score and state, score and state after, id, nominal; and the task, for us.
    rows: list[tuple[str, ...]] = field(default_factory=list)
    messages: list[bytes | str] = field(default_factory=list)


class AsyncStore:
    """The same steps on ``redis.asyncio``."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.keys = target.keys
        self.client = target.async_client()
        self._scripts: dict[str, Any] = {}

    async def run(self, step: Step[T]) -> T:
        """Take one step."""
        if step.script:
            script = self._scripts.get(step.script)
            if script is None:
                script = self._scripts[step.script] = self.client.register_script(lua.source(step.script))
            return step.answer(await script(keys=list(step.keys), args=list(step.args)))
        if len(step.commands) == 1:
            return step.answer(await self.client.execute_command(*step.commands[0]))
        pipe = self.client.pipeline(transaction=False)
        for words in step.commands:
            pipe.execute_command(*words)
        return step.answer(await pipe.execute())

    async def close(self) -> None:
        """Close the connections."""
        await self.client.aclose()
