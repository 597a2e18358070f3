"""Why Celery renders each message of an app, or of an entry: then there is no template.

Receivers of ``before_task_publish`` and ``after_task_publish``, ``task_send_sent_event``, and the instruments that
:mod:`~redlock_beat.messages.instruments` knows are no reason: a template's message passes by them.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from ..entries.entry import Entry
from .instruments import Foreign, instruments_of, is_own


def refusal(app: Any, entry: Entry) -> str | None:
    """Why Celery renders each message of this entry; None when they can be filled in."""
    return app_refusal(app) or _entry_refusal(app, entry)


def app_refusal(app: Any) -> str | None:
    """Why no message of this app can be filled in."""
    from celery import signals

    conf = app.conf
    if conf.task_protocol != 2:
        return "task_protocol is not 2"
    if conf.task_always_eager:
        return "task_always_eager is on"
    if signals.task_sent.receivers:
        return "a receiver of the signal task_sent is connected, which Celery has given up"
    routes = conf.task_routes or ()
    for route in (routes,) if isinstance(routes, Mapping) else tuple(routes):
        if not isinstance(route, (Mapping, list, tuple)):
            return "task_routes holds a router that is code"
        if isinstance(route, Mapping) and any(callable(one) for one in route.values()):
            return "task_routes holds a router that is code"
    return _foreign(app)


def _foreign(app: Any) -> str | None:
    """Whose code is in between: what is not Celery's, kombu's or a known instrument's may change the message."""
    import kombu
    from celery.app.amqp import AMQP
    from celery.app.base import Celery
    from kombu.transport.virtual import Channel

    amqp = app.amqp
    # `producer_or_acquire` is this package's while rendering; it passes on the producer that it gets.
    looked_at = {
        "AMQP.send_task_message": amqp.send_task_message,
        "AMQP.create_task_message": amqp.create_task_message,
        "AMQP.as_task_v2": amqp.task_protocols.get(2) if type(amqp) is AMQP else None,
        "Producer._publish": kombu.Producer._publish,
        "Channel.basic_publish": Channel.basic_publish,
        "Channel.prepare_message": Channel.prepare_message,
    }
    there = vars(app).get("send_task")
    if getattr(there, "_redlock_beat", False):  # it keeps countdowns, and hands on all else; see tasks/
        there = there.keeper.replaced
    if there is not None or not issubclass(type(app), Celery):
        return "Celery.send_task is not Celery's own"
    for what, function in looked_at.items():
        if not is_own(function):
            return f"{what} is not Celery's own"
    if amqp.Producer is not kombu.Producer:
        return "its Producer is not kombu's own"
    try:
        instruments_of(app)
    except Foreign as exc:
        return str(exc)
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
        if name == "apply_async" and getattr(task, "sends_as_celery", False):
            continue  # that of redlock_beat.tasks, of a task with none of its options
        if inspect.getattr_static(task, name, None) is not inspect.getattr_static(Task, name):
            return f"its task has its own {name}"
    if getattr(task, "_dump_pydantic_arguments", None) is not None:
        return "its task turns its arguments into something else"
    return None


def fingerprint(app: Any) -> tuple[Any, ...]:
    """A value that changes with everything a template depends on: receivers, registry, configuration and code."""
    from celery import signals
    from celery.app.task import Task
    from celery.beat import Scheduler
    from kombu import Producer

    conf = app.conf
    receivers = tuple(
        tuple(id(one[1]) for one in getattr(signals, name).receivers)
        for name in ("before_task_publish", "after_task_publish", "task_sent")
    )
    said = tuple((key, id(value)) for key, value in conf.changes.items())
    patched = ((Task, "apply_async"), (type(app), "send_task"), (Producer, "publish"), (Scheduler, "apply_entry"))
    code = tuple(id(inspect.getattr_static(cls, name)) for cls, name in patched)
    return receivers, len(app.tasks), said, id(app.amqp), id(app.tasks), len(conf.maps), code
