"""An occurrence: one slot of an entry, and its task id, which is the same whoever sends it."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from typing import Any

#: The digit of a UUID that says its variant, by the digit of the digest.
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


class Ids:
    """The task ids of a schedule's occurrences: the same whoever sends one, and never the same for two.

    They are ``uuid.uuid5(uuid.NAMESPACE_OID, "redlock-beat\\n<prefix>\\n<uid>\\n<nominal>\\n<request>")``; the part
    that all ids share is hashed once.

    >>> ids = Ids("redlock-beat")
    >>> ids.of("u", 1) == Ids("redlock-beat").of("u", 1) != ids.of("u", 2)
    True
    """

    def __init__(self, prefix: str) -> None:
        text = f"redlock-beat\n{prefix}\n".encode("utf-8", "surrogatepass")
        self._begun = hashlib.sha1(uuid.NAMESPACE_OID.bytes + text, usedforsecurity=False)

    def of(self, uid: str, nominal: int, request: str = "") -> str:
        """The id of one slot of an entry; *request* is that of a trigger or a backfilled slot."""
        digest = self._begun.copy()
        digest.update(f"{uid}\n{nominal}\n{request}".encode())
        digits = digest.hexdigest()
        return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-{_VARIANT[digits[16]]}{digits[17:20]}-{digits[20:32]}"


@dataclass(slots=True)
class Occurrence:
    """One slot of an entry, to be sent."""

    name: str
    uid: str
    revision: int
    #: The slot. Instants are microseconds since the epoch.
    nominal: int
    #: The task id.
    id: str
    #: The definition of the entry, as JSON.
    definition: dict[str, Any]
    #: ``trigger``, ``backfill`` or ``settled`` for a manual item; '' for a slot of the schedule's own.
    source: str = ""
