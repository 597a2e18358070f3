"""From what users write to an Entry: the one place that checks it, for every way in."""

from __future__ import annotations

from collections.abc import Mapping, Set
from datetime import datetime
from typing import Any

from ..clock import micros
from ..errors import InvalidSchedule
from ..recurrence import Once, as_spec
from ..recurrence.zones import zone, zone_name
from .codec import carried
from .entry import CANVAS, POLICIES, Entry, expiry_of, seconds_of


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
    **policies: Any,
) -> Entry:
    """An entry from its parts; :class:`InvalidSchedule` says which part cannot be used.

    >>> make_entry(None, "a", "tasks.add", 30, (1, 2)).schedule
    Interval(every=30000000, relative=False)
    """
    unknown = sorted(set(policies) - set(POLICIES))
    if unknown:
        raise InvalidSchedule(
            f"entry {name!r}: {', '.join(unknown)} is no policy. The policies are {', '.join(POLICIES)}; "
            "what apply_async takes (queue, priority, ...) goes into options."
        )
    if not isinstance(relative, bool):
        raise InvalidSchedule(f"entry {name!r}: relative is {relative!r}, but must be true or false.")
    task_name, args, kwargs, options, canvas = _parts(name, task, args, kwargs, options)
    given = {key: value for key, value in policies.items() if value is not None or key in ("grace", "max_runs")}
    given["timezone"] = _zone_of(app, given.get("timezone"))
    if "expires" in given:
        options["expires"] = given.pop("expires")
    if "expires" in options:
        options["expires"] = expiry_of(options["expires"], name)
    for span in ("grace", "jitter"):
        if given.get(span) is not None:
            given[span] = seconds_of(given[span], name, span)
    for bound in ("starts", "ends"):
        if bound in given:
            given[bound] = _instant(given[bound], name, bound, given["timezone"])
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
        **given,
    )


def _parts(
    name: str, task: Any, args: Any, kwargs: Any, options: Any
) -> tuple[str, tuple[Any, ...], dict[str, Any], dict[str, Any], dict[str, Any] | None]:
    """Task name, arguments and options out of a task, a signature or a name."""
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
    """The serialized chain, group or chord that ``add_periodic_task`` has taken apart; None for a plain task."""
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
