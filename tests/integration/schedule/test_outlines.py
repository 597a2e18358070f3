"""A line of each entry, for lists of many."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from redlock_beat import Schedule
from redlock_beat.entries.codec import glimpse
from redlock_beat.errors import InvalidSchedule
from redlock_beat.schedule.outlines import Outline, names, outlines
from tests.beats import make_app


def test_each_entry_has_a_line_also_one_that_cannot_be_read(valkey, beats):
    beats(valkey, {"configured": {"task": "tasks.add", "schedule": 60}}).lead()
    schedule = Schedule(make_app(valkey.url()))
    schedule.add("a", "tasks.mail", 60, labels={"team": "b"})
    schedule.add("once", "tasks.add", datetime.now(UTC) + timedelta(days=1))
    schedule.add("over", "tasks.add", 60, max_runs=1, keep=True)
    schedule.add("b", "tasks.add", 60)
    schedule.pause("b")
    client = valkey.client()
    client.hset(schedule.keys.entries, "bad", "nonsense")
    parts = client.hget(schedule.keys.state, "over").split(" ")
    client.hset(schedule.keys.state, "over", " ".join([*parts[:2], "-", *parts[3:]]))
    found = {one.name: one for one in outlines(schedule)}
    assert {name: one.state for name, one in found.items()} == {
        "a": "active",
        "b": "paused",
        "bad": "unreadable",
        "configured": "active",
        "once": "active",
        "over": "finished",
    }
    assert found["configured"].origin == "config"
    assert found["a"].labels == {"team": "b"}
    assert found["a"].due == round(schedule["a"].next_due.timestamp() * 1e6)
    assert names(schedule) == sorted(found)


def test_pages_of_many(valkey):
    schedule = Schedule.from_url(valkey.url())
    assert list(outlines(schedule)) == names(schedule) == []
    with schedule.batch() as batch:
        for number in range(1200):
            batch.add(f"e{number:04d}", "t", 60)
    assert sorted(one.name for one in outlines(schedule)) == names(schedule) == [f"e{i:04d}" for i in range(1200)]


def test_words_find_what_they_fit_whatever_it_is_written_with(valkey):
    """Most definitions are put aside by their text alone: it must never put one aside that fits."""
    schedule = Schedule.from_url(valkey.url())
    odd = ("plain", "ÄRGER", "ΟΔΟΣ", 'a"quote', "back\\slash", "tab\there", "\x7f", "emoji 🎉", "İstanbul", "ß")
    with schedule.batch() as batch:
        for name in odd:
            batch.add(name, f"tasks.{name}", 60, labels={"team": name if name.isprintable() else "x", "t.2": "A=b"})
    lines = list(outlines(schedule))
    assert {one.name for one in lines} == set(odd)
    for words in (
        *odd,
        "ä",
        "οδος",
        "SS",
        "i̇stan",
        '"',
        "\\",
        "team=*",
        "team=ΟΔ*",
        "t.2=A=b",
        "eam=",
        "tasks. 🎉",
        "\x7f",
        "none",
    ):
        fitting = sorted(one.name for one in lines if one.matches(words))
        assert sorted(one.name for one in outlines(schedule, words)) == names(schedule, words) == fitting


@pytest.mark.parametrize(
    ("words", "fits"),
    [
        ("", True),
        ("MAIL", True),
        ("night tasks.", True),
        ("team=bill*", True),
        ("team=", True),
        ("team=x", False),
        ("x", False),
        ("ntasks", False),
    ],
)
def test_words(words, fits):
    assert Outline("nightly", "tasks.mail", labels={"team": "billing"}).matches(words) is fits


@pytest.mark.parametrize("text", ["", "[]", "{}", "7", '{"task'])
def test_what_is_no_definition(text):
    with pytest.raises(InvalidSchedule):
        glimpse(text)
