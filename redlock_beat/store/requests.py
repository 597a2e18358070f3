"""What is asked of the schedule's Redis and how its answer reads: values, without a network.

Each function here makes one :class:`Request`: one round trip, a script or a few plain commands. A
store (:class:`~redlock_beat.store.store.Store`, :class:`~redlock_beat.store.store.AsyncStore`) sends it, so
that what users do is written once for both.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from ..clock import MICROS, from_score, score
from ..errors import Deposed, UnsupportedServer
from .keys import Keys
from .values import (
    KEEP,
    NO_FENCE,
    Census,
    Conflict,
    Drop,
    Due,
    DueItem,
    Edit,
    Fence,
    Hello,
    Look,
    Many,
    Occurrence,
    SetAside,
    Standing,
    Stored,
    counted,
)  # fmt: skip

#: What every script says for which the term is over.
DEPOSED = "DEPOSED"

#: Edits in one script: all or none of them, and well below 10 ms.
PAGE = 500

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request(Generic[T]):
    """One round trip: a script with its keys and arguments, or plain commands; and how the answer reads."""

    read: Callable[[Any], T]
    script: str = ""
    keys: Sequence[str] = ()
    args: Sequence[Any] = ()
    commands: Sequence[Sequence[Any]] = ()
    #: Whether it changes something: then an answer that never came leaves the outcome unknown.
    writes: bool = False

    def answer(self, got: Any) -> T:
        """The answer as it reads; :class:`Deposed` when a script says that the term it was called for is over."""
        if got == DEPOSED:
            raise Deposed
        return self.read(got)


#: Something on its way: it yields requests, is sent the answers, and ends with its result.
Asking = Generator[Request[Any], Any, T]


def now(keys: Keys) -> Request[int]:
    """Redis's time."""
    return Request(lambda got: int(got[0]) * MICROS + int(got[1]), commands=[("TIME",)])


def led(keys: Keys) -> Request[bool]:
    """Whether a beat leads."""
    return Request(lambda got: got is not None, commands=[("GET", keys.lease)])


def size(keys: Keys) -> Request[int]:
    """How many entries there are."""
    return Request(int, commands=[("HLEN", keys.entries)])


def exists(keys: Keys, name: str) -> Request[bool]:
    """Whether there is an entry of this name."""
    return Request(bool, commands=[("HEXISTS", keys.entries, name)])


def read(keys: Keys, names: Sequence[str]) -> Request[tuple[int, list[Stored]]]:
    """Redis's time, and some entries (:data:`PAGE` at most) as they stand at that instant."""

    def parse(got: Any) -> tuple[int, list[Stored]]:
        return int(got[0]), [Stored(name, *got[1 + 3 * i : 4 + 3 * i]) for i, name in enumerate(names)]

    return Request(parse, "read", [keys.entries, keys.state, keys.due], names)


def names(keys: Keys, cursor: str, match: str | None, count: int) -> Request[tuple[str, list[str]]]:
    """Some names, and where to go on ("0": that was all); a name may come twice if the hash shrinks meanwhile."""
    words = ["HSCAN", keys.entries, cursor, *(("MATCH", match) if match else ()), "COUNT", count]
    return Request(lambda got: (str(got[0]), list(got[1])), commands=[words])


def some(key: str, fields: Sequence[str]) -> Request[list[str | None]]:
    """Some fields of a hash."""
    return Request(list, commands=[("HMGET", key, *fields)])


def pairs(key: str, cursor: str, count: int) -> Request[tuple[str, dict[str, str]]]:
    """Some fields of a hash with their values, and where to go on ("0": that was all)."""
    return Request(lambda got: (str(got[0]), dict(got[1])), commands=[("HSCAN", key, cursor, "COUNT", count)])


def waiting(keys: Keys, skip: int, count: int) -> Request[list[str]]:
    """Some items of ``manual``, those sent last first: what a leader takes meanwhile does not move them."""
    return Request(list, commands=[("ZRANGE", keys.manual, -skip - count, -skip - 1)])


