"""What a publisher is given by hand, without a beat: settings, an item and a term."""

from __future__ import annotations

from typing import Any

from redlock_beat.beat.lease import Term
from redlock_beat.entries.entry import Entry
from redlock_beat.messages.renderer import Renderer
from redlock_beat.recurrence import Interval
from redlock_beat.settings import Settings
from redlock_beat.store.item import Item, stamp, unstamp
from redlock_beat.store.keys import Keys
from redlock_beat.store.store import Store
from redlock_beat.store.values import Fence

K = Keys("redlock-beat")


def make_settings(url: str, **more: Any) -> Settings:
    return Settings(url=url, lease_ttl=1.0, socket_timeout=0.5, **more)


def item(app: Any, once: bool, id_: str = "i:0", epoch: int = 1) -> Item:
    """A message as it stands in the outbox."""
    rendered = Renderer(app, 1.0).render(Entry("a", "t", Interval.of(1)), 0, "id", 0)
    row = ["is", "sent", "entry", "a", "nominal", 0, "id", id_]
    return unstamp(id_, stamp(epoch, "a", 0, "id", once, row, rendered.calls[0]))


def term(store: Store, text: str = "tok 1 1 h:1", epoch: int = 1) -> Term:
    """A term that stands in Redis, trusted for ever."""
    store.client.set(K.lease, text)
    store.client.set(K.epoch, epoch)
    return Term(Fence(text, epoch, 60_000), float("inf"), 0.0)
