"""What instruments are handed of a template's messages.

A message that was rendered where no instrument sees it (see ``quiet``) tells what Celery hands to each; a second one
tells whether it is the same for all but for what is filled in.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .encoding import Writer, dump
from .headers import HEADER_CLAIM
from .trials import Trial, Unfillable, tag_of

#: What nobody can change in its place.
_PLAIN = frozenset((str, int, float, bool, type(None)))


@dataclass(slots=True)
class Event:
    """The event ``task-sent`` of a template's messages."""

    kind: str
    fields: dict[str, Any]
    #: What the dispatcher of events is called with besides, and what it publishes with.
    options: dict[str, Any]
    publish: dict[str, Any]
    #: The command and the place that its message goes to; none for the outbox.
    push: tuple[str, ...]
    writer: Writer


@dataclass(slots=True)
class Parts:
    """What instruments are handed of a template's messages, and what writes those."""

    task: str
    #: The list that they go to; '' for calls to publish, which go to the outbox.
    key: str
    #: The options of the entry, and its claim (see ``headers``).
    options: dict[str, Any]
    claim: int | None
    #: The options of ``send_task``, but for headers, id and producer.
    send_task: dict[str, Any]
    #: What the signals are sent with, and what is published with besides properties.
    before: dict[str, Any]
    after: dict[str, Any]
    publish: dict[str, Any]
    #: Celery's own headers and properties, and the end of the body.
    headers: dict[str, Any]
    #: The names of all headers in their order, and how those are shown whose values can be changed in their place.
    names: list[str]
    changeable: dict[str, str]
    properties: dict[str, Any]
    embed: dict[str, Any]
    writer: Writer
    event: Event | None


@dataclass(slots=True)
class Call:
    """What one occurrence fills in."""

    args: list[Any]
    kwargs: dict[str, Any]
    name: str
    id: str
    #: The slot, in seconds.
    due: float
    argsrepr: str
    kwargsrepr: str
    expires: str | None
    #: The headers that tell its worker of the occurrence.
    headers: dict[str, Any] = field(default_factory=dict)
    #: Delivery tags: of the message, and of its event.
    tags: tuple[str, str] = ("", "")


def fresh(value: Any) -> Any:
    """A copy of JSON data, which instruments may change.

    >>> fresh([1, {"a": []}])
    [1, {'a': []}]
    """
    if type(value) is list:
        return [one if type(one) in _PLAIN else fresh(one) for one in value]
    if type(value) is dict:
        return {key: one if type(one) in _PLAIN else fresh(one) for key, one in value.items()}
    return value


def is_plain(value: Any) -> bool:
    """Whether nobody can change a value in its place."""
    return type(value) in _PLAIN


class Message:
    """One message, as Celery makes it: with copies of all that instruments may change."""

    def __init__(self, parts: Parts, call: Call) -> None:
        self.parts, self.call = parts, call
        self.body = call.args, call.kwargs, fresh(parts.embed)
        self.properties = {**parts.properties, "correlation_id": call.id}

    def headers(self) -> dict[str, Any]:
        """Celery's own headers of it."""
        call, headers = self.call, self.parts.headers.copy()
        for key in self.parts.changeable:
            if key in headers:
                headers[key] = fresh(headers[key])
        headers["id"] = headers["root_id"] = call.id
        headers["argsrepr"], headers["kwargsrepr"] = call.argsrepr, call.kwargsrepr
        if call.expires is not None:
            headers["expires"] = call.expires
        return headers

    def fields(self) -> dict[str, Any]:
        """The fields of its event."""
        event, call = self.parts.event, self.call
        assert event is not None
        fields = {**event.fields, "uuid": call.id, "root_id": call.id}
        fields |= {"args": call.argsrepr, "kwargs": call.kwargsrepr}
        if call.expires is not None:
            fields["expires"] = call.expires
        return fields


# --- learnt from a trial ---------------------------------------------------------------------------


