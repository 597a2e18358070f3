"""Labels are short texts, and an entry is found by all of those that are asked for."""

from __future__ import annotations

import pytest

from redlock_beat import InvalidSchedule
from redlock_beat.entries.codec import decode, encode
from redlock_beat.entries.labels import bears
from redlock_beat.schedule.filters import Filter

from ..values import made


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["team"], "must be a dictionary"),
        ({"team": 42}, "a text of 1 to 200 characters"),
        ({"team": ""}, "a text of 1 to 200 characters"),
        ({"team": "x" * 201}, "a text of 1 to 200 characters"),
        ({"team": "a\nb"}, "on one line"),
        ({"team": "\ud800"}, "on one line"),
        ({"1": "x"}, "cannot be the name of a label"),
        ({"a b": "x"}, "cannot be the name of a label"),
        ({7: "x"}, "cannot be the name of a label"),
        ({f"l{i}": "x" for i in range(21)}, "more than the 20"),
    ],
)
def test_what_is_no_label_is_refused(labels, said):
    with pytest.raises(InvalidSchedule, match=f"entry 'a': labels.*{said}"):
        made(labels=labels)


def test_labels_in_redis_that_are_none_make_the_entry_unreadable():
    text = encode(made(labels={"team": "billing"})).replace('{"team":"billing"}', '["team"]')
    with pytest.raises(InvalidSchedule, match="must be a dictionary"):
        decode("a", text)


def test_labels_are_carried_and_none_takes_one_away():
    entry = made(labels={"team": "billing", "tenant": None, "place": "Zürich"})
    assert entry.labels == {"team": "billing", "place": "Zürich"}
    assert decode("a", encode(entry)) == entry


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, True),
        ({"team": "billing"}, True),
        ({"team": "bill*"}, True),
        ({"team": "*"}, True),
        ({"team": "Billing"}, False),
        ({"tenant": "*"}, False),
        ({"team": "billing", "tenant": "42"}, False),
    ],
)
def test_all_that_are_asked_for_must_fit(wanted, found):
    assert bears({"team": "billing"}, wanted) == found
    assert Filter(labels=wanted).fits(made(labels={"team": "billing"})) == found
