"""A call that is kept until its time, as a value and as the text it is in Redis.

The text is ``token head``, and after it one line for each call to publish (see
:mod:`redlock_beat.messages.calls`): the task's message, and with ``task_send_sent_event`` the event. The head is a
JSON list of what is shown of it, so that a listing reads no messages. The token is another one for each call: a beat
that has read an item sends it only while the very same one stands there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..clock import score
from .values import counted

#: Characters kept of how the arguments look.
SHOWN = 300

_dump = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


@dataclass(frozen=True, slots=True)
class KeptCall:
    """One call that is sent at its time.

    >>> kept = KeptCall("id", 5, "t0", "tasks.mail", 1, calls=("{}",))
    >>> KeptCall.parse("id", kept.text()) == kept
    True
    """

    #: The task's id.
    id: str
    #: When it is sent: an instant of Redis's time.
    due: int
    #: Another one for each call; '' for what cannot be read.
    token: str
    task: str
    #: When it was made.
    made: int
    #: How its arguments look, for people.
    args: str = ""
    kwargs: str = ""
    #: When it expires, as the message says it; '' for never.
    expires: str = ""
    #: The calls to publish; none where only the head was read.
    calls: tuple[str, ...] = ()

    def text(self) -> str:
        """The call as it stands in Redis."""
        head = [self.task, self.due, self.made, self.args[:SHOWN], self.kwargs[:SHOWN], self.expires]
        return "\n".join((f"{self.token} {_dump(head)}", *self.calls))

    @classmethod
    def parse(cls, id_: str, text: str) -> KeptCall:
        """The call of a text, or of its head alone; ValueError when it is none."""
        first, *calls = text.split("\n")
        token, space, head = first.partition(" ")
        try:
            task, due, made, args, kwargs, expires, *_ = json.loads(head)
            if not (token and space):
                raise TypeError("it has no token")
            return cls(id_, int(due), token, str(task), int(made), str(args), str(kwargs), str(expires), tuple(calls))
        except (ValueError, TypeError) as exc:
            raise ValueError(f"not a call that is kept: {exc}") from None


@dataclass(slots=True)
class Sending:
    """What is done about a call whose time has come; see ``countdown_send.lua``."""

    call: KeptCall
    #: When it is tried again, should it fail.
    again: int
    #: Why it is put off without being tried; '' to send it.
    put_off: str = ""
    #: What the ledger says of it then; '' where it is claimed for another broker, and sent later.
    outcome: str = ""
    pushes: Sequence[Sequence[Any]] = ()
    row: Sequence[Any] = ()

    def words(self) -> list[Any]:
        """The arguments of the script."""
        out: list[Any] = [self.call.id, self.call.token, score(self.again), self.put_off, self.outcome]
        out.append(len(self.pushes))
        for push in self.pushes:
            out += counted(push)
        return out + counted(self.row)
