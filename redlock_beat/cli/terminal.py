"""What the terminal shows: tables that fit, spans and times, bars, and progress."""

from __future__ import annotations

import contextlib
import shutil
import sys
import textwrap
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import click

from ..clock import moment
from ..recurrence import Once, Spec
from ..recurrence.zones import zone
from ..schedule.answers import Hold
from ..words import one_line

_BARS = " ▁▂▃▄▅▆▇█"
#: Columns between two columns of a table.
_GAP = 2
#: Columns that a name gets before the other columns get more than their least.
_NAME_FIRST = 48
#: Columns that a name keeps where nothing else helps.
_NAME_LEAST = 10


# --- texts -----------------------------------------------------------------------------------------


def width_of(text: str) -> int:
    """How many columns a text takes.

    >>> width_of("日本"), width_of("abc")
    (4, 3)
    """
    if text.isascii():
        return len(text)
    return sum(map(_width_of_one, text))


def _width_of_one(c: str) -> int:
    if unicodedata.combining(c) or unicodedata.category(c) in ("Cf", "Mn"):
        return 0
    return 2 if unicodedata.east_asian_width(c) in "WF" else 1


def clean(cell: object) -> str:
    """One line of text without control characters: names are other people's input."""
    return one_line("" if cell is None else str(cell))


def cut(text: str, columns: int) -> str:
    """The text in so many columns at most, with an ellipsis where it is cut."""
    if width_of(text) <= columns:
        return text
    kept, used = "", 1
    for c in text:
        used += width_of(c)
        if used > columns:
            break
        kept += c
    return kept + "…"


def cut_front(text: str, columns: int) -> str:
    """The same, cut at the front: the end of a dotted name says more than its beginning.

    >>> cut_front("billing.invoices.send", 10)
    '…ices.send'
    """
    return cut(text[::-1], columns)[::-1] if width_of(text) > columns else text


def padded(text: str, columns: int, front: bool = False) -> str:
    """The text in exactly so many columns."""
    text = cut_front(text, columns) if front else cut(text, columns)
    return text + " " * (columns - width_of(text))