def edit(
    keys: Keys,
    edits: Sequence[Edit],
    *,
    request: str | None = None,
    fence: Fence | None = None,
    each: bool = False,
    config: str = KEEP,
) -> Request[Conflict | list[int]]:
    """Apply edits, all or none (or, with *each*, those that compare; the indexes left out are returned)."""
    names_of = [
        keys.lease, keys.epoch, keys.entries, keys.state, keys.due, keys.configured, keys.archive, keys.quarantine,
        keys.manual, keys.config, keys.slow,
    ]  # fmt: skip
    if request is not None:
        names_of.append(keys.request(request))
    args: list[Any] = [*(fence or NO_FENCE).words, keys.wake, "each" if each else "all", config, len(edits)]
    for one in edits:
        args.extend(one.words())

    def parse(got: Any) -> Conflict | list[int]:
        answer = str(got)
        if answer.startswith("conflict "):
            _, index, state = answer.split(" ", 2)
            return Conflict(int(index), state)
        return [int(one) for one in answer.split(" ")[1:]]

    return Request(parse, "edit", names_of, args, writes=True)


def ledger(
    keys: Keys, low: str, high: str, count: int, newest_first: bool
) -> Request[list[tuple[str, dict[str, str]]]]:
    """Some rows of the ledger between two row ids: (id, row)."""
    order = ("XREVRANGE", keys.ledger, high, low) if newest_first else ("XRANGE", keys.ledger, low, high)
    return Request(lambda got: list(got or ()), commands=[(*order, "COUNT", count)])


def ledger_news(keys: Keys, after: str, count: int, wait_ms: int) -> Request[list[tuple[str, dict[str, str]]]]:
    """Rows of the ledger after a row id; waits for some, so long at most (0: not at all)."""
    block = ("BLOCK", wait_ms) if wait_ms else ()
    words = ["XREAD", "COUNT", count, *block, "STREAMS", keys.ledger, after]

    def parse(got: Any) -> list[tuple[str, dict[str, str]]]:
        streams = list(got.values()) if isinstance(got, dict) else [one[1] for one in got or ()]
        return list(streams[0]) if streams else []

    return Request(parse, commands=[words])


def census(keys: Keys) -> Request[Census]:
    """Whose schedule it is, and how much of it there is."""
    return Request(
        lambda got: Census(str(got[0] or ""), int(got[1] or 0), int(got[2])),
        commands=[("GET", keys.application), ("GET", keys.epoch), ("HLEN", keys.entries)],
    )


def acknowledge(keys: Keys) -> Request[str | None]:
    """Somebody has taken note of what Redis has lost; what that was, or None."""
    return Request(lambda got: got, commands=[("GETDEL", keys.loss)], writes=True)


def by_hand(keys: Keys, cursor: str, count: int) -> Request[tuple[str, list[tuple[str, int]]]]:
    """Some manual items with when they are sent, and where to go on ("0": that was all); one may come twice."""
    return Request(
        lambda got: (str(got[0]), [(str(item), from_score(when)) for item, when in got[1]]),
        commands=[("ZSCAN", keys.manual, cursor, "COUNT", count)],
    )


def cancel(keys: Keys, items: Sequence[str], ledger_size: int, row: Sequence[Any]) -> Request[int]:
    """Cancel manual items; how many were there."""
    return Request(
        int, "cancel", [keys.manual, keys.ledger], [ledger_size, *counted(items), *counted(row)], writes=True
    )


def outbox_sample(keys: Keys) -> Request[list[str]]:
    """Some items of the outbox."""
    return Request(lambda got: list(got[1].values()), commands=[("HSCAN", keys.outbox, 0, "COUNT", 100)])


def standing(keys: Keys, now: int) -> Request[Standing]:
    """How things stand."""

    def parse(got: Any) -> Standing:
        text, left, epoch, entries, overdue, oldest, manual, outbox, quarantine, beats, left_out, loss, waiting = got
        return Standing(
            now, text, max(0, int(left)), int(epoch or 0), int(entries), int(overdue),
            from_score(oldest[1]) if oldest else None, int(manual), int(outbox), dict(quarantine), dict(beats),
            left_out, loss, int(waiting),
        )  # fmt: skip

    return Request(parse, commands=[
        ("GET", keys.lease), ("PTTL", keys.lease), ("GET", keys.epoch), ("HLEN", keys.entries),
        ("ZCOUNT", keys.due, "-inf", score(now)), ("ZRANGE", keys.due, 0, 0, "WITHSCORES"),
        ("ZCOUNT", keys.manual, "-inf", score(now)), ("HLEN", keys.outbox), ("HGETALL", keys.quarantine),
        ("HGETALL", keys.beats), ("GET", keys.left_out),
        ("GET", keys.loss),
        ("ZCARD", keys.manual),
    ])  # fmt: skip


# --- first contact ---


