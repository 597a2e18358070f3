"""Messages that are rendered to learn from them: to make a template, and to prove it."""

from __future__ import annotations

import json
import secrets
import uuid
from dataclasses import dataclass, replace

from ..clock import MICROS
from ..entries.entry import Entry
from ..errors import BrokerAway
from .capturing import Rendered
from .quiet import Loud, Notes
from .renderer import Renderer


class Unfillable(Exception):
    """Messages of this task and options cannot be filled in; the text says why."""


class Unfit(Unfillable):
    """The message of this one entry cannot be filled in; those of others of the same task and options may."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One message of an invented occurrence: nothing of it leaves this process, and no instrument sees it."""

    entry: Entry
    #: The list that it is for ('' for the outbox), the message, and the values in it.
    key: str
    text: str
    id: str
    name: str
    nominal: int
    at: int
    #: Its event, where there are any: the command and the place it goes to, and its message.
    event: tuple[tuple[str, ...], str] | None
    notes: Notes

    @property
    def tag(self) -> str:
        """Its delivery tag; '' for the outbox, whose messages get one when they are sent."""
        return tag_of(self.text)


def try_out(renderer: Renderer, entry: Entry, now: int) -> Trial:
    """Render a message of an entry; :class:`Unfit` or :class:`Unfillable` says why it is of no use."""
    id_, name = str(uuid.uuid4()), f"probe {secrets.token_hex(8)}"
    nominal, at = now - secrets.randbelow(86400 * MICROS), now - secrets.randbelow(86400 * MICROS)
    notes = Notes(renderer.app)
    named = replace(entry, name=name)
    try:
        rendered = renderer.render(named, nominal, id_, at, notes if renderer.instruments else None)
    except (BrokerAway, Unfillable):
        raise
    except Loud as exc:
        raise Unfillable(str(exc)) from None
    except Exception as exc:  # code of the user may raise anything; what it raises for an occurrence is logged
        raise Unfit(f"a trial of it raised {type(exc).__name__}") from exc
    event = _take_event(rendered) if notes.event is not None else None
    one = rendered.single()
    if one is None:
        raise Unfillable("it is more than one message for one queue")
    return Trial(named, *one, id_, name, nominal, at, event, notes)


def _take_event(rendered: Rendered) -> tuple[tuple[str, ...], str] | None:
    """Take its event, which is what was published last, out of what was rendered."""
    if not rendered.direct:
        return (), rendered.calls.pop() if len(rendered.calls) == 2 else ""
    found = [push for push in rendered.pushes if push[0] == "PUBLISH"]
    if len(found) == 1:
        rendered.pushes.remove(found[0])
        return tuple(found[0][:2]), found[0][2]
    return None


def tag_of(text: str) -> str:
    """The delivery tag in a message; '' where there is none."""
    return str(json.loads(text)["properties"].get("delivery_tag", ""))
