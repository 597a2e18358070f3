"""Commits that were not answered: what stands in Redis tells whether they took place.

An entry that has moved on, or a manual item that is gone, is not enough where the slot may have been skipped, or may
wait, since a run of its entry was under way; nor where its messages are in the outbox, or are not; nor where it is gone
because somebody has removed the entry, or cancelled the item: then the ledger does not say that it was sent.
"""

from __future__ import annotations

from dataclasses import replace

from ..entries.state import parse_state
from ..store import requests
from ..store.store import Store
from ..store.values import CommitItem

#: Rows of the ledger that are looked at; and what they say of a slot while a run of its entry is under way.
ROWS = 2_000
_HELD_UP = ("skipped", "buffered")


def took_place(store: Store, items: list[CommitItem]) -> list[CommitItem]:
    """Those of these items, in the order of their commits, that were committed."""
    names = list({item.occurrence.name: None for item in items if not item.waits})
    states = {stored.name: stored.state for stored in store.read(names)[1]} if names else {}
    texts = [item.expected for item in items if item.waits]
    texts += [item.overlap.waiter for item in items if item.overlap and item.overlap.waiter]
    waiting = store.waiting(texts) if texts else set()
    claimed = store.claimed([one.id for item in items for one in item.claimed])
    said, since = _said(store, items)
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
        elif item.overlap and (item.overlap.waiter in waiting or said.get(item.occurrence.id) in _HELD_UP):
            happened = False
        elif _goes(item) and since < item.act:
            happened = happened and item.occurrence.id in said
        if happened:
            found.append(item)
    return found[::-1]


def _goes(item: CommitItem) -> bool:
    """Whether nothing of an occurrence is left where it was due once it is sent."""
    return item.sends and (item.waits or not item.state_after)


def _said(store: Store, items: list[CommitItem]) -> tuple[dict[str, str], float]:
    """What the ledger last said of occurrences, by id, and since which instant it says all: infinite when it was not
    asked, or keeps nothing."""
    size = store.settings.ledger_size
    if not size or not any(item.overlap or _goes(item) for item in items):
        return {}, float("inf")
    rows = store.run(requests.ledger(store.keys, "-", "+", ROWS, newest_first=True))
    said: dict[str, str] = {}
    for _, row in rows:
        if row.get("is") in ("sent", "published nothing", *_HELD_UP):
            said.setdefault(row.get("id", ""), row["is"])
    whole = len(rows) < min(ROWS, size)
    return said, 0.0 if whole else int(rows[-1][0].split("-")[0]) * 1000


def _same_state(state: str | None, after: str) -> bool:
    """Whether an entry is as a commit leaves it; an edit since then may have raised its revision."""
    found, left = parse_state(state), parse_state(after)
    return found == left if found is None or left is None else replace(found, revision=left.revision) == left