def hello(keys: Keys, where: object) -> Request[Hello]:
    """First contact; :class:`UnsupportedServer` when the server can never work. *where* it is, for people."""

    def parse(got: Any) -> Hello:
        why, now, version, policy, limit = got
        lowered = str(why).lower()
        if "unknown" in lowered and "command" in lowered:
            raise UnsupportedServer(
                f"the server at {where} is too old or has commands switched off (version {version or 'unknown'}, "
                f"GETDEL: {why}). redlock_beat needs Redis 6.2 or newer, or Valkey. Upgrade it, or point "
                "redlock_beat_url at one that is."
            )
        return Hello(int(now), str(version), str(policy), int(limit or 0))

    return Request(parse, "hello", [keys.request("probe")])


def prove(keys: Keys, key: str, nonce: str, broker_db: int) -> Request[str]:
    """Whether the broker is this server; see ``prove.lua``."""
    return Request(str, "prove", [], [key, nonce, broker_db, keys.db])


# --- the term ---


def _fenced(
    read: Callable[[Any], T], script: str, keys: Keys, others: Sequence[str], fence: Fence, args: Sequence[Any] = ()
) -> Request[T]:
    """A script that is called for a term: its keys and arguments begin alike."""
    return Request(read, script, [keys.lease, keys.epoch, *others], [*fence.words, *args])


def look(keys: Keys, token: str, heartbeat: str) -> Request[Look]:
    """Who leads; writes the heartbeat of this replica when one is given."""

    def parse(got: Any) -> Look:
        held, left, holder, own, uptime, replid, now = got
        return Look(str(held), int(left), bool(holder), bool(own), int(uptime), str(replid), int(now))

    return Request(parse, "look", [keys.lease, keys.beats], [token, heartbeat])


def acquire(
    keys: Keys, token: str, ttl_ms: int, owner: str, lowest: int, steal: str = ""
) -> Request[tuple[Fence | str, bool]]:
    """Stand for election: the fence of the term, or the text of the lease that another holds.

    And whether the server sees the own subscription.
    """

    def parse(got: Any) -> tuple[Fence | str, bool]:
        won, epoch, text, seen = got
        return Fence(str(text), int(epoch), ttl_ms) if won == 1 else str(text), bool(seen)

    return Request(parse, "acquire", [keys.lease, keys.epoch], [token, ttl_ms, owner, lowest, steal])


def renew(keys: Keys, fence: Fence, ttl_ms: int | None = None) -> Request[int]:
    """Renew the term, perhaps for longer."""
    return _fenced(int, "renew", keys, [], replace(fence, ttl_ms=ttl_ms or fence.ttl_ms))


def release(keys: Keys, fence: Fence | None, token: str) -> Request[bool]:
    """Give the term back and tell the others; whether it was held."""
    return _fenced(bool, "release", keys, [keys.beats], fence or NO_FENCE, [token, keys.wake])


def introduce(keys: Keys, fence: Fence, application: str) -> Request[str]:
    """Leave the application's name where none stands; the name that stands there."""
    return _fenced(lambda got: str(got[0]), "introduce", keys, [keys.application], fence, [application])


# --- dispatch ---


def due(keys: Keys, fence: Fence, limit: int, token: str = "", heartbeat: str = "", skip: int = 0) -> Request[Due]:
    """What is due now, but for the first *skip*. Carries a heartbeat along."""
    k = keys
    others = [k.due, k.state, k.manual, k.outbox, k.beats, k.entries, k.quarantine, k.config]
    return _fenced(_due, "due", keys, others, fence, [limit, token, heartbeat, skip])


def _due(got: Any) -> Due:
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


def commit(
    keys: Keys,
    fence: Fence,
    occurrences: Sequence[Occurrence],
    ledger_size: int,
    broker_db: int,
    token: str,
    heartbeat: str,
) -> Request[list[str]]:
    """Turn due occurrences into sent ones; what became of each."""
    k = keys
    args: list[Any] = [ledger_size, broker_db, k.db, token, heartbeat, len(occurrences)]
    for one in occurrences:
        args += one.words()
    others = [k.due, k.state, k.entries, k.ledger, k.manual, k.beats]
    return _fenced(lambda got: [str(one) for one in got], "commit", keys, others, fence, args)