# --- tables ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    *least* is the width to which it may be cut; None does not cut it. Where the least widths together do not fit, the
    column with the highest *rank* goes first; one of rank 0 always stays.
    """

    title: str
    rank: int = 0
    least: int | None = None
    #: Whether it is cut at the front.
    front: bool = False
    #: Whether it moves to a line of its own, below the row, rather than being cut.
    below: bool = False


def columns_of_terminal() -> int:
    """How wide the terminal is; 120 where there is none."""
    return max(40, shutil.get_terminal_size((120, 24)).columns)


def table(
    columns: Sequence[Column],
    rows: Sequence[Sequence[object]],
    colours: Sequence[str | None] = (),
    *,
    wide: bool = False,
) -> None:
    """Print a table that fits the terminal; with *wide*, one as wide as it needs.

    The first column, the name, gets what room there is. A column without any value is left out.
    """
    lines = [[clean(cell) for cell in row] for row in rows]
    shown = [i for i in range(len(columns)) if i == 0 or not lines or any(line[i] for line in lines)]
    natural = {i: max(width_of(text) for text in [columns[i].title, *(line[i] for line in lines)]) for i in shown}
    widths = natural if wide else fitted(columns, natural, columns_of_terminal())
    click.secho(_line(columns, [column.title for column in columns], widths), bold=True)
    for number, line in enumerate(lines):
        _row(columns, line, widths, colours[number] if number < len(colours) else None)


def _row(columns: Sequence[Column], line: Sequence[str], widths: dict[int, int], colour: str | None) -> None:
    click.secho(_line(columns, line, widths), fg=colour)
    for i, column in enumerate(columns):
        if column.below and i not in widths and line[i]:
            say("    " + line[i], 4, colour)


def _line(columns: Sequence[Column], cells: Sequence[str], widths: dict[int, int]) -> str:
    return (" " * _GAP).join(padded(cells[i], width, columns[i].front) for i, width in widths.items()).rstrip()


def fitted(columns: Sequence[Column], natural: dict[int, int], room: int) -> dict[int, int]:
    """The width of each column in so much room; a column that does not fit is not in it."""

    def least(i: int) -> int:
        given = columns[i].least
        return natural[i] if given is None else min(given, natural[i])

    shown = list(natural)
    first = shown[0]
    beside = [i for i in shown if columns[i].below]
    uncut = min(natural[first], _NAME_FIRST) + sum(map(least, shown[1:]))
    if beside and uncut + _GAP * (len(shown) - 1) > room:  # a reason makes no name shorter
        shown = [i for i in shown if i not in beside]
    while len(shown) > 1 and sum(map(least, shown)) + _GAP * (len(shown) - 1) > room:
        worst = max(shown, key=lambda i: columns[i].rank)
        if not columns[worst].rank:
            break
        shown.remove(worst)
    left = room - _GAP * (len(shown) - 1)
    widths = {i: least(i) for i in shown}
    for i, most in ((first, _NAME_FIRST), *((i, room) for i in shown[1:]), (first, room)):
        more = max(0, min(natural[i], most) - widths[i])
        widths[i] += max(0, min(more, left - sum(widths.values())))
    while sum(widths.values()) > left and max(widths.values()) > 1:  # not even the least fits
        narrower = first if widths[first] > _NAME_LEAST else max(widths, key=lambda i: widths[i])
        widths[narrower] -= 1
    return widths


class Stream:
    """A table whose rows come one by one: samples at the start decide its widths."""

    def __init__(self, columns: Sequence[Column], samples: Sequence[Sequence[object]]) -> None:
        lines = [[column.title for column in columns], *[[clean(cell) for cell in row] for row in samples]]
        natural = {i: max(width_of(line[i]) for line in lines) for i, one in enumerate(columns) if not one.below}
        self._columns, self._widths = columns, fitted(columns, natural, columns_of_terminal())
        click.secho(_line(columns, [column.title for column in columns], self._widths), bold=True)

    def row(self, cells: Sequence[object], colour: str | None = None) -> None:
        """Print one more row."""
        _row(self._columns, [clean(cell) for cell in cells], self._widths, colour)


def say(text: str, indent: int = 0, colour: str | None = None, lead: str = "", err: bool = False) -> None:
    """Print a sentence, wrapped between words and indented where the output is a terminal.

    With a *lead*, only that word has the colour.
    """
    text = lead + text
    if (sys.stderr if err else sys.stdout).isatty():
        text = textwrap.fill(
            text, columns_of_terminal(), subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
        )
    if lead:
        click.secho(lead, fg=colour, nl=False, err=err)
        click.echo(text.removeprefix(lead), err=err)
    else:
        click.secho(text, fg=colour, err=err)


def fields(data: dict[str, Any]) -> None:
    """Print names and values below one another."""
    width = max(map(len, data), default=0)
    for key, value in data.items():
        click.echo(f"{key:<{width}}  {clean(value)}")


# --- times and spans -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Clock:
    """Shows instants in one zone, and names the zone.

    >>> Clock("Europe/Berlin").time(datetime(2027, 1, 1, 6, tzinfo=UTC))
    '2027-01-01 07:00:00 CET'
    """

    zone: str

    def time(self, when: datetime | None) -> str:
        """A time with its zone."""
        return "" if when is None else self._there(when).strftime("%Y-%m-%d %H:%M:%S %Z")

    def schedule(self, spec: Spec) -> str:
        """A schedule in words, with its instant in this zone."""
        return f"once at {self.time(moment(spec.at))}" if isinstance(spec, Once) else str(spec)

    def hold(self, one: Hold) -> str:
        """By whom, until when and why everything is held."""
        return clean(replace(one, until=one.until and self._there(one.until)).words)

    def hour(self, when: datetime) -> str:
        """Hours and minutes alone."""
        return self._there(when).strftime("%H:%M")

    def _there(self, when: datetime) -> datetime:
        return when.astimezone(zone(self.zone))


def span(seconds: float) -> str:
    """A span in the largest unit that makes sense.

    >>> span(11), span(90), span(3600), span(86400), span(100_000), span(0.0042)
    ('11 s', '90 s', '1 h', '1 d', '28 h', '4.2 ms')
    """
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 1.995 * size or abs(seconds - size) <= 0.005 * size:
            return f"{seconds / size:.0f} {unit}"
    if seconds >= 2 or abs(seconds - 1) < 0.01:
        return f"{seconds:.0f} s"
    if seconds > 1:
        return f"{seconds:.1f} s"
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.0095 else f"{seconds * 1000:.2g} ms"


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


# --- progress --------------------------------------------------------------------------------------


@contextlib.contextmanager
def progress(total: int, label: str, hidden: bool = False) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error, when that is a terminal and it takes longer than a second."""
    began, waiting = time.monotonic(), 0
    bar: Any = None

    def advance(by: int) -> None:
        nonlocal bar, waiting
        waiting += by
        if hidden or not sys.stderr.isatty():
            return
        if bar is None and time.monotonic() - began > 1:
            bar = click.progressbar(length=total, label=label, file=sys.stderr)
            bar.__enter__()
        if bar is not None:
            bar.update(waiting)
            waiting = 0

    try:
        yield advance
    finally:
        if bar is not None:
            bar.__exit__(None, None, None)


@contextlib.contextmanager
def waiting(what: str) -> Iterator[None]:
    """Print on the terminal what the command waits for, once that takes longer than a second."""
    if not sys.stderr.isatty():
        yield
        return
    timer = threading.Timer(1.0, lambda: click.secho(what, err=True, dim=True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
