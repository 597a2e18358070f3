"""A template's message on its way past the instruments.

An instrument gets what Celery would hand it, in the same order: what stands around ``apply_async``, ``send_task`` and
``publish``; the receivers of ``before_task_publish`` with real headers, properties and body; those of
``after_task_publish``; the event. Then the message is written of what they have left. Where an instrument calls one of
Celery's functions with anything else than Celery would, that function itself does the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from operator import is_
from typing import Any

from ..entries.entry import Entry
from .calls import MAX_ITEM, write_call
from .capturing import Rendered
from .instruments import Instruments, around
from .parts import Call, Message, Parts, fresh
from .quiet import own_apply_async, own_publish, own_send_task
from .renderer import Renderer
from .template import Template

#: What is raised for what plain JSON cannot carry: then kombu is to write it, or to say why not.
_UNWRITTEN = (TypeError, ValueError, RecursionError)


class Sender:
    """Sends the messages of templates past the instruments of an app."""

    def __init__(self, renderer: Renderer, instruments: Instruments) -> None:
        from celery import signals

        self.app, self._renderer = renderer.app, renderer
        self.before, self.after = signals.before_task_publish, signals.after_task_publish
        self._apply_async = _around(instruments.apply_async, self._inner_apply_async)
        self._send_task = _around(instruments.send_task, self._inner_send_task)
        self.publish = _around(instruments.publish, self._inner_publish)
        #: Whether somebody may look at what ``send_task`` returns.
        self.wants_result = self._apply_async is not None or self._send_task is not None
        # The message that is on its way.
        self._way: _Way | None = None

    def send(
        self, template: Template, call: Call, entry: Entry | None, now: int, rendered: Rendered, producer: Any
    ) -> None:
        """Send one message of a template; *entry* is what instruments of beat are shown."""
        way = self._way = _Way(self, template, call, rendered, producer)
        try:
            if entry is None or self._renderer.scheduled is None:
                self._apply(way, way.parts.options)
            else:
                self._renderer.scheduled.apply(entry, way.parts.options, now, partial(self._applied, way, entry))
        finally:
            self._way = None

    def _applied(self, way: _Way, entry: Entry, options: dict[str, Any]) -> None:
        """Send it with the options that instruments of beat have left."""
        if _others(options) == _others(way.parts.options):
            self._apply(way, options)
        else:
            self._renderer.send(entry, way.options(options))

    def _apply(self, way: _Way, options: Mapping[str, Any]) -> None:
        task = None if self._apply_async is None else self.app.tasks.get(way.parts.task)
        if task is None or self._apply_async is None:
            self._to_send_task(way, way.headers(options))
        else:
            way.asked = way.options(options)
            self._apply_async(task, way.call.args, way.call.kwargs, **way.asked)

    # --- Celery's functions, each inside of what instruments have put around it ---

    def _inner_apply_async(self, task: Any, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        way = self._way
        if way is None or not way.is_as_asked(args, kwargs, options):
            return own_apply_async(task, args, kwargs, **options)
        return self._to_send_task(way, options.get("headers"))

    def _to_send_task(self, way: _Way, headers: Any) -> Any:
        if self._send_task is None:
            return way.send(headers)
        call, parts = way.call, way.parts
        way.asked = {**parts.send_task, "task_id": call.id, "producer": way.producer, "headers": headers}
        return self._send_task(self.app, parts.task, call.args, call.kwargs, **way.asked)

    def _inner_send_task(self, app: Any, name: str, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        way = self._way
        if way is None or name != way.parts.task or not way.is_as_asked(args, kwargs, options):
            return own_send_task(app, name, args, kwargs, **options)
        return way.send(options.get("headers"))

    def _inner_publish(self, producer: Any, body: Any, *args: Any, **options: Any) -> Any:
        way = self._way
        if way is None or args or producer is not way.producer:
            return own_publish(producer, body, *args, **options)
        return way.publish(body, options)


def _around(function: Any, inner: Callable[..., Any]) -> Callable[..., Any] | None:
    """What instruments have put around a method of Celery's, as a function; None where there is nothing."""
    if function is None:
        return None
    made = around(function, lambda *args, **options: inner(*args, **options))

    def call(instance: Any, *args: Any, **options: Any) -> Any:
        return made.__get__(instance, type(instance))(*args, **options)

    return call


