"""A message that Celery has rendered once, with places to fill in for each occurrence.

All entries that send the same task with the same options share one :class:`Shape`: their messages
differ in the arguments, the entry's name, the id, the slot, the expiry and the delivery tag, and in
nothing else. A shape is made by rendering an entry twice, with different names, ids and times, and
proved by filling the first so that it becomes the second, byte for byte. It is proved again from time
to time. Whatever could make two messages differ elsewhere refuses it (:func:`refusal`), and the entry
is then rendered for each occurrence. Behind another broker it is the call to publish that is filled in,
for the outbox.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import types
import uuid
from binascii import b2a_base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from typing import Any

from ..clock import MICROS, moment
from ..compat import repr_levels
from ..entries.entry import Entry
from ..errors import BrokerAway
from .renderer import HEADER_DUE, HEADER_ENTRY, HEADER_NAME, Renderer

#: Seconds, and messages, after which a shape is proved again.
PROVE_SECONDS, PROVE_MESSAGES = 60.0, 100_000


def _encoder() -> Callable[[Any], str]:
    """``json.dumps``, which makes an encoder anew for each value, without doing so; CPython's, if it is as expected."""
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    try:
        encode = make(
            None, json.JSONEncoder().default, json.encoder.encode_basestring_ascii, None, ": ", ", ", False, False, True
        )
        encode([{}], 0)
    except TypeError:  # pragma: no cover - another Python's json
        return json.JSONEncoder().encode
    return lambda value: "".join(encode(value, 0))


_dump = _encoder()
_dump_call = json.JSONEncoder(separators=(",", ":")).encode
_text = json.encoder.encode_basestring_ascii
_PLACES = ("body", "id", "argsrepr", "kwargsrepr", "name", "due", "expires", "tag")


class Refused(Exception):
    """Messages of this task and options cannot be filled in; its text says why."""


class Unfit(Refused):
    """Those of this one entry cannot: others of the same task and options may."""


@dataclass(slots=True)
class Shape:
    """Messages of one task with one set of options."""

    task: str
    #: The list they are pushed to; '' when they are calls for the outbox.
    key: str
    #: The message with ``%b`` where something is filled in, and what picks what goes there.
    pattern: bytes
    pick: Callable[[tuple[bytes, ...]], tuple[bytes, ...]]
    #: The end of the body: what does not depend on the arguments.
    embed: str
    #: Celery's own check of the arguments, or None.
    fits: Callable[..., Any] | None
    #: Relative expiry in microseconds, or None.
    expires: int | None
    zone: Any
    longest: tuple[int, int, int]
    prove_at: float
    messages: int = 0

    def fill(
        self, args: list[Any], kwargs: Mapping[str, Any] | None, name: str, id_: str, nominal: int, tag: str, now: int
    ) -> bytes:
        """The message of one occurrence; :class:`Unfit` when these arguments cannot be filled in."""
        if self.fits is not None:
            try:
                self.fits(*args, **(kwargs or {}))
            except TypeError:
                raise Unfit("its arguments are not those its task takes") from None
        body = f"[{_dump(args)}, {_dump(kwargs) if kwargs else '{}'}, {self.embed}"
        if '"__type__"' in body:
            raise Unfit("its arguments hold dates or the like, which are shown otherwise than they are written")
        argsize, kwargsize, levels = self.longest
        ident = id_.encode()
        values = (
            b2a_base64(body.encode(), newline=False) if self.key else _text(body).encode(), ident,
            _text(shown(args, argsize, levels) if args else "()").encode(),
            _text(shown(kwargs, kwargsize, levels) if kwargs else "{}").encode(),
            _text(name).encode(), repr(nominal / MICROS).encode(),
            b"" if self.expires is None else self._expires(now), tag.encode(),
        )  # fmt: skip
        return self.pattern % self.pick(values)

    def _expires(self, now: int) -> bytes:
        assert self.expires is not None
        return moment(now + self.expires).astimezone(self.zone).isoformat().encode()


# --- what Celery shows of arguments ----------------------------------------------------------------


def shown(value: Any, longest: int, levels: int) -> str:
    """Celery's ``saferepr``; what is short and plain is said at once, the rest by Celery itself."""
    if type(value) is list and value:
        parts = [_plain(one) for one in value]
        if None not in parts:
            text = f"[{', '.join(parts)}]"  # type: ignore[arg-type]
            if len(text) < longest:
                return text
    elif not value:
        return "{}" if isinstance(value, Mapping) else "()"
    from celery.utils.saferepr import saferepr

    return str(saferepr(value, longest, maxlevels=levels))


def _plain(value: Any) -> str | None:
    kind = type(value)
    if kind is int or kind is float or kind is bool or value is None:
        return repr(value)
    if kind is str and len(value) < 200 and value.isascii() and value.isprintable():
        return None if "'" in value or "\\" in value else f"'{value}'"
    return None


# --- making one ------------------------------------------------------------------------------------


