"""What to ask the schedule's Redis, and how to read the answer: values, without a network.

Each function makes one :class:`Request`: one round trip, with a script or a few plain commands. A store
(:class:`~redlock_beat.store.store.Store`, :class:`~redlock_beat.store.store.AsyncStore`) sends it, so what users do is
written once for both.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any, Generic, TypeVar

from ..clock import MICROS, from_score, score
from ..errors import Deposed, OnHold, UnsupportedServer
from ..quickjson import read_text, write_texts
from .countdown import KeptCall, Sending
from .keys import Keys
from .values import (
    KEEP,
    NO_FENCE,
    Census,
    CommitItem,
    Conflict,
    Drop,
    Due,
    DueItem,
    Edit,
    FailedRuns,
    Fence,
    Hello,
    Look,
    OwnRun,
    Quarantined,
    Run,
    RunReport,
    Snapshot,
    Stored,
    Swept,
    counted,
)

#: The answer of every script for which the term is over.
DEPOSED = "DEPOSED"
#: The answer of a script that sends, while everything is held.
HELD = "HELD"

#: Edits in one script: all or none of them, and well below 10 ms.
PAGE = 500
#: Reports of the quarantine that a snapshot has: each holds a whole definition.
REPORTS = 100

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request(Generic[T]):
    """One round trip: a script with its keys and arguments, or plain commands; and how to read the answer."""

    read: Callable[[Any], T]
    script: str = ""
    keys: Sequence[str] = ()
    args: Sequence[Any] = ()
    commands: Sequence[Sequence[Any]] = ()
    #: Whether it changes something: then the outcome is unknown when the answer is lost.
    writes: bool = False

    def answer(self, got: Any) -> T:
        """Read an answer; :class:`Deposed` or :class:`OnHold` when a script says so, and did nothing."""
        if got == DEPOSED:
            raise Deposed
        if got == HELD:
            raise OnHold
        return self.read(got)


#: An operation: it yields requests, gets the answers, and ends with its result.
Operation = Generator[Request[Any], Any, T]


def now(keys: Keys) -> Request[int]:
    """Redis's time."""
    return Request(lambda got: int(got[0]) * MICROS + int(got[1]), commands=[("TIME",)])


def size(keys: Keys) -> Request[int]:
    """How many entries there are."""
    return Request(int, commands=[("HLEN", keys.entries)])


def exists(keys: Keys, name: str) -> Request[bool]:
    """Whether there is an entry of this name."""
    return Request(bool, commands=[("HEXISTS", keys.entries, name)])


def read(keys: Keys, names: Sequence[str]) -> Request[tuple[int, list[Stored]]]:
    """Redis's time, and some entries (:data:`PAGE` at most) as they stand at that instant."""

    def parse(got: Any) -> tuple[int, list[Stored]]:
        return int(got[0]), list(map(Stored, names, *got[1:]))

    return Request(parse, "read", [keys.entries, keys.state, keys.due], names)


def names(keys: Keys, cursor: str, match: str | None, count: int) -> Request[tuple[str, list[str]]]:
    """Some names, and where to go on ("0": that was all). A name may come twice if the hash shrinks meanwhile."""
    words = ["HSCAN", keys.entries, cursor, *(("MATCH", match) if match else ()), "COUNT", count]
    return Request(lambda got: (str(got[0]), list(got[1])), commands=[words])


def some(key: str, fields: Sequence[str]) -> Request[list[str | None]]:
    """Some fields of a hash."""
    return Request(list, commands=[("HMGET", key, *fields)])


def note_loaded(keys: Keys, digests: Mapping[str, str]) -> Request[None]:
    """Note what defaults said when they were loaded."""
    words = [word for pair in digests.items() for word in pair]
    return Request(lambda got: None, commands=[("HSET", keys.loaded, *words)], writes=True)


def pairs(key: str, cursor: str, count: int) -> Request[tuple[str, dict[str, str]]]:
    """Some fields of a hash with their values, and where to go on ("0": that was all)."""
    return Request(lambda got: (str(got[0]), dict(got[1])), commands=[("HSCAN", key, cursor, "COUNT", count)])


def newest_manual(keys: Keys, skip: int, count: int) -> Request[list[str]]:
    """Some manual items, the latest first: what a leader sends meanwhile does not move them."""
    return Request(list, commands=[("ZRANGE", keys.manual, -skip - count, -skip - 1)])


