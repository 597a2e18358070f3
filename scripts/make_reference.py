"""Writes the tables of docs/reference/ from the code: settings, policies, metrics, events, the ledger's fields, keys.

    python scripts/make_reference.py            write them
    python scripts/make_reference.py --check    only say whether they are as they would be written

A page has ``<!-- made: settings -->`` and ``<!-- end -->``; what stands between is a table of this script. The words
are those of the code: the ``#:`` comment of a field, the docstring of an event, the help text of a metric.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import MISSING, fields
from pathlib import Path

from redlock_beat import hooks, settings
from redlock_beat.beat.metrics import PrometheusHook
from redlock_beat.entries import entry
from redlock_beat.schedule import answers, gauges
from redlock_beat.store import keys

FOLDER = Path(__file__).parent.parent / "docs" / "reference"
MARK = re.compile(r"(<!-- made: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

#: What stands in the code as a default and means something else to a reader.
_DEFAULTS = {
    "url": "the broker's",
    "application": "the app's name",
    "heartbeat_file": "one per process",
    "timezone": "the app's",
    "grace": "none; `skip`: a minute",
    "enabled": "on",
    "expires": "none",
}


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    heads = tuple(heads)
    lines = [heads, ("---",) * len(heads), *rows]
    return "".join(f"| {' | '.join(_cell(one) for one in line)} |\n" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _marked(text: str) -> str:
    """Words of a docstring as Markdown."""
    text = re.sub(r":\w+:`~?([^`<]+?)(?: <[^>]+>)?`", lambda found: f"`{found[1].removeprefix('redlock_beat.')}`", text)
    return re.sub(r"\*([a-z_]+)\*", r"`\1`", text.replace("``", "`"))


def described(cls: type) -> dict[str, str]:
    """The fields of a class, each with the ``#:`` comment above it."""
    lines = inspect.getsource(cls).splitlines()
    (node,) = [one for one in ast.parse("\n".join(lines)).body if isinstance(one, ast.ClassDef)]
    found: dict[str, str] = {}
    for one in node.body:
        if isinstance(one, ast.AnnAssign):
            words: list[str] = []
            above = one.lineno - 2
            while lines[above].lstrip().startswith("#:"):
                words.insert(0, lines[above].lstrip()[2:].strip())
                above -= 1
            found[ast.unparse(one.target)] = _marked(" ".join(words))
    return found


def _default(name: str, value: object) -> str:
    if name in _DEFAULTS:
        return _DEFAULTS[name]
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    if value in ("", (), {}) or value is MISSING:
        return "none"
    return f"`{value!r}`".replace("'", "") if isinstance(value, str) else f"`{value}`"


def settings_table() -> str:
    """Every setting."""
    words = described(settings.Settings)
    rows = []
    for one in fields(settings.Settings):
        if one.name in settings.ACCEPTED:
            default = _default(one.name, {} if one.default is MISSING else one.default)
            rows.append((f"`{one.name}`", default, settings.ACCEPTED[one.name], words[one.name]))
    return table(("setting", "default", "accepts", "what it does"), rows)


def policies_table() -> str:
    """Every policy."""
    defaults = {one.name: one.default for one in fields(entry.Entry)}
    rows = []
    for name, words in described(entry.Policies).items():
        kind = entry.Policies.__annotations__[name]
        choices = re.findall(r"'(\w+)'", str(getattr(kind, "__forward_arg__", kind)).replace('"', "'"))
        values = ", ".join(f"`{one}`" for one in choices)
        rows.append((f"`{name}`", values, _default(name, defaults.get(name)), words))
    return table(("policy", "values", "default", "what it says"), rows)


def metrics_table() -> str:
    """Every metric."""
    from prometheus_client import CollectorRegistry

    registry = CollectorRegistry()
    hook = PrometheusHook(registry)
    labels = {one._name: one._labelnames for one in vars(hook).values() if hasattr(one, "_labelnames")}
    rows = []
    for one in registry.collect():
        name = one.name + ("_total" if one.type == "counter" else "")
        rows.append(
            (f"`{name}`", one.type, ", ".join(f"`{label}`" for label in labels.get(one.name, ())), one.documentation)
        )
    return table(("metric", "type", "labels", "what it counts"), rows)


def gauges_table() -> str:
    """Every metric of the page."""
    rows = [(f"`{one.metric}`", ", ".join(f"`{label}`" for label in one.labels), one.words) for one in gauges.GAUGES]
    return table(("metric", "labels", "what it counts"), rows)


def events_table() -> str:
    """Every event that a hook gets."""
    rows = []
    for cls in vars(hooks).values():
        if isinstance(cls, type) and issubclass(cls, hooks.Event) and cls not in (hooks.Event, hooks.Run):
            names = ", ".join(f"`{one.name}`" for one in fields(cls) if one.name != "at")
            rows.append((f"`{cls.__name__}`", names, _marked(inspect.getdoc(cls) or "")))
    return table(("event", "fields, besides `at`", "when"), rows)


def ledger_table() -> str:
    """Every part of a row of the ledger."""
    words, last = described(answers.LedgerRow), ""
    rows = []
    for name, text in words.items():
        last = text or last
        rows.append((f"`{name}`", last))
    return table(("part", "meaning"), _joined(rows))


def _joined(rows: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Neighbours of one meaning in one row."""
    while rows:
        same = [one for one in rows if one[1] == rows[0][1]]
        yield ", ".join(one[0] for one in same), same[0][1]
        rows = [one for one in rows if one not in same]


def keys_table() -> str:
    """Every key in Redis, from the docstring of their module."""
    lines = (keys.__doc__ or "").split("\n")
    bounds = [number for number, line in enumerate(lines) if line.startswith("===")]
    rows: list[list[str]] = []
    for line in lines[bounds[1] + 1 : bounds[2]]:
        found = re.match(r"``(\S+)``\s+(\w[\w ]*?)\s{2,}(.*)", line) or re.match(r"``(\S+)``\s+(\w+) +(.*)", line)
        if found:
            rows.append([f"`{found[1]}`", found[2], found[3]])
        else:
            rows[-1][2] += " " + line.strip()
    return table(("key", "type", "holds"), [(name, kind, _marked(words)) for name, kind, words in rows])


TABLES: dict[str, Callable[[], str]] = {
    "settings": settings_table,
    "policies": policies_table,
    "metrics": metrics_table,
    "gauges": gauges_table,
    "events": events_table,
    "ledger": ledger_table,
    "keys": keys_table,
}


def made(text: str) -> str:
    """A page with its tables as the code has them."""
    return MARK.sub(lambda found: f"{found[1]}\n{TABLES[found[2]]()}\n{found[3]}", text)


def main() -> None:
    """Write the tables, or with ``--check`` only compare."""
    missing = set(TABLES)
    for path in sorted(FOLDER.glob("*.md")):
        text = path.read_text("utf-8")
        missing -= set(re.findall(r"<!-- made: (\w+) -->", text))
        wanted = made(text)
        if wanted == text:
            continue
        if "--check" in sys.argv[1:]:
            sys.exit(f"{path.name} is not what the code says: run `python scripts/make_reference.py`.")
        path.write_text(wanted, "utf-8")
    if missing:
        sys.exit(f"no page has the table of {', '.join(sorted(missing))}.")


if __name__ == "__main__":
    main()
