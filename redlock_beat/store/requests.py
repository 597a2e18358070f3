"""What is asked of the schedule's Redis and how its answer reads: values, without a network.

Each function here makes one :class:`Step`: one round trip, a script or a few plain commands. A
store (:class:`~redlock_beat.store.store.Store`, :class:`~redlock_beat.store.store.AsyncStore`) takes it, so
that what users do is written once for both.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ..clock import MICROS, from_score, score
from ..entries.state import parse_state
from ..errors import Deposed
from .keys import Keys

#: Leave a field of an edit as it is; remove it.
KEEP, DROP = "=", "-"
#: What an edit may expect instead of a state: nothing there, something there, anything.
ABSENT, PRESENT, ANY = "", "+", "*"

#: What every script says for which the term is over.
DEPOSED = "DEPOSED"

#: Edits in one script: all or none of them, and well below 10 ms.
PAGE = 500

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Step(Generic[T]):
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


#: Something on its way: it asks for steps, is sent the answers, and ends with its result.
Asking = Generator[Step[Any], Any, T]


def counted(words: Sequence[Any]) -> list[Any]:
    """A list among the arguments of a script: its length and its words; see ``words.lua``."""
    return [len(words), *words]


@dataclass(frozen=True, slots=True)
class Fence:
    """A term as the scripts check it: the text of the lease, its epoch, its length."""

    text: str
    epoch: int
    ttl_ms: int

    @property
    def words(self) -> tuple[str, int, int]:
        """The first three arguments of every script that is called for a term."""
        return (self.text, self.epoch, self.ttl_ms)


#: What stands in the place of a fence where anybody may call, in no term.
NO_FENCE = Fence("", 0, 0)


@dataclass(frozen=True, slots=True)
class Held:
    """The lease as it stands in Redis: who holds the term.

    >>> Held.parse("a3 7 seen web-1:42").owner
    'web-1:42'
    """

    token: str
    epoch: int
    #: Whether the holder's own scripts see its subscription at this server.
    seen: bool
    owner: str

    @classmethod
    def parse(cls, text: str | None) -> Held | None:
        """What a text says; None when it is none, or rubbish."""
        words = (text or "").split(" ", 3)
        if len(words) < 4 or not words[1].isdigit():
            return None
        return cls(words[0], int(words[1]), words[2] == "seen", words[3])


@dataclass(slots=True)
class Edit:
    """One edit of one entry; see ``edit.lua``."""

    name: str
    expected: str
    definition: str = KEEP
    state: str = KEEP
    score: str = KEEP
    configured: str = KEEP
    archive: str = KEEP
    manual: list[tuple[str, str]] = field(default_factory=list)
    #: Only the definition changes, not how far the entry has come: then only uid and revision are
    #: compared, and a leader that moves the entry at the same time does not stand in the way.
    in_place: bool = False

    def words(self) -> list[Any]:
        """The arguments of the script."""
        expected, state = self.expected, self.state
        was = parse_state(expected) if self.in_place else None
        if was is not None:
            expected = f"@{was.uid} {was.revision}"
            if state not in (KEEP, DROP):
                state = f"~{state.split(' ')[1]}"
        out: list[Any] = [
            self.name, expected, self.definition, state, self.score, self.configured, self.archive, len(self.manual),
        ]  # fmt: skip
        for item, when in self.manual:
            out.extend((item, when))
        return out


@dataclass(frozen=True, slots=True)
class Stored:
    """An entry as it stands in Redis."""

    name: str
    definition: str | None
    state: str | None
    score: str | None


@dataclass(frozen=True, slots=True)
class Conflict:
    """An edit that was not applied: which, and the state that stands there now."""

    index: int
    state: str


def now(keys: Keys) -> Step[int]:
    """Redis's time."""
    return Step(lambda got: int(got[0]) * MICROS + int(got[1]), commands=[("TIME",)])


def led(keys: Keys) -> Step[bool]:
    """Whether a beat leads."""
    return Step(lambda got: got is not None, commands=[("GET", keys.lease)])


def size(keys: Keys) -> Step[int]:
    """How many entries there are."""
    return Step(int, commands=[("HLEN", keys.entries)])


def exists(keys: Keys, name: str) -> Step[bool]:
    """Whether there is an entry of this name."""
    return Step(bool, commands=[("HEXISTS", keys.entries, name)])


def read(keys: Keys, names: Sequence[str]) -> Step[tuple[int, list[Stored]]]:
    """Redis's time, and some entries (:data:`PAGE` at most) as they stand at that instant."""

    def parse(got: Any) -> tuple[int, list[Stored]]:
        return int(got[0]), [Stored(name, *got[1 + 3 * i : 4 + 3 * i]) for i, name in enumerate(names)]

    return Step(parse, "read", [keys.entries, keys.state, keys.due], names)


def names(keys: Keys, cursor: str, match: str | None, count: int) -> Step[tuple[str, list[str]]]:
    """Some names, and where to go on ("0": that was all); a name may come twice if the hash shrinks meanwhile."""
    words = ["HSCAN", keys.entries, cursor, *(("MATCH", match) if match else ()), "COUNT", count]
    return Step(lambda got: (str(got[0]), list(got[1])), commands=[words])


def some(key: str, fields: Sequence[str]) -> Step[list[str | None]]:
    """Some fields of a hash."""
    return Step(list, commands=[("HMGET", key, *fields)])