def edit(
    keys: Keys,
    edits: Sequence[Edit],
    *,
    request: str | None = None,
    fence: Fence | None = None,
    each: bool = False,
    config: str = KEEP,
    log_size: int = 0,
) -> Request[Conflict | list[int]]:
    """Apply edits, all or none (or, with *each*, those that compare; the indexes left out are returned).

    Their rows go to the edit log, which keeps *log_size* of them.
    """
    names_of = [keys.lease, keys.epoch, keys.entries, keys.state, keys.due, keys.digests, keys.configured]
    names_of += [keys.archive, keys.quarantine, keys.manual, keys.config, keys.slow, keys.edit_log, keys.failures]
    if request is not None:
        names_of.append(keys.request(request))
    args: list[Any] = [*(fence or NO_FENCE).words, keys.wake, "each" if each else "all", config, log_size]
    args.append(json.dumps([one.words() for one in edits], ensure_ascii=False))

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
        lambda got: Census(str(got[0] or ""), int(got[1] or 0), int(got[2]), str(got[3] or "")),
        commands=[("GET", keys.application), ("GET", keys.epoch), ("HLEN", keys.entries), ("GET", keys.layout)],
    )


def form_claim(keys: Keys, form: str, token: str) -> Request[str]:
    """Claim a form of a page for five minutes; whose it is: *token* for the first of its id, also when asked again."""
    key = keys.request(f"form-{form}")
    words = ("SET", key, token, "NX", "PX", 300_000)
    return Request(lambda got: str(got[1] or token), commands=[words, ("GET", key)])


def form_unclear(keys: Keys, form: str, mark: str) -> Request[Any]:
    """Nobody knows whether a form took effect: its claim is now *mark*'s, so that whoever sends it again is told."""
    return Request(_same, commands=[("SET", keys.request(f"form-{form}"), mark, "XX", "KEEPTTL")])


def form_free(keys: Keys, form: str) -> Request[int]:
    """A form changed nothing: it may be sent again."""
    return Request(int, commands=[("DEL", keys.request(f"form-{form}"))])


def acknowledge(keys: Keys, log_size: int, row: Sequence[Any], request: str) -> Request[str | None]:
    """Acknowledge what Redis has lost, with a row of the edit log; what that was, or None."""
    there = [keys.loss, keys.edit_log, keys.request(request)]
    args = [log_size, *counted(row)]
    return Request(lambda got: str(got) or None, "acknowledge", there, args, writes=True)


def manual_page(keys: Keys, cursor: str, count: int) -> Request[tuple[str, list[tuple[str, int]]]]:
    """Some manual items with when they are sent, and where to go on ("0": that was all); one may come twice."""
    return Request(
        lambda got: (str(got[0]), [(str(item), from_score(when)) for item, when in got[1]]),
        commands=[("ZSCAN", keys.manual, cursor, "COUNT", count)],
    )


def cancel(
    keys: Keys,
    items: Sequence[str],
    ledger_size: int,
    log_size: int,
    row: Sequence[Any],
    log_row: Sequence[Any],
    request: str,
) -> Request[int]:
    """Cancel manual items, with a row of the ledger and of the edit log; how many were there."""
    args = [ledger_size, log_size, *counted(items), *counted(row), *counted(log_row)]
    names_of = [keys.manual, keys.ledger, keys.edit_log, keys.request(request)]
    return Request(int, "cancel", names_of, args, writes=True)


def edit_log(keys: Keys, low: str, high: str, count: int) -> Request[list[tuple[str, dict[str, str]]]]:
    """Some rows of the edit log between two row ids, newest first: (id, row)."""
    words = ("XREVRANGE", keys.edit_log, high, low, "COUNT", count)
    return Request(lambda got: list(got or ()), commands=[words])


def outbox_sample(keys: Keys) -> Request[list[str]]:
    """Some items of the outbox."""
    return Request(lambda got: list(got[1].values()), commands=[("HSCAN", keys.outbox, 0, "COUNT", 100)])


