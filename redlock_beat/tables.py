"""How things are shown on a terminal: tables that fit, times in the user's zone, bursts on a line."""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click

_BARS = " ▁▂▃▄▅▆▇█"


def width_of(text: str) -> int:
    """How many columns a text takes.

    >>> width_of("日本"), width_of("abc")
    (4, 3)
    """
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) or unicodedata.category(c) in ("Cf", "Mn")
        else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )  # fmt: skip


def clean(cell: object) -> str:
    """One line of text without what a terminal would obey: names are other people's input."""
    text = " ".join(str("" if cell is None else cell).split())
    return "".join(c if c.isprintable() else "�" for c in text)


def cut(text: str, columns: int) -> str:
    """The text in at most so many columns, with an ellipsis where it was cut."""
    if width_of(text) <= columns:
        return text
    kept, used = "", 1
    for c in text:
        used += width_of(c)
        if used > columns:
            break
        kept += c
    return kept + "…"


def table(head: Sequence[str], rows: Iterable[Sequence[object]], colours: Sequence[str | None] = ()) -> None:
    """Print a table that fits the terminal: the widest columns give way."""
    lines = [list(head), *[[clean(cell) for cell in row] for row in rows]]
    widths = [max(width_of(line[i]) for line in lines) for i in range(len(head))]
    room = max(40, shutil.get_terminal_size((120, 24)).columns) - 2 * (len(head) - 1)
    while sum(widths) > room:
        widths[widths.index(max(widths))] -= 1
    for number, line in enumerate(lines):
        cells = [cut(cell, width) for cell, width in zip(line, widths, strict=True)]
        padded = [cell + " " * (width - width_of(cell)) for cell, width in zip(cells, widths, strict=True)]
        colour = colours[number - 1] if 0 < number <= len(colours) else None
        click.secho("  ".join(padded).rstrip(), bold=number == 0 or None, fg=colour)


def fields(data: dict[str, Any]) -> None:
    """Print names and values below one another."""
    width = max(map(len, data), default=0)
    for key, value in data.items():
        click.echo(f"{key:<{width}}  {clean(value)}")


def local(when: datetime | None) -> str:
    """A time in the user's zone."""
    return "" if when is None else when.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def span(seconds: float) -> str:
    """A span in its largest sensible unit.

    >>> span(90), span(7200), span(0.0042)
    ('90 s', '2 h', '4.2 ms')
    """
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    if seconds >= 2:
        return f"{seconds:.0f} s"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"


def relative(when: datetime | None, never: str = "never") -> str:
    """A time as seen from now: ``in 3 min``, ``2 h ago``."""
    if when is None:
        return never
    seconds = (when - datetime.now(UTC)).total_seconds()
    if abs(seconds) < 1:
        return "now"
    return f"in {span(seconds)}" if seconds > 0 else f"{span(-seconds)} ago"


def bursts(counts: Sequence[int]) -> str:
    """Counts as a line of bars.

    >>> bursts([0, 1, 8])
    ' ▁█'
    """
    most = max(counts, default=0)
    return "".join(_BARS[0 if not n else max(1, round(n * 8 / most))] for n in counts)
