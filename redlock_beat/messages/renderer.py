"""An occurrence -> messages, rendered by Celery and kombu themselves, and captured.

Celery is given a producer of ours. In *direct* mode (the broker is this very Redis) its connection
is a subclass whose channel records what kombu would have sent (LPUSH with priority and prefix
applied, PEXPIRE, PUBLISH); the commit script then does all of it. In *outbox* mode the producer
records each call to publish, serialized, as a self-contained item.

``before_task_publish`` and ``after_task_publish`` receivers run here, so they may see a message
that the fence then refuses.
"""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any

from kombu.utils.json import dumps as kombu_dumps
from kombu.utils.json import loads as kombu_loads
from redis import exceptions as of_redis

from ..clock import MICROS, moment
from ..entries.entry import Entry
from ..errors import BrokerAway, Unrenderable

HEADER_ENTRY = "redlock_beat_entry"
#: The same name where django-celery-beat puts it, and django-celery-results looks for it.
HEADER_NAME = "periodic_task_name"
HEADER_DUE = "redlock_beat_due"
MAX_ITEM = 16 * 1024 * 1024


@dataclass(slots=True)
class Rendered:
    """What one occurrence turns into."""

    #: Commands for the broker's Redis: ``["LPUSH", key, message]`` and the like.
    pushes: list[list[Any]] = field(default_factory=list)
    #: Self-contained calls to publish, for the outbox.
    calls: list[str] = field(default_factory=list)
    #: Whether `pushes` says all there is to say; else the calls go through the outbox.
    direct: bool = False
    #: ``expires`` as it must stand in the message, by Redis's time; None leaves it.
    expires: str | None = None
    #: What a push could not express.
    inexpressible: str | None = None
    #: The calls as they were made, serialized only if they are needed.
    raw: list[tuple[Any, ...]] = field(default_factory=list)

    def single(self) -> tuple[str, str] | None:
        """The list it is pushed to ('' for the outbox) and the message, if it is one message and nothing else."""
        if not self.direct:
            return ("", self.calls[0]) if len(self.calls) == 1 else None
        if len(self.pushes) == 1 and self.pushes[0][0] == "LPUSH":
            return self.pushes[0][1], self.pushes[0][2]
        return None


def task_id(prefix: str, uid: str, nominal: int, request: str = "") -> str:
    """The id of an occurrence: the same whoever sends it, never shared.

    >>> task_id("p", "u", 1) == task_id("p", "u", 1) != task_id("p", "u", 2)
    True
    """
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"redlock-beat\n{prefix}\n{uid}\n{nominal}\n{request}"))


# --- capturing at kombu's channel ------------------------------------------------------------------


class _Recorder:
    """Stands in for the Redis client while a channel puts a message."""

    def __init__(self, prefix: str, rendered: Rendered) -> None:
        self._prefix = prefix
        self._rendered = rendered

    def lpush(self, key: str, *values: Any) -> int:
        self._rendered.pushes.extend(["LPUSH", self._prefix + key, value] for value in values)
        return 1

    def pexpire(self, key: str, milliseconds: int) -> int:
        self._rendered.pushes.append(["PEXPIRE", self._prefix + key, int(milliseconds)])
        return 1

    def publish(self, topic: str, payload: Any) -> int:
        self._rendered.pushes.append(["PUBLISH", self._prefix + topic, payload])
        return 1

    def pipeline(self, *args: Any, **kwargs: Any) -> _Recorder:
        return self

    def execute(self) -> list[Any]:
        return []

    def __enter__(self) -> _Recorder:
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    def __getattr__(self, name: str) -> Any:
        def unknown(*args: Any, **kwargs: Any) -> Any:
            self._rendered.inexpressible = name
            return 0

        return unknown


