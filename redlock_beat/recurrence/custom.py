"""Schedule classes of the user's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

from ..clock import micros, moment
from ..errors import InvalidSchedule, Uncomputable
from .spec import KINDS, Rules


@dataclass(frozen=True)
class _Registered:
    cls: type
    dump: Callable[[Any], dict[str, Any]]
    load: Callable[[dict[str, Any]], Any]


_registry: dict[str, _Registered] = {}


def register_schedule(
    kind: str,
    cls: type,
    *,
    dump: Callable[[Any], dict[str, Any]],
    load: Callable[[dict[str, Any]], Any] | None = None,
) -> None:
    """Let entries use a schedule class of your own.

    Call it in the module that defines your app, so that every beat and every editor has it. *dump* turns an instance
    into JSON-able data, *load* (default: ``cls(**data)``) turns the data back. The class has
    ``next_slot(after) -> datetime | None``, or is a Celery ``BaseSchedule`` with ``remaining_estimate(last_run_at)``,
    which gets Redis's time as "now".

    >>> class Tick:
    ...     def next_slot(self, after):
    ...         return after + timedelta(seconds=1)
    >>> register_schedule("tick", Tick, dump=lambda tick: {})
    """
    if not kind or kind in KINDS or len(kind) > 100:
        raise InvalidSchedule(f"{kind!r} cannot be used as the name of a schedule class: it is empty, taken or long.")
    _registry[kind] = _Registered(cls, dump, load or (lambda data: cls(**data)))


@dataclass(frozen=True, slots=True)
class Custom:
    """An instance of a registered class, as its data."""

    name: str
    text: str
    kind: ClassVar[str] = "custom"

    @classmethod
    def of(cls, schedule: Any) -> Custom | None:
        """The value of an instance of a registered class, or None when its class is not registered."""
        for name, entry in _registry.items():
            if type(schedule) is entry.cls:
                try:
                    return cls(name, json.dumps(entry.dump(schedule), sort_keys=True, allow_nan=False))
                except (TypeError, ValueError) as exc:
                    raise InvalidSchedule(f"the schedule {name!r} has data that JSON cannot carry: {exc}.") from None
        return None

    def instance(self) -> Any:
        """The user's object; :class:`Uncomputable` where this process has not registered the class."""
        entry = _registry.get(self.name)
        if entry is None:
            raise Uncomputable(
                f"the schedule class {self.name!r} is not registered here: call register_schedule({self.name!r}, ...) "
                "in the module that defines your Celery app."
            )
        return entry.load(json.loads(self.text))

    def next(self, after: int, rules: Rules) -> int | None:
        schedule, when = self.instance(), moment(after)
        if hasattr(schedule, "next_slot"):
            found = schedule.next_slot(when)
        else:
            schedule.nowfun = lambda: when
            try:
                found = when + schedule.remaining_estimate(when)
            except NotImplementedError:
                found = when + timedelta(seconds=float(schedule.is_due(when)[1]))
        if found is None:
            return None
        if not isinstance(found, datetime) or found.tzinfo is None or micros(found) <= after:
            raise InvalidSchedule(
                f"the schedule class {self.name!r} answered {found!r} to what comes after {when.isoformat()}: "
                "it must be an aware datetime after that, or None."
            )
        return micros(found)

    def data(self) -> dict[str, Any]:
        return {"name": self.name, "data": json.loads(self.text)}

    def __str__(self) -> str:
        return f"{self.name} {self.text}"
