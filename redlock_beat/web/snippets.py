"""An entry as Python, as a command line and as JSON: to be copied into a program, a terminal or a file."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pprint import pformat
from typing import Any

from ..entries.document import EDITABLE, document, editable
from ..entries.entry import Entry

#: Parts of a document that are said otherwise, or are not said in an ``add``.
_APART = ("task", "when", "args", "kwargs", "options", "canvas", "enabled")
#: Policies that the command line takes as options of another form.
_FLAGS = ("keep", "terminate")
_LISTS = ("exclude", "only")


def snippets(entry: Entry) -> dict[str, str]:
    """The three forms: ``python``, ``cli`` and ``json``.

    >>> from ..recurrence import Interval
    >>> print(snippets(Entry("mail", "tasks.mail", Interval.of(30), args=(7,)))["python"])
    schedule.add(
        "mail",
        "tasks.mail",
        30,
        args=[7],
    )
    """
    return {
        "python": python(entry),
        "cli": command(entry),
        "json": json.dumps(document(entry), indent=2, ensure_ascii=False, default=str),
    }


def python(entry: Entry) -> str:
    """The call that adds the entry."""
    data = editable(entry)
    lines = [_text(entry.name), _text(data["task"]), _when(data["when"])]
    carried = {part: data[part] for part in ("args", "kwargs", "options") if data[part]}
    lines += [f"{part}={pformat(value, width=100, sort_dicts=False)}" for part, value in carried.items()]
    lines += [f"{part}={value!r}" for part, value in _set(entry).items()]
    return "schedule.add(\n" + "".join(f"    {line},\n" for line in lines) + ")"


def command(entry: Entry) -> str:
    """The command that adds the entry."""
    data = editable(entry)
    words = ["celery", "-A", "proj", "redlock", "add", entry.name, str(data["task"])]
    when = data["when"]
    option = {"interval": "every", "crontab": "cron", "once": "at", "rrule": "rrule", "solar": "solar"}
    said: dict[str, Callable[[], str]] = {
        "interval": lambda: f"{when['every']}s",
        "crontab": lambda: when["cron"],
        "once": lambda: when["at"],
        "rrule": lambda: _rule(when),
        "solar": lambda: f"{when['event']},{when['lat']},{when['lon']}",
    }
    if when["kind"] not in said:
        return f"# A schedule of a class of your own ({when.get('name', when['kind'])}) is added from Python."
    words += [f"--{option[when['kind']]}", str(said[when["kind"]]())]
    for part in ("args", "kwargs", "options"):
        if data[part]:
            words += [f"--{part}", json.dumps(data[part], ensure_ascii=False)]
    for part, value in _set(entry).items():
        name = "--tz" if part == "timezone" else "--" + part.replace("_", "-")
        if part == "labels":
            words += [word for key, text in value.items() for word in ("--label", f"{key}={text}")]
        elif part in _FLAGS:
            words.append(name if value else f"--no-{name[2:]}")
        else:
            words += [name, ",".join(value) if part in _LISTS else str(value)]
    return " ".join(shlex.quote(word) for word in words)


def _set(entry: Entry) -> dict[str, Any]:
    """The policies that are not as they are by default, in the order of the document."""
    plain = editable(Entry(entry.name, entry.task, entry.schedule))
    data = editable(entry)
    found = {part: data[part] for part in EDITABLE if part not in _APART and data[part] != plain[part]}
    return {"timezone": entry.timezone, **found} if entry.timezone != "UTC" else found


def _when(when: dict[str, Any]) -> str:
    if when["kind"] == "interval":
        return repr(when["every"])
    if when["kind"] == "crontab":
        return _text(when["cron"])
    return repr(when)


def _rule(when: dict[str, Any]) -> str:
    start = when["start"].replace("-", "").replace(":", "")
    return f"DTSTART:{start[:15]}\n{when['rule']}" if when.get("start") else str(when["rule"])


def _text(value: Any) -> str:
    return json.dumps(str(value), ensure_ascii=False)