def pairs(key: str, cursor: str, count: int) -> Step[tuple[str, dict[str, str]]]:
    """Some fields of a hash with their values, and where to go on ("0": that was all)."""
    return Step(lambda got: (str(got[0]), dict(got[1])), commands=[("HSCAN", key, cursor, "COUNT", count)])


def waiting(keys: Keys, skip: int, count: int) -> Step[list[str]]:
    """Some items of ``manual``, those sent last first: what a leader takes meanwhile does not move them."""
    return Step(list, commands=[("ZRANGE", keys.manual, -skip - count, -skip - 1)])


def edit(
    keys: Keys,
    edits: Sequence[Edit],
    *,
    request: str | None = None,
    fence: Fence | None = None,
    each: bool = False,
    config: str = KEEP,
) -> Step[Conflict | list[int]]:
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

    return Step(parse, "edit", names_of, args, writes=True)


def ledger(keys: Keys, low: str, high: str, count: int, newest_first: bool) -> Step[list[tuple[str, dict[str, str]]]]:
    """Some rows of the ledger between two row ids: (id, row)."""
    order = ("XREVRANGE", keys.ledger, high, low) if newest_first else ("XRANGE", keys.ledger, low, high)
    return Step(lambda got: list(got or ()), commands=[(*order, "COUNT", count)])


def ledger_news(keys: Keys, after: str, count: int, wait_ms: int) -> Step[list[tuple[str, dict[str, str]]]]:
    """Rows of the ledger after a row id; waits for some, so long at most (0: not at all)."""
    block = ("BLOCK", wait_ms) if wait_ms else ()
    words = ["XREAD", "COUNT", count, *block, "STREAMS", keys.ledger, after]

    def parse(got: Any) -> list[tuple[str, dict[str, str]]]:
        streams = list(got.values()) if isinstance(got, dict) else [one[1] for one in got or ()]
        return list(streams[0]) if streams else []

    return Step(parse, commands=[words])


@dataclass(frozen=True, slots=True)
class Census:
    """What tells one schedule from another, and from what is left of it: whose it is, its term, its size."""

    application: str
    epoch: int
    entries: int


def census(keys: Keys) -> Step[Census]:
    """Whose schedule it is, and how much of it there is."""
    return Step(
        lambda got: Census(str(got[0] or ""), int(got[1] or 0), int(got[2])),
        commands=[("GET", keys.application), ("GET", keys.epoch), ("HLEN", keys.entries)],
    )


def acknowledge(keys: Keys) -> Step[str | None]:
    """Somebody has taken note of what Redis has lost; what that was, or None."""
    return Step(lambda got: got, commands=[("GETDEL", keys.loss)], writes=True)


def by_hand(keys: Keys, cursor: str, count: int) -> Step[tuple[str, list[tuple[str, int]]]]:
    """Some manual items with when they are sent, and where to go on ("0": that was all); one may come twice."""
    return Step(
        lambda got: (str(got[0]), [(str(item), from_score(when)) for item, when in got[1]]),
        commands=[("ZSCAN", keys.manual, cursor, "COUNT", count)],
    )


def cancel(keys: Keys, items: Sequence[str], ledger_size: int, row: Sequence[Any]) -> Step[int]:
    """Cancel manual items; how many were there."""
    return Step(int, "cancel", [keys.manual, keys.ledger], [ledger_size, *counted(items), *counted(row)], writes=True)


def outbox_sample(keys: Keys) -> Step[list[str]]:
    """Some items of the outbox."""
    return Step(lambda got: list(got[1].values()), commands=[("HSCAN", keys.outbox, 0, "COUNT", 100)])


@dataclass(frozen=True, slots=True)
class Standing:
    """How things stand, as read in one go."""

    now: int
    lease: str | None
    lease_left_ms: int
    epoch: int
    entries: int
    overdue: int
    oldest: int | None
    manual: int
    outbox: int
    quarantine: dict[str, str]
    beats: dict[str, str]
    #: What the leader says of the configured entries that are not in force.
    left_out: str | None = None
    #: What Redis has lost lately, as a beat noticed it.
    loss: str | None = None
    #: What waits to be sent by hand, due or not.
    waiting: int = 0


def standing(keys: Keys, now: int) -> Step[Standing]:
    """How things stand."""

    def parse(got: Any) -> Standing:
        text, left, epoch, entries, overdue, oldest, manual, outbox, quarantine, beats, left_out, loss, waiting = got
        return Standing(
            now, text, max(0, int(left)), int(epoch or 0), int(entries), int(overdue),
            from_score(oldest[1]) if oldest else None, int(manual), int(outbox), dict(quarantine), dict(beats),
            left_out, loss, int(waiting),
        )  # fmt: skip

    return Step(parse, commands=[
        ("GET", keys.lease), ("PTTL", keys.lease), ("GET", keys.epoch), ("HLEN", keys.entries),
        ("ZCOUNT", keys.due, "-inf", score(now)), ("ZRANGE", keys.due, 0, 0, "WITHSCORES"),
        ("ZCOUNT", keys.manual, "-inf", score(now)), ("HLEN", keys.outbox), ("HGETALL", keys.quarantine),
        ("HGETALL", keys.beats), ("GET", keys.left_out),
        ("GET", keys.loss),
        ("ZCARD", keys.manual),
    ])  # fmt: skip
