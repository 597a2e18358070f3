"""Calls with a countdown or eta whose time has come: sent by the leader, each in one step that removes it.

A caller's process has made the message and left it in Redis (:mod:`redlock_beat.tasks.countdowns`). Here it becomes
what kombu would push to a broker that is this Redis, or an item of the outbox. Neither an entry nor user code is
behind it, so there is nothing to plan; what stands in the way of one is the message itself, or its queue.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..clock import MICROS, monotonic
from ..errors import BrokerAway, mask
from ..messages.calls import aged, read_call
from ..messages.renderer import Renderer
from ..settings import Settings
from ..store import requests
from ..store.client import TROUBLE
from ..store.countdown import KeptCall, Sending
from ..store.item import AS_IT_IS, Item, stamp, unstamp
from ..store.store import Store
from .failures import Failure
from .lease import Lease, Term
from .recorder import HOW_COUNTDOWN as HOW
from .recorder import Recorder

#: Calls in one script, and seconds that one turn spends on them before it looks at entries again.
MOST, SPAN = 100, 0.2
#: The longest pause before one that failed is tried again.
PAUSE = 60 * MICROS


class Countdowns:
    """Sends what is kept, page by page."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        lease: Lease,
        renderer: Renderer,
        submit: Callable[[list[Item]], None],
        recorder: Recorder,
    ) -> None:
        self.settings = settings
        self.store = store
        self.lease = lease
        self.renderer = renderer
        self.recorder = recorder
        # Told of items that were claimed for another broker.
        self._submit = submit
        # What was sent, or was not: a commit whose answer was lost.
        self._open: list[tuple[int, Sending, list[Item]]] = []

    @property
    def now(self) -> int:
        """Redis's time, never ahead of it."""
        return self.lease.clock.at_least()

    def send(self, term: Term, heartbeat: str, broker_db: int, room: int | None) -> None:
        """Send calls that are due, *room* at most, for a while; those that are left are due at the next turn."""
        until = monotonic() + SPAN
        while room is None or room > 0:
            limit = MOST if room is None else min(MOST, room)
            items = self._due(term, limit)
            if items:
                sent = self._page(term, items, heartbeat, broker_db)
                room = None if room is None else room - sent
            if len(items) < limit or monotonic() > until:
                return

    def _due(self, term: Term, limit: int) -> list[tuple[str, str]]:
        started = monotonic()
        found = self.store.run(requests.countdown_due(self.store.keys, term.fence, limit))
        self.lease.trust(term, started)
        return found

    def _page(self, term: Term, items: Sequence[tuple[str, str]], heartbeat: str, broker_db: int) -> int:
        sendings, claimed = [], {}
        for id_, text in items:
            sending, mine = self._made(term, id_, text)
            sendings.append(sending)
            if mine:
                claimed[id_] = mine
        started = monotonic()
        request = requests.countdown_send(
            self.store.keys, term.fence, sendings, self.settings.ledger_size, broker_db, self.lease.token, heartbeat
        )
        try:
            answers = self.store.run(request)
        except TROUBLE:
            self._open += [(term.epoch, one, claimed.get(one.call.id, [])) for one in sendings if not one.put_off]
            raise
        self.lease.trust(term, started)
        sent = 0
        for one, answer in zip(sendings, answers, strict=True):
            if answer == "ok":
                sent += 1
                self._sent(term.epoch, one, claimed.get(one.call.id, []))
            elif answer != "stale" and not one.put_off:
                self._refused(one, answer.removeprefix("failed: "))
        return sent

    # --- one call ---

    def _made(self, term: Term, id_: str, text: str) -> tuple[Sending, list[Item]]:
        """What is done about a call, and what it is in the outbox."""
        now = self.now
        try:
            call = KeptCall.parse(id_, text)
            calls = [aged(one, now - call.made) for one in call.calls]
            if not calls:
                raise ValueError("it has no message")
            read = [read_call(one) for one in calls]
        except Exception as exc:  # noqa: BLE001 - rubbish in Redis, which raises what it likes
            token = text.partition(" ")[0] if " " in text.partition("\n")[0] else ""
            return self._put_off(term, KeptCall(id_, 0, token, "", 0), "decode", exc), []
        row = self._row(term, call)
        if not self.renderer.direct:
            items = self._items(term, call, calls, row)
            return Sending(
                call, self._again(call), pushes=[("CLAIM", one.id, one.stamped) for one in items], row=row
            ), items
        try:
            pushes = self.renderer.replay(read)
        except BrokerAway:
            raise
        except Exception as exc:  # noqa: BLE001 - of this very message: its queue is something else, say
            return self._put_off(term, call, "render", exc), []
        outcome = "sent" if pushes else "published nothing"
        return Sending(call, self._again(call), outcome=outcome, pushes=pushes, row=row), []

    def _again(self, call: KeptCall) -> int:
        """When one that fails is tried again: as late as it is, so long it waits, a minute at most."""
        return self.now + min(PAUSE, max(MICROS, self.now - call.due))

    def _row(self, term: Term, call: KeptCall) -> list[Any]:
        known = ["task", call.task, "nominal", call.due] if call.task else []
        return ["entry", "", *known, "how", HOW, "epoch", term.epoch, "by", self.lease.owner, "id", call.id]

    def _items(self, term: Term, call: KeptCall, calls: Sequence[str], row: list[Any]) -> list[Item]:
        name, now = f"{HOW} {call.id}", self.now  # a name of its own: one that the broker refuses is in no other's way
        items = []
        for i, one in enumerate(calls):
            part = ["is", "sent", *row, *(("part", i + 1) if i else ())]
            text = stamp(term.epoch, name, call.due, call.id, False, part, one, at=now, again=AS_IT_IS)
            # Not by the task's id alone: a retry has the same, and may come before this one has left the outbox.
            item = unstamp(f"{call.id}:{call.token}:{i}", text)
            item.due, item.task = call.due, call.task
            items.append(item)
        return items

    def _put_off(self, term: Term, call: KeptCall, step: str, exc: Exception) -> Sending:
        """It cannot be sent now. It is never removed: perhaps its queue is mended, or another release can read it."""
        again = self._again(call)
        why, pause = f"{type(exc).__name__}: {exc}", (again - self.now) / MICROS
        self.recorder.failed(Failure(f"{HOW} {call.id}", step, why, pause, exc, HOW))
        return Sending(call, again, put_off=mask(why)[:300], row=self._row(term, call))

    # --- what became of it ---

    def _sent(self, epoch: int, one: Sending, claimed: list[Item]) -> None:
        self.recorder.count()
        if claimed:  # it is sent when the broker has accepted it
            self._submit(claimed)
        else:
            self.recorder.countdown(one.call.task, one.call.id, one.call.due, epoch)

    def _refused(self, one: Sending, why: str) -> None:
        pause = (one.again - self.now) / MICROS
        self.recorder.failed(Failure(f"{HOW} {one.call.id}", "enqueue", why, pause))

    def settle(self, term: Term) -> None:
        """Tell of what was sent although nobody has said so; a claim is found in the outbox itself."""
        waiting = self._open = [one for one in self._open if one[0] == term.epoch]
        if not waiting:
            return
        ids = [one.call.id for _, one, _ in waiting]
        there = self.store.run(requests.some(self.store.keys.countdown_items, ids))
        self._open = []
        for (epoch, one, claimed), item in zip(waiting, there, strict=True):
            if not claimed and not (item or "").startswith(f"{one.call.token} "):
                self._sent(epoch, one, [])
