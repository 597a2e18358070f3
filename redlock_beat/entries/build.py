"""Makes an Entry of what users write, and checks it: the same for every way in."""

from __future__ import annotations

from collections.abc import Mapping, Set
from datetime import datetime
from typing import Any

from ..clock import micros
from ..errors import InvalidSchedule
from ..recurrence import NO_CALENDARS, Calendars, Once, as_spec, days_of
from ..recurrence.zones import zone, zone_name
from .codec import carried
from .entry import CANVAS, POLICIES, Entry, expiry_of, seconds_of
from .labels import labels_of

_KNOWN = frozenset(POLICIES)
#: Policies that are given as None to have none.
_MAY_BE_NONE = ("grace", "max_runs", "pause_on_failure")


def make_entry(
    app: Any,
    name: str,
    task: Any,
    when: Any,
    args: Any = (),
    kwargs: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    origin: str = "api",
    carry: bool = True,
    relative: bool = False,
    calendars: Calendars = NO_CALENDARS,
    **policies: Any,
) -> Entry:
    """An entry of its parts; :class:`InvalidSchedule` says which part cannot be used.

    >>> make_entry(None, "a", "tasks.add", 30, (1, 2)).schedule
    Interval(every=30000000, relative=False)
    """
    if not isinstance(relative, bool):
        raise InvalidSchedule(f"entry {name!r}: relative is {relative!r}, but must be true or false.")
    task_name, args, kwargs, options, canvas = _parts(name, task, args, kwargs, options)
    given = _given(app, name, policies)
    if "expires" in given:
        options["expires"] = given.pop("expires")
    if "expires" in options:
        options["expires"] = expiry_of(options["expires"], name)
    if carry:
        args = tuple(carried(list(args), f"entry {name!r}: args"))
        kwargs = carried(kwargs, f"entry {name!r}: kwargs")
        options = carried(options, f"entry {name!r}: options")
        canvas = None if canvas is None else carried(canvas, f"entry {name!r}: the signature")
    return Entry(
        name=name,
        task=task_name,
        schedule=as_spec(when, zone_name=given["timezone"], relative=relative),
        args=tuple(args),
        kwargs=kwargs,
        options=options,
        canvas=canvas,
        origin=origin,
        calendars=calendars,
        **given,
    )


def _given(app: Any, name: str, policies: Mapping[str, Any]) -> dict[str, Any]:
    """The policies that are given, each as an entry holds it; but for ``expires``, which is an option."""
    if unknown := sorted(policies.keys() - _KNOWN):
        raise InvalidSchedule(
            f"entry {name!r}: {', '.join(unknown)} is not a policy. The policies are {', '.join(POLICIES)}; "
            "what apply_async takes (queue, priority, ...) goes into options."
        )
    given = {key: value for key, value in policies.items() if value is not None or key in _MAY_BE_NONE}
    given["timezone"] = _zone_of(app, given.get("timezone"))
    for span in ("grace", "jitter", "queue_limit"):
        if given.get(span) is not None:
            given[span] = seconds_of(given[span], name, span)
    if "labels" in given:
        given["labels"] = labels_of(given["labels"], f"entry {name!r}: labels")
    for days in ("exclude", "only"):
        if days in given:
            given[days] = days_of(given[days], f"entry {name!r}: {days}")
    for bound in ("starts", "ends"):
        if bound in given:
            given[bound] = _instant(given[bound], name, bound, given["timezone"])
    return given


def _parts(
    name: str, task: Any, args: Any, kwargs: Any, options: Any
) -> tuple[str, tuple[Any, ...], dict[str, Any], dict[str, Any], dict[str, Any] | None]:
    """Task name, arguments, options and canvas of a task, a signature or a name."""
    unordered = isinstance(args, (str, bytes, Mapping, Set))
    if unordered or not hasattr(args if args is not None else (), "__iter__"):
        raise InvalidSchedule(f"entry {name!r}: args is {args!r}, but must be a list or tuple of arguments.")
    args = tuple(args or ())
    for what, value in (("kwargs", kwargs), ("options", options)):
        if value is not None and not isinstance(value, Mapping):
            raise InvalidSchedule(f"entry {name!r}: {what} is {value!r}, but must be a dictionary.")
    kwargs, options = dict(kwargs or {}), dict(options or {})
    if isinstance(task, str):
        return task, args, kwargs, options, canvas_of(task, args, kwargs, options)
    if isinstance(task, Mapping) and "task" in task:  # a signature
        if args or kwargs:
            clone = getattr(task, "clone", None)
            if clone is not None:
                task = clone(args, kwargs)
        options = {**(task.get("options") or {}), **options}
        args, kwargs = tuple(task.get("args") or ()), dict(task.get("kwargs") or {})
        canvas = dict(task) if task.get("subtask_type") in CANVAS.values() else None
        return str(task["task"]), args, kwargs, options, canvas
    found = getattr(task, "name", None)
    if isinstance(found, str):
        return found, args, kwargs, options, None
    raise InvalidSchedule(f"entry {name!r}: the task is {task!r}, but must be a task, a signature or a task's name.")


def canvas_of(task: Any, args: Any, kwargs: Any, options: Any) -> dict[str, Any] | None:
    """The serialized chain, group or chord that ``add_periodic_task`` has split into parts; None for a plain task."""
    kind = CANVAS.get(str(task))
    if kind is None:
        return None
    return {
        "task": task,
        "args": list(args or ()),
        "kwargs": dict(kwargs or {}),
        "options": dict(options or {}),
        "subtask_type": kind,
        "immutable": False,
    }


def _zone_of(app: Any, given: Any) -> str:
    if given is None:
        return "UTC" if app is None else zone_name(app.timezone)
    if isinstance(given, str):
        zone(given)
        return given
    return zone_name(given)


def _instant(value: Any, name: str, bound: str, timezone: str) -> int:
    if isinstance(value, datetime):
        return micros(value) if value.tzinfo is not None else Once.of(value, timezone).at
    raise InvalidSchedule(f"entry {name!r}: {bound} is {value!r}, but must be a datetime.")
