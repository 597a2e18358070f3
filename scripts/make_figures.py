"""Draws the figures of the documentation into docs/figures/.

    python scripts/make_figures.py            draw them
    python scripts/make_figures.py --check    only say whether they are as they would be drawn

The clock changes show slots as the package computes them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from html import escape
from pathlib import Path
from zoneinfo import ZoneInfo

from redlock_beat import next_due

FOLDER = Path(__file__).parent.parent / "docs" / "figures"
INK, GREY, PALE, GREEN, RED, BLUE = "#22302b", "#5d6a64", "#e8ece9", "#1b7f5c", "#b3443c", "#2f5d8a"


class Drawing:
    """A picture, as the text of an SVG."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self.size = width, height
        self.title = title
        self.parts: list[str] = []

    def line(self, x1: float, y1: float, x2: float, y2: float, colour: str = GREY, more: str = "") -> None:
        """A straight line."""
        self.parts.append(f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{colour}" {more}/>')

    def box(self, x: float, y: float, width: float, height: float, colour: str, more: str = "") -> None:
        """A filled box."""
        where = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"'
        self.parts.append(f'<rect {where} fill="{colour}" {more}/>')

    def dot(self, x: float, y: float, colour: str = GREEN) -> None:
        """A slot."""
        self.parts.append(f'<circle cx="{x:g}" cy="{y:g}" r="5" fill="{colour}"/>')

    def words(self, x: float, y: float, text: str, colour: str = INK, more: str = "") -> None:
        """A line of text."""
        self.parts.append(f'<text x="{x:g}" y="{y:g}" fill="{colour}" {more}>{escape(text)}</text>')

    def arrow(self, x1: float, x2: float, y: float, colour: str = INK, more: str = "") -> None:
        """A horizontal arrow."""
        tip = -7 if x2 > x1 else 7
        self.line(x1, y, x2, y, colour, more)
        self.parts.append(f'<path d="M{x2:g} {y:g} l{tip} -4 v8 z" fill="{colour}"/>')

    def text(self) -> str:
        """The SVG."""
        width, height = self.size
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'role="img" font-family="system-ui, sans-serif" font-size="13">\n<title>{escape(self.title)}</title>\n'
            f'<rect width="{width}" height="{height}" rx="8" fill="#ffffff"/>\n'
        )
        return head + "\n".join(self.parts) + "\n</svg>\n"


# --- clock changes ---------------------------------------------------------------------------------

ZONE = "Europe/Berlin"
#: Schedule, policies, and the words beside them.
RULES: tuple[tuple[str, dict[str, str], str], ...] = (
    ("0 * * * *", {}, "every hour"),
    ("*/30 * * * *", {}, "every half hour"),
    ("30 2 * * *", {}, "02:30"),
    ("30 2 * * *", {"dst_gap": "skip"}, "02:30, dst_gap skip"),
    ("30 2 * * *", {"dst_fold": "both"}, "02:30, dst_fold both"),
    ("*/30 2 * * *", {}, "half hours of 02"),
    ("*/30 2 * * *", {"dst_fold": "first"}, "half hours of 02, first"),
)
CHANGES = (
    (datetime(2026, 3, 28, 23, 30, tzinfo=UTC), "29 March 2026: 02:00 becomes 03:00"),
    (datetime(2026, 10, 24, 22, 30, tzinfo=UTC), "25 October 2026: 03:00 becomes 02:00"),
)
HOURS, LEFT, WIDE, ROW = 5, 190, 360, 30


def slots(when: str, start: datetime, policies: dict[str, str]) -> list[datetime]:
    """The slots of a crontab in the hours of the figure, as the package computes them."""
    found: list[datetime] = []
    at: datetime | None = start
    while at is not None and at < start + timedelta(hours=HOURS):
        at = next_due(when, at, timezone=ZONE, **policies)
        if at is not None:
            found.append(at)
    return [one for one in found if one < start + timedelta(hours=HOURS)]