class _CapturingChannel:
    """Mixed into a Redis channel class of kombu: puts are recorded, everything else is real."""

    _recorder: _Recorder | None = None
    global_keyprefix: str
    connection: Any

    def _put(self, queue: str, message: dict[str, Any], **kwargs: Any) -> None:
        with self._recording(message):
            super()._put(queue, message)  # type: ignore[misc]

    def _put_fanout(self, exchange: str, message: dict[str, Any], routing_key: str, **kwargs: Any) -> None:
        with self._recording(message):
            super()._put_fanout(exchange, message, routing_key)  # type: ignore[misc]

    @contextmanager
    def _recording(self, message: dict[str, Any]) -> Iterator[None]:
        rendered = self.connection.client.capture
        if rendered is None:
            raise Unrenderable("a message was put outside of rendering; nothing was sent.")
        rewrite_expires(message.get("headers"), rendered.expires)
        self._recorder = _Recorder(self.global_keyprefix, rendered)
        try:
            yield
        finally:
            self._recorder = None

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        if self._recorder is not None:
            yield self._recorder
        else:
            try:
                with super().conn_or_acquire(client) as real:  # type: ignore[misc]
                    yield real
            except (of_redis.ConnectionError, of_redis.TimeoutError, OSError) as exc:
                raise BrokerAway(f"the broker does not answer: {exc!r}") from exc


@cache
def _capturing_transport(real: type) -> type:
    channel = type("CapturingChannel", (_CapturingChannel, real.Channel), {})  # type: ignore[attr-defined]
    return type("CapturingTransport", (real,), {"Channel": channel})


@cache
def capturing_connection(real: type) -> type:
    """A class of connections that record what they would send."""

    class CapturingConnection(real):
        """A connection whose Redis channels capture, also after a switch to another broker URL."""

        capture: Rendered | None = None

        def get_transport_cls(self) -> type:
            return _capturing_transport(super().get_transport_cls())

    return CapturingConnection


def bounded_connection(app: Any, timeout: float, base: type | None = None) -> Any:
    """A write connection of the app's whose every wait has a bound, and which tries once, not for ever."""
    connection = app.connection_for_write()
    options = dict(connection.transport_options or {})
    options.update(max_retries=1, interval_start=0, interval_step=0, interval_max=0)
    if is_redis(connection):
        for name in ("socket_timeout", "socket_connect_timeout"):
            if not options.get(name):
                options[name] = timeout
    elif connection.transport.driver_type == "amqp":
        for name in ("read_timeout", "write_timeout"):
            options.setdefault(name, timeout)
        options.setdefault("confirm_publish", True)
    info = dict(connection._info(resolve=False), transport_options=options)
    info["connect_timeout"] = min(float(info.get("connect_timeout") or timeout), timeout)
    return (base or type(connection))(**info)


def is_redis(connection: Any) -> bool:
    """Whether a kombu connection speaks to a Redis through kombu's own transport (Sentinel included)."""
    try:
        from kombu.transport.redis import Transport
    except ImportError:  # pragma: no cover - redis is a dependency
        return False
    cls = connection.get_transport_cls()
    return isinstance(cls, type) and issubclass(cls, Transport)


def rewrite_expires(headers: Any, expires: str | None) -> None:
    """Put ``expires`` by Redis's time where Celery has put it by the local clock's."""
    if expires is not None and isinstance(headers, dict) and headers.get("expires"):
        headers["expires"] = expires


# --- capturing at the producer ---------------------------------------------------------------------


@cache
def _capturing_producer(real: type) -> type:
    class CapturingProducer(real):
        """Records each call to publish; in direct mode lets kombu go on to the capturing channel."""

        rendered: Rendered | None = None
        forward = False

        def publish(self, body: Any, *args: Any, **kwargs: Any) -> Any:
            kwargs["retry"] = False  # nothing is sent here, so there is nothing to repeat
            return super().publish(body, *args, **kwargs)

        def _publish(self, body: Any, priority: Any, content_type: Any, content_encoding: Any,
                     headers: Any, properties: Any, routing_key: Any, mandatory: Any, immediate: Any,
                     exchange: Any, declare: Any, *rest: Any, **kwargs: Any) -> Any:  # fmt: skip
            rendered = self.rendered
            if rendered is None:
                raise Unrenderable("a message was published outside of rendering; nothing was sent.")
            if self.forward:
                super()._publish(
                    body, priority, content_type, content_encoding, headers, dict(properties), routing_key,
                    mandatory, immediate, exchange, declare,
                )  # fmt: skip
            rewrite_expires(headers, rendered.expires)
            rendered.raw.append((body, priority, content_type, content_encoding, headers, properties, routing_key,
                                 mandatory, exchange, declare))  # fmt: skip

    return CapturingProducer


