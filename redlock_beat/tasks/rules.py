"""The options of a task as they hold: read once when the task is bound to an app, checked, and aliases resolved."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from ..errors import InvalidTask
from .key import Keyed

#: Seconds that a call may wait for a worker before its lock lapses, where ``unique_for`` says nothing else.
WAIT = 3600.0
_LONGEST = 366 * 86400.0
_UNTIL = ("start", "done")
_DUPLICATE = ("return", "raise", "replace")
_AWAY = ("send", "raise")


@dataclass(frozen=True, slots=True)
class Rules:
    """What a task's options say of its calls."""

    unique: bool
    #: Whether the lock ends when the run starts, and not when it is done.
    ends_at_start: bool
    #: Seconds that a call may wait for a worker.
    wait: float
    duplicate: str
    #: Whether a call is an error while Redis is away, and not sent without a lock.
    strict: bool
    #: Whether calls look at the cooldown, and the seconds of it after a success.
    cools: bool
    cooldown: float
    keyed: Keyed

    @property
    def asks(self) -> bool:
        """Whether a call asks Redis at all."""
        return self.unique or self.cools


def rules_of(task: Any) -> Rules:
    """The rules of a task; :class:`~redlock_beat.InvalidTask` names the option that cannot work."""
    name = task.name
    until = _one_of(name, "unique_until", task.unique_until, _UNTIL)
    duplicate = _one_of(name, "unique_duplicate", task.unique_duplicate, _DUPLICATE)
    strict = _one_of(name, "unique_without_redis", task.unique_without_redis, _AWAY) == "raise"
    wait = _first(task, "unique_for", "stale_time_limit", "max_queue_waiting_time")
    cooldown = _first(task, "cooldown")
    alias = _first(task, "ignore_task_timedelta")
    cools = cooldown is not None or alias is not None
    if cooldown is None and task.ignore_task_after_success:
        if alias is None:
            raise InvalidTask(
                f"{name}: ignore_task_after_success needs ignore_task_timedelta, or use cooldown instead."
            )
        cooldown = alias
    return Rules(
        unique=bool(task.unique),
        ends_at_start=until == "start",
        wait=WAIT if wait is None else wait,
        duplicate=duplicate,
        strict=strict,
        cools=cools,
        cooldown=cooldown or 0.0,
        keyed=_keyed(task),
    )


def seconds(name: str, option: str, value: Any) -> float:
    """A span as seconds.

    >>> seconds("t", "cooldown", timedelta(minutes=1)), seconds("t", "cooldown", 5)
    (60.0, 5.0)
    """
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= _LONGEST:
        return float(value)
    raise InvalidTask(f"{name}: {option} is {value!r}, but must be a timedelta, or seconds from 0 to {_LONGEST:g}.")


def _first(task: Any, *options: str) -> float | None:
    for option in options:
        value = getattr(task, option, None)
        if value is not None:
            return seconds(task.name, option, value)
    return None


def _one_of(name: str, option: str, value: Any, allowed: tuple[str, ...]) -> str:
    if value in allowed:
        return str(value)
    words = ", ".join(repr(one) for one in allowed)
    raise InvalidTask(f"{name}: {option} is {value!r}, but must be one of {words}.")


def _keyed(task: Any) -> Keyed:
    signature = signature_of(task)
    key = _function(task, "unique_key")
    generator = getattr(task, "unique_key_generator", None)
    if key is None and generator is not None:
        if not callable(generator):
            raise InvalidTask(f"{task.name}: unique_key_generator is {generator!r}, but must be a function.")
        key = _generated(generator)
    on = task.unique_on
    if on is None:
        return Keyed(task.name, signature, key=key)
    if key is not None:
        raise InvalidTask(f"{task.name}: unique_on and unique_key are both given; one of them makes the key.")
    if not isinstance(on, (str, list, tuple, set, frozenset)):
        raise InvalidTask(f"{task.name}: unique_on is {on!r}, but must be a name of its arguments, or a list of them.")
    names = (on,) if isinstance(on, str) else tuple(on)
    known = set(signature.parameters) if signature is not None else set()
    free = signature is not None and any(one.kind is one.VAR_KEYWORD for one in signature.parameters.values())
    for name in names:
        if not isinstance(name, str) or (name not in known and not free):
            raise InvalidTask(
                f"{task.name}: unique_on names {name!r}, which is not one of its arguments: {', '.join(sorted(known))}."
            )
    return Keyed(task.name, signature, on=names)


def _generated(generator: Callable[..., Any]) -> Callable[..., Any]:
    """A ``unique_key_generator`` of django-celery-extensions: it takes a prefix and the arguments."""
    return lambda *args, **kwargs: generator("", args, kwargs)


def _function(task: Any, name: str) -> Callable[..., Any] | None:
    """A function that stands on a class, as it was given: it takes the arguments of a call, and no task."""
    found: Any = inspect.getattr_static(task, name)
    if isinstance(found, staticmethod):
        found = found.__func__
    if found is not None and not callable(found):
        raise InvalidTask(f"{task.name}: {name} is {found!r}, but must be a function of the task's arguments.")
    function: Callable[..., Any] | None = found
    return function


def signature_of(task: Any) -> inspect.Signature | None:
    """The signature of a task's function, without the task itself; None where it has none that could be read."""
    try:
        found = inspect.signature(task.run)
    except (TypeError, ValueError):
        return None
    # A class, looked at before there is a task: its function takes the task itself, too.
    if inspect.isclass(task) and not isinstance(inspect.getattr_static(task, "run"), (staticmethod, classmethod)):
        return found.replace(parameters=list(found.parameters.values())[1:])
    return found
