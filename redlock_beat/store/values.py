"""What requests are told and what they answer, as values: without a network, and nothing of Redis but the texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..entries.state import parse_state

#: Leave a field of an edit as it is; remove it.
KEEP, DROP = "=", "-"
#: What an edit may expect instead of a state: nothing there, something there, anything.
ABSENT, PRESENT, ANY = "", "+", "*"


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
        if len(words) < 4 or not words[1].isdecimal():
            return None
        return cls(words[0], int(words[1]), words[2] == "seen", words[3])


@dataclass(frozen=True, slots=True)
class Hello:
    """What the server said at first contact."""

    now: int
    version: str
    policy: str
    maxmemory: int


@dataclass(frozen=True, slots=True)
class Look:
    """What a standby sees."""

    held: str
    left_ms: int
    #: Whether this server sees the holder's subscription, and the own one.
    holder_seen: bool
    seen: bool
    uptime: int
    replid: str
    #: Redis's time.
    now: int


@dataclass(frozen=True, slots=True)
class DueItem:
    """An entry that is due: its name, the score and the state to compare at the commit."""

    name: str
    score: str
    state: str | None
    #: The JSON of its definition, read but not checked; None when it was not asked for, or cannot be read.
    data: Any = None


@dataclass(frozen=True, slots=True)
class Due:
    """What is due now, and when to look again."""

    now: int
    next_at: int | None
    outbox: int
    entries: list[DueItem]
    manual: list[tuple[str, str]]
    #: Entries there are, occurrences due in all, entries in quarantine.
    total: int
    backlog: int
    quarantined: int
    #: Whether a definition may hold dates and the like, which kombu writes as ``__type__``.
    typed: bool = False
    #: The mark of the configuration as last synced, and which server process it was that answered; '' for none.
    mark: str = ""
    server: str = ""
    #: Whether this server sees the own subscription.
    seen: bool = False
    #: The heartbeat of this beat that stood there before this one; '-' for none, '' when none was written now.
    before: str = ""


@dataclass(slots=True)
class Occurrence:
    """One occurrence as the commit takes it; see ``commit.lua``."""

    name: str
    expected: str
    state: str
    score_after: str
    state_after: str
    retry_score: str
    retry_state: str
    manual: bool = False
    away: bool = False
    pushes: list[list[Any]] = field(default_factory=list)
    rows: list[list[Any]] = field(default_factory=list)
    failed_row: list[Any] = field(default_factory=list)

    def words(self) -> list[Any]:
        """The arguments of the script."""
        out: list[Any] = [
            self.name, "m" if self.manual else "d", self.expected, self.state, self.score_after, self.state_after,
            self.retry_score, self.retry_state, "1" if self.away else "0",
        ]  # fmt: skip
        for lists in (self.pushes, self.rows):
            out.append(len(lists))
            for one in lists:
                out += counted(one)
        return out + counted(self.failed_row)


@dataclass(slots=True)
class Many:
    """Occurrences for ``commit_many.lua`` that go to one list: what it is told of each, and the messages."""

    #: Name, expected score and state, score and state after, id, nominal; and the task, for us.
    rows: list[tuple[str, ...]] = field(default_factory=list)
    messages: list[bytes | str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class SetAside:
    """An entry for quarantine: the state it is in, the report, and the row of the ledger."""

    name: str
    state: str
    report: str
    row: list[Any]
    #: When it is tried again, and its state then; None to leave `due`.
    retry: int | None = None
    state_then: str = ""


@dataclass(frozen=True, slots=True)
class Drop:
    """A manual item that is not sent: removed, or put off until *retry*; with a row of the ledger, or none."""

    item: str
    retry: int | None = None
    row: list[Any] = field(default_factory=list)


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


@dataclass(frozen=True, slots=True)
class Census:
    """What tells one schedule from another, and from what is left of it: whose it is, its term, its size."""

    application: str
    epoch: int
    entries: int


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