def parts_of(trial: Trial) -> Parts:
    """The parts of messages like that of a trial; Unfillable where it is not certain what they are."""
    notes = trial.notes
    given, handed, properties = notes.send_task["headers"], notes.before["headers"], notes.before["properties"]
    own = {key: value for key, value in handed.items() if key not in given}
    body, published = notes.published[0]
    if [*handed][: len(own)] != [*own] or not given.keys() <= handed.keys():
        raise Unfillable("its headers take the place of Celery's")
    if not all(map(is_plain, properties.values())) or not properties.keys() <= published.keys():
        raise Unfillable("it has properties that instruments may change in their place")
    if not (isinstance(body, tuple) and len(body) == 3 and {"declare", "retry_policy"} <= notes.before.keys()):
        raise Unfillable("this release of Celery hands instruments something else than is known")
    return Parts(
        task=trial.entry.task,
        key=trial.key,
        options=dict(trial.entry.options),
        claim=given.get(HEADER_CLAIM),
        send_task=_without(notes.send_task, "headers", "task_id", "producer"),
        before=notes.before,
        after=notes.after,
        publish=_without(published, "headers", *properties),
        headers=own,
        names=[*handed],
        changeable={key: repr(value) for key, value in handed.items() if not is_plain(value)},
        properties=properties,
        embed=body[2],
        writer=_writer(trial.text, trial.id, calls=not trial.key),
        event=_event_of(trial),
    )


def _without(options: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key not in keys}


def _writer(text: str, id_: str, *, calls: bool) -> Writer:
    message, mark = json.loads(text), secrets.token_hex(8)
    marks = {place: f"{mark}{place}" for place in ("body", "headers", "id", "tag")}
    message["body"], message["headers"] = marks["body"], marks["headers"]
    if message["properties"].get("correlation_id") == id_:
        message["properties"]["correlation_id"] = marks["id"]
    if "delivery_tag" in message["properties"]:
        message["properties"]["delivery_tag"] = marks["tag"]
    return Writer.of(message, marks, calls)


def _event_of(trial: Trial) -> Event | None:
    notes = trial.notes
    if notes.event is None:
        return None
    if trial.event is None or not trial.event[1] or len(notes.published) != 2:
        raise Unfillable("its event is more than one message")
    kind, fields, options = notes.event
    push, text = trial.event
    writer = _writer(text, "", calls=not trial.key)
    return Event(kind, fields, options, notes.published[1][1], push, writer)


def agrees(parts: Parts, call: Call, trial: Trial) -> bool:
    """Whether the parts give what Celery handed to instruments in another trial, and its message."""
    notes, message = trial.notes, Message(parts, call)
    headers = {**message.headers(), **notes.send_task["headers"]}
    handed = notes.before["headers"]
    if call.expires is not None:  # Celery goes by the clock of this machine, and the message by that of Redis
        handed = {**handed, "expires": call.expires}
    other = parts_of(trial)
    return (
        dump(headers) == dump(handed)
        and [*message.properties.items()] == [*notes.before["properties"].items()]
        and dump(message.body) == dump(notes.published[0][0])
        and parts.writer.write(message.body, headers, trial.id, trial.tag) == trial.text.encode()
        and other.send_task == parts.send_task
        and other.publish == parts.publish
        and _fixed(other.before) == _fixed(parts.before)
        and _fixed(other.after) == _fixed(parts.after)
        and (parts.event is None) is (other.event is None)
        and (parts.event is None or _event_agrees(parts.event, message, trial))
    )


def _fixed(named: Mapping[str, Any]) -> dict[str, Any]:
    return _without(named, "headers", "properties", "body")


def _event_agrees(event: Event, message: Message, trial: Trial) -> bool:
    notes, fields = trial.notes, message.fields()
    assert notes.event is not None
    assert trial.event is not None
    kind, said, options = notes.event
    if message.call.expires is not None:
        said = {**said, "expires": message.call.expires}
    body, published = notes.published[1]
    text = trial.event[1]
    written = event.writer.write(body, published["headers"], "", tag_of(text))
    return (
        (kind, dump(said), options) == (event.kind, dump(fields), event.options)
        and published == event.publish
        and trial.event[0] == event.push
        and written == text.encode()
    )
