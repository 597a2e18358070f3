"""Whether the app knows the task of an entry, and whether its arguments fit: checked before an edit."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import mask


def misfit(app: Any, task: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
    """What is wrong with *task* and its arguments, as far as this app knows; None when nothing is.

    An app without tasks of its own (``celery -b redis://... redlock``) knows nothing.
    """
    wrong = unknown(app, task)
    return _unfit(app.tasks[task], args, kwargs) if wrong is None and task in app.tasks else wrong


def unknown(app: Any, task: str) -> str | None:
    """Why this app cannot run *task*; None when it has one of that name, or none of its own at all."""
    try:
        app.loader.import_default_modules()
        known = dict(app.tasks)
    except Exception as exc:  # noqa: BLE001 - the app's own modules may raise anything
        return f"the app's tasks cannot be loaded here ({mask(repr(exc))}), so nobody checked {task!r}."
    own = [name for name in known if not name.startswith("celery.")]
    if not own:
        return None
    if task not in known:
        near = _near(task, own)
        hint = f" Did you mean {near!r}?" if near else ""
        return f"this app has no task {task!r}; a worker that has none discards the message.{hint}"
    return None


def _near(task: str, known: Sequence[str]) -> str | None:
    found = difflib.get_close_matches(task, known, 1)
    if found:
        return found[0]
    last = task.rsplit(".", 1)[-1]
    same = [name for name in known if name.rsplit(".", 1)[-1] == last]
    return same[0] if same else None


def _unfit(task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
    header = getattr(task, "__header__", None)
    if header is None or not getattr(task, "typing", True):
        return None
    try:
        header(*args, **kwargs)
    except TypeError as exc:
        return f"the arguments do not fit: {exc}."
    return None
