"""One message in the outbox, as a value and as a text in Redis.

The text is ``epoch head`` (``epoch taken head`` while a message with ``at_most_once`` is on its way), and on a line of
its own the call to publish. The head is a JSON list; what an older release leaves out of it has a default here, so that
items outlive an upgrade.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: In the place of a manual item: nobody can render this message anew.
AS_IT_IS = "-"

#: After the epoch of an item that was taken; ``outbox_take.lua`` writes it, too.
_TAKEN = "taken "

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
    #: When it was claimed; 0 in an item of an older release.
    at: int = 0
    #: The manual item that has this occurrence rendered anew; '' for a slot of the schedule's own.
    again: str = ""
    #: When it was to be sent, jitter included, and its task; unknown after a takeover.
    due: int | None = None
    task: str = ""
    #: The labels of the entry; not known after a takeover, either.
    labels: Mapping[str, str] = field(default_factory=dict)
    #: The call as its template has filled it in, from which a publisher may write it; None when it was not, and after a
    #: takeover.
    filled: Any = None
    #: How often the broker has refused this very message.
    attempts: int = 0
    #: Whether to publish it alone: it was under way when a connection was lost, or may be why a channel was closed.
    alone: bool = False
    #: How often a connection was lost under it, and how many messages the broker had taken the last time.
    losses: int = 0
    lost_at: int = 0
    #: At most once: a beat has taken it to publish it, as the word after the epoch says.
    taken: bool = False
    #: The term that it is published for. A new term reads the outbox itself, so the publisher forgets items of the
    #: one before.
    term: Any = None


def stamp(
    epoch: int,
    name: str,
    nominal: int,
    id_: str,
    at_most_once: bool,
    row: list[Any],
    call: str,
    uid: str = "",
    revision: int = 0,
    at: int = 0,
    again: str = "",
) -> str:
    """The text of an item in Redis.

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
        head = head.split(" ", 1)[1]
        taken = head.startswith(_TAKEN)
        name, nominal, id_, once, row, *rest = json.loads(head.removeprefix(_TAKEN))
        uid, revision, at, again = (*rest, *("", 0, 0, "")[len(rest) :])[:4]
        for word in row:  # they go to the ledger
            if not isinstance(word, (str, int)):
                raise TypeError(f"{word!r} is no word of a row")
            str(word).encode("utf-8", "surrogateescape")
        if not isinstance(row, list) or len(row) % 2:
            raise TypeError(f"{row!r} is no row")
        entry = (str(uid), int(revision), int(at), str(again))
        return Item(
            item_id, stamped, str(name), int(nominal), str(id_), bool(once), list(row), call, *entry, taken=taken
        )
    except (IndexError, TypeError) as exc:
        raise ValueError(f"not an item of the outbox: {exc}") from None
