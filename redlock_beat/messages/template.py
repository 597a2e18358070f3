"""A message that Celery has rendered once, with places to fill in for each occurrence.

All entries that send the same task with the same options share one :class:`Template`: their messages differ only in the
arguments, the entry's name, the id, the slot, the expiry and the delivery tag. To make a template, an entry is rendered
twice, with different names, ids and times; filling in the first must give the second, byte for byte. That proof is
repeated from time to time. Where anything else could differ between two messages (see ``refusals``), Celery renders
each occurrence. Where there are instruments, the rendered messages are hidden from them, and the template also has what
they are to be handed (see ``instrumented``). For another broker the template is the call to publish, for the outbox.
"""

from __future__ import annotations

import base64
import json
import secrets
from binascii import b2a_base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from ..clock import MICROS, moment
from ..compat import repr_levels
from ..entries.entry import Entry
from .calls import read_call
from .encoding import dump, dump_call, pattern_of, quoted
from .headers import HEADER_DUE, HEADER_ENTRY, HEADER_NAME
from .parts import Call, Parts, agrees, fresh, parts_of
from .refusals import refusal
from .renderer import Renderer
from .trials import Trial, Unfillable, Unfit, try_out

#: Seconds, and messages, after which a template needs another proof.
PROVE_SECONDS, PROVE_MESSAGES = 60.0, 100_000


#: What is filled in; ``more`` stands for headers that instruments add at the end of the others.
_PLACES = ("body", "id", "argsrepr", "kwargsrepr", "name", "due", "expires", "tag", "more")
_ROUTING = ("exchange", "routing_key", "mandatory", "declare")
#: What stands at these places, but for tag and more: of the expiry as well as of the arguments what a worker reads.
Values = tuple[str, str, str, str, str, float, str]


@dataclass(slots=True, eq=False)
class Template:
    """Messages of one task with one set of options."""

    task: str
    #: The list that they go to; '' for calls to publish, which go to the outbox.
    key: str
    #: The message with ``%b`` at each place, and what picks the values for the places.
    pattern: bytes
    pick: Callable[[tuple[bytes, ...]], tuple[bytes, ...]]
    #: The end of the body, which does not depend on the arguments.
    embed: str
    #: Celery's own check of the arguments, or None.
    fits: Callable[..., Any] | None
    #: Relative expiry in microseconds, or None.
    expires: int | None
    zone: Any
    longest: tuple[int, int, int]
    prove_at: float
    #: What instruments are handed of it; None where there is none.
    parts: Parts | None = None
    messages: int = 0
    #: The last slot, and how it is written: many that are due together have the same.
    last_due: tuple[float, bytes] = (0.0, b"0.0")
    #: Where its messages go, read once for all of them; see :meth:`Filled.routing`.
    routing: dict[str, Any] | None = None

    def fill(
        self, args: list[Any], kwargs: Mapping[str, Any] | None, name: str, id_: str, nominal: int, tag: str, now: int
    ) -> bytes:
        """The message of one occurrence; :class:`Unfit` when these arguments cannot be filled in."""
        return self.write(self.values(args, kwargs, name, id_, nominal, now), tag)

    def values(
        self, args: list[Any], kwargs: Mapping[str, Any] | None, name: str, id_: str, nominal: int, now: int
    ) -> Values:
        """What stands at the places of one occurrence; :class:`Unfit` when these arguments cannot be filled in."""
        if self.fits is not None:
            try:
                self.fits(*args, **kwargs) if kwargs else self.fits(*args)
            except TypeError:
                raise Unfit("its arguments are not those its task takes") from None
        body = f"[{dump(args)}, {dump(kwargs) if kwargs else '{}'}, {self.embed}"
        if '"__type__"' in body:
            raise Unfit("its arguments hold dates or the like, which are shown otherwise than they are written")
        argsize, kwargsize, levels = self.longest
        argsrepr = shown(args, argsize, levels) if args else "()"
        kwargsrepr = shown(kwargs, kwargsize, levels) if kwargs else "{}"
        expires = "" if self.expires is None else self._expires(now)
        return body, id_, argsrepr, kwargsrepr, name, nominal / MICROS, expires

    def write(self, values: Values, tag: str, more: bytes = b"") -> bytes:
        """The message with these values at its places."""
        body, id_, argsrepr, kwargsrepr, name, due, expires = values
        last = self.last_due  # read once: a publisher's thread may write one, too
        if due != last[0]:
            last = self.last_due = due, repr(due).encode()
        said = (  # in the order of _PLACES
            b2a_base64(body.encode(), newline=False) if self.key else quoted(body).encode(),
            id_.encode(),
            quoted(argsrepr).encode(),
            quoted(kwargsrepr).encode(),
            quoted(name).encode(),
            last[1],
            expires.encode(),
            tag.encode(),
            more,
        )
        return self.pattern % self.pick(said)

    def call(
        self, args: list[Any], kwargs: Mapping[str, Any] | None, name: str, id_: str, nominal: int, now: int
    ) -> Call:
        """What one occurrence fills in where instruments see it; :class:`Unfit` as :meth:`values`."""
        _, _, argsrepr, kwargsrepr, _, due, expires = self.values(args, kwargs, name, id_, nominal, now)
        kwargs = fresh(kwargs) if kwargs else {}
        return Call(
            fresh(args), kwargs, name, id_, due, argsrepr, kwargsrepr, None if self.expires is None else expires
        )

    def left(self, call: Call, body: Any, more: Mapping[str, Any]) -> bytes:
        """The message with the body, and with *more* headers, that instruments have left."""
        added = b""
        if more:
            added = (", " + dump(more)[1:-1] if self.key else "," + dump_call(more)[1:-1]).encode()
        said = dump(body), call.id, call.argsrepr, call.kwargsrepr, call.name, call.due, call.expires or ""
        return self.write(said, call.tags[0], added)

    def _expires(self, now: int) -> str:
        assert self.expires is not None
        return moment(now + self.expires).astimezone(self.zone).isoformat()


