"""What Celery and kombu would send is recorded instead: at kombu's channel, or at the producer.

In *direct* mode (the broker is this very Redis) the connection is a subclass whose channel records what kombu would
have sent (LPUSH with priority and prefix applied, PEXPIRE, PUBLISH). In *outbox* mode the producer records each call
to publish.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from redis import exceptions as of_redis

from ..errors import BrokerAway, Unrenderable
from .calls import ARGUMENTS, HEADERS, write_call
from .connections import bounded_connection
from .quiet import Notes, own_publish


@dataclass(slots=True)
class Rendered:
    """The messages of one occurrence."""

    #: Commands for the broker's Redis: ``["LPUSH", key, message]`` and the like.
    pushes: list[list[Any]] = field(default_factory=list)
    #: Self-contained calls to publish, for the outbox.
    calls: list[str] = field(default_factory=list)
    #: Whether `pushes` is all there is; else the calls go through the outbox.
    direct: bool = False
    #: ``expires`` for the message, by Redis's time; None leaves it as it is.
    expires: str | None = None
    #: The method of a Redis client that no push can express.
    inexpressible: str | None = None
    #: The calls as they were made, serialized only if they are needed; or what makes the text of one.
    raw: list[tuple[Any, ...] | Callable[[], str]] = field(default_factory=list)
    #: Who is to be told whether it is sent.
    afterwards: list[Callable[[bool], None]] = field(default_factory=list)
    #: Why there is no message, where its task has said so.
    nothing: str = ""

    def single(self) -> tuple[str, str] | None:
        """The list it is pushed to ('' for the outbox) and the message, if it is one message and nothing else."""
        if self.afterwards:
            return None
        if not self.direct:
            return ("", self.calls[0]) if len(self.calls) == 1 else None
        if len(self.pushes) == 1 and self.pushes[0][0] == "LPUSH":
            return self.pushes[0][1], self.pushes[0][2]
        return None

    def finish(self) -> Rendered:
        """It is complete: say how it is sent, and serialize what is needed for that."""
        if self.inexpressible:
            self.direct = False
        if not self.direct:
            self.calls = [one() if callable(one) else write_call(one) for one in self.raw]
        # A PUBLISH cannot be taken back, so it goes last.
        self.pushes.sort(key=lambda push: push[0] == "PUBLISH")
        return self


def rewrite_expires(headers: Any, expires: str | None) -> None:
    """Replace ``expires`` by the local clock with ``expires`` by Redis's time."""
    if expires is not None and isinstance(headers, dict) and headers.get("expires"):
        headers["expires"] = expires


class _Recorder:
    """Takes the place of the Redis client while a channel puts a message."""

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


@cache
def capturing_producer(real: type) -> type:
    class CapturingProducer(real):
        """Records each call to publish; in direct mode lets kombu go on to the capturing channel."""

        rendered: Rendered | None = None
        #: While no instrument is to see what is published: what they would have been handed.
        notes: Notes | None = None
        forward = False

        def publish(self, body: Any, *args: Any, **kwargs: Any) -> Any:
            if self.notes is not None:
                self.notes.published.append((body, dict(kwargs)))
            kwargs["retry"] = False  # nothing is sent here, so nothing is repeated
            if self.notes is not None:
                return own_publish(self, body, *args, **kwargs)
            return super().publish(body, *args, **kwargs)

        def _publish(self, *args: Any, **kwargs: Any) -> Any:
            rendered = self.rendered
            if rendered is None:
                raise Unrenderable("a message was published outside of rendering; nothing was sent.")
            call = (*args, *(kwargs[name] for name in ARGUMENTS[len(args) :]))[: len(ARGUMENTS)]
            headers, properties = call[HEADERS : HEADERS + 2]
            if self.forward:
                super()._publish(*call[: HEADERS + 1], dict(properties), *call[HEADERS + 2 :])
            rewrite_expires(headers, rendered.expires)
            rendered.raw.append(call)

    return CapturingProducer


def capture(app: Any, timeout: float, send: Callable[[Any], Any]) -> list[str]:
    """What *send* publishes by the producer it is handed, as self-contained calls; nothing is sent.

    For a caller's process: the beat has a renderer (see ``renderer``).
    """
    connection = bounded_connection(app, timeout)  # connected only where a result backend declares a queue by it
    producer = capturing_producer(app.amqp.Producer)(connection, auto_declare=False)
    producer.rendered = rendered = Rendered()
    try:
        send(producer)
    finally:
        connection.release()
    return rendered.finish().calls
