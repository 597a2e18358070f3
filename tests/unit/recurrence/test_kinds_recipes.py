"""The recipes and the sentences of docs/schedules.md come when they say, and say what they show."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from redlock_beat import RRule, explain, next_due

BERLIN = ZoneInfo("Europe/Berlin")
PAGE = (Path(__file__).parents[3] / "docs" / "schedules.md").read_text("utf-8")
RECIPES = dict(re.findall(r"^\| (on [^|]*|two [^|]*|every [^|]*) \| `(FREQ=[^`]*)` \|$", PAGE, re.MULTILINE))

#: What each says of the months from January 2026 on.
DAYS = {
    "on the last day of each month, at 07:00": ["01-31", "02-28", "03-31"],
    "on the last Friday": ["01-30", "02-27", "03-27"],
    "on the second Tuesday": ["01-13", "02-10", "03-10"],
    "on the first working day; for holidays, see `exclude`": ["01-01", "02-02", "03-02"],
    "on the last working day": ["01-30", "02-27", "03-31"],
    "two days before the end of the month": ["01-29", "02-26", "03-29"],
    "on Friday the 13th": ["02-13", "03-13", "11-13"],
    "every second Monday": ["01-12", "01-26", "02-09"],
}


def test_every_recipe_is_held_by_a_test():
    assert RECIPES.keys() == DAYS.keys()


@pytest.mark.parametrize("words", DAYS)
def test_a_recipe_comes_on_its_days(words):
    rule, at = RRule(RECIPES[words], datetime(2026, 1, 1)), datetime(2025, 12, 31, 23, tzinfo=UTC)
    found = []
    for _ in range(3):
        at = next_due(rule, at, timezone="Europe/Berlin")
        found.append(at)
    local = [one.astimezone(BERLIN) for one in found]
    assert [one.strftime("%m-%d %H:%M:%S") for one in local] == [f"{day} 07:00:00" for day in DAYS[words]]


SENTENCES = re.findall(r"^\| `([0-9*][^`]*)` \| ([^|]*) \|$", PAGE, re.MULTILINE)


def test_the_sentences_of_the_page_are_said():
    assert len(SENTENCES) == 5
    assert [explain(float(text) if text.isdigit() else text) for text, _ in SENTENCES] == [
        said for _, said in SENTENCES
    ]