def clock_changes() -> str:
    """What a clock change does to crontabs."""
    drawing = Drawing(LEFT + 2 * WIDE + 50, 100 + ROW * len(RULES), "What a clock change does to crontabs")
    for row, (_, _, words) in enumerate(RULES):
        drawing.words(16, 94 + row * ROW, words)
    for column, (start, title) in enumerate(CHANGES):
        left = LEFT + column * (WIDE + 20)

        def x(at: datetime, left: float = left, start: datetime = start) -> float:
            return left + (at - start) / timedelta(hours=HOURS) * WIDE

        drawing.words(left, 24, title, more='font-weight="600"')
        bottom = 74 + ROW * len(RULES)
        drawing.box(left, 60, WIDE, bottom - 60, PALE)
        half = start
        while half <= start + timedelta(hours=HOURS):
            local = half.astimezone(ZoneInfo(ZONE))
            if local.minute == 0:
                changed = local.utcoffset() != (half - timedelta(minutes=1)).astimezone(ZoneInfo(ZONE)).utcoffset()
                colour = RED if changed else GREY
                drawing.line(x(half), 54, x(half), bottom, colour, 'stroke-width="2"' if changed else 'opacity="0.4"')
                drawing.words(x(half), 48, local.strftime("%H:%M"), colour, 'text-anchor="middle" font-size="12"')
            half += timedelta(minutes=30)
        for row, (when, policies, _) in enumerate(RULES):
            for at in slots(when, start, policies):
                drawing.dot(x(at), 90 + row * ROW)
    drawing.words(
        16,
        92 + ROW * len(RULES),
        f"Real time runs from left to right; the hours are those of a wall clock in {ZONE}.",
        GREY,
    )
    return drawing.text()


# --- the lease -------------------------------------------------------------------------------------

#: From, to, words, and how it is drawn. A and B are beats, R is Redis, Q the queue in it.
STEPS: tuple[tuple[str, str, str, str], ...] = (
    ("A", "R", "acquire: epoch becomes 7", ""),
    ("R", "A", "term 7 is yours, for 5 s", "answer"),
    ("A", "R", "commit(7): is it still term 7? claim, advance, push, note, renew", ""),
    ("R", "Q", "message", "push"),
    ("A", "A", "A is frozen (a pause, a suspended machine)", "frozen"),
    ("B", "R", "look: who holds the lease? for how long?", ""),
    ("B", "R", "5 s later: acquire: epoch becomes 8", ""),
    ("R", "B", "term 8 is yours", "answer"),
    ("B", "R", "commit(8): claim, push, note, renew", ""),
    ("R", "Q", "message", "push"),
    ("A", "A", "A goes on where it was, and believes that it leads", "frozen"),
    ("A", "R", "commit(7)", "refused"),
    ("R", "A", "deposed: nothing was written", "refused"),
)
PLACES = {"A": 110, "B": 300, "R": 560, "Q": 760}


def lease() -> str:
    """A frozen leader, and the fence."""
    step, top = 38, 74
    bottom = top + step * len(STEPS)
    drawing = Drawing(860, bottom + 20, "A leader that is frozen and comes back can send nothing")
    for who, name in (("A", "beat A"), ("B", "beat B"), ("R", "Redis: scripts"), ("Q", "queue")):
        drawing.box(PLACES[who] - 60, 16, 120, 30, PALE, 'rx="5"')
        drawing.words(PLACES[who], 36, name, more='text-anchor="middle" font-weight="600"')
        drawing.line(PLACES[who], 46, PLACES[who], bottom, GREY, 'stroke-dasharray="2 3"')
    for number, (start, end, words, how) in enumerate(STEPS):
        y = top + number * step
        if how == "frozen":
            drawing.box(PLACES[start] - 60, y - 14, 380, 26, "#fbeceb", 'rx="5"')
            drawing.words(PLACES[start] - 50, y + 4, words, RED)
            continue
        colour = {"refused": RED, "push": GREEN, "answer": GREY}.get(how, BLUE if start == "B" else INK)
        dashes = 'stroke-dasharray="5 3"' if how == "answer" or words.startswith("deposed") else ""
        drawing.arrow(PLACES[start], PLACES[end], y, colour, dashes)
        middle = (PLACES[start] + PLACES[end]) / 2
        drawing.words(middle, y - 6, words, colour, 'text-anchor="middle" font-size="12"')
    return drawing.text()


FIGURES: dict[str, Callable[[], str]] = {"clock_changes.svg": clock_changes, "lease.svg": lease}


def main() -> None:
    """Draw the figures, or with ``--check`` only compare."""
    FOLDER.mkdir(exist_ok=True)
    for name, draw in FIGURES.items():
        path = FOLDER / name
        text = draw()
        if "--check" in sys.argv[1:]:
            if not path.exists() or path.read_text("utf-8") != text:
                sys.exit(f"docs/figures/{name} is not what the code says: run `python scripts/make_figures.py`.")
        else:
            path.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
