"""Instruments: who sees, or changes, each message on its way to the broker.

They are receivers of Celery's publish signals, the events of ``task_send_sent_event``, and packages that put functions
of their own around Celery's: Sentry and Datadog. Their functions are opened up where their form is known
(:func:`own_of`), and put around another one (:func:`around`): that runs the instrument as it is, whatever its release,
and does cheaply what Celery would do inside it. A form that is not known is :class:`Foreign`; Celery then renders each
message.
"""

from __future__ import annotations

import inspect
import os
import types
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

#: Where functions that may be opened up come from.
KNOWN = ("sentry_sdk.integrations.celery", "ddtrace.contrib.internal.celery")


class Foreign(Exception):
    """A function stands in the place of Celery's own, and what it does with that is not known."""


@cache
def _homes() -> tuple[str, ...]:
    import celery
    import kombu

    # With the separator: packages for instrumentation have these words in their names and paths.
    return tuple(f"{Path(package.__file__).parent}{os.sep}" for package in (celery, kombu))


def is_own(function: Any) -> bool:
    """Whether a function is Celery's or kombu's own, and not one that somebody has put in its place."""
    if type(function) is types.MethodType:
        function = function.__func__
    # Not `isinstance`: the proxies of the package wrapt pass for what they stand before.
    return type(function) is types.FunctionType and function.__code__.co_filename.startswith(_homes())


def own_of(function: Any) -> Any:
    """Celery's own function inside of what instruments have put around it; Foreign when that is not known."""
    return function if is_own(function) else own_of(_opened(function)[0])


def around(function: Any, inner: Callable[..., Any]) -> Any:
    """What instruments have put around Celery's own function, put around *inner* instead."""
    if is_own(function):
        return inner
    wrapped, wrap = _opened(function)
    return wrap(around(wrapped, inner))


def _opened(function: Any) -> tuple[Any, Callable[[Any], Any]]:
    """What a function of a known instrument has inside, and what puts the same around another."""
    wrapper = getattr(function, "_self_wrapper", None)  # of the package wrapt, which Datadog uses
    if _is_known(wrapper):
        return function.__wrapped__, lambda inner: type(function)(inner, wrapper)
    cells = function.__closure__ or () if _is_known(function) else ()
    found = [i for i, cell in enumerate(cells) if _leads_to_own(cell)]
    if len(found) != 1:
        raise Foreign

    def wrap(inner: Any) -> Any:
        closure = (*cells[: found[0]], types.CellType(inner), *cells[found[0] + 1 :])
        made = types.FunctionType(
            function.__code__, function.__globals__, function.__name__, function.__defaults__, closure
        )
        made.__kwdefaults__ = function.__kwdefaults__
        return made

    return cells[found[0]].cell_contents, wrap


def _is_known(function: Any) -> bool:
    """Whether it is a function of a known instrument. Its ``__module__`` may be that of what it wraps."""
    return type(function) is types.FunctionType and str(function.__globals__.get("__name__")).startswith(KNOWN)


def _leads_to_own(cell: Any) -> bool:
    try:
        own_of(cell.cell_contents)
    except (Foreign, ValueError):  # ValueError: the cell is empty
        return False
    return True


@dataclass(frozen=True, slots=True)
class Instruments:
    """The instruments of an app at one moment."""

    #: Whether publish signals have receivers, and whether each message has an event ``task-sent``.
    receivers: bool = False
    events: bool = False
    #: What stands in the place of a function of Celery's; None where that is Celery's own.
    apply_entry: Any = None
    apply_async: Any = None
    send_task: Any = None
    publish: Any = None

    def __bool__(self) -> bool:
        patched = (self.apply_entry, self.apply_async, self.send_task, self.publish)
        return self.receivers or self.events or any(one is not None for one in patched)


def instruments_of(app: Any) -> Instruments:
    """The instruments of an app; Foreign, with the name of what is in the way, when one is not known."""
    from celery import signals
    from celery.app.task import Task
    from celery.beat import Scheduler
    from kombu import Producer

    try:
        apply_entry = _patched(Scheduler, "apply_entry")
    except Foreign:  # only an instrument that is known shall be told of an entry
        apply_entry = None
    return Instruments(
        receivers=bool(signals.before_task_publish.receivers or signals.after_task_publish.receivers),
        events=bool(app.conf.task_send_sent_event),
        apply_entry=apply_entry,
        apply_async=_patched(Task, "apply_async"),
        send_task=_patched(type(app), "send_task", "Celery"),
        publish=_patched(Producer, "publish"),
    )


def _patched(cls: type, name: str, said: str = "") -> Any:
    function = inspect.getattr_static(cls, name)
    if is_own(function):
        return None
    try:
        own_of(function)
    except Foreign:
        raise Foreign(f"{said or cls.__name__}.{name} is not Celery's own") from None
    return function
