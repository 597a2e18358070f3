"""A call to publish as a text: what the outbox keeps, and a publisher sends later."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from kombu.utils.json import dumps as kombu_dumps
from kombu.utils.json import loads as kombu_loads

from ..errors import Unrenderable

MAX_ITEM = 16 * 1024 * 1024
#: What kombu's ``Producer._publish`` is called with, in this order.
ARGUMENTS = (
    *("body", "priority", "content_type", "content_encoding", "headers", "properties"),
    *("routing_key", "mandatory", "immediate", "exchange", "declare"),
)
HEADERS = ARGUMENTS.index("headers")  # the properties come next


def write_call(arguments: tuple[Any, ...]) -> str:
    """A call to publish as a text that needs nothing else; Unrenderable when it is too long."""
    call = dict(zip(ARGUMENTS, arguments, strict=True))
    body, properties = call["body"], call["properties"]
    raw = isinstance(body, bytes)
    reply_to = properties.get("reply_to")
    text = kombu_dumps(
        {
            "body": base64.b64encode(body).decode() if raw else body,
            "raw": raw,
            **{name: call[name] for name in ("priority", "content_type", "content_encoding", "headers")},
            "properties": {**properties, "reply_to": getattr(reply_to, "name", reply_to)},
            "routing_key": call["routing_key"],
            "mandatory": bool(call["mandatory"]),
            "exchange": call["exchange"],
            # A text in a text: many messages share it, and it is read once for all of them.
            "declare": kombu_dumps([_entity(one) for one in call["declare"]]) if call["declare"] else "",
        },
        separators=(",", ":"),
    )
    if len(text) > MAX_ITEM:
        raise Unrenderable(f"the message is {len(text)} bytes, more than the {MAX_ITEM} the outbox takes.")
    return str(text)


def _entity(entity: Any) -> dict[str, Any]:
    kind = "queue" if hasattr(entity, "exchange") else "exchange"
    return {"kind": kind, **entity.as_dict(recurse=True)}


def _declared(data: Mapping[str, Any]) -> Any:
    from kombu import Exchange, Queue, binding

    given = dict(data)
    if given.pop("kind") == "exchange":
        return Exchange(**given)
    given["exchange"] = Exchange(**given["exchange"]) if given.get("exchange") else None
    given["bindings"] = [
        binding(**{**one, "exchange": Exchange(**one["exchange"]) if one.get("exchange") else None})
        for one in given.get("bindings") or ()
    ]
    return Queue(**given)


def read_call(text: str) -> dict[str, Any]:
    """A captured call, ready for :func:`publish_call`."""
    # kombu's reader checks each object for dates and the like, and most messages have none.
    call: dict[str, Any] = kombu_loads(text) if '"__type__"' in text else json.loads(text)
    call["body"] = base64.b64decode(call["body"]) if call["raw"] else call["body"]
    call["declare"] = list(_entities(call["declare"])) if call["declare"] else []
    return call


def aged(text: str, waited: int) -> str:
    """A captured call that was kept for so many microseconds: its message expires by so much sooner at the broker."""
    if '"expiration"' not in text:
        return text
    call = kombu_loads(text)
    left = call["properties"].get("expiration")
    if left is not None:
        call["properties"]["expiration"] = str(max(0, int(left) - waited // 1000))
    return str(kombu_dumps(call, separators=(",", ":")))


@lru_cache(maxsize=1_000)
def _entities(text: str) -> tuple[Any, ...]:
    """The queues and exchanges of a text."""
    return tuple(_declared(one) for one in kombu_loads(text))


def publish_call(producer: Any, call: Mapping[str, Any]) -> None:
    """Publish a captured call through a real producer."""
    producer._publish(*(False if name == "immediate" else call[name] for name in ARGUMENTS))
