"""Makes the message of a commit item: a push for a broker that is this Redis, an outbox item for another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ..clock import monotonic
from ..entries.occurrence import Occurrence
from ..entries.policies import Missed
from ..messages.messages import TRIES, Messages
from ..messages.renderer import Renderer
from ..messages.template import Filled
from ..store.item import AS_IT_IS, Item, stamp
from ..store.values import CommitItem
from .lease import Lease, Term
from .overlap import overlap_of
from .usercode import UserCode, UserError

#: Seconds that the code of entries may run while a batch is made: what is ready does not wait for it.
RENDER_SPAN = 0.1

T = TypeVar("T")


class Later(Exception):
    """The code of an entry does not run now: it may take long, and what is ready does not wait for it."""


class Maker:
    """Makes the messages of a turn, and runs the code of entries for it."""

    def __init__(self, lease: Lease, renderer: Renderer, code: UserCode) -> None:
        self.owner = lease.owner
        self.code = code
        self.messages = Messages(renderer, self.run, lease.clock.now)
        #: How many messages the outbox still takes; None when they go to this Redis itself.
        self.room: int | None = None
        self._term: Term | None = None
        # Until when code of entries may run while others wait, None when nothing waits; and how often it failed.
        self._until: float | None = None
        self._vain: Counter[Any] = Counter()

    @property
    def full(self) -> bool:
        """Whether the outbox takes nothing more."""
        return self.room is not None and self.room <= 0

    def begin(self, term: Term) -> None:
        """A turn of a term begins."""
        self._term = term
        self.messages.renderer.epoch = term.epoch
        self._vain.clear()

    def hurry(self) -> None:
        """Let the code of entries run for a moment only: others wait."""
        self._until = monotonic() + RENDER_SPAN

    def take_time(self) -> None:
        """Let the code of entries take the time that it needs: nothing else is ready."""
        self._until = None

    @property
    def in_a_hurry(self) -> bool:
        """Whether others wait."""
        return self._until is not None

    def run(self, kind: Any, name: str, work: Callable[[], T]) -> T:
        """Run the code of an entry; in a hurry :class:`Later`, when that has taken long or failed for its kind."""
        assert self._term is not None
        until = self._until
        if until is not None and (monotonic() > until or self._vain[kind] >= TRIES or name in self.code.slow):
            raise Later
        try:
            result = self.code.run(self._term, name, work)
        except UserError:
            self._vain[kind] += 1
            raise
        self._vain.pop(kind, None)
        return result

    def fill(self, commit: CommitItem, now: int, again: str = "") -> None:
        """Put the message of an item into it."""
        occurrence = commit.occurrence
        if "overlap" in occurrence.definition:
            commit.overlap = overlap_of(occurrence, now)
        key, message, rendered = self.messages.of(occurrence, now)
        if self.room is not None:
            self.room -= 1
        if key and not isinstance(message, Filled):
            commit.key, commit.message = key, message
            return
        if rendered is not None and rendered.direct:
            commit.pushes = rendered.pushes
        else:
            calls = rendered.calls if rendered is not None else [_text(message)]
            gone = not commit.state_after and commit.retry is None
            commit.claimed = self._claims(occurrence, calls, commit.act, now, gone, again)
            if isinstance(message, Filled):
                commit.claimed[0].filled = message
            if len(calls) == 1:
                commit.message = commit.claimed[0].stamped
        if rendered is not None:
            commit.afterwards, commit.nothing = rendered.afterwards, rendered.nothing
        if not commit.pushes and not commit.claimed:
            commit.overlap = None  # nothing runs, so nothing is in the way of the next
            row = self._row("published nothing", occurrence, occurrence.source)
            commit.rows = [*commit.rows, [*row, "why", commit.nothing] if commit.nothing else row]

    def _row(self, what: str, one: Occurrence, source: str) -> list[Any]:
        assert self._term is not None
        row: list[Any] = ["is", what, "entry", one.name, "nominal", one.nominal, "epoch", self._term.epoch]
        row += ["by", self.owner, "id", one.id]
        return [*row, "how", source] if source else row

    def missed_row(self, name: str, missed: Missed) -> list[Any]:
        """The ledger row of missed or skipped slots; one that is skipped has it alone."""
        assert self._term is not None
        told = ["epoch", self._term.epoch, "by", self.owner, "why", missed.why]
        if missed.what == "skipped":
            row: list[Any] = ["is", "skipped", "entry", name]
        else:
            row = ["is", "missed", "entry", name]
        if missed.what == "skipped" and missed.count == 1:
            return [*row, "nominal", missed.first, *told]
        row += ["from", missed.first, "to", missed.last, "count", missed.count, *told]
        return [*row, "least", 1] if missed.at_least else row

    def _claims(self, one: Occurrence, calls: Sequence[str], act: int, now: int, gone: bool, again: str) -> list[Item]:
        """The outbox items of an occurrence, one for each call to publish.

        *gone* says that this very commit removes the entry, so that there is none to compare with later. *again* is the
        manual item that has the occurrence rendered anew; '' for a slot of the schedule's own.
        """
        assert self._term is not None
        epoch, name, nominal, revision = self._term.epoch, one.name, one.nominal, one.revision
        once = one.definition.get("delivery") == "at_most_once"
        uid = "" if gone else one.uid
        # One that is rendered anew, after an edit, takes no place that the publisher still knows as that of another.
        anew = f":{revision}" if again else ""
        if len(calls) > 1:
            again = AS_IT_IS
        items = []
        for i, call in enumerate(calls):
            row = self._row("sent", one, f"part {i + 1}" if i else one.source)
            text = stamp(epoch, name, nominal, one.id, once, row, call, uid, revision, now, again)
            item = Item(f"{one.id}:{i}{anew}", text, name, nominal, one.id, once, row, call, uid, revision, now, again)
            item.due, item.task = act, one.definition["task"]
            item.labels = one.definition.get("labels") or {}
            items.append(item)
        return items


def _text(message: bytes | str | Filled | None) -> str:
    """A call to publish, which is JSON, as text."""
    if isinstance(message, Filled):
        return message.text
    return message.decode() if isinstance(message, bytes) else message or ""