@dataclass(slots=True)
class Filled:
    """A call to publish that a template has filled in, with what stands at its places."""

    #: As the outbox keeps it.
    text: str
    template: Template
    values: Values

    def routing(self) -> dict[str, Any]:
        """Where it goes, and what it needs there: of a call what all messages of the template have in common."""
        routing = self.template.routing
        if routing is None:
            call = read_call(self.text)
            routing = self.template.routing = {name: call[name] for name in _ROUTING}
        return dict(routing)


# --- what Celery shows of arguments ----------------------------------------------------------------


#: What Celery shows as Python does.
_AS_IT_IS = frozenset((int, float, bool, type(None)))


def shown(value: Any, longest: int, levels: int) -> str:
    """Celery's ``saferepr``: done here for what is short and plain, by Celery itself for the rest."""
    if type(value) is list and value:
        parts = []
        for one in value:  # a loop, for this is done for each message
            if type(one) in _AS_IT_IS:
                parts.append(repr(one))
            elif type(one) is str and _is_plain(one):
                parts.append(f"'{one}'")
            else:
                break
        else:
            text = f"[{', '.join(parts)}]"
            if len(text) < longest:
                return text
    elif not value:
        return "{}" if isinstance(value, Mapping) else "()"
    from celery.utils.saferepr import saferepr

    return str(saferepr(value, longest, maxlevels=levels))


def _is_plain(text: str) -> bool:
    return len(text) < 200 and text.isascii() and text.isprintable() and "'" not in text and "\\" not in text


# --- making one ------------------------------------------------------------------------------------


def template_of(renderer: Renderer, entry: Entry, now: int, prove_at: float) -> Template:
    """Make the template of an entry's messages; :class:`Unfillable` says why there is none."""
    why = refusal(renderer.app, entry)
    if why:
        raise Unfillable(why)
    trial = try_out(renderer, entry, now)
    template = _cut(renderer.app, trial, prove_at)
    if renderer.instruments:
        template.parts = parts_of(trial)
    prove(renderer, template, entry, now)
    return template


