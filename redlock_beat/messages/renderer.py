"""The messages of an occurrence, rendered by Celery and kombu themselves, and captured.

Celery gets a producer of this package, which records what it is to publish (see ``capturing``). In *direct* mode the
commit script then pushes it; in *outbox* mode each call to publish is a self-contained item.

Instruments (see ``instruments``) run here, so they may see a message that the fence then refuses.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from ..clock import MICROS, moment
from ..entries.entry import Entry, span_micros
from ..errors import BrokerAway, Unrenderable
from .calls import publish_call
from .capturing import Rendered, capturing_producer
from .connections import bounded_connection
from .headers import HEADER_CLAIM, HEADER_DUE, HEADER_ENTRY, HEADER_EPOCH, HEADER_NAME
from .instruments import Instruments
from .quiet import Notes, apply_quietly
from .scheduled import Scheduled

_local = threading.local()


def is_rendering() -> bool:
    """Whether an entry is rendered in this thread at this moment: then a call is part of its occurrence."""
    return getattr(_local, "producer", None) is not None


def once_decided(tell: Callable[[bool], None]) -> None:
    """Have it told whether the occurrence that is rendered in this thread is sent, by the commit that decides it.

    It is not told where that fails, or comes too late.
    """
    _local.producer.rendered.afterwards.append(tell)


def nothing_to_send(why: str) -> None:
    """The occurrence that is rendered in this thread has no message, and that is as it should be."""
    _local.producer.rendered.nothing = why


def _capture_every_producer(app: Any) -> None:
    """While rendering, give the capturing producer to everybody who asks the app for one.

    A chord sends its header without passing the producer on, and so may a task of the user's.
    """
    original = app.producer_or_acquire
    if getattr(original, "_redlock_beat", False):
        return

    def producer_or_acquire(producer: Any = None) -> Any:
        return original(producer or getattr(_local, "producer", None))

    producer_or_acquire._redlock_beat = True  # type: ignore[attr-defined]
    app.producer_or_acquire = app.default_producer = producer_or_acquire


def _suppress_result_subscriptions(app: Any) -> None:
    """While rendering, open no subscription for a result; results are still wanted.

    The Redis result backend subscribes with every send, on a connection that beat never reads: a known cause of beats
    that hang. A group's barrier does the same through ``add_pending_result``.
    """
    backend = app.backend
    for name in ("on_task_call", "add_pending_result"):
        original = getattr(backend, name, None)
        if original is not None and not getattr(original, "_redlock_beat", False):
            setattr(backend, name, _unless_rendering(original))


def _unless_rendering(original: Any) -> Any:
    def maybe(*args: Any, **kwargs: Any) -> Any:
        if is_rendering():
            return None
        return original(*args, **kwargs)

    maybe._redlock_beat = True  # type: ignore[attr-defined]
    return maybe


class Renderer:
    """Turns occurrences into messages.

    ``direct`` says whether the broker is the schedule's Redis; without a proof it is not.
    """

    def __init__(self, app: Any, timeout: float) -> None:
        self.app = app
        self.timeout = timeout
        self.direct = False
        #: The configured entry of a name, for those that JSON cannot carry.
        self.configured: Callable[[str], Entry | None] = lambda _: None
        #: Whether the broker's channel is another than the proved one: then a new proof is needed.
        self.stale = False
        #: The number of the proof; another one after each.
        self.proof = 0
        #: The term they are rendered for; 0 for none.
        self.epoch = 0
        self._connection: Any = None
        self._channel: Any = None
        self._producer: Any = None
        self._plain: Any = None
        self.use(Instruments())

    # --- the broker ---

    def adopt(self, connection: Any, channel: Any) -> None:
        """Send messages to this Redis by a proved connection; None sends them to the outbox."""
        self.close()
        self.stale = False
        self.proof += 1
        if connection is not None:
            self.direct = True
            self._connection, self._channel = connection, channel
            self._producer = self._capturing(connection, forward=True)

    def still_direct(self) -> bool:
        """Whether the broker's present connection is the one that was proved to be this Redis."""
        # After a switch to another broker URL, or with a new connection, a new proof is needed.
        if self.direct and self._connection._default_channel is not self._channel:
            self.direct, self.stale = False, True
        return self.direct

    def _capturing(self, connection: Any, forward: bool) -> Any:
        producer = capturing_producer(self.app.amqp.Producer)(connection, auto_declare=False)
        producer.forward = forward
        return producer

    def channel(self) -> Any:
        """The channel of the proved connection."""
        return self._channel

    def close(self) -> None:
        """Close the proved connection."""
        connection, self._connection, self._channel, self._producer = self._connection, None, None, None
        self.direct = False
        if connection is not None:
            with contextlib.suppress(Exception):  # it is gone either way
                connection.release()

    def where(self) -> str:
        """The broker's address, without the password."""
        return str(self.app.connection_for_write().as_uri())

    # --- rendering ---

    def render(self, entry: Entry, nominal: int, id_: str, now: int, notes: Notes | None = None) -> Rendered:
        """The messages of one occurrence, as Celery would send them; what code of the user raises comes out.

        With *notes* no instrument sees them, and what each would have been handed is noted.
        """
        return self.captured(partial(self._apply, entry, nominal, id_, now, notes), notes)

    def captured(self, work: Callable[[Rendered, Any], None], notes: Notes | None = None) -> Rendered:
        """What *work* sends, and what is sent by way of the app meanwhile, in this thread."""
        self.still_direct()
        if self.stale:
            raise BrokerAway("beat has not proved the broker's new connection yet")
        if not self.direct and self._plain is None:  # it never connects: it sends nothing
            self._plain = self._capturing(bounded_connection(self.app, self.timeout), forward=False)
        rendered = Rendered(direct=self.direct)
        producer = self._producer if self.direct else self._plain
        producer.rendered, producer.notes = rendered, notes
        if self.direct:
            self._connection.capture = rendered
        _suppress_result_subscriptions(self.app)
        _capture_every_producer(self.app)
        _local.producer = producer
        try:
            work(rendered, producer)
        finally:
            _local.producer = None
            producer.rendered = producer.notes = None
            if self.direct:
                self._connection.capture = None
        return rendered.finish()

    def use(self, instruments: Instruments) -> None:
        """From now on messages are rendered among these instruments."""
        self.instruments = instruments
        self.scheduled = Scheduled(self.app, instruments.apply_entry) if instruments.apply_entry else None

    def headers(self, name: str, nominal: int, claim: int | None) -> dict[str, Any]:
        """The headers that tell a worker of the occurrence; *claim* is that of :data:`HEADER_CLAIM`."""
        headers = {
            "celery_beat_task": True,
            HEADER_NAME: name,
            HEADER_ENTRY: name,
            HEADER_DUE: nominal / MICROS,
        }
        if self.epoch:
            headers[HEADER_EPOCH] = self.epoch
        if claim is not None:
            headers[HEADER_CLAIM] = claim
        return headers

    def replay(self, calls: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
        """The pushes of calls that were captured in another process (see :func:`read_call`).

        BrokerAway where the broker is not this Redis, or not any more.
        """
        if not self.still_direct():
            raise BrokerAway("beat has not proved the broker's new connection yet")
        rendered = Rendered(direct=True)
        self._producer.rendered = self._connection.capture = rendered
        try:
            for call in calls:
                publish_call(self._producer, call)
        finally:
            self._producer.rendered = self._connection.capture = None
        if rendered.inexpressible:
            raise Unrenderable(f"its message needs {rendered.inexpressible} of the broker, which no script does.")
        return rendered.finish().pushes

    def _apply(
        self, entry: Entry, nominal: int, id_: str, now: int, notes: Notes | None, rendered: Rendered, producer: Any
    ) -> None:
        said = self._from_configuration(entry.name) if entry.reference else entry
        expires = said.options.get("expires", getattr(self.app.tasks.get(said.task), "expires", None))
        if isinstance(expires, (int, float)) and not isinstance(expires, bool):
            rendered.expires = moment(now + round(expires * MICROS)).astimezone(self.app.timezone).isoformat()
        claim = None if entry.overlap == "allow" else span_micros(entry.queue_limit)
        headers = self.headers(entry.name, nominal, claim)

        def send(options: dict[str, Any]) -> None:
            headers_ = {**(options.get("headers") or {}), **headers}
            self.send(said, {**options, "headers": headers_, "task_id": id_, "producer": producer}, notes)

        if self.scheduled is None or notes is not None:
            send(dict(said.options))
        else:
            self.scheduled.apply(said, said.options, now, send)

    def send(self, said: Entry, options: dict[str, Any], notes: Notes | None = None) -> None:
        """Send an entry with these options, as Celery's beat does."""
        from celery.beat import BeatLazyFunc

        app = self.app
        values = [one() if isinstance(one, BeatLazyFunc) else one for one in said.args]
        kwargs = {key: one() if isinstance(one, BeatLazyFunc) else one for key, one in said.kwargs.items()}
        if notes is not None:
            apply_quietly(app, said.task, values, kwargs, options, notes)
        elif said.canvas is not None:
            from celery.canvas import Signature

            Signature.from_dict(dict(said.canvas), app=app).apply_async(**options)
        elif said.task in app.tasks:
            app.tasks[said.task].apply_async(values, kwargs, **options)
        else:
            app.send_task(said.task, values, kwargs, **options)

    def _from_configuration(self, name: str) -> Entry:
        found = self.configured(name)
        if found is None:
            raise Unrenderable(
                f"entry {name!r} has arguments that only the configuration can carry, and the beat_schedule of this "
                "beat has no such entry. A beat of the release that has it sends it."
            )
        return found
