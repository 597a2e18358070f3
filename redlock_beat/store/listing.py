"""What listings ask Redis: each a bounded page, so that nobody who looks holds it for long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..clock import from_score, score
from .digests import digests
from .keys import Keys
from .requests import Request
from .values import Stored

#: Bytes of definitions in one answer, about: more would hold Redis for milliseconds.
BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Scanned:
    """A page of a walk over all entries, and the states that belong to the page before it."""

    cursor: str
    definitions: dict[str, str]
    states: list[str | None]


@dataclass(frozen=True, slots=True)
class Beside:
    """What stands beside some entries: who is in quarantine and why, what the configuration last said of each."""

    quarantine: list[str | None]
    configured: list[str | None]


@dataclass(frozen=True, slots=True)
class Summary:
    """The schedule in a few numbers."""

    lease: str | None
    entries: int
    #: Entries that are due and not yet sent.
    due: int
    quarantined: int


def page(keys: Keys, names: Sequence[str]) -> Request[list[Stored]]:
    """The first of some entries as they stand at one instant: one at least, and as many as are :data:`BYTES` long."""

    def parse(got: Any) -> list[Stored]:
        return list(map(Stored, names[: len(got[1])], *got[1:]))

    return Request(parse, "read_page", [keys.entries, keys.state, keys.due], [BYTES, *names])


def scan(keys: Keys, cursor: str, count: int, names: Sequence[str]) -> Request[Scanned]:
    """Some entries from *cursor* on, and the states of *names*: one round trip a page."""
    commands: list[Sequence[Any]] = [("HSCAN", keys.entries, cursor, "COUNT", count)]
    commands.append(("HMGET", keys.state, *names) if names else ("TIME",))  # two commands, so the answer is a list

    def parse(got: Any) -> Scanned:
        (where, found), states = got
        return Scanned(str(where), dict(found), list(states) if names else [])

    return Request(parse, commands=commands)


def beside(keys: Keys, names: Sequence[str]) -> Request[Beside]:
    """What stands beside some entries."""
    said = digests(keys, names)

    def parse(got: Any) -> Beside:
        known = said.read(got[1:])
        return Beside(list(got[0]), [known.get(name) for name in names])

    return Request(parse, commands=[("HMGET", keys.quarantine, *names), *said.commands])


def before(keys: Keys, instant: int) -> Request[int]:
    """How many entries are sent before an instant."""
    return Request(int, commands=[("ZCOUNT", keys.due, "-inf", f"({score(instant)}")])


def coming(keys: Keys, skip: int, count: int) -> Request[list[tuple[str, int]]]:
    """Names by when they are sent next, each with its instant, from a rank on: any place costs the same."""
    words = ("ZRANGE", keys.due, skip, skip + count - 1, "WITHSCORES")

    def parse(got: Any) -> list[tuple[str, int]]:
        return [(str(name), from_score(when)) for name, when in zip(got[::2], got[1::2], strict=True)]

    return Request(parse, commands=[words])


def quarantined(keys: Keys, cursor: str, count: int) -> Request[tuple[str, list[str]]]:
    """Names in quarantine, and where to go on ("0": that was all)."""
    words = ("HSCAN", keys.quarantine, cursor, "COUNT", count)
    return Request(lambda got: (str(got[0]), list(got[1])), commands=[words])


def summary(keys: Keys, now: int) -> Request[Summary]:
    """The schedule in a few numbers."""
    commands = [("GET", keys.lease), ("HLEN", keys.entries), ("ZCOUNT", keys.due, "-inf", score(now))]
    commands.append(("HLEN", keys.quarantine))
    return Request(lambda got: Summary(got[0], int(got[1]), int(got[2]), int(got[3])), commands=commands)
