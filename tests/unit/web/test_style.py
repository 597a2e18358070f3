"""Colours that everybody can read: WCAG AA, in light and in dark, computed from the style sheet."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import redlock_beat

STYLE = (Path(redlock_beat.__file__).parent / "web" / "static" / "style.css").read_text("utf-8")
SCRIPT = (Path(redlock_beat.__file__).parent / "web" / "static" / "page.js").read_text("utf-8")
BLOCKS = re.findall(r":root[^{]*\{([^}]*--ground[^}]*)\}", STYLE)
#: Text on its ground; a contrast of 4.5 is needed.
TEXTS = [
    *((text, ground) for text in ("text", "dim", "link", "bad") for ground in ("ground", "card", "sunk")),
    ("accent-text", "accent"),
    *((kind, f"{kind}-ground") for kind in ("good", "bad", "warn", "calm", "rest")),
]
#: What is no text, on the ground of a card: borders of fields, focus rings, bars; 3 is needed.
SHAPES = ["edge", "ring", "accent", "bar-good", "bar-bad", "bar-calm"]


def colours(block):
    return dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block))


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("block", BLOCKS)
def test_every_text_has_the_contrast_that_it_needs(block):
    known = colours(block)
    poor = {(text, ground): contrast(known[text], known[ground]) for text, ground in TEXTS}
    assert {pair: round(found, 2) for pair, found in poor.items() if found < 4.5} == {}
    assert [name for name in SHAPES if contrast(known[name], known["card"]) < 3] == []


def test_dark_is_the_same_by_the_system_and_by_choice():
    assert len(BLOCKS) == 3
    assert colours(BLOCKS[1]) == colours(BLOCKS[2])
    assert set(colours(BLOCKS[0])) == set(colours(BLOCKS[1]))


def test_the_script_stays_small_and_asks_nobody_else():
    lines = [line for line in SCRIPT.splitlines() if line.strip() and not line.strip().startswith(("//", "/**"))]
    assert len(lines) <= 200
    assert "http:" not in SCRIPT + STYLE
    assert "https:" not in SCRIPT + STYLE
    assert not re.search(r"\b(eval|Function|import)\(|url\(|@import", SCRIPT + STYLE)
