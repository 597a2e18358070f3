"""Decoded entries, as many as a setting allows."""

from __future__ import annotations

from collections import OrderedDict

from ..entries.entry import Entry
from ..entries.state import State


class Cache:
    """Decoded entries by name, checked against uid and revision; the least used go first."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._entries: OrderedDict[str, Entry] = OrderedDict()

    def get(self, name: str, state: State) -> Entry | None:
        """The entry, if it is the one *state* is about."""
        entry = self._entries.get(name)
        if entry is None or entry.uid != state.uid or entry.revision != state.revision:
            return None
        self._entries.move_to_end(name)
        return entry

    def clear(self) -> None:
        """Forget all."""
        self._entries.clear()

    def put(self, entry: Entry) -> None:
        """Keep an entry, if there is room for any."""
        if self.size:
            self._entries[entry.name] = entry
            self._entries.move_to_end(entry.name)
            if len(self._entries) > self.size:
                self._entries.popitem(last=False)