def shape_of(renderer: Renderer, entry: Entry, now: int, prove_at: float) -> Shape:
    """The shape of an entry's messages; :class:`Refused` says why there is none."""
    why = refusal(renderer.app, entry)
    if why:
        raise Refused(why)
    first = _message(renderer, entry, now)
    shape = _cut(renderer.app, entry, prove_at, *first)
    prove(renderer, shape, entry, now)
    return shape


def prove(renderer: Renderer, shape: Shape, entry: Entry, now: int) -> None:
    """Render an entry once more, under another name, id and time, and compare; Refused when it differs."""
    why = refusal(renderer.app, entry)
    if why:
        raise Refused(why)
    key, text, id_, name, nominal, at = _message(renderer, entry, now)
    tag = json.loads(text)["properties"].get("delivery_tag", "")
    filled = shape.fill(list(entry.args), dict(entry.kwargs), name, id_, nominal, tag, at)
    if key != shape.key or filled != text.encode():
        raise Refused("two messages of it differ in more than what is filled in")


def _message(renderer: Renderer, entry: Entry, now: int) -> tuple[str, str, str, str, int, int]:
    """One message, rendered for an occurrence that never was: nothing of it leaves this process.

    The list it is for, or '' for the outbox; the message; and what went into it.
    """
    id_, name = str(uuid.uuid4()), f"probe {secrets.token_hex(8)}"
    nominal, at = now - secrets.randbelow(86400 * MICROS), now - secrets.randbelow(86400 * MICROS)
    try:
        one = renderer.render(replace(entry, name=name), nominal, id_, at).single()
    except BrokerAway:
        raise
    except Exception as exc:  # user code may raise anything; when it does so in earnest, it is said in full
        raise Unfit(f"a trial of it raised {type(exc).__name__}") from exc
    if one is None:
        raise Refused("it is more than one message for one queue")
    return *one, id_, name, nominal, at


def _cut(
    app: Any, entry: Entry, prove_at: float, key: str, text: str, id_: str, name: str, nominal: int, at: int
) -> Shape:
    message, dump = json.loads(text), _dump if key else _dump_call
    if dump(message) != text:
        raise Refused("its serializer writes JSON in a way of its own")
    headers, properties = message["headers"], message["properties"]
    body = _body(message) if key else _body_of_call(message)
    longest = (app.amqp.argsrepr_maxsize, app.amqp.kwargsrepr_maxsize, repr_levels(app))
    args, kwargs = list(entry.args), dict(entry.kwargs)
    start = f"[{_dump(args)}, {_dump(kwargs)}, "
    if not body.startswith(start):
        raise Unfit("its body is not of protocol 2, or its arguments are not written as JSON alone")
    options_expire = _expiry(app, entry)
    mark = secrets.token_hex(8)
    places = {place: f"{mark}{place}" for place in _PLACES if key or place != "tag"}
    message["body"] = places["body"]
    for holder, field, value, place in (
        (headers, "id", id_, "id"), (headers, "root_id", id_, "id"), (properties, "correlation_id", id_, "id"),
        (headers, "argsrepr", shown(args or (), longest[0], longest[2]), "argsrepr"),
        (headers, "kwargsrepr", shown(kwargs, longest[1], longest[2]), "kwargsrepr"),
        (headers, HEADER_ENTRY, name, "name"), (headers, HEADER_NAME, name, "name"),
        (headers, HEADER_DUE, nominal / MICROS, "due"),
        (properties, "delivery_tag", properties.get("delivery_tag"), "tag"),
    ):  # fmt: skip
        if place not in places:
            continue
        if holder.get(field) != value or value is None:
            raise Refused(f"its {field} is not what Celery makes of this entry")
        holder[field] = places[place]
    if options_expire is not None:
        headers["expires"] = places["expires"]
    pattern = dump(message).replace("%", "%%")
    for place, said in places.items():
        # Texts keep their quotes; what brings its own, or is a number, takes the quotes' place.
        quoted = place in ("argsrepr", "kwargsrepr", "name", "due") or (place == "body" and not key)
        pattern = pattern.replace(f'"{said}"' if quoted else said, f"\0{_PLACES.index(place)}\0")
    if id_ in pattern or name in pattern or mark in pattern:
        raise Refused("its id or name stands where it is not expected")
    pieces = pattern.split("\0")
    task = app.tasks.get(entry.task)
    return Shape(
        task=entry.task,
        key=key,
        pattern="%b".join(pieces[::2]).encode(),
        pick=itemgetter(*(int(place) for place in pieces[1::2])),
        embed=body[len(start) :],
        fits=getattr(task, "__header__", None) if task is not None and task.typing else None,
        expires=options_expire,
        zone=app.timezone,
        longest=longest,
        prove_at=prove_at,
    )


def _body(message: dict[str, Any]) -> str:
    """The body of a message for a list of Redis's."""
    properties = message["properties"]
    if properties.get("body_encoding") != "base64" or message.get("content-type") != "application/json":
        raise Refused("its body is not JSON")
    if (properties.get("delivery_info") or {}).get("exchange") != "":
        raise Refused("it goes to a named exchange, whose bindings may change")
    try:
        return base64.b64decode(message["body"]).decode()
    except ValueError:
        raise Refused("its body is compressed, or no text") from None


