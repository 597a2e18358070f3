"""From the backlog to the broker: one message at a time, or many where the broker confirms each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..clock import monotonic
from ..errors import Deposed, OnHold, mask
from ..log import log
from ..messages.calls import read_call
from ..store.client import TROUBLE
from ..store.item import Item
from ..store.store import Store
from .backlog import Backlog
from .confirms import Call, NoRoute, NotTaken
from .faults import Fault, Faults, outdated, replace
from .lease import Term
from .outcomes import Outcomes
from .senders import Link, More, Sender

#: Seconds after which no more is sent for the moment: a message at fault, or a stop, has its turn.
SPAN = 0.5


class Delivery:
    """Sends what is next, and passes on what became of it."""

    def __init__(self, store: Store, backlog: Backlog, faults: Faults, outcomes: Outcomes, link: Link) -> None:
        #: True while a message is on its way to the broker. A signal handler reads it.
        self.busy = False
        #: Set so that nothing new begins.
        self.stopping = False
        self.store = store
        self.outcomes = outcomes
        self.link = link
        self._backlog = backlog
        self._faults = faults

    def publish_next(self, term: Term) -> None:
        """Publish the items in front: as many as may go together."""
        try:
            sender = self.link.open()
        except Exception as exc:  # noqa: BLE001 - whatever a transport raises, the broker is away
            self.link.close()
            self.outcomes.away(exc)
            return
        if sender.at_once > 1 and not self.link.fresh and self._send_many(term, sender):
            return
        item = self._backlog.next()
        if item is not None:
            self._publish(item, term)

    def _publish(self, item: Item, term: Term) -> None:
        try:
            sender = self.link.open()
        except Exception as exc:  # noqa: BLE001 - whatever a transport raises, the broker is away
            self._backlog.put_back([item])
            self.link.close()
            self.outcomes.away(exc)
            return
        with self._may_send(term, [item]) as may:
            if may and (not item.at_most_once or self._take(item, term)):
                self._send(item, sender)

    @contextmanager
    def _may_send(self, term: Term, items: list[Item]) -> Iterator[bool]:
        """Be busy; whether this term may still publish. If not, the items go back."""
        self.busy = True
        try:
            # Checked only after `busy` is set: a signal handler that has found it unset stops this.
            may = self._may(term)
            if not may:
                self._backlog.put_back(items)
            yield may
        finally:
            self.busy = False

    def _may(self, term: Term) -> bool:
        """Whether a term may still publish."""
        return not self.stopping and self._backlog.term is term and monotonic() < term.trusted_until

    # --- many that go together ---

    def _send_many(self, term: Term, sender: Sender) -> bool:
        """Publish items from the front while they may go together; whether there were any."""
        until, handed = monotonic() + SPAN, 0

        def more() -> list[tuple[Item, Call]]:
            nonlocal handed
            if not self._may(term) or sender.refused or (handed and monotonic() > until):
                return []
            items = self._next_many(sender)
            self._backlog.held.update(item.id for item, _ in items)
            handed += len(items)
            return items

        with self._may_send(term, []) as may:
            if may:
                self._send_while(more, sender)
        return bool(handed) or not may

    def _send_while(self, more: More, sender: Sender) -> None:
        held = self._backlog.held
        try:
            unwritten = sender.send_many(more, self._meanwhile)
        except Exception as exc:  # noqa: BLE001 - transports raise what they like
            left = sender.left()
            held.difference_update(item.id for item in left)
            self._say_no(sender)
            for item in left:
                item.alone = True  # one of them may be at fault: alone it shows
            if self.link.is_lost(exc):
                self.link.close()
                self.outcomes.lost(left, exc)
            else:
                self.link.close(farewell=True)
                self._backlog.put_back(left)
            return
        held.difference_update(item.id for item in unwritten)
        self._backlog.put_back(unwritten)
        self._say_no(sender)

    def _meanwhile(self) -> None:
        """While messages are under way: remove from the outbox what the broker has taken."""
        if self._backlog.many_done:
            self._backlog.remove()

    def _next_many(self, sender: Sender) -> list[tuple[Item, Call]]:
        """Items from the front that may be published together."""
        found: list[tuple[Item, Call]] = []
        while len(found) < sender.at_once:
            item = self._backlog.next()
            if item is None:
                break
            call = self._among_many(item, sender)
            if not self.link.connected:  # a declaration was refused, and the connection is closed: begin anew
                self._backlog.put_back([*(one for one, _ in found), item])
                return []
            if call is None:
                self._backlog.put_back([item])
                break
            found.append((item, call))
        return found

    def _among_many(self, item: Item, sender: Sender) -> Call | None:
        """The call of an item that goes to a queue by its name, which closes no channel; else None, for now."""
        if item.at_most_once or item.alone or item.attempts:
            return None
        try:
            call = item.filled.routing() if item.filled is not None else read_call(item.call)
            if call["exchange"] or (sender.under_way and not sender.has_declared(call)):
                return None  # a declaration may close the connection, so nothing else is under way
            sender.declare(call)
        except Exception as exc:  # noqa: BLE001 - by itself it fails in the same way, and is reported then
            words = "A message of entry %(entry)r is published by itself: %(why)s"
            log.debug("message.alone", words, entry=item.name, task_id=item.task_id, why=mask(exc))
            item.alone = True
            if self.link.is_lost(exc) or self.link.is_of_channel(exc):
                self.link.close(farewell=not self.link.is_lost(exc))
            return None
        return call

    def _say_no(self, sender: Sender) -> None:
        """Deal with those of many that the broker refused."""
        refused = sender.refused
        self._backlog.held.difference_update(item.id for item, _ in refused)
        deleted = [item for item, exc in refused if isinstance(exc, NoRoute)]
        if deleted:  # declared anew, each goes once more
            sender.forget_declared()
            for item in deleted:
                item.alone = True
            self._backlog.put_back(deleted)
        for item, exc in refused:
            if not isinstance(exc, NoRoute):
                self.outcomes.at_fault(item, exc)

    def _send(self, item: Item, sender: Sender) -> None:
        held = self._backlog.held
        held.add(item.id)
        try:
            if not sender.send(item, read_call(item.call)):
                held.discard(item.id)
                self._backlog.put_back([item])  # the broker has just said that it reads no more
        except Exception as exc:  # noqa: BLE001 - transports raise what they like
            held.discard(item.id)
            lost = self.link.is_lost(exc)
            if item.at_most_once:
                self.outcomes.unknown(item, exc)
                self.link.close(farewell=not lost)
            elif lost:
                self.link.close()
                self.outcomes.lost([item], exc)
            else:
                if self.link.is_of_channel(exc):
                    self.link.close_channel()  # the broker has closed it
                elif not isinstance(exc, NotTaken):
                    self.link.close(farewell=True)  # it may be written in part
                self.outcomes.at_fault(item, exc)

    def _take(self, item: Item, term: Term) -> bool:
        """At most once: take the item before it is published; whether this beat may publish it."""
        try:
            if self.store.outbox_take(term.fence, item.id, item.stamped):
                return True
            self._backlog.gone(item)
        except Deposed:
            self._backlog.gone(item)
        except OnHold:
            self._backlog.put_back([item])
            term.trusted_until = float("-inf")  # the loop hears of it in a moment
        except TROUBLE:
            # Whether it is taken, the next attempt tells.
            self._backlog.put_back([item])
            self.outcomes.pause()
        return False

    def try_again(self, fault: Fault, term: Term) -> None:
        """Publish the first item of a fault; have it rendered anew when its entry was edited."""
        item = fault.items[0]
        self._faults.schedule(fault, monotonic() + 1.0)  # whatever happens now, there is a next attempt
        try:
            if outdated(self.store, item):
                items, what = replace(self.store, fault, term)
                words = "Entry %(entry)r: the broker refused %(count)d of its messages, and it %(why)s."
                log.warning("message.replaced", words, entry=item.name, count=len(items), why=what)
                self._backlog.replaced(fault, items)
                return
        except Deposed:
            return
        except TROUBLE as exc:
            # Perhaps it is rendered anew already, and only the answer was lost: published now, it would come twice.
            words = "Whether entry %(entry)r was edited is not known yet: %(why)s"
            log.debug("message.not_replaced", words, entry=item.name, why=mask(exc))
            return
        self._publish(item, term)
