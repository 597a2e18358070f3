"""Makes redlock_beat/schedule/aio.py from schedule.py beside it: the same schedule, to be awaited.

    python scripts/make_async.py            write it
    python scripts/make_async.py --check    only say whether it is as it would be written

Methods become ``async def``, ``with`` becomes ``async with``, and calls of methods are awaited; in the examples
of docstrings, too. Places are found in the syntax tree and changed in the text, so that comments and lines stay.
What the rules cannot know stands in the tables below.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "redlock_beat" / "schedule" / "schedule.py"
TARGET = SOURCE.with_name("aio.py")

HEADER = '''"""AsyncSchedule: everything Schedule does, to be awaited.

Made from schedule.py by ``python scripts/make_async.py``. Change that file, then run the script.
"""
'''
#: What has another name.
NAMES = {
    "Schedule": "AsyncSchedule",
    "Batch": "AsyncBatch",
    "Selection": "AsyncSelection",
    "Store": "AsyncStore",
    "Turns": "AsyncTurns",
    "Iterator": "AsyncIterator",
    "Retrying": "AsyncRetrying",
    "heard": "async_heard",
    "nap": "async_nap",
    "__iter__": "__aiter__",
    "__enter__": "__aenter__",
    "__exit__": "__aexit__",
}
#: What is written otherwise.
TEXTS = {
    "It is a mapping, too: ``schedule[name]``, ``name in schedule``, ``len(schedule)``, ``del schedule[name]``.": (
        "It speaks to Redis through ``redis.asyncio``. Use one an event loop, and close it at the end."
    ),
}
#: What cannot be awaited, and is not there.
LEFT_OUT = {"__getitem__", "__contains__", "__len__", "__delitem__"}
#: What needs no awaiting.
PLAIN = {"__init__", "__iter__", "from_url", "batch", "select", "change"}
#: Whose methods are awaited, and the functions that are.
AWAITED = {"self", "schedule", "self._schedule", "self._store"}
FUNCTIONS = {"retrying", "heard", "nap"}

EXAMPLE = re.compile(r"^ *>>> .*\n(?: *\.\.\. .*\n)*", re.MULTILINE)


def made(source: str) -> str:
    """The asynchronous module of a synchronous one."""
    source = _without(source, LEFT_OUT)
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    generators = {
        one.name for one in functions if any(isinstance(n, (ast.Yield, ast.YieldFrom)) for n in ast.walk(one))
    }
    awaited = {one.name for one in functions} - generators - PLAIN
    for before, after in TEXTS.items():
        if before not in source:
            raise SystemExit(f"make_async: {SOURCE.name} says {before!r} no more; mend TEXTS.")
        source = source.replace(before, after)
    source = EXAMPLE.sub(lambda found: _example(found[0], awaited, generators), source)
    source = _changed(source, awaited, generators)
    source = re.sub(r"\b\w+\b", lambda found: NAMES.get(found[0], found[0]), source)
    return HEADER + source.split('"""\n', 1)[1]


def _without(source: str, names: set[str]) -> str:
    lines = source.splitlines(keepends=True)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and node.name in names:
            lines[node.lineno - 1 : node.end_lineno + 1] = [""] * (node.end_lineno - node.lineno + 2)
    return "".join(lines)  # the empty line after each is gone, too


def _example(text: str, awaited: set[str], generators: set[str]) -> str:
    indent = re.match(" *", text)[0]  # type: ignore[index]
    lines = [line[len(indent) :] for line in text.splitlines()]
    changed = _changed("\n".join(line[4:] for line in lines), awaited, generators).split("\n")
    return "".join(f"{indent}{line[:4]}{new}\n" for line, new in zip(lines, changed, strict=True))


def _changed(source: str, awaited: set[str], generators: set[str]) -> str:
    tree = ast.parse(source)
    starts = [0]
    for line in source.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    changes: list[tuple[int, int, str]] = []  # from, to, what stands there instead

    def change(node: ast.AST, before: str, after: str = "") -> None:
        begin = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        changes.extend([(begin, begin, before), (end, end, after)])

    for node in ast.walk(tree):
        if (
            isinstance(node, ast.With)
            or (isinstance(node, ast.FunctionDef) and node.name not in PLAIN)
            or (isinstance(node, ast.For) and _calls(node.iter, generators))
        ):
            change(node, "async ")
        elif isinstance(node, ast.YieldFrom):  # coroutines have none
            change(node, "for one in ", f":\n{' ' * (node.col_offset + 4)}yield one")
            change(node, "", "")
            changes[-2] = (changes[-2][0], changes[-2][0] + len("yield from "), "")
        for part in ast.iter_child_nodes(node):
            if _calls(part, awaited):
                enclosed = isinstance(node, (ast.Attribute, ast.Subscript))
                change(part, "(await " if enclosed else "await ", ")" if enclosed else "")
    text = source.encode()
    for begin, end, new in sorted(changes, reverse=True):
        text = text[:begin] + new.encode() + text[end:]
    return text.decode()


def _calls(node: ast.AST, names: set[str]) -> bool:
    """Whether it calls one of these methods, or a function that is awaited."""
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Name):
        return node.func.id in FUNCTIONS
    if not isinstance(node.func, ast.Attribute) or node.func.attr not in names:
        return False
    whose = ast.unparse(node.func.value)
    return whose in AWAITED or whose.startswith("schedule.select(")


def main() -> None:
    new = made(SOURCE.read_text("utf-8"))
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(new, "utf-8")
    elif not TARGET.exists() or TARGET.read_text("utf-8") != new:
        sys.exit(f"{TARGET} is not what {SOURCE.name} makes: run `python scripts/make_async.py`.")


if __name__ == "__main__":
    main()
