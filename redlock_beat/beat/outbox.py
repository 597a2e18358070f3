"""The outbox as a leader finds it, and what of it the publisher gets."""

from __future__ import annotations

from ..clock import monotonic
from ..log import log
from ..store.item import Item, unstamp
from ..store.store import Store
from .lease import Lease, Term
from .publisher import Publisher


class Outbox:
    """Gives items of the outbox to the publisher, when a term begins and when there are more than expected."""

    def __init__(self, store: Store, lease: Lease, publisher: Publisher) -> None:
        self.store = store
        self.lease = lease
        self.publisher = publisher
        # Since when it has had more than the publisher has in hand; and its items that cannot be read.
        self._longer_since: float | None = None
        self._unreadable: set[str] = set()

    def take_over(self, term: Term) -> None:
        """Read the whole outbox for this term."""

        def load() -> list[Item]:
            items, unreadable = [], set()
            for item_id, stamped in self.store.outbox_load(term.fence):
                try:
                    items.append(unstamp(item_id, stamped))
                except ValueError:
                    unreadable.add(item_id)
                self.lease.renew_if_needed(term)
            for item_id in sorted(unreadable - self._unreadable):
                words = "Item %(item)r of the outbox cannot be read, so beat never publishes it. It stays there."
                log.error("outbox.unreadable", words, item=item_id)
            self._unreadable = unreadable
            items.sort(key=lambda item: (item.nominal, item.id))
            return items

        found = self.publisher.take_over(load)
        if found:
            log.info("outbox.taken_over", "Beat publishes %(count)d messages that waited in the outbox.", count=found)
        self._longer_since = None

    def watch(self, term: Term, length: int, in_hand: int) -> None:
        """Read the outbox again when for a TTL it has had more than the publisher has *in_hand*.

        Such items were under way when one term ended and the next began, and failed after that.
        """
        if length - len(self._unreadable) <= in_hand:
            self._longer_since = None
        elif self._longer_since is None:
            self._longer_since = monotonic()
        elif monotonic() - self._longer_since > self.lease.ttl:
            self.take_over(term)
