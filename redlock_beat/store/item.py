"""One message in the outbox, as a value and as the text it is in Redis.

The text is ``epoch head``, and on a line of its own the call to publish. The head is a JSON list; what
an older release left out of it has a default here, so that items outlive an upgrade.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

#: In the place of a manual item: it can only be published as it is.
AS_IT_IS = "-"

_dump = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


@dataclass(slots=True)
class Item:
    """One message in the outbox."""

    id: str
    stamped: str  # as it stands in Redis, see :func:`stamp`
    name: str
    nominal: int
    task_id: str
    at_most_once: bool
    row: list[Any]
    call: str
    #: The entry as it was claimed; no uid when it is gone since then, as one-shots are.
    uid: str = ""
    revision: int = 0
    #: When it was claimed; 0 where an older release has not said so.
    at: int = 0
    #: The manual item that has this occurrence rendered anew; '' for a slot of the schedule's own.
    again: str = ""
    #: When it was to be sent, jitter included, and its task; not known after a takeover.
    due: int | None = None
    task: str = ""
    #: Times the broker has refused this very message.
    attempts: int = 0
    #: Publish it by itself: it was under way when a connection was lost, or may be why a channel was closed.
    alone: bool = False
    #: Times a connection was lost under it, and how many messages the broker had taken the last time.
    losses: int = 0
    lost_at: int = 0
    #: At most once: a take was answered by silence, so whether the item is ours is unknown.
    unclear: bool = False
    #: On the strength of which term it is to be published. A new term reads the outbox itself, so what
    #: the publisher still has in hand of the one before is left to that.
    term: Any = None


def stamp(
    epoch: int, name: str, nominal: int, id_: str, at_most_once: bool, row: list[Any], call: str,
    uid: str = "", revision: int = 0, at: int = 0, again: str = "",
) -> str:  # fmt: skip
    """An item as it stands in Redis.

    >>> unstamp("i:0", stamp(7, "mail", 5, "i", False, ["is", "sent"], "{}", "u", 2)).revision
    2
    """
    head = [name, nominal, id_, int(at_most_once), row, uid, revision, at]
    if again:
        head.append(again)
    return f"{epoch} {_dump(head)}\n{call}"


def unstamp(item_id: str, stamped: str) -> Item:
    """The item of a text; ValueError when it is none."""
    try:
        head, call = stamped.split("\n", 1)
        name, nominal, id_, once, row, *rest = json.loads(head.split(" ", 1)[1])
        uid, revision, at, again = (*rest, *("", 0, 0, "")[len(rest) :])[:4]
        for word in row:  # they go to the ledger
            if not isinstance(word, (str, int)):
                raise TypeError(f"{word!r} is no word of a row")
            str(word).encode("utf-8", "surrogateescape")
        if not isinstance(row, list) or len(row) % 2:
            raise TypeError(f"{row!r} is no row")
        return Item(
            item_id, stamped, str(name), int(nominal), str(id_), bool(once), list(row), call,
            str(uid), int(revision), int(at), str(again),
        )  # fmt: skip
    except (IndexError, TypeError) as exc:
        raise ValueError(f"not an item of the outbox: {exc}") from None
