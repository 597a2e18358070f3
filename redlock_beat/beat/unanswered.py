"""Commits that were not answered: what stands in Redis tells whether they took place.

An entry that has moved on, or a manual item that is gone, is not enough where the slot may have been skipped, or may
wait, since a run of its entry was under way; nor where its messages are in the outbox, or are not.
"""

from __future__ import annotations

from dataclasses import replace

from ..entries.state import parse_state
from ..store import requests
from ..store.store import Store
from ..store.values import CommitItem

#: Rows of the ledger that are looked at.
ROWS = 2_000


def took_place(store: Store, items: list[CommitItem]) -> list[CommitItem]:
    """Those of these items, in the order of their commits, that were committed."""
    names = list({item.occurrence.name: None for item in items if not item.waits})
    states = {stored.name: stored.state for stored in store.read(names)[1]} if names else {}
    texts = [item.expected for item in items if item.waits]
    texts += [item.overlap.waiter for item in items if item.overlap and item.overlap.waiter]
    waiting = store.waiting(texts) if texts else set()
    claimed = store.claimed([one.id for item in items for one in item.claimed])
    held_up = _held_up(store, items)
    moved: set[str] = set()
    found = []
    # One commit may move an entry several times: the last state proves all of them.
    for item in reversed(items):
        name = item.occurrence.name
        if item.waits:
            happened = item.expected not in waiting
        else:
            happened = name in moved or _same_state(states[name], item.state_after)
            if happened:
                moved.add(name)
        if item.claimed:  # nobody else removes them, and the publisher has not heard of them yet
            happened = all(one.id in claimed for one in item.claimed)
        elif item.overlap and (item.overlap.waiter in waiting or item.occurrence.id in held_up):
            happened = False
        if happened:
            found.append(item)
    return found[::-1]


def _held_up(store: Store, items: list[CommitItem]) -> set[str]:
    """The ids of those that the ledger says were skipped, or wait, while a run of their entry was under way."""
    ids = {item.occurrence.id for item in items if item.overlap}
    if not ids:
        return set()
    rows = store.run(requests.ledger(store.keys, "-", "+", ROWS, newest_first=True))
    last: dict[str, str] = {}
    for _, row in rows:
        if row.get("is") in ("sent", "skipped", "buffered"):
            last.setdefault(row.get("id", ""), row["is"])
    return {id_ for id_ in ids if last.get(id_, "sent") != "sent"}


def _same_state(state: str | None, after: str) -> bool:
    """Whether an entry is as a commit leaves it; an edit since then may have raised its revision."""
    found, left = parse_state(state), parse_state(after)
    return found == left if found is None or left is None else replace(found, revision=left.revision) == left