def prove(renderer: Renderer, template: Template, entry: Entry, now: int) -> None:
    """Render an entry again, with another name, id and time, and compare; Unfillable when it differs."""
    why = refusal(renderer.app, entry)
    if why:
        raise Unfillable(why)
    trial = try_out(renderer, entry, now)
    args, kwargs = list(entry.args), dict(entry.kwargs)
    what = (args, kwargs, trial.name, trial.id, trial.nominal)
    if trial.key != template.key or template.fill(*what, trial.tag, trial.at) != trial.text.encode():
        raise Unfillable("two messages of it differ in more than what is filled in")
    if template.parts is not None:
        call = template.call(*what, trial.at)
        call.tags = trial.tag, ""
        body = call.args, call.kwargs, template.parts.embed
        if not agrees(template.parts, call, trial) or template.left(call, body, {}) != trial.text.encode():
            raise Unfillable("what instruments see of two messages of it differs in more than what is filled in")


def _cut(app: Any, trial: Trial, prove_at: float) -> Template:
    entry, key, id_, name = trial.entry, trial.key, trial.id, trial.name
    message, write = json.loads(trial.text), dump if key else dump_call
    if write(message) != trial.text:
        raise Unfillable("its serializer writes JSON in a way of its own")
    headers, properties = message["headers"], message["properties"]
    body = _body(message) if key else _body_of_call(message)
    longest = (app.amqp.argsrepr_maxsize, app.amqp.kwargsrepr_maxsize, repr_levels(app))
    args, kwargs = list(entry.args), dict(entry.kwargs)
    try:
        start = f"[{dump(args)}, {dump(kwargs)}, "
    except (TypeError, ValueError, RecursionError):
        raise Unfit("its arguments hold dates or other values for which JSON has no type") from None
    if not body.startswith(start):
        raise Unfit("its body is not of protocol 2, or its arguments are not written as JSON alone")
    options_expire = _expiry(app, entry)
    mark = secrets.token_hex(8)
    places = {place: f"{mark}{place}" for place in _PLACES if key or place != "tag"}
    message["body"] = places["body"]
    for holder, field, value, place in (
        (headers, "id", id_, "id"),
        (headers, "root_id", id_, "id"),
        (properties, "correlation_id", id_, "id"),
        (headers, "argsrepr", shown(args or (), longest[0], longest[2]), "argsrepr"),
        (headers, "kwargsrepr", shown(kwargs, longest[1], longest[2]), "kwargsrepr"),
        (headers, HEADER_ENTRY, name, "name"),
        (headers, HEADER_NAME, name, "name"),
        (headers, HEADER_DUE, trial.nominal / MICROS, "due"),
        (properties, "delivery_tag", properties.get("delivery_tag"), "tag"),
    ):
        if place not in places:
            continue
        if holder.get(field) != value or value is None:
            raise Unfillable(f"its {field} is not what Celery makes of this entry")
        holder[field] = places[place]
    if options_expire is not None:
        headers["expires"] = places["expires"]
    headers[places["more"]] = ""
    # A text keeps its quotes; a value with quotes of its own, or a number, replaces them.
    bare = {"argsrepr", "kwargsrepr", "name", "due", *(() if key else ("body",))}
    marks = {place: f'"{said}"' if place in bare else said for place, said in places.items()}
    marks["more"] = (", " if key else ",") + write({places["more"]: ""})[1:-1]
    pattern, order = pattern_of(write(message), marks)
    if any(one.encode() in pattern for one in (id_, name, mark)):
        raise Unfillable("its id or name stands where it is not expected")
    task = app.tasks.get(entry.task)
    return Template(
        task=entry.task,
        key=key,
        pattern=pattern,
        pick=itemgetter(*map(_PLACES.index, order)),
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
        raise Unfillable("its body is not JSON")
    if (properties.get("delivery_info") or {}).get("exchange") != "":
        raise Unfillable("it goes to a named exchange, whose bindings may change")
    try:
        return base64.b64decode(message["body"]).decode()
    except ValueError:
        raise Unfillable("its body is compressed, or no text") from None


def _body_of_call(call: dict[str, Any]) -> str:
    if call["raw"] or call["content_type"] != "application/json":
        raise Unfillable("its body is not JSON, or is compressed")
    return str(call["body"])


def _expiry(app: Any, entry: Entry) -> int | None:
    task = app.tasks.get(entry.task)
    expires = entry.options.get("expires", getattr(task, "expires", None))
    if isinstance(expires, (int, float)) and not isinstance(expires, bool):
        return round(expires * MICROS)
    return None
