"""A line of each entry, for lists of many: what they are found and put in order by, without the rest of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from ..entries.codec import glimpse
from ..entries.state import parse_state
from ..errors import InvalidSchedule
from ..store import requests
from ..store.keys import Keys
from ..store.requests import Operation
from .schedule import Schedule

#: Entries in one round trip: their definitions may be large.
_PAGE = 250


@dataclass(frozen=True, slots=True)
class Outline:
    """What a list needs to know of an entry."""

    name: str
    task: str = ""
    #: ``active``, ``paused``, ``finished``, or ``unreadable``: what stands in Redis is no entry to this release.
    state: str = "unreadable"
    origin: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    #: The next slot, and when it was last sent; microseconds since the epoch.
    due: int | None = None
    last: int | None = None

    def matches(self, words: str) -> bool:
        """Whether each word is in the name or the task, or is ``label=value`` and the entry bears it.

        >>> Outline("nightly", "tasks.report", labels={"team": "billing"}).matches("REPORT team=bill*")
        True
        """
        text = f"{self.name}\n{self.task}".lower()
        return all(word.lower() in text or self._bears(word) for word in words.split())

    def _bears(self, word: str) -> bool:
        label, sign, value = word.partition("=")
        return bool(sign) and label in self.labels and fnmatchcase(self.labels[label], value or "*")


def outlines(schedule: Schedule, words: str = "") -> Iterator[Outline]:
    """The outline of each entry that fits the words, read in pages, in no order.

    >>> [one.name for one in outlines(schedule, "billing") if one.state == "paused"]   # doctest: +SKIP
    """
    cursor = "0"
    seen: set[str] = set()
    while True:
        cursor, found = schedule.ask(_page(schedule.keys, cursor, words.split()))
        for one in found:
            if one.name not in seen:  # a scan may come by twice
                seen.add(one.name)
                if one.matches(words):
                    yield one
        if cursor == "0":
            return


def names(schedule: Schedule, words: str = "") -> list[str]:
    """The name of each entry that fits the words, in order.

    >>> names(schedule, "billing team=acc*")   # doctest: +SKIP
    ['invoices', 'reminders']
    """
    cursor, found = "0", set[str]()
    while True:
        if words.strip():
            cursor, page = schedule.ask(_fitting(schedule.keys, cursor, words))
        else:
            cursor, page = schedule.ask(requests.names(schedule.keys, cursor, None, _PAGE))
        found.update(page)
        if cursor == "0":
            return sorted(found)


def _fitting(keys: Keys, cursor: str, words: str) -> Operation[tuple[str, list[str]]]:
    cursor, found = yield requests.pairs(keys.entries, cursor, _PAGE)
    split = words.split()
    lower = [word.lower() for word in split]
    fitting = [
        name
        for name, text in found.items()
        if all(word in name.lower() for word in lower)
        or (all(_may_fit(name, text, word) for word in split) and _outline(name, text, None).matches(words))
    ]
    return cursor, fitting


def _page(keys: Keys, cursor: str, words: Sequence[str]) -> Operation[tuple[str, list[Outline]]]:
    cursor, found = yield requests.pairs(keys.entries, cursor, _PAGE)
    if words:
        found = {name: text for name, text in found.items() if all(_may_fit(name, text, word) for word in words)}
    if not found:
        return cursor, []
    states = yield requests.some(keys.state, list(found))
    return cursor, [_outline(name, text, state) for (name, text), state in zip(found.items(), states, strict=True)]


def _may_fit(name: str, text: str, word: str) -> bool:
    """Whether an entry may fit a word, by the text of its definition: of most this says that they do not."""
    lower = word.lower()
    if lower in name.lower() or lower in text.lower() or "\\" in text or '"' in word:  # an escape may stand for it
        return True
    label, sign, _ = word.partition("=")
    return bool(sign) and label in text


def _outline(name: str, text: str, state_text: str | None) -> Outline:
    try:
        task, enabled, origin, labels = glimpse(text)
    except InvalidSchedule:
        return Outline(name)
    state = parse_state(state_text)
    due, last = (None, None) if state is None else (state.nominal, state.last)
    how = "paused" if not enabled else "finished" if state is not None and due is None else "active"
    return Outline(name, task, how, origin, labels, due if how == "active" else None, last)
