"""Edits of all entries that fit a filter, page by page: each page all or none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from ..errors import BatchFailed, InvalidSchedule, RedlockBeatError
from ..store import requests
from ..store.keys import Keys
from ..store.requests import PAGE, Operation
from ..store.values import ANY, Edit, Stored
from .changes import Change
from .edit_log import Signature
from .edits import readable
from .filters import Filter

#: The entries that a verb is about, unless the filter says it.
MEANT = {"paused": "active", "resumed": "paused", "skipped": "active", "triggered": "active", "removed": None}
#: Entries in one call that have a row each in the edit log; of more, each page has one.
LOGGED = PAGE


def meant(which: Filter, what: str) -> Filter:
    """The entries that an edit of this kind is about."""
    return which if which.state is not None else replace(which, state=MEANT[what])


@dataclass(slots=True)
class Page:
    """The edits of a page of names, and the entries that they are about as it turned out."""

    which: Filter
    #: Those of its names that are in quarantine, where that is asked.
    aside: frozenset[str]
    taken: set[str] = field(default_factory=set)

    def fits(self, stored: Stored, now: int, unread: bool = True) -> bool:
        """Whether an entry is meant as it stands now; with *unread* also one that cannot be read."""
        if (stored.definition is None and stored.state is None) or (
            self.which.quarantined and stored.name not in self.aside
        ):
            return False
        entry = readable(stored, now)
        return unread and self.which.fits_unread(stored.name) if entry is None else self.which.fits(entry)

    def change(self, one: Change, logged: bool) -> Change:
        """An edit that leaves alone an entry that is not meant, or not any more."""

        def make(stored: Stored, now: int) -> Edit:
            self.taken.discard(one.name)
            if not self.fits(stored, now, unread=one.what == "removed"):
                return Edit(one.name, ANY)
            try:
                edit = one.make(stored, now)
            except InvalidSchedule:
                if one.what == "skipped":  # its last slot is late, so it has none to skip
                    return Edit(one.name, ANY)
                raise
            self.taken.add(one.name)
            return edit

        return replace(one, make=make, answer=lambda edit: None, logged=logged)

    def noting(self, what: str, name: str, signature: Signature) -> Change:
        """No edit, but the row of the edit log for all others of the page; *name* is the last of them."""

        def make(stored: Stored, now: int) -> Edit:
            edit = Edit(name, ANY)
            if self.taken:
                edit.rows = [signature.row(what, "", count=len(self.taken))]
            return edit

        return Change(name, make, lambda edit: None, logged=False)


def some_names(names: Iterable[str]) -> Iterator[list[str]]:
    """Names in pages."""
    listed = list(names)
    for i in range(0, len(listed), PAGE):
        yield listed[i : i + PAGE]


def in_quarantine(keys: Keys, which: Filter, names: list[str]) -> Operation[frozenset[str]]:
    """Those that are in quarantine, if the filter asks for that."""
    if not which.quarantined or not names:
        return frozenset()
    reports = yield requests.some(keys.quarantine, names)
    return frozenset(name for name, report in zip(names, reports, strict=True) if report is not None)


def pages(keys: Keys, which: Filter, pattern: str | None) -> Operation[list[list[str]]]:
    """The names that may be meant, in pages, each name once."""
    seen: dict[str, None] = {}
    cursor = ""
    while cursor != "0":
        cursor, names = yield requests.names(keys, cursor or "0", pattern, PAGE)
        seen.update(dict.fromkeys(name for name in names if which.names(name)))
    return list(some_names(seen))


def failed(exc: RedlockBeatError, done: int, page: list[str]) -> BatchFailed:
    """The error for a page that was not applied, after *done* entries that were edited."""
    index = getattr(exc, "index", None)
    return BatchFailed(exc, done, None, len(page), page[index] if index is not None and index < len(page) else None)
