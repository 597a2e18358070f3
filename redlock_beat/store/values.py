"""What goes into requests and what comes out, as values: no network, and of Redis only the texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..clock import MICROS, score
from ..entries.entry import Entry
from ..entries.occurrence import Occurrence
from ..entries.policies import Missed
from ..entries.state import parse_state
from ..errors import whole
from .item import Item

#: Leave a field of an edit as it is; remove it.
KEEP, DROP = "=", "-"
#: What an edit may expect instead of a state: nothing there, something there, anything.
ABSENT, PRESENT, ANY = "", "+", "*"


def counted(words: Sequence[Any]) -> list[Any]:
    """A list as arguments of a script: its length and its words; see ``words.lua``."""
    return [len(words), *words]


@dataclass(frozen=True, slots=True)
class Fence:
    """A term as scripts check it: the text of the lease, its epoch and its length."""

    text: str
    epoch: int
    ttl_ms: int

    @property
    def words(self) -> tuple[str, int, int]:
        """The first three arguments of every script for a term."""
        return (self.text, self.epoch, self.ttl_ms)


#: In the place of a fence where anybody may call a script, without a term.
NO_FENCE = Fence("", 0, 0)


@dataclass(frozen=True, slots=True)
class Held:
    """The lease as Redis has it: who holds the term.

    >>> Held.parse("a3 7 seen web-1:42").owner
    'web-1:42'
    """

    token: str
    epoch: int
    #: Whether the holder's scripts see its subscription at this server.
    seen: bool
    owner: str

    @classmethod
    def parse(cls, text: str | None) -> Held | None:
        """The lease of a text; None when there is none, or it is rubbish."""
        words = (text or "").split(" ", 3)
        if len(words) < 4 or not words[1].isdecimal():
            return None
        return cls(words[0], int(words[1]), words[2] == "seen", words[3])


@dataclass(frozen=True, slots=True)
class Hello:
    """The answer at first contact."""

    now: int
    version: str
    policy: str
    maxmemory: int


@dataclass(frozen=True, slots=True)
class Look:
    """What a standby sees when it looks."""

    held: str
    left_ms: int
    #: Whether this server sees the holder's subscription, and the standby's own.
    holder_seen: bool
    seen: bool
    uptime: int
    replid: str
    #: Redis's time.
    now: int


@dataclass(slots=True)
class DueItem:
    """An entry that is due: its name, the score and the state to compare at the commit."""

    name: str
    score: str
    #: '' for none.
    state: str
    #: The JSON of its definition, read but not checked; None when it cannot be read.
    data: Any = None


@dataclass(frozen=True, slots=True)
class Due:
    """What is due now, and when something is due next."""

    now: int
    next_at: int | None
    outbox: int
    entries: list[DueItem]
    manual: list[tuple[str, str]]
    #: Entries there are, occurrences due in all, entries in quarantine.
    total: int
    backlog: int
    quarantined: int
    #: The mark of the configuration as last synced, and which server process it was that answered; '' for none.
    mark: str = ""
    server: str = ""
    #: Whether this server sees the beat's own subscription.
    seen: bool = False
    #: The heartbeat of this beat that stood there before this one; '-' for none, '' when none was written now.
    before: str = ""
    #: Calls with a countdown or eta: how many are kept, and how many of them are due.
    countdowns: int = 0
    countdowns_due: int = 0
    #: The id of the hold ('' for none): then nothing is sent until *hold_ends*, or until it is released.
    hold: str = ""
    hold_ends: int | None = None


@dataclass(frozen=True, slots=True)
class Overlap:
    """What becomes of a slot while a run of its entry is under way; see ``commit.lua``."""

    #: ``skip``, ``buffer`` or ``cancel``.
    policy: str
    #: For how long (microseconds) a run counts as under way that no worker has begun.
    limit: int
    #: How many slots may wait, and the item of `manual` that this one becomes then.
    most: int = 0
    waiter: str = ""
    terminate: bool = False

    def words(self) -> tuple[Any, ...]:
        """The arguments of the script."""
        return (self.policy, self.limit, self.most, self.waiter, int(self.terminate))


@dataclass(slots=True)
class CommitItem:
    """What a commit does about one due slot, or one manual item; see ``commit.lua``.

    It compares, then advances the entry (or takes the item), then pushes, then notes.
    """

    occurrence: Occurrence
    #: What must still stand there: the entry's score and state, or the waiting item.
    expected: str
    state: str
    #: The entry's score afterwards ('' to leave `due`), and its state ('' to remove the entry).
    score_after: str
    state_after: str
    #: When it was to be sent: its slot and jitter.
    act: int
    #: The list of one message ('' for the outbox), and the message; None when it is not one message for one list.
    key: str = ""
    message: bytes | str | None = None
    #: Otherwise the commands that push it; none when nothing is sent.
    pushes: Sequence[Sequence[Any]] = ()
    #: Rows of the ledger besides its own.
    rows: Sequence[Sequence[Any]] = ()
    #: What it is in the outbox, when another broker is to get it.
    claimed: Sequence[Item] = ()
    #: Slots that will not be sent, which this commit notes.
    missed: Missed | None = None
    #: When a waiting item is tried again, should the broker's Redis refuse it; None for an entry.
    retry: int | None = None
    #: Not with others: it has failed, or is one of several slots of its entry.
    alone: bool = False
    #: Where its entry may have one run at a time: what becomes of it while one is under way.
    overlap: Overlap | None = None
    #: Who is told whether it is sent, once that is known; and why it has no message, where its task has said so.
    afterwards: Sequence[Callable[[bool], None]] = ()
    nothing: str = ""

    @property
    def waits(self) -> bool:
        """Whether it is about a manual item, and not about an entry that is due."""
        return self.retry is not None

    @property
    def sends(self) -> bool:
        """Whether an occurrence is sent, and not only slots are noted as missed."""
        return bool(self.occurrence.id)

    def words(self, other_db: bool) -> list[Any]:
        """The arguments of ``commit.lua``; *other_db*: the broker is another database of this Redis."""
        one, pushes = self.occurrence, self.pushes
        if self.claimed:
            pushes = [("CLAIM", item.id, item.stamped) for item in self.claimed]
        elif self.message is not None:
            pushes = [("LPUSH", self.key, self.message)]
        out: list[Any] = [
            one.name,
            "" if self.retry is None else score(self.retry),
            self.expected,
            self.state,
            self.score_after,
            self.state_after,
            int(other_db and not self.claimed),
            int(bool(pushes) and not self.claimed),
            one.nominal,
            one.id,
            one.source,
            *(self.overlap.words() if self.overlap else ("",)),
        ]
        for lists in (pushes, self.rows):
            out.append(len(lists))
            for words in lists:
                out += counted(words)
        return out


@dataclass(frozen=True, slots=True)
class Quarantined:
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
    #: The entry before and after; None where nobody needs to know what has changed.
    entries: tuple[Entry, Entry] | None = None
    #: The entry that is new, with its state.
    made: Entry | None = None
    #: Rows of the edit log.
    rows: list[list[Any]] = field(default_factory=list)
    #: Only the definition changes, not how far the entry has come: then only uid and revision are
    #: compared, and a leader that moves the entry at the same time does not stand in the way.
    in_place: bool = False

    @property
    def nothing(self) -> bool:
        """Whether it changes nothing, notes nothing and asks nothing."""
        parts = (self.definition, self.state, self.score, self.configured, self.archive)
        return self.expected == ANY and set(parts) == {KEEP} and not self.manual and not self.rows

    def words(self) -> list[Any]:
        """The edit as the script reads it."""
        expected, state = self.expected, self.state
        was = parse_state(expected) if self.in_place else None
        if was is not None:
            expected = f"@{was.uid} {was.revision}"
            if state not in (KEEP, DROP):
                state = f"~{state.split(' ')[1]}"
        manual = [word for item in self.manual for word in item]
        rows = [list(map(str, row)) for row in self.rows]
        parts = [self.name, expected, self.definition, state, self.score, self.configured, self.archive]
        return [*parts, manual, rows]


@dataclass(frozen=True, slots=True)
class Stored:
    """An entry as Redis has it."""

    name: str
    definition: str | None
    state: str | None
    score: str | None


@dataclass(frozen=True, slots=True)
class Conflict:
    """An edit that was not applied: its index, and the state that is there now."""

    index: int
    state: str


@dataclass(frozen=True, slots=True)
class Census:
    """What tells one schedule from another, and from what is left of it: whose it is, its term, its size."""

    application: str
    epoch: int
    entries: int
    #: Which keys the schedule has and what they mean; see ``layout`` in :mod:`~redlock_beat.store.keys`.
    layout: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole schedule at one moment, as read in one go."""

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
    #: The leader's record of configured entries that are not in force.
    left_out: str | None = None
    #: What Redis has lost lately, as a beat has noticed.
    loss: str | None = None
    #: The fields of the hold (``holds.Hold.parse``); none when nothing is held.
    hold: dict[str, str] = field(default_factory=dict)
    #: Manual items, due or not.
    waiting: int = 0
    #: Calls with a countdown or eta: how many there are, how many of them are due, and when the first is.
    countdowns: int = 0
    countdowns_due: int = 0
    first_countdown: int | None = None
    #: Workers that report, and runs that are under way there.
    workers: int = 0
    running: int = 0
    #: Some of the entries whose last runs have failed, with how many in a row; and how many such entries there are.
    failing: dict[str, int] = field(default_factory=dict)
    failing_total: int = 0
    #: How many entries are in quarantine (*quarantine* has some of them), and locks of unique tasks.
    quarantined: int = 0
    locks: int = 0

    @property
    def countdown_lag(self) -> float:
        """Seconds for which the first of the calls with a countdown or eta has been due."""
        first = self.first_countdown
        return 0.0 if first is None or not self.countdowns_due else max(0, self.now - first) / MICROS


