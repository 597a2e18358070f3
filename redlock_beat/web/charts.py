"""Small charts, as SVG that the server makes: no script, no style inside, titles for people and for screen readers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median_low
from typing import Any

#: Runs in one sparkline.
RUNS = 60
_WIDTH, _HEIGHT, _GAP = 2, 24, 1
_LEAST = 4


@dataclass(frozen=True, slots=True)
class Bar:
    """One run in a sparkline: what became of it (a CSS class), how long it took, and words for whoever points at it."""

    state: str
    took: float | None
    words: str


def sparkline(bars: Sequence[Bar], label: str) -> Any:
    """The last runs, oldest first, as bars coloured by their state; a longer run is a higher bar.

    >>> "<rect" in sparkline([Bar("succeeded", 0.2, "10:00: succeeded in 200 ms")], "last runs of mail")
    True
    """
    from markupsafe import Markup, escape

    shown = bars[-RUNS:]
    longest = max((bar.took or 0.0 for bar in shown), default=0.0)
    width = RUNS * (_WIDTH + _GAP) - _GAP
    x = width - len(shown) * (_WIDTH + _GAP) + _GAP
    parts = []
    for bar in shown:
        height = _height(bar.took, longest)
        parts.append(
            f'<rect class="run-{escape(bar.state)}" x="{x}" y="{_HEIGHT - height}" width="{_WIDTH}" '
            f'height="{height}"><title>{escape(bar.words)}</title></rect>'
        )
        x += _WIDTH + _GAP
    size = f'width="{width}" height="{_HEIGHT}" viewBox="0 0 {width} {_HEIGHT}"'
    return Markup(  # noqa: S704 - its parts are numbers, or escaped above
        f'<svg class="sparkline" {size} role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )


#: The widths and heights of the columns of :func:`bars`, and of the cells of :func:`heat`.
_COLUMN, _TALL, _CELL, _CELL_HIGH = 16, 120, 16, 18
#: Shades of a cell up to what is usual; from so many times that on it is the fourth, and the fifth.
CALM, WARM, HOT = 3, 1.5, 3.0


def bars(counts: Sequence[int], words: Sequence[str], label: str) -> Any:
    """Counts as columns side by side, each with words for whoever points at it.

    >>> bars([0, 3], ["10:00: 0", "10:01: 3"], "slots").count("<rect")
    2
    """
    most, common = max(counts, default=0) or 1, usual(counts)
    parts = []
    for place, (count, said) in enumerate(zip(counts, words, strict=True)):
        height = max(3, round(_TALL * count / most)) if count else 1
        where = f'x="{place * _COLUMN}" y="{_TALL - height}" width="{_COLUMN - 2}" height="{height}"'
        parts.append(_rect(f"load-{shade(count, common)}", where, said))
    return _svg("load", len(counts) * _COLUMN - 2, _TALL, label, parts)


def heat(counts: Sequence[int], words: Sequence[str], across: int, label: str) -> Any:
    """Counts as cells, *across* in a row, in other colours where there is more than usual.

    >>> heat([0, 3, 1, 0], ["a", "b", "c", "d"], 2, "slots").count("<rect")
    4
    """
    common = usual(counts)
    parts = []
    for place, (count, said) in enumerate(zip(counts, words, strict=True)):
        row, column = divmod(place, across)
        where = f'x="{column * _CELL}" y="{row * _CELL_HIGH}" width="{_CELL - 1}" height="{_CELL_HIGH - 1}"'
        parts.append(_rect(f"load-{shade(count, common)}", where, said))
    return _svg("load", across * _CELL - 1, len(counts) // across * _CELL_HIGH - 1, label, parts)


def usual(counts: Sequence[int]) -> int:
    """The count that is usual where there is anything at all: the lower median.

    >>> usual([0, 0, 7, 1, 1])
    1
    """
    return median_low([one for one in counts if one] or [1])


def shade(count: int, common: int) -> int:
    """The shade of a count beside what is usual; 0 for none. So an even load is calm, however high, and a herd is not.

    >>> [shade(count, 100) for count in (0, 1, 100, 149, 150, 300)]
    [0, 1, 3, 3, 4, 5]
    """
    if not count:
        return 0
    if count >= WARM * common and count > 1:
        return 5 if count >= HOT * common else 4
    return min(CALM, math.ceil(CALM * count / common))


def _rect(state: str, where: str, said: str) -> str:
    from markupsafe import escape

    return f'<rect class="{escape(state)}" {where}><title>{escape(said)}</title></rect>'


def _svg(kind: str, width: int, height: int, label: str, parts: Sequence[str]) -> Any:
    from markupsafe import Markup, escape

    size = f'viewBox="0 0 {width} {height}" preserveAspectRatio="none"'
    return Markup(  # noqa: S704 - its parts are numbers, or escaped above
        f'<svg class="{kind}" {size} role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )


def _height(took: float | None, longest: float) -> int:
    """The height of a bar: on a logarithmic scale, since one slow run shall not flatten all others."""
    if took is None or longest <= 0:
        return _HEIGHT // 2
    return max(_LEAST, round(_HEIGHT * math.log1p(took * 1000) / math.log1p(longest * 1000)))