def _call(body: Any, priority: Any, content_type: Any, content_encoding: Any, headers: Any, properties: Any,
          routing_key: Any, mandatory: Any, exchange: Any, declare: Any) -> str:  # fmt: skip
    raw = isinstance(body, bytes)
    reply_to = properties.get("reply_to")
    text = kombu_dumps(
        {
            "body": base64.b64encode(body).decode() if raw else body,
            "raw": raw,
            "priority": priority,
            "content_type": content_type,
            "content_encoding": content_encoding,
            "headers": headers,
            "properties": {**properties, "reply_to": getattr(reply_to, "name", reply_to)},
            "routing_key": routing_key,
            "mandatory": bool(mandatory),
            "exchange": exchange,
            # A text in a text: many messages say the same, and it is read once for all of them.
            "declare": kombu_dumps([_entity(one) for one in declare]) if declare else "",
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
    """What was captured, ready for :func:`publish_call`."""
    # kombu's way looks at each object in it for dates and the like; most messages hold none.
    call: dict[str, Any] = kombu_loads(text) if '"__type__"' in text else json.loads(text)
    call["body"] = base64.b64decode(call["body"]) if call["raw"] else call["body"]
    call["declare"] = list(_entities(call["declare"])) if call["declare"] else []
    return call


@lru_cache(maxsize=1_000)
def _entities(text: str) -> tuple[Any, ...]:
    """Queues and exchanges by what was written of them."""
    return tuple(_declared(one) for one in kombu_loads(text))


def publish_call(producer: Any, call: Mapping[str, Any]) -> None:
    """Publish what was captured, through a real producer."""
    producer._publish(
        call["body"], call["priority"], call["content_type"], call["content_encoding"], call["headers"],
        call["properties"], call["routing_key"], call["mandatory"], False, call["exchange"], call["declare"],
    )  # fmt: skip


# --- the renderer ----------------------------------------------------------------------------------

_local = threading.local()


def _capture_every_producer(app: Any) -> None:
    """While rendering, whoever asks the app for a producer gets the capturing one.

    A chord sends its header without handing the given producer on, and so may a task of the user's.
    """
    original = app.producer_or_acquire
    if getattr(original, "_redlock_beat", False):
        return

    def producer_or_acquire(producer: Any = None) -> Any:
        return original(producer or getattr(_local, "producer", None))

    producer_or_acquire._redlock_beat = True  # type: ignore[attr-defined]
    app.producer_or_acquire = app.default_producer = producer_or_acquire


def _suppress_result_subscriptions(app: Any) -> None:
    """While rendering, opening a subscription for a result is left out; results stay wanted.

    The Redis result backend subscribes at every send, on a connection beat never reads: a known
    cause of beats that hang. A group's barrier does the same through ``add_pending_result``.
    """
    backend = app.backend
    for name in ("on_task_call", "add_pending_result"):
        original = getattr(backend, name, None)
        if original is not None and not getattr(original, "_redlock_beat", False):
            setattr(backend, name, _unless_rendering(original))


def _unless_rendering(original: Any) -> Any:
    def maybe(*args: Any, **kwargs: Any) -> Any:
        if getattr(_local, "producer", None) is not None:
            return None
        return original(*args, **kwargs)

    maybe._redlock_beat = True  # type: ignore[attr-defined]
    return maybe


class Renderer:
    """Turns occurrences into messages.

    ``direct`` says whether the broker is the schedule's Redis; until that is proved, it is not.
    """

    def __init__(self, app: Any, timeout: float) -> None:
        self.app = app
        self.timeout = timeout
        self.direct = False
        #: What ``beat_schedule`` says, for entries JSON cannot carry.
        self.configuration: Mapping[str, Entry] = {}
        #: The broker's channel is another than the one that was proved: it must be proved again.
        self.stale = False
        #: Which proof messages are rendered by; another number after each.
        self.proof = 0
        self._connection: Any = None
        self._channel: Any = None
        self._producer: Any = None
        self._plain: Any = None

    # --- the broker ---

    def adopt(self, connection: Any, channel: Any) -> None:
        """Messages go to this Redis by a connection that is proved to lead there; None: to the outbox."""
        self.close()
        self.stale = False
        self.proof += 1
        if connection is not None:
            self.direct = True
            self._connection, self._channel = connection, channel
            self._producer = self._capturing(connection, forward=True)

    def still_direct(self) -> bool:
        """Whether the broker, as it is connected at this moment, is the one that was proved to be this Redis."""
        # A switch to another broker URL, or a new connection: direct no longer, until it is proved again.
        if self.direct and self._connection._default_channel is not self._channel:
            self.direct, self.stale = False, True
        return self.direct

    def _capturing(self, connection: Any, forward: bool) -> Any:
        producer = _capturing_producer(self.app.amqp.Producer)(connection, auto_declare=False)
        producer.forward = forward
        return producer

    def channel(self) -> Any:
        """The channel of the broker that was proved to be this Redis."""
        return self._channel

    def close(self) -> None:
        """Forget the connection that was proved."""
        connection, self._connection, self._channel, self._producer = self._connection, None, None, None
        self.direct = False
        if connection is not None:
            with contextlib.suppress(Exception):  # it is gone either way
                connection.release()

    def where(self) -> str:
        """The broker's address, without its password."""
        return str(self.app.connection_for_write().as_uri())

    # --- rendering ---

    def render(self, entry: Entry, nominal: int, id_: str, now: int) -> Rendered:
        """The messages of one occurrence, as Celery would have sent them; whatever user code raises is raised."""
        self.still_direct()
        if self.stale:
            raise BrokerAway("its connection is another than the one that was proved")
        if not self.direct and self._plain is None:  # it is never connected: nothing is sent by it
            self._plain = self._capturing(bounded_connection(self.app, self.timeout), forward=False)
        rendered = Rendered(direct=self.direct)
        producer = self._producer if self.direct else self._plain
        producer.rendered = rendered
        if self.direct:
            self._connection.capture = rendered
        _suppress_result_subscriptions(self.app)
        _capture_every_producer(self.app)
        _local.producer = producer
        try:
            self._apply(entry, nominal, id_, now, rendered, producer)
        finally:
            _local.producer = None
            producer.rendered = None
            if self.direct:
                self._connection.capture = None
        if rendered.inexpressible:
            rendered.direct = False
        if not rendered.direct:
            rendered.calls = [_call(*one) for one in rendered.raw]
        # What cannot be taken back goes last.
        rendered.pushes.sort(key=lambda push: push[0] == "PUBLISH")
        return rendered

    def _apply(self, entry: Entry, nominal: int, id_: str, now: int, rendered: Rendered, producer: Any) -> None:
        from celery.beat import BeatLazyFunc

        app = self.app
        said = self._from_configuration(entry.name) if entry.reference else entry
        canvas = said.canvas
        values = [one() if isinstance(one, BeatLazyFunc) else one for one in said.args]
        kwargs = {key: one() if isinstance(one, BeatLazyFunc) else one for key, one in said.kwargs.items()}
        options = dict(said.options)
        options["headers"] = {
            **(options.get("headers") or {}),
            "celery_beat_task": True,
            HEADER_NAME: entry.name,
            HEADER_ENTRY: entry.name,
            HEADER_DUE: nominal / MICROS,
        }
        options["task_id"] = id_
        task = app.tasks.get(entry.task)
        expires = options.get("expires", getattr(task, "expires", None))
        if isinstance(expires, (int, float)) and not isinstance(expires, bool):
            rendered.expires = moment(now + round(expires * MICROS)).astimezone(app.timezone).isoformat()
        if canvas is not None:
            from celery.canvas import Signature

            Signature.from_dict(dict(canvas), app=app).apply_async(producer=producer, **options)
        elif task is not None:
            task.apply_async(values, kwargs, producer=producer, **options)
        else:
            app.send_task(entry.task, values, kwargs, producer=producer, **options)

    def _from_configuration(self, name: str) -> Entry:
        found = self.configuration.get(name)
        if found is None:
            raise Unrenderable(
                f"entry {name!r} has arguments only the configuration can carry, and this beat's beat_schedule has no "
                "such entry. A beat of the release that has it will send it."
            )
        return found
