"""Celery's own functions, run where no instrument sees them; what they hand to instruments is noted.

A message that is rendered to make a template is nobody's: no receiver may run, no span begin. So Celery's functions get
an app and a task that stand before the real ones, and the one that publishes gets others in the place of its signals.
Nothing of the app is changed: other threads may send at the same time.
"""

from __future__ import annotations

import inspect
import types
from typing import Any

from .instruments import own_of


class Loud(Exception):
    """This release of Celery calls instruments in a way that is not known."""


class Notes:
    """What Celery handed to instruments as it made one message."""

    def __init__(self, app: Any) -> None:
        self._app = app
        #: The options of ``send_task``.
        self.send_task: dict[str, Any] = {}
        #: What the signals were sent with.
        self.before: dict[str, Any] = {}
        self.after: dict[str, Any] = {}
        #: The bodies and options of what was published: the message, and its event.
        self.published: list[tuple[Any, dict[str, Any]]] = []
        #: The kind, fields and options of the event; None without one.
        self.event: tuple[str, dict[str, Any], dict[str, Any]] | None = None

    def note_before(self, **named: Any) -> None:
        # As they are now: publishing adds to them.
        self.before = {**named, "headers": dict(named["headers"]), "properties": dict(named["properties"])}

    def note_after(self, **named: Any) -> None:
        self.after = named

    def publish(self, kind: str, fields: dict[str, Any], producer: Any, **options: Any) -> Any:
        """In the place of the dispatcher of events."""
        self.event = kind, dict(fields), options
        return self._app.amqp._event_dispatcher.publish(kind, fields, producer, **options)


def own_publish(producer: Any, body: Any, *args: Any, **options: Any) -> Any:
    """kombu's own way to publish."""
    from kombu import Producer

    return own_of(inspect.getattr_static(Producer, "publish"))(producer, body, *args, **options)


def own_apply_async(task: Any, *args: Any, **options: Any) -> Any:
    """Celery's own ``apply_async``."""
    from celery.app.task import Task

    return own_of(inspect.getattr_static(Task, "apply_async"))(task, *args, **options)


def own_send_task(app: Any, *args: Any, **options: Any) -> Any:
    """Celery's own ``send_task``."""
    return own_of(inspect.getattr_static(type(app), "send_task"))(app, *args, **options)


def apply_quietly(app: Any, name: str, args: Any, kwargs: Any, options: dict[str, Any], notes: Notes) -> None:
    """Send a task as Celery does, with a producer that captures; no instrument sees it."""
    task, quiet = app.tasks.get(name), _App(app, notes)
    if task is None:
        quiet.send_task(name, args, kwargs, **options)
    else:
        own_apply_async(_Task(task, quiet), args, kwargs, **options)


class _Before:
    """Stands before an object, and has what it does not say itself from that."""

    def __init__(self, behind: Any, **instead: Any) -> None:
        self._behind = behind
        vars(self).update(instead)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._behind, name)


class _App(_Before):
    def __init__(self, app: Any, notes: Notes) -> None:
        super().__init__(app)
        self._notes = notes
        self.amqp = _Before(app.amqp, send_task_message=_quiet(app.amqp.send_task_message, notes))

    def send_task(self, *args: Any, **options: Any) -> Any:
        if isinstance(options.get("task_type"), _Task):
            options["task_type"] = options["task_type"]._behind
        self._notes.send_task = dict(options)
        return own_of(inspect.getattr_static(type(self._behind), "send_task"))(self, *args, **options)


class _Task(_Before):
    def __init__(self, task: Any, app: _App) -> None:
        super().__init__(task)
        self._app = app

    def _get_app(self) -> Any:
        return self._app


def _quiet(send: Any, notes: Notes) -> Any:
    """Celery's function that calls receivers and publishes, with *notes* in the place of receivers and events."""
    function = own_of(send)
    others = {
        "send_before_publish": notes.note_before,
        "send_after_publish": notes.note_after,
        "default_evd": notes,
        # Celery before 5.6 asks the lists whether there are any receivers.
        "before_receivers": (True,),
        "after_receivers": (True,),
        "sent_receivers": (),
    }
    names = function.__code__.co_freevars
    if not {"send_before_publish", "send_after_publish", "default_evd", "sent_receivers"} <= set(names):
        raise Loud("this release of Celery calls receivers in a way that is not known")
    closure = tuple(
        types.CellType(others[name]) if name in others else cell
        for name, cell in zip(names, function.__closure__, strict=True)
    )
    made = types.FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, closure
    )
    made.__kwdefaults__ = function.__kwdefaults__
    return made
