"""The state of an entry, as a value and as the text that every commit and edit compares."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class State:
    """How far an entry has come. Instants are microseconds since the epoch.

    >>> State("u1", 3, nominal=5, last=None, count=0, attempts=0).text()
    'u1 3 5 - 0 0'
    """

    uid: str
    revision: int
    #: The next slot; None when the entry is finished.
    nominal: int | None
    #: When an occurrence was last sent.
    last: int | None = None
    #: Occurrences sent so far.
    count: int = 0
    #: Failed attempts at the present slot.
    attempts: int = 0

    def text(self) -> str:
        """The state as Redis has it. Any change of the entry changes this text."""
        nominal = "-" if self.nominal is None else self.nominal
        last = "-" if self.last is None else self.last
        return f"{self.uid} {self.revision} {nominal} {last} {self.count} {self.attempts}"

    @classmethod
    def parse(cls, text: str) -> State:
        """The state of a text; ValueError when it is none."""
        uid, revision, nominal, last, count, attempts = text.split(" ")
        return cls(
            uid,
            int(revision),
            None if nominal == "-" else int(nominal),
            None if last == "-" else int(last),
            int(count),
            int(attempts),
        )


def parse_state(text: str | None) -> State | None:
    """The state of a text; None when there is none, or it cannot be read."""
    if not text:
        return None
    try:
        return State.parse(text)
    except ValueError:
        return None
