"""What is known of slots without the entry: kept by all that decides them, and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from redlock_beat import Crontab
from redlock_beat.clock import micros
from redlock_beat.entries.codec import encode
from redlock_beat.entries.timing import CLOSER, Timings

from ..values import S, entry

#: The night before the clocks of Berlin go forward, and an hour after the slot.
NOMINAL = micros(datetime(2026, 3, 28, 1, 30, tzinfo=UTC))
NOW = NOMINAL + 3600 * S
NIGHTLY = entry(Crontab.parse("30 2 * * *"), timezone="Europe/Berlin")


def following(timings: Timings, one):
    """The slot after, and when to act on both; CLOSER when only the whole entry can tell."""
    data = json.loads(encode(one))
    found = timings.following("a", data, NOMINAL, 0, NOW)
    return found if found is CLOSER else (found, timings.acts("a", data, NOMINAL, found))


@pytest.mark.parametrize(
    "change",
    [
        {"timezone": "Asia/Tokyo"},
        {"schedule": Crontab.parse("30 3 * * *")},
        {"dst_gap": "skip"},
        {"missed": "skip"},
        {"grace": 60.0},
        {"jitter": 5.0},
        {"starts": NOMINAL + S},
        {"ends": NOMINAL + S},
        {"max_runs": 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_is_kept_of_one_entry_is_not_said_of_another_whose_slots_differ(change):
    timings, other = Timings(None), replace(NIGHTLY, **change)
    before = following(timings, NIGHTLY)
    assert following(timings, other) == following(Timings(None), other) != before


def test_arguments_and_names_are_nothing_that_slots_depend_on():
    timings = Timings(None)
    assert following(timings, NIGHTLY) == following(timings, replace(NIGHTLY, args=(1,), uid="other"))