def _body_of_call(call: dict[str, Any]) -> str:
    if call["raw"] or call["content_type"] != "application/json":
        raise Refused("its body is not JSON, or is compressed")
    return str(call["body"])


def _expiry(app: Any, entry: Entry) -> int | None:
    task = app.tasks.get(entry.task)
    expires = entry.options.get("expires", getattr(task, "expires", None))
    if isinstance(expires, (int, float)) and not isinstance(expires, bool):
        return round(expires * MICROS)
    return None


# --- what refuses one ------------------------------------------------------------------------------


def refusal(app: Any, entry: Entry) -> str | None:
    """Why messages of this entry are rendered each time; None when nothing is against filling them in."""
    return whole_refusal(app) or _entry_refusal(app, entry)


def whole_refusal(app: Any) -> str | None:
    """Why no message of this app can be filled in."""
    from celery import signals

    conf = app.conf
    if conf.task_protocol != 2:
        return "task_protocol is not 2"
    if conf.task_always_eager:
        return "task_always_eager is on"
    if conf.task_send_sent_event:
        return "task_send_sent_event is on"
    if any(getattr(signals, name).receivers for name in ("before_task_publish", "after_task_publish", "task_sent")):
        return "a receiver of a publish signal is connected"
    routes = conf.task_routes or ()
    for route in (routes,) if isinstance(routes, Mapping) else tuple(routes):
        if not isinstance(route, (Mapping, list, tuple)):
            return "task_routes holds a router that is code"
        if isinstance(route, Mapping) and any(callable(one) for one in route.values()):
            return "task_routes holds a router that is code"
    return _foreign(app)


def _own(function: Any) -> bool:
    """Whether a function is Celery's or kombu's own: not one that somebody has put in its place."""
    import celery
    import kombu

    # With the separator: other packages have these words in their names and paths, instrumentation above all.
    homes = tuple(f"{Path(package.__file__).parent}{os.sep}" for package in (celery, kombu))
    function = getattr(function, "__func__", function)
    return isinstance(function, types.FunctionType) and function.__code__.co_filename.startswith(homes)


def _foreign(app: Any) -> str | None:
    """Who stands between: code that is not Celery's or kombu's own may write something of its own."""
    import kombu
    from celery.app.amqp import AMQP
    from celery.app.base import Celery
    from celery.app.task import Task
    from kombu.transport.virtual import Channel

    amqp = app.amqp
    # `producer_or_acquire` is ours while rendering; it hands on the producer it is given.
    looked_at = {
        "Task.apply_async": Task.apply_async,
        "Celery.send_task": app.send_task,
        "AMQP.send_task_message": amqp.send_task_message,
        "AMQP.create_task_message": amqp.create_task_message,
        "AMQP.as_task_v2": amqp.task_protocols.get(2) if type(amqp) is AMQP else None,
        "Producer.publish": kombu.Producer.publish,
        "Producer._publish": kombu.Producer._publish,
        "Channel.basic_publish": Channel.basic_publish,
        "Channel.prepare_message": Channel.prepare_message,
    }
    if "send_task" in vars(app) or not issubclass(type(app), Celery):
        return "Celery.send_task is not Celery's own"
    for what, function in looked_at.items():
        if not _own(function):
            return f"{what} is not Celery's own"
    if amqp.Producer is not kombu.Producer:
        return "its Producer is not kombu's own"
    return None


def _entry_refusal(app: Any, entry: Entry) -> str | None:
    if entry.reference:
        return "it is rendered from the configuration"
    if entry.canvas is not None:
        return "it is a canvas"
    for option in ("eta", "countdown", "stamped_headers", "argsrepr", "kwargsrepr", "root_id", "delivery_tag"):
        if entry.options.get(option) is not None:
            return f"it has the option {option}"
    task = app.tasks.get(entry.task)
    if task is None:
        return None
    from celery.app.task import Task

    for name in ("apply_async", "shadow_name", "_get_exec_options", "_get_app"):
        function = getattr(task, name, None)
        if getattr(function, "__func__", function) is not getattr(Task, name):
            own = getattr(getattr(Task, name), "__func__", getattr(Task, name))
            if getattr(function, "__func__", function) is not own:
                return f"its task has a {name} of its own"
    if getattr(task, "_dump_pydantic_arguments", None) is not None:
        return "its task turns its arguments into something else"
    return None


def fingerprint(app: Any) -> tuple[Any, ...]:
    """Changes when anything does that a shape depends on: receivers, the registry, the configuration, the code."""
    from celery import signals
    from celery.app.task import Task

    conf = app.conf
    receivers = tuple(
        tuple(id(one[1]) for one in getattr(signals, name).receivers)
        for name in ("before_task_publish", "after_task_publish", "task_sent")
    )
    said = tuple((key, id(value)) for key, value in conf.changes.items())
    code = (id(Task.apply_async), id(type(app).send_task))
    return receivers, len(app.tasks), said, id(app.amqp), id(app.tasks), len(conf.maps), code