def commit_many(
    keys: Keys,
    fence: Fence,
    lists: dict[str, Many],
    ledger_size: int,
    broker_db: int,
    token: str,
    heartbeat: str,
    owner: str,
) -> Request[tuple[str, str]]:
    """The same for occurrences that are one message for one list each: a letter for each, and why any failed."""
    k = keys
    columns: dict[str, list[Any]] = {"q": [], "n": [], "s": [], "t": [], "a": [], "u": [], "i": [], "m": []}
    messages: list[bytes | str] = []
    for key, many in lists.items():
        columns["q"].append([key, len(many.rows)])
        for letter, values in zip("nstauim", zip(*many.rows, strict=True), strict=False):
            columns[letter] += values
        messages += many.messages
    text = json.dumps(columns, ensure_ascii=False)
    args = [ledger_size, broker_db, k.db, token, heartbeat, owner, text, *messages]
    others = [k.due, k.state, k.entries, k.ledger, k.beats, k.outbox]
    return _fenced(lambda got: (str(got[0]), str(got[1])), "commit_many", keys, others, fence, args)


def put_off(
    keys: Keys, fence: Fence, entries: Sequence[tuple[str, str, str, int]], manual: Sequence[tuple[str, int]]
) -> Request[int]:
    """Let entries (name, expected score and state, until when) and manual items wait."""
    args: list[Any] = [len(entries)]
    for name, expected, state, until in entries:
        args += (name, expected, state, score(until))
    args.append(len(manual))
    for item, until in manual:
        args += (item, score(until))
    return _fenced(int, "put_off", keys, [keys.due, keys.state, keys.manual], fence, args)


def quarantine(keys: Keys, fence: Fence, entries: Sequence[SetAside], ledger_size: int) -> Request[int]:
    """Set entries aside; how many were, for one that has changed meanwhile is not."""
    args: list[Any] = [ledger_size, len(entries)]
    for one in entries:
        retry = "" if one.retry is None else score(one.retry)
        args += (one.name, one.state, one.report, retry, one.state_then, *counted(one.row))
    return _fenced(int, "quarantine", keys, [keys.due, keys.state, keys.quarantine, keys.ledger], fence, args)


def drop_manual(keys: Keys, fence: Fence, items: Sequence[Drop], ledger_size: int) -> Request[int]:
    """Remove manual items (:data:`PAGE` at most) that are not sent, or put them off."""
    args: list[Any] = [ledger_size, len(items)]
    for one in items:
        args += (one.item, "" if one.retry is None else score(one.retry), *counted(one.row))
    return _fenced(int, "drop_manual", keys, [keys.manual, keys.ledger], fence, args)


# --- the outbox ---


def outbox_load(keys: Keys, fence: Fence, cursor: str) -> Request[tuple[str, list[str]]]:
    """Some items of the outbox (id, item, ...), re-stamped as this term's, and where to go on ("0": that was all)."""
    return _fenced(lambda got: (str(got[0]), list(got[1])), "outbox_load", keys, [keys.outbox], fence, [cursor, 100])


def outbox_take(keys: Keys, fence: Fence, item_id: str, item: str) -> Request[bool]:
    """Take an item out before it is published at most once; whether this beat may publish it."""
    return _fenced(bool, "outbox_take", keys, [keys.outbox], fence, [item_id, item])


def outbox_done(keys: Keys, rows: Sequence[tuple[str, bool, list[Any]]], ledger_size: int) -> Request[int]:
    """Remove items by id, each with its ledger row; the flag: only if it was still there."""
    args: list[Any] = [ledger_size, len(rows)]
    for item_id, must, row in rows:
        args += (item_id, int(must), *counted(row))
    return Request(int, "outbox_done", [keys.outbox, keys.ledger], args)


def outbox_again(keys: Keys, fence: Fence, items: Sequence[tuple[str, str]]) -> Request[int]:
    """Have items rendered anew: each leaves the outbox, and its manual item is due now."""
    args = [keys.wake, len(items), *(word for item in items for word in item)]
    return _fenced(int, "outbox_again", keys, [keys.outbox, keys.manual], fence, args)


# --- the configuration ---


def config_mark(keys: Keys, fence: Fence, begun: str, mark: str) -> Request[bool]:
    """The configuration is synced; False when Redis no longer has what the sync began with."""
    return _fenced(bool, "config_mark", keys, [keys.config], fence, [begun, mark])


def leave_out(keys: Keys, fence: Fence, record: str) -> Request[int]:
    """Say which configured entries are not in force, and why ('' when all are)."""
    return _fenced(int, "left_out", keys, [keys.left_out], fence, [record])
