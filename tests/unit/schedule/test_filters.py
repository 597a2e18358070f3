"""Which entries are meant."""

from __future__ import annotations

import pytest

from redlock_beat import InvalidSchedule
from redlock_beat.schedule.filters import ALL, Filter, Which


def test_a_filter_has_the_parts_that_its_keywords_have():
    assert set(Which.__annotations__) == set(Filter.__dataclass_fields__)


def test_only_the_beginning_of_a_name_can_be_asked_of_redis_alone():
    assert ALL.by_name_alone
    assert Filter(prefix="a", labels={}).by_name_alone
    for part in ({"contains": "a"}, {"state": "active"}, {"queue": "q"}, {"labels": {"a": "b"}}, {"enabled": True}):
        assert not Filter(**part).by_name_alone
    assert Filter(state="quarantined", contains="A").fits_unread("bad")
    assert not Filter(state="quarantined", task="t").fits_unread("a")


@pytest.mark.parametrize("part", ["task", "prefix", "queue", "contains", "origin"])
@pytest.mark.parametrize("value", [5, b"mail", ["mail"], "\ud800"])
def test_what_is_no_text_is_refused(part, value):
    with pytest.raises(InvalidSchedule, match=f"{part} is .*, but must be a text"):
        Filter(**{part: value})


def test_a_label_without_a_value_is_refused_and_does_not_choose_all():
    with pytest.raises(InvalidSchedule, match="labels holds None"):
        Filter(labels={"team": None})
