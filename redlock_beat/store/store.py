"""Sends requests, with one typed method for each; nothing else talks to the schedule's Redis.

Repeating any of them is harmless: a write compares what it was made of, or carries a request id.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

from ..clock import score
from . import lua, requests
from .client import Target
from .digests import said
from .requests import PAGE, Operation, Request, T
from .values import KEEP, Conflict, Drop, Due, Edit, Fence, Hello, Look, Quarantined, Stored


class BaseStore:
    """Sends requests to the schedule's Redis."""

    def __init__(self, target: Target, client: Any = None) -> None:
        self.target = target
        self.keys = target.keys
        self.settings = target.settings
        if client is not None or not target.cluster:
            self.client = client if client is not None else target.client()
        self._scripts: dict[str, Any] = {}

    @cached_property
    def client(self) -> Any:
        """The client of a cluster, made when it is first used: it connects as it is made, and that may fail."""
        return self.target.client()

    def run(self, request: Request[T]) -> T:
        """Send one request."""
        if request.script:
            return request.answer(self._run(request.script, request.keys, request.args))
        if len(request.commands) == 1:
            return request.answer(self.client.execute_command(*request.commands[0]))
        pipe = self.client.pipeline(transaction=False)
        for words in request.commands:
            pipe.execute_command(*words)
        return request.answer(pipe.execute())

    def close(self) -> None:
        """Close the connections; the next request makes new ones."""
        if "client" in self.__dict__:  # that of a cluster may never have been made
            self.client.close()

    def ask(self, asking: Operation[T]) -> T:
        """Carry out an operation; its result."""
        try:
            request = next(asking)
            while True:
                request = asking.send(self.run(request))
        except StopIteration as done:
            result: T = done.value
            return result

    def _run(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        script = self._scripts.get(name)
        if script is None:
            script = self._scripts[name] = self.client.register_script(lua.source(name))
        return script(keys=keys, args=args)


class Store(BaseStore):
    """The schedule's Redis, one method per request.

    >>> from ..settings import Settings
    >>> Store(Target(Settings(url="redis://localhost"))).keys.due
    '{redlock-beat}:due'
    """

    # --- first contact ---

    def hello(self) -> Hello:
        """First contact; :class:`UnsupportedServer` when the server can never work."""
        return self.run(requests.hello(self.keys, self.target))

    def now(self) -> int:
        """Redis's time."""
        return self.run(requests.now(self.keys))

    def prove(self, key: str, nonce: str, broker_db: int) -> str:
        """Whether the broker is this server; see ``prove.lua``."""
        if self.target.cluster:
            return "no: a cluster has no other database, and its keys lie on many servers"
        return self.run(requests.prove(self.keys, key, nonce, broker_db))

    # --- the term ---

    def look(self, token: str, heartbeat: str) -> Look:
        """Who leads; writes the heartbeat of this replica when one is given."""
        return self.run(requests.look(self.keys, token, heartbeat))

    def acquire(
        self, token: str, ttl_ms: int, owner: str, lowest: int, steal: str = ""
    ) -> tuple[Fence | str, bool, bool]:
        """Stand for election: the fence of the term, or the text of the lease that another holds.

        And whether the server sees the own subscription, and whether everything is held.
        """
        return self.run(requests.acquire(self.keys, token, ttl_ms, owner, lowest, steal))

    def renew(self, fence: Fence, ttl_ms: int | None = None) -> bool:
        """Renew the term, perhaps for longer; whether it allows to send. :class:`Deposed` when it is over."""
        return self.run(requests.renew(self.keys, fence, ttl_ms))

    def release(self, fence: Fence | None, token: str) -> bool:
        """Give the term back and tell the others."""
        return self.run(requests.release(self.keys, fence, token))

    def introduce(self, fence: Fence, application: str) -> str:
        """Write the application's name where there is none; the name that is there."""
        return self.run(requests.introduce(self.keys, fence, application))

    def note_loss(self, what: str, seconds: int) -> None:
        """Record for so long what Redis has lost. Unfenced: whoever notices it is right."""
        self.client.set(self.keys.loss, what, ex=seconds)

    # --- dispatch ---

    def due(self, fence: Fence, limit: int, token: str = "", heartbeat: str = "") -> Due:
        """What is due now; :class:`Deposed` when the term is over. Carries a heartbeat along."""
        return self.run(requests.due(self.keys, fence, limit, token, heartbeat))

    def definitions(self, names: Sequence[str]) -> list[str | None]:
        """The definitions of some entries."""
        found: list[str | None] = []
        for i in range(0, len(names), 1000):
            found.extend(self.client.hmget(self.keys.entries, list(names[i : i + 1000])))
        return found

    def quarantine(self, fence: Fence, entries: Sequence[Quarantined]) -> int:
        """Note entries in quarantine; how many, for one that has changed meanwhile is left alone."""
        return self.run(requests.quarantine(self.keys, fence, entries, self.settings.ledger_size))

    def drop_manual(self, fence: Fence, items: Sequence[Drop]) -> None:
        """Remove manual items that are not sent, or put them off."""
        for i in range(0, len(items), PAGE):
            self.run(requests.drop_manual(self.keys, fence, items[i : i + PAGE], self.settings.ledger_size))

    def waiting(self, items: Sequence[str]) -> set[str]:
        """Which of these manual items still wait."""
        scores = self.client.zmscore(self.keys.manual, list(items))
        return {item for item, when in zip(items, scores, strict=True) if when is not None}

    def manual_at(self, instant: int, count: int) -> list[str]:
        """Some of the manual items of an instant."""
        at = score(instant)
        return list(self.client.zrangebyscore(self.keys.manual, at, at, 0, count))

    def states(self, names: Sequence[str]) -> list[str | None]:
        """The states of some entries."""
        return list(self.client.hmget(self.keys.state, list(names)))

    def quarantined(self, cursor: str) -> tuple[str, dict[str, str]]:
        """Some of the reports in quarantine, and where to go on ("0": that was all)."""
        return self.run(requests.pairs(self.keys.quarantine, cursor, 100))

    def acquit(self, *names: str) -> None:
        """Take entries out of quarantine, which work again."""
        if names:
            self.client.hdel(self.keys.quarantine, *names)

    # --- runs that others have taken the place of ---

    def cancelling(self) -> dict[str, bool]:
        """Runs that are to be revoked, and whether to terminate them."""
        return {str(id_): end == "1" for id_, end in self.client.hgetall(self.keys.cancelling).items()}

    def forget_cancelling(self, id_: str) -> None:
        """A run was revoked."""
        self.client.hdel(self.keys.cancelling, id_)

    # --- slow entries: noted unfenced, even by a deposed leader ---

    def note_slow(self, name: str) -> int:
        """Note that rendering an entry overran; how often that was."""
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
            cursor, found = self.run(requests.outbox_load(self.keys, fence, cursor))
            for i in range(0, len(found), 2):
                yield found[i], found[i + 1]
            if cursor == "0":
                return

    def claimed(self, item_ids: Sequence[str]) -> set[str]:
        """Which of these items are in the outbox."""
        there = set()
        for at in range(0, len(item_ids), 500):
            page = list(item_ids[at : at + 500])
            found = self.client.hmget(self.keys.outbox, page)
            there |= {id_ for id_, item in zip(page, found, strict=True) if item is not None}
        return there

    def outbox_take(self, fence: Fence, item_id: str, item: str) -> bool:
        """Take an item out before it is published at most once; whether this beat may publish it."""
        return self.run(requests.outbox_take(self.keys, fence, item_id, item))

    def outbox_done(self, rows: Sequence[tuple[str, bool, list[Any]]]) -> int:
        """Remove items by id, each with its ledger row; the flag: only if it was still there."""
        return self.run(requests.outbox_done(self.keys, rows, self.settings.ledger_size))

    def outbox_again(self, fence: Fence, items: Sequence[tuple[str, str, str, list[Any]]]) -> None:
        """Have items (id, text, manual item, row) rendered anew; without a manual item each is given up."""
        self.run(requests.outbox_again(self.keys, fence, items, self.settings.ledger_size))

    def put_off(
        self, fence: Fence, entries: Sequence[tuple[str, str, str, int]], manual: Sequence[tuple[str, int]]
    ) -> None:
        """Let entries (name, expected score and state, until when) and manual items wait."""
        self.run(requests.put_off(self.keys, fence, entries, manual))

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
        log_size: int = 0,
    ) -> Conflict | list[int]:
        """Apply edits; see :func:`redlock_beat.store.requests.edit`."""
        return self.run(
            requests.edit(self.keys, edits, request=request, fence=fence, each=each, config=config, log_size=log_size)
        )

    def read(self, names: Sequence[str]) -> tuple[int, list[Stored]]:
        """Redis's time, and some entries as they stand at that instant."""
        now, found = 0, []
        for i in range(0, max(len(names), 1), PAGE):
            now, page = self.run(requests.read(self.keys, names[i : i + PAGE]))
            found.extend(page)
        return now, found

    # --- the configuration ---

    def config(self) -> str | None:
        """Version and digest of the configuration at the last sync."""
        got = self.client.get(self.keys.config)
        return None if got is None else str(got)

    def config_mark(self, fence: Fence, begun: str, mark: str) -> bool:
        """Mark the configuration as synced; False when Redis no longer has what the sync began with."""
        return self.run(requests.config_mark(self.keys, fence, begun, mark))

    def left_out(self) -> str | None:
        """The last sync's record of configured entries that are not in force; None when all are."""
        got = self.client.get(self.keys.left_out)
        return None if got is None else str(got)

    def leave_out(self, fence: Fence, record: str) -> None:
        """Record which configured entries are not in force, and why ('' when all are)."""
        self.run(requests.leave_out(self.keys, fence, record))

    def configured(self, names: Sequence[str] | None = None) -> dict[str, str]:
        """Name -> digest of what the configuration last said, of some names or of all; read in pages."""
        return self.ask(said(self.keys, names))

    def archived(self, names: Sequence[str]) -> dict[str, str]:
        """What the archive has under these names."""
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
        """Remove the heartbeats of replicas."""
        gone = list(tokens)
        if gone:
            self.client.hdel(self.keys.beats, *gone)


class AsyncStore:
    """The same requests on ``redis.asyncio``."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.keys = target.keys
        self.client = target.async_client()
        self._scripts: dict[str, Any] = {}

    async def run(self, request: Request[T]) -> T:
        """Send one request."""
        if request.script:
            script = self._scripts.get(request.script)
            if script is None:
                script = self._scripts[request.script] = self.client.register_script(lua.source(request.script))
            return request.answer(await script(keys=list(request.keys), args=list(request.args)))
        if len(request.commands) == 1:
            return request.answer(await self.client.execute_command(*request.commands[0]))
        pipe = self.client.pipeline(transaction=False)
        for words in request.commands:
            pipe.execute_command(*words)
        return request.answer(await pipe.execute())

    async def close(self) -> None:
        """Close the connections."""
        await self.client.aclose()
