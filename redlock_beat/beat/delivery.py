"""From the backlog to the broker: one message at a time, or many where the broker confirms in its own time."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from ..clock import monotonic
from ..errors import Deposed, mask
from ..messages.renderer import read_call
from ..store.client import TROUBLE
from ..store.item import Item
from ..store.store import Store
from .backlog import Backlog
from .confirms import NoRoute, NotTaken
from .faults import Fault, Faults, outdated, replace
from .lease import Term
from .outcomes import Outcomes
from .senders import Call, Link, Sender

logger = logging.getLogger("redlock_beat")


class Delivery:
    """Sends what is next, and hands over what became of it."""

    def __init__(self, store: Store, backlog: Backlog, faults: Faults, outcomes: Outcomes, link: Link) -> None:
        #: True while one message is between us and the broker. Read by a signal handler.
        self.busy = False
        #: Set to let nothing new begin.
        self.stopping = False
        self.store = store
        self.outcomes = outcomes
        self.link = link
        self._backlog = backlog
        self._faults = faults

    def publish_next(self, term: Term) -> None:
        """Publish what is in front: as many as may go together."""
        try:
            sender = self.link.open()
        except Exception as exc:  # noqa: BLE001 - whatever a transport raises, the broker is away
            self.link.close()
            self.outcomes.away(exc)
            return
        items = self._next_many(sender) if sender.at_once > 1 and not self.link.fresh else []
        if items:
            with self._may_send(term, [item for item, _ in items]) as may:
                if may:
                    self._send_many(items, sender)
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
        """Be busy; whether this term may still publish: else the items go back to where they were."""
        self.busy = True
        try:
            # Looked at only now, after `busy` is set: a handler that saw it unset has stopped us.
            may = not self.stopping and self._backlog.term is term and monotonic() < term.trusted_until
            if not may:
                self._backlog.put_back(items)
            yield may
        finally:
            self.busy = False

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
        """An item's call, if it goes to a queue by its name, which closes no channel; else None."""
        if item.at_most_once or item.alone or item.attempts:
            return None
        try:
            call = read_call(item.call)
            if call["exchange"]:
                return None
            sender.declare(call)
        except Exception as exc:  # noqa: BLE001 - by itself it will fail alike, and say so
            logger.debug("A message goes by itself: %s", mask(exc))
            item.alone = True
            if self.link.is_lost(exc) or self.link.is_of_channel(exc):
                self.link.close(farewell=not self.link.is_lost(exc))
            return None
        return call

    def _send_many(self, items: list[tuple[Item, Call]], sender: Sender) -> None:
        held = self._backlog.held
        held.update(item.id for item, _ in items)
        try:
            unwritten = sender.send_many(items)
        except Exception as exc:  # noqa: BLE001 - transports raise what they like
            left = sender.left(items)
            held.difference_update(item.id for item in left)
            self._say_no(sender)
            for item in left:
                item.alone = True  # one of them may be at fault itself: by itself it is found out
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

    def _say_no(self, sender: Sender) -> None:
        """The broker said no to these of many."""
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
        """At most once: whether it is ours to publish, and out of the outbox."""
        try:
            if self.store.outbox_take(term.fence, item.id, item.stamped):
                return True
            self._backlog.gone(item)
            if item.unclear:
                self.outcomes.note(item, "unknown", TimeoutError("Redis did not say whether the item was taken"))
        except Deposed:
            self._backlog.gone(item)
        except TROUBLE:
            # Taken or not, it must not be sent: the reply may be lost. The next try tells.
            item.unclear = True
            self._backlog.put_back([item])
            self.outcomes.pause()
        return False

    def try_again(self, fault: Fault, term: Term) -> None:
        """Publish the first of what is at fault, as its entry is now."""
        item = fault.items[0]
        self._faults.schedule(fault, monotonic() + 1.0)  # whatever happens now, it comes up again
        try:
            if outdated(self.store, item):
                items, what = replace(self.store, fault, term)
                said = "Entry %r: the broker refused %d of its messages, and it %s."
                logger.warning(said, item.name, len(items), what)
                self._backlog.replaced(fault, items)
                return
        except Deposed:
            return
        except TROUBLE as exc:
            # It may be on its way to be rendered anew, and only the answer was lost: published now it would come twice.
            logger.debug("Whether entry %r was edited is not known yet: %s", item.name, mask(exc))
            return
        self._publish(item, term)
