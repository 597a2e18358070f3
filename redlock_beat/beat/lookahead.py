"""What a burst has already, and how much of what is due it skips when it asks for more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..store.values import CommitItem, Due, DueItem


@dataclass(frozen=True, slots=True)
class Page:
    """Some of what is due."""

    entries: list[DueItem]
    #: Manual items, each with the score at which it was due.
    waiting: list[tuple[str, str]]

    def __bool__(self) -> bool:
        return bool(self.entries or self.waiting)


class LookAhead:
    """What this turn has seen and is still due: it comes before what is next."""

    def __init__(self) -> None:
        #: Entries and manual items that this turn has not committed: put off, failed, dropped.
        self.left: set[str] = set()
        self.left_waiting: set[str] = set()
        # Whether the last answer had fewer than asked for: the questions under way then find none.
        self._no_more_entries = self._no_more_waiting = False

    def begin(self) -> None:
        """A new turn."""
        self.left.clear()
        self.left_waiting.clear()
        self._no_more_entries = self._no_more_waiting = False

    def skip(self, pages: Iterable[Page], under_way: int) -> tuple[int, int]:
        """How many entries and manual items come before what is new; so many are asked for, without an answer yet."""
        entries = len(self.left) + (0 if self._no_more_entries else under_way)
        waiting = len(self.left_waiting) + (0 if self._no_more_waiting else under_way)
        for page in pages:
            entries += len(page.entries)
            waiting += len(page.waiting)
        return entries, waiting

    def saw(self, due: Due, asked: int) -> None:
        """Note what an answer has found."""
        self._no_more_entries = len(due.entries) < asked
        self._no_more_waiting = len(due.manual) < asked

    def fresh(self, due: Due, pages: Iterable[Page], commits: Iterable[CommitItem]) -> Page:
        """What is due and neither in a page, under way nor left."""
        names, texts = set(self.left), set(self.left_waiting)
        for page in pages:
            names.update([item.name for item in page.entries])
            texts.update([text for text, _ in page.waiting])
        for item in commits:
            if item.retry is None:
                names.add(item.occurrence.name)
            else:
                texts.add(item.expected)
        return Page(
            [item for item in due.entries if item.name not in names],
            [one for one in due.manual if one[0] not in texts],
        )