def snapshot(keys: Keys, now: int) -> Request[Snapshot]:
    """The whole schedule at one moment."""
    until_now = ("-inf", score(now))
    first_of = (0, 0, "WITHSCORES")
    #: Field of the snapshot -> the command that asks for it, and how its answer reads.
    table: dict[str, tuple[tuple[Any, ...], Callable[[Any], Any]]] = {
        "lease": (("GET", keys.lease), _same),
        "lease_left_ms": (("PTTL", keys.lease), lambda left: max(0, int(left))),
        "epoch": (("GET", keys.epoch), lambda epoch: int(epoch or 0)),
        "entries": (("HLEN", keys.entries), int),
        "overdue": (("ZCOUNT", keys.due, *until_now), int),
        "oldest": (("ZRANGE", keys.due, *first_of), _first_score),
        "manual": (("ZCOUNT", keys.manual, *until_now), int),
        "outbox": (("HLEN", keys.outbox), int),
        "quarantine": (("HRANDFIELD", keys.quarantine, REPORTS, "WITHVALUES"), _pairs),
        "quarantined": (("HLEN", keys.quarantine), int),
        "beats": (("HGETALL", keys.beats), dict),
        "left_out": (("GET", keys.left_out), _same),
        "loss": (("GET", keys.loss), _same),
        "hold": (("HGETALL", keys.hold), dict),
        "waiting": (("ZCARD", keys.manual), int),
        "countdowns": (("ZCARD", keys.countdowns), int),
        "countdowns_due": (("ZCOUNT", keys.countdowns, *until_now), int),
        "first_countdown": (("ZRANGE", keys.countdowns, *first_of), _first_score),
        "workers": (("ZCOUNT", keys.workers, score(now), "+inf"), int),
        "running": (("HLEN", keys.runs), int),
        "failing": (("HSCAN", keys.failures, 0, "COUNT", 200), _counts),
        "failing_total": (("HLEN", keys.failures), int),
        "locks": (("ZCOUNT", keys.lock_ends, now // 1000, "+inf"), int),
    }

    def parse(got: Any) -> Snapshot:
        values = {name: read(answer) for (name, (_, read)), answer in zip(table.items(), got, strict=True)}
        return Snapshot(now=now, **values)

    return Request(parse, commands=[command for command, _ in table.values()])


def _same(got: Any) -> Any:
    return got


def _first_score(got: Any) -> int | None:
    return from_score(got[1]) if got else None


def _pairs(got: Any) -> dict[str, str]:
    """Fields with their values, as either protocol gives them."""
    got = got or []
    return dict(got) if got and not isinstance(got[0], str) else dict(zip(got[::2], got[1::2], strict=True))


def _counts(got: Any) -> dict[str, int]:
    return {name: int(many) for name, many in dict(got[1]).items()}


# --- calls that are kept until their time ---


def countdown_keep(keys: Keys, call: KeptCall, most: int, soon: float) -> Request[tuple[int, str]]:
    """Keep a call; Redis's time, and ``kept``, ``full`` (there are *most* already) or ``due``.

    *soon*: a beat is woken for a call that is due within so many seconds.
    """
    args = [keys.wake, most, soon, call.id, score(call.due), call.text()]
    there = [keys.countdowns, keys.countdown_items, keys.request(f"keep-{call.id}-{call.token}")]
    return Request(lambda got: (int(got[0]), str(got[1])), "countdown_keep", there, args, writes=True)


def countdown_cancel(
    keys: Keys, ids: Sequence[str], ledger_size: int, row: Sequence[Any], request: str
) -> Request[list[str]]:
    """Cancel calls that are kept (:data:`PAGE` at most); the ids of those that were."""
    names_of = [keys.countdowns, keys.countdown_items, keys.ledger, keys.request(request)]
    args = [ledger_size, *counted(ids), *counted(row)]
    return Request(lambda got: list(json.loads(got)), "countdown_cancel", names_of, args, writes=True)


def countdown_page(keys: Keys, low: str, skip: int, count: int) -> Request[list[tuple[str, str, str]]]:
    """Some calls that are kept, soonest first, from a score on: id, score, and the head of the item."""

    def parse(got: Any) -> list[tuple[str, str, str]]:
        return [(str(got[i]), str(got[i + 1]), str(got[i + 2])) for i in range(0, len(got), 3)]

    return Request(parse, "countdown_page", [keys.countdowns, keys.countdown_items], [low, skip, count])


def countdown_due(keys: Keys, fence: Fence, limit: int) -> Request[list[tuple[str, str]]]:
    """Calls whose time has come, soonest first: id and item."""

    def parse(got: Any) -> list[tuple[str, str]]:
        return [(str(got[i]), str(got[i + 2])) for i in range(1, len(got), 3)]

    return _sending(parse, "countdown_due", keys, [keys.countdowns, keys.countdown_items], fence, [limit])


def countdown_send(
    keys: Keys, fence: Fence, calls: Sequence[Sending], ledger_size: int, broker_db: int, token: str, heartbeat: str
) -> Request[list[str]]:
    """Send calls whose time has come, or put them off; what became of each."""
    args: list[Any] = [ledger_size, broker_db, keys.db, token, heartbeat, len(calls)]
    for one in calls:
        args += one.words()
    others = [keys.countdowns, keys.countdown_items, keys.ledger, keys.beats, keys.outbox]
    return _sending(lambda got: [str(one) for one in got], "countdown_send", keys, others, fence, args)


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


def _sending(
    read: Callable[[Any], T], script: str, keys: Keys, others: Sequence[str], fence: Fence, args: Sequence[Any] = ()
) -> Request[T]:
    """A script that sends for a term: its third key is the hold."""
    return _fenced(read, script, keys, [keys.hold, *others], fence, args)


def look(keys: Keys, token: str, heartbeat: str) -> Request[Look]:
    """Who leads; writes the heartbeat of this replica when one is given."""

    def parse(got: Any) -> Look:
        held, left, holder, own, uptime, replid, now = got
        return Look(str(held), int(left), bool(holder), bool(own), int(uptime), str(replid), int(now))

    return Request(parse, "look", [keys.lease, keys.beats], [token, heartbeat])


def acquire(
    keys: Keys, token: str, ttl_ms: int, owner: str, lowest: int, steal: str = ""
) -> Request[tuple[Fence | str, bool, bool]]:
    """Stand for election: the fence of the term, or the text of the lease that another holds.

    And whether the server sees the own subscription, and whether everything is held (of a term that is won).
    """

    def parse(got: Any) -> tuple[Fence | str, bool, bool]:
        won, epoch, text, seen, *held = got
        return Fence(str(text), int(epoch), ttl_ms) if won == 1 else str(text), bool(seen), bool(held and held[0])

    return Request(parse, "acquire", [keys.lease, keys.epoch, keys.hold], [token, ttl_ms, owner, lowest, steal])


def renew(keys: Keys, fence: Fence, ttl_ms: int | None = None) -> Request[bool]:
    """Renew the term, perhaps for longer; whether it allows to send, and not everything is held."""
    return _fenced(bool, "renew", keys, [keys.hold], replace(fence, ttl_ms=ttl_ms or fence.ttl_ms))


def release(keys: Keys, fence: Fence | None, token: str) -> Request[bool]:
    """Give the term back and tell the others; whether it was held."""
    return _fenced(bool, "release", keys, [keys.beats], fence or NO_FENCE, [token, keys.wake])


def introduce(keys: Keys, fence: Fence, application: str) -> Request[str]:
    """Write the application's name where there is none; the name that is there."""
    return _fenced(lambda got: str(got[0]), "introduce", keys, [keys.application], fence, [application])


# --- dispatch ---


def due(
    keys: Keys, fence: Fence, limit: int, token: str = "", heartbeat: str = "", skip: tuple[int, int] = (0, 0)
) -> Request[Due]:
    """What is due now, but for the first entries and the first waiting items. Carries a heartbeat along."""
    k = keys
    others = [k.due, k.state, k.manual, k.outbox, k.beats, k.entries, k.quarantine, k.config, k.countdowns, k.hold]
    return _fenced(_due, "due", keys, others, fence, [limit, token, heartbeat, *skip])


def _due(got: Any) -> Due:
    now, ahead, outbox, names, scores, states, texts, manual, total, backlog, quarantined, *here = got
    entries: list[DueItem] = []
    if names:
        found = read_text(names)
        columns = (found, read_text(scores), read_text(states), _definitions(texts, len(found)))
        entries = [DueItem(name, when, state or "", data) for name, when, state, data in zip(*columns, strict=True)]
    return Due(
        int(now),
        from_score(ahead) if ahead else None,
        int(outbox),
        entries,
        [(manual[i], manual[i + 1]) for i in range(0, len(manual), 2)],
        int(total),
        int(backlog),
        int(quarantined),
        str(here[0]),
        str(here[1]),
        bool(here[2]),
        str(here[3]),
        int(here[4]),
        int(here[5]),
        str(here[6]),
        int(here[7]) if here[7].isdecimal() else None,
    )


def _definitions(texts: str, count: int) -> list[Any]:
    """Definitions out of one text; when one of them is rubbish, none: each is then read by itself."""
    if texts:
        try:
            found = read_text(texts)
            if len(found) == count:
                return list(found)
        except (ValueError, RecursionError):
            pass
    return [None] * count


def definitions(keys: Keys, names: Sequence[str]) -> Request[list[tuple[Any, str]]]:
    """The definition and state of some entries at one instant; None for a definition that is not there.

    When one of them is rubbish, all are None: each is then read by itself.
    """

    def parse(got: Any) -> list[tuple[Any, str]]:
        states = [state or "" for state in json.loads(got[1])]
        return list(zip(_definitions(got[0], len(states)), states, strict=True))

    return Request(parse, "definitions", [keys.entries, keys.state], [json.dumps(names, ensure_ascii=False)])


def commit(
    keys: Keys, fence: Fence, items: Sequence[CommitItem], ledger_size: int, broker_db: int, beat: tuple[str, str, str]
) -> Request[list[str]]:
    """Turn due slots into sent ones, each by itself; what became of each. *beat*: token, heartbeat, owner."""
    k = keys
    args: list[Any] = [ledger_size, broker_db, k.db, *beat, len(items)]
    for one in items:
        args += one.words(broker_db != k.db)
    others = [
        k.due,
        k.state,
        k.entries,
        k.ledger,
        k.manual,
        k.beats,
        k.outbox,
        k.workers,
        k.claims,
        k.buffered,
        k.cancelling,
    ]
    return _sending(lambda got: [str(one) for one in got], "commit", keys, others, fence, args)


def commit_many(
    keys: Keys,
    fence: Fence,
    lists: dict[str, list[CommitItem]],
    ledger_size: int,
    broker_db: int,
    beat: tuple[str, str, str],
) -> Request[tuple[str, str]]:
    """The same for items that are one message for one list each: a letter for each, and why any failed."""
    k = keys
    items = [one for group in lists.values() for one in group]
    occurrences = [one.occurrence for one in items]
    columns: dict[str, list[Any]] = {
        "q": [[key, len(group)] for key, group in lists.items()],
        "n": [one.name for one in occurrences],
        "s": [one.expected for one in items],
        "t": [one.state for one in items],
        "a": [one.score_after for one in items],
        "u": [one.state_after for one in items],
        "i": [one.id for one in occurrences],
        "m": [str(one.nominal) for one in occurrences],
    }
    if any(map(attrgetter("source"), occurrences)):
        columns["h"] = [one.source for one in occurrences]
        if any(map(attrgetter("claimed"), items)):
            columns["b"] = [one.claimed[0].id if one.claimed else "" for one in items]
    if any(map(attrgetter("overlap"), items)):
        columns["o"] = [str(one.overlap.limit) if one.overlap else "" for one in items]
        columns["k"] = ["1" if one.overlap and one.overlap.policy == "skip" else "" for one in items]
    args = [ledger_size, broker_db, k.db, *beat, write_texts(columns), *[one.message for one in items]]
    others = [k.due, k.state, k.entries, k.ledger, k.beats, k.outbox, k.manual, k.workers, k.claims, k.buffered]
    return _sending(lambda got: (str(got[0]), str(got[1])), "commit_many", keys, others, fence, args)


def put_off(
    keys: Keys, fence: Fence, entries: Sequence[tuple[str, str, str, int]], manual: Sequence[tuple[str, int]]
) -> Request[int]:
    """Put off entries (name, expected score and state, until when) and manual items."""
    args: list[Any] = [len(entries)]
    for name, expected, state, until in entries:
        args += (name, expected, state, score(until))
    args.append(len(manual))
    for item, until in manual:
        args += (item, score(until))
    return _fenced(int, "put_off", keys, [keys.due, keys.state, keys.manual], fence, args)


def quarantine(keys: Keys, fence: Fence, entries: Sequence[Quarantined], ledger_size: int) -> Request[int]:
    """Note entries in quarantine; how many, for one that has changed meanwhile is left alone."""
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
    return _sending(bool, "outbox_take", keys, [keys.outbox], fence, [item_id, item])


def outbox_done(keys: Keys, rows: Sequence[tuple[str, bool, list[Any]]], ledger_size: int) -> Request[int]:
    """Remove items by id, each with its ledger row; the flag: only if it was still there."""
    # One text: it takes a sixth of the time that redis-py needs to pack the words one by one.
    items = [(item_id, must, [str(word) for word in row]) for item_id, must, row in rows]
    return Request(int, "outbox_done", [keys.outbox, keys.ledger], [ledger_size, json.dumps(items, ensure_ascii=False)])


def outbox_again(
    keys: Keys, fence: Fence, items: Sequence[tuple[str, str, str, list[Any]]], ledger_size: int
) -> Request[int]:
    """Have items rendered anew: each, by its id and its text, leaves the outbox, and its manual item is due now.

    Without a manual item it is given up, with a row of the ledger.
    """
    args = [keys.wake, ledger_size, len(items)]
    for item_id, stamped, manual_item, row in items:
        args += (item_id, stamped, manual_item, *counted(row))
    return _fenced(int, "outbox_again", keys, [keys.outbox, keys.manual, keys.ledger], fence, args)


# --- workers ---


def worker(keys: Keys, token: str, ttl_ms: int) -> Request[int]:
    """A worker says that it lives, for so long from now; 0: that it goes. Redis's time."""
    return Request(int, "worker", [keys.workers], [token, ttl_ms], writes=True)


def report(
    keys: Keys, token: str, worker: str, reports: Sequence[RunReport], ledger_size: int, request: str
) -> Request[tuple[int, list[FailedRuns]]]:
    """A worker tells what became of runs: Redis's time, and of which entries as many failed in a row as they allow."""
    args = [ledger_size, keys.wake, token, worker, request, json.dumps([one.words() for one in reports])]
    names_of = [*_run_keys(keys), keys.request(f"report-{token}")]

    def parse(got: Any) -> tuple[int, list[FailedRuns]]:
        return int(got[0]), [FailedRuns(*one) for one in got[1]]

    return Request(parse, "report", names_of, args, writes=True)


def begin(keys: Keys, token: str, worker: str, run: Run, ledger_size: int) -> Request[tuple[str, str]]:
    """Whether a run may begin: ``go``, ``wait``, ``overtaken`` or ``repeat``, and the id of the run that decides it."""
    args = [ledger_size, token, worker, run.id, run.entry, run.nominal, run.claim, run.limit, run.tries]
    names_of = [keys.workers, keys.claims, keys.begun, keys.ledger]
    return Request(lambda got: (str(got[0]), str(got[1])), "begin", names_of, args, writes=True)


def sweep(keys: Keys, token: str, runs: str, claims: str, count: int, ledger_size: int, request: str) -> Request[Swept]:
    """A worker looks through some of the runs and claims: what the dead have left is noted and freed."""

    def parse(got: Any) -> Swept:
        runs_at, claims_at, mine, failed, lost = got
        own = [OwnRun(*mine[i : i + 4]) for i in range(0, len(mine), 4)]
        gone = [tuple(map(str, lost[i : i + 4])) for i in range(0, len(lost), 4)]
        return Swept(str(runs_at), str(claims_at), own, [FailedRuns(*one) for one in failed], gone)

    args = [ledger_size, keys.wake, token, runs, claims, count, request]
    return Request(parse, "sweep", [*_run_keys(keys), keys.request(f"sweep-{token}")], args, writes=True)


def _run_keys(keys: Keys) -> list[str]:
    k = keys
    return [k.workers, k.runs, k.claims, k.buffered, k.manual, k.due, k.ledger, k.failures, k.entries, k.state]


# --- the configuration ---


def config_mark(keys: Keys, fence: Fence, begun: str, mark: str) -> Request[bool]:
    """Mark the configuration as synced; False when Redis no longer has what the sync began with."""
    return _fenced(bool, "config_mark", keys, [keys.config], fence, [begun, mark])


def leave_out(keys: Keys, fence: Fence, record: str) -> Request[int]:
    """Record which configured entries are not in force, and why ('' when all are)."""
    return _fenced(int, "left_out", keys, [keys.left_out], fence, [record])
