"""The requests of tasks' locks and cooldowns, and what they answer: values, without a network.

A lock belongs to a task and a key of its arguments, by a digest of both. Its holder is a task's id.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .keys import Keys
from .requests import Request
from .values import counted

#: Milliseconds for which an id is remembered that must not run: its message may wait in a queue for as long.
REMEMBER = 3_600_000
#: Locks that one script renews.
PAGE = 200


@dataclass(frozen=True, slots=True)
class Who:
    """Whose lock: the digest of task and key, the id of the call, and what people are shown of both."""

    digest: str
    id: str
    task: str
    shown: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a script says of a lock: ``taken``, ``held``, ``cooling``; or ``run``, ``again``, ``free``, ``superseded``,
    ``ran``. *about* is the id of the holder (of the call replaced, where it is taken), or the ms of cooldown left."""

    word: str
    about: str = ""


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock as it stands.

    >>> Lock.parse("d1", '{"id": "7", "phase": "waiting", "since": 1000, "ends": 31000, "task": "t"}', 1000)
    Lock(digest='d1', task='t', shown='', holder='7', phase='waiting', since=1.0, ends=31.0, worker='', next='')
    """

    digest: str
    task: str
    #: The key in short, for people.
    shown: str
    #: The task id that holds it.
    holder: str
    #: ``taken`` (its message is being sent), ``waiting`` or ``running``.
    phase: str
    #: Since when it is in this phase, and when it lapses unless it is renewed (unix seconds).
    since: float
    ends: float
    worker: str
    #: The id of the call that waits for this one to end; '' for none.
    next: str

    @classmethod
    def parse(cls, digest: str, text: str, now_ms: int) -> Lock | None:
        """The lock that a text tells of; None when it has lapsed, or does not read as one."""
        try:
            data = json.loads(text)
            ends, next_ends = _ms(data["ends"]), _ms(data.get("next_ends"))
            if ends <= now_ms:
                if next_ends <= now_ms:
                    return None
                data = {**data, "id": data["next"], "phase": "waiting", "since": ends, "worker": "", "next": ""}
                ends = next_ends
            return cls(
                digest,
                str(data.get("task") or ""),
                str(data.get("shown") or ""),
                str(data["id"]),
                str(data["phase"]),
                _ms(data.get("since")) / 1000,
                ends / 1000,
                str(data.get("worker") or ""),
                str(data.get("next") or "") if next_ends > now_ms else "",
            )
        except (ValueError, TypeError, KeyError, AttributeError):
            return None


#: The last millisecond that a datetime has.
_LAST_MS = 253_402_300_799_999.0


def _ms(value: Any) -> float:
    """Milliseconds, such as a datetime can show; ValueError when it is no number."""
    found = float(value or 0)
    if math.isnan(found):
        raise ValueError("it is no time")
    return min(max(found, 0.0), _LAST_MS)


def _answer(got: Any) -> Answer:
    return Answer(str(got[0]), str(got[1]) if len(got) > 1 else "")


def take(
    keys: Keys, who: Who, call: str, *, cools: bool, takes: bool, replaces: bool, sending_ms: int, remember_ms: int
) -> Request[Answer]:
    """A call is made: it takes the lock, or learns who holds it. *call* tells it from others with its id."""
    return Request(
        _answer,
        "lock_take",
        [keys.locks, keys.lock_ends, keys.aside, keys.cooldowns],
        [who.digest, who.id, call, int(cools), int(takes), int(replaces), sending_ms, remember_ms, who.task, who.shown],
    )


def sent(keys: Keys, calls: Sequence[tuple[Who, int]]) -> Request[int]:
    """The messages of calls (:data:`PAGE` at most) are with the broker: each may wait so many ms; how many hold."""
    args: list[Any] = [len(calls)]
    for who, wait_ms in calls:
        args += counted([who.digest, who.id, wait_ms])
    return Request(int, "lock_sent", [keys.locks, keys.lock_ends], args)


def start(keys: Keys, who: Who, run: str, *, ends_here: bool, looks: bool, ttl_ms: int, worker: str) -> Request[Answer]:
    """A worker is about to run a call."""
    return Request(
        _answer,
        "lock_start",
        [keys.locks, keys.lock_ends, keys.aside],
        [who.digest, who.id, run, int(ends_here), int(looks), ttl_ms, worker, who.task, who.shown],
    )


def retry(keys: Keys, who: Who, run: str, wait_ms: int) -> Request[bool]:
    """A run is about to send itself again; False when another holds the lock."""
    return Request(
        bool, "lock_retry", [keys.locks, keys.lock_ends], [who.digest, who.id, run, wait_ms, who.task, who.shown]
    )


def end(keys: Keys, who: Who, run: str, cooldown_ms: int = 0, request: str = "") -> Request[bool]:
    """A call has ended; *run* is '' for one that does not run, '*' for any, '@' and a token for any of that worker.

    Whoever repeats it after a lost answer gives it an id of its own, *request*.
    """
    names_of = [keys.locks, keys.lock_ends, keys.aside, keys.cooldowns]
    if request:
        names_of.append(keys.request(request))
    return Request(bool, "lock_end", names_of, [who.digest, who.id, run, cooldown_ms, REMEMBER], writes=True)


def renew(keys: Keys, held: Sequence[Who], *, ttl_ms: int, worker: str) -> Request[int]:
    """A worker renews the locks (:data:`PAGE` at most) of what it runs; how many it holds."""
    args: list[Any] = [ttl_ms, worker, len(held)]
    for who in held:
        args += counted([who.digest, who.id, who.task])
    return Request(int, "lock_renew", [keys.locks, keys.lock_ends, keys.workers], args)


def look(keys: Keys, digest: str) -> Request[tuple[Lock | None, float]]:
    """Who holds a lock, and the seconds of cooldown that are left."""

    def parse(got: Any) -> tuple[Lock | None, float]:
        text, now, cool = str(got[0]), int(got[1]), int(got[2])
        return Lock.parse(digest, text, now) if text else None, max(0, cool - now) / 1000

    return Request(parse, "lock_look", [keys.locks, keys.cooldowns], [digest])


def free(keys: Keys, digest: str) -> Request[str]:
    """Free a lock, whoever holds it; the id of its holder, or ''."""
    return Request(str, "lock_free", [keys.locks, keys.lock_ends], [digest])


def cool(keys: Keys, digest: str, cooldown_ms: int) -> Request[int]:
    """Calls like one are ignored for so long; 0: no longer."""
    return Request(int, "cool", [keys.cooldowns], [digest, cooldown_ms])