@dataclass(frozen=True, slots=True)
class Run:
    """A run that is about to begin; see ``begin.lua``."""

    id: str
    entry: str
    nominal: int
    #: The name of its entry where that has one run at a time, else ''; and how long (microseconds) such a run may wait
    #: for a worker.
    claim: str = ""
    limit: int = 0
    #: How often it was tried before, where each try may begin once; else ''.
    tries: str = ""


@dataclass(slots=True)
class RunReport:
    """What a worker tells of a run; see ``report.lua``."""

    what: str
    id: str
    entry: str
    nominal: int
    claim: str = ""
    #: Microseconds since it began.
    ago: int = 0
    #: Seconds it took; None when that is unknown.
    took: float | None = None
    #: Microseconds after which its message may come again; None when it is over.
    again: int | None = None
    why: str = ""

    def words(self) -> list[str]:
        """What the script is told of it."""
        took = "" if self.took is None else f"{self.took:.6f}"
        again = "" if self.again is None else str(self.again)
        words = [self.what, self.id, self.entry, str(self.nominal), self.claim, str(self.ago), took, again, self.why]
        return [whole(word) for word in words]  # the script reads no JSON with half a character


@dataclass(frozen=True, slots=True)
class FailedRuns:
    """An entry of which as many runs have failed in a row as it allows, and the last of them."""

    entry: str
    count: int
    id: str
    why: str


@dataclass(frozen=True, slots=True)
class OwnRun:
    """A run, or the claim of one, that is said to be on this worker."""

    id: str
    entry: str
    nominal: str
    claim: str


@dataclass(frozen=True, slots=True)
class Swept:
    """What a worker found in some of the runs and claims."""

    #: Where to go on ("0": that was all).
    runs: str
    claims: str
    own: list[OwnRun]
    failed: list[FailedRuns]
    #: Runs of workers that are gone: id, entry, nominal, worker.
    lost: list[tuple[str, ...]]