class _Way:
    """One message and its event, on their way past the instruments."""

    def __init__(self, sender: Sender, template: Template, call: Call, rendered: Rendered, producer: Any) -> None:
        assert template.parts is not None
        self.sender, self.template, self.parts, self.call = sender, template, template.parts, call
        self.rendered, self.producer = rendered, producer
        self.message = Message(self.parts, call)
        # The headers of the entry; then, the values of all headers, as they were handed to the first instrument.
        self._given: dict[str, Any] = {}
        self._values: list[Any] = []
        #: The options of the function that an instrument stands around: what Celery would call it with.
        self.asked: dict[str, Any] = {}
        # What is published with; and what it was when an instrument was handed it.
        self._options: Callable[[], dict[str, Any]] = dict
        self._handed: dict[str, Any] = {}
        self._begun = self._unchanged = False

    def options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """What ``apply_async`` is called with, of the options of its entry."""
        others = fresh(_others(options))
        return {**others, "headers": self.headers(options), "task_id": self.call.id, "producer": self.producer}

    def headers(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The headers that ``apply_async`` is given."""
        given = options.get("headers")
        self._given = {**fresh(given), **self.call.headers} if given else self.call.headers
        return dict(self._given)

    def is_as_asked(self, args: Any, kwargs: Any, options: Mapping[str, Any]) -> bool:
        """Whether an instrument hands on what it was called with, but for the headers, and for the first time."""
        call = self.call
        return not self._begun and args is call.args and kwargs is call.kwargs and _same(options, self.asked, "headers")

    def send(self, given: Any) -> Any:
        """What Celery's ``send_task`` does, with the headers that it is given."""
        self._begun = True
        parts, sender, message = self.parts, self.sender, self.message
        headers, properties, body = message.headers(), message.properties, message.body
        self._values = [*headers.values(), *self._given.values()]
        if given:
            headers.update(given)
        before = {**parts.before, "body": body, "headers": headers, "properties": properties}
        declare, policy = before["declare"], before["retry_policy"]
        if declare is not None:
            before["declare"] = list(declare)
        if policy is not None:
            before["retry_policy"] = dict(policy)
        handed = dict(properties)
        sender.before.send(**before)
        self._options = partial(_publish_options, parts, before)
        self._unchanged = _same(properties, handed) and _same_list(before["declare"], declare)
        if sender.publish is not None:
            self._handed = self._options()
            sender.publish(self.producer, body, **self._handed)
        elif not self._unchanged or not self._write(body, headers):
            own_publish(self.producer, body, **self._options())
        if sender.after.receivers:
            sender.after.send(**{**parts.after, "body": body, "headers": headers})
        if parts.event is not None:
            fields, producer = message.fields(), _EventProducer(self)
            sender.app.amqp._event_dispatcher.publish(parts.event.kind, fields, producer, **parts.event.options)
        return self._result() if sender.wants_result else None

    def _result(self) -> Any:
        made = self.parts.send_task.get("result_cls") or self.sender.app.AsyncResult
        result = made(self.call.id)
        result.ignored = self.parts.send_task.get("ignore_result")
        return result

    # --- publishing ---

    def publish(self, body: Any, options: dict[str, Any]) -> Any:
        """What kombu's ``publish`` does with the message, or with its event."""
        if body is self.message.body:
            if self._unchanged and _same(options, self._handed) and self._write(body, options["headers"]):
                return None
        elif self._write_event(body, options):
            return None
        return own_publish(self.producer, body, **options)

    def _write(self, body: Any, headers: dict[str, Any]) -> bool:
        parts, call = self.parts, self.call
        more = self._more(headers)
        try:
            if more is not None:
                text = self.template.left(call, body, more)
            else:
                text = parts.writer.write(body, headers, call.id, call.tags[0])
        except _UNWRITTEN:
            return False
        return self._push(["LPUSH", parts.key, text], body, self._options)

    def _more(self, headers: dict[str, Any]) -> dict[str, Any] | None:
        """The headers that instruments have added after the others; None when they have changed more than that."""
        parts, values, names = self.parts, self._values, [*headers]
        many = len(values)
        if names[:many] != parts.names or not all(map(is_, headers.values(), values)):
            return None
        for name, shown in parts.changeable.items():
            if repr(headers[name]) != shown:
                return None
        return {name: headers[name] for name in names[many:]}

    def _write_event(self, body: Any, options: dict[str, Any]) -> bool:
        event = self.parts.event
        if event is None or {**options, "retry_policy": None} != {**event.publish, "retry_policy": None}:
            return False
        try:
            text = event.writer.write(body, options["headers"], "", self.call.tags[1])
        except _UNWRITTEN:
            return False
        return self._push([*event.push, text], body, lambda: options)

    def _push(self, push: list[Any], body: Any, options: Callable[[], dict[str, Any]]) -> bool:
        if len(push[-1]) > MAX_ITEM:
            return False
        if self.parts.key:
            self.rendered.pushes.append(push)
            self.rendered.raw.append(partial(_as_call, self.sender.app, body, options))
        else:
            self.rendered.raw.append(push[-1].decode)
        return True


class _EventProducer:
    """What the dispatcher of events publishes with."""

    def __init__(self, way: _Way) -> None:
        self._way = way

    def publish(self, body: Any, **options: Any) -> Any:
        way = self._way
        if way.sender.publish is None:
            return way.publish(body, options)
        return way.sender.publish(way.producer, body, **options)


def _same(one: Mapping[str, Any], other: Mapping[str, Any], but: str = "") -> bool:
    """Whether two mappings have the very same values, in the same order; *but* for one key."""
    if but in one and but in other:
        one, other = ({key: value for key, value in each.items() if key != but} for each in (one, other))
    return len(one) == len(other) and [*one] == [*other] and all(map(is_, one.values(), other.values()))


def _others(options: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key != "headers"}


def _same_list(one: Any, other: Any) -> bool:
    return one is other or (len(one) == len(other) and all(map(is_, one, other)))


def _publish_options(parts: Parts, before: Mapping[str, Any]) -> dict[str, Any]:
    """What Celery publishes with, after the receivers of ``before_task_publish``."""
    left = {"headers": before["headers"], "declare": before["declare"]}
    if before["retry_policy"] is not None:
        left["retry_policy"] = before["retry_policy"]
    return dict(**{**parts.publish, **left}, **before["properties"])


def _as_call(app: Any, body: Any, options: Callable[[], dict[str, Any]]) -> str:
    """The call to publish of a message that was written as a push."""
    from .capturing import capturing_producer

    producer = capturing_producer(app.amqp.Producer)(None, auto_declare=False)
    producer.rendered = Rendered()
    own_publish(producer, body, **{**options(), "retry": False})
    return write_call(producer.rendered.raw[0])
