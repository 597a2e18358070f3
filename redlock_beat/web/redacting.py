"""What of a task's arguments may be shown: the answers of ``redact=``, and nothing when it fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..entries.entry import Entry
from ..log import log
from .options import Redact

#: What stands where ``redact=`` has failed.
HIDDEN = "(hidden)"
#: Options of ``apply_async`` that carry arguments of their own; ``redact=`` is not asked about them.
CARRIERS = ("headers", "link", "link_error", "chord", "producer")


def redacted(redact: Redact, task: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, Any]:
    """The args and kwargs that may be shown.

    >>> redacted(lambda task, args, kwargs: (args, {name: "***" for name in kwargs}), "tasks.mail", (7,), {"to": "ann"})
    ((7,), {'to': '***'})
    """
    try:
        shown, named = redact(task, tuple(args), dict(kwargs))
        return tuple(shown), dict(named)
    except Exception as exc:  # noqa: BLE001 - the project's own code may raise anything, and nothing shall leak by that
        words = "redact= of the page raised %(why)s for the task %(task)s. Its arguments are not shown."
        log.error("web.redact_failed", words, why=type(exc).__name__, task=task)
        return (HIDDEN,), {}


def redacted_entry(redact: Redact, entry: Entry) -> Entry:
    """An entry with the arguments that may be shown, also those inside a chain, group or chord."""
    args, kwargs = redacted(redact, entry.task, entry.args, entry.kwargs)
    options = {key: HIDDEN if key in CARRIERS else value for key, value in entry.options.items()}
    return replace(entry, args=args, kwargs=kwargs, options=options, canvas=_inside(redact, entry.canvas))


def unhidden(options: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Options as a visitor has sent them, with what was hidden from the visitor as it was.

    >>> unhidden({"queue": "slow", "headers": HIDDEN}, {"headers": {"token": 7}})
    {'queue': 'slow', 'headers': {'token': 7}}
    """
    return {key: before[key] if value == HIDDEN and key in before else value for key, value in options.items()}


def _inside(redact: Redact, canvas: Any) -> Any:
    if isinstance(canvas, Mapping):
        shown = {key: _inside(redact, value) for key, value in canvas.items()}
        if isinstance(canvas.get("task"), str):
            args, kwargs = redacted(redact, canvas["task"], shown.get("args") or (), shown.get("kwargs") or {})
            shown.update(args=list(args), kwargs=kwargs)
        return shown
    if isinstance(canvas, (list, tuple)):
        return [_inside(redact, one) for one in canvas]
    return canvas


def shown_changes(redact: Redact | None, changes: Sequence[tuple[str, Any, Any]]) -> list[tuple[str, Any, Any]]:
    """The differences of an edit that may be shown: with ``redact=``, arguments and what carries them are left out."""
    if redact is None:
        return list(changes)
    carried = ("args", "kwargs", "canvas", "options")
    return [(part, HIDDEN, HIDDEN) if part in carried else (part, old, new) for part, old, new in changes]
