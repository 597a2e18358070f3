"""Options that cannot work are refused when the page is made."""

from __future__ import annotations

import pytest

from redlock_beat import InvalidSchedule, InvalidSetting
from redlock_beat.web.options import Options


@pytest.mark.parametrize(
    "given",
    [
        {"access": "all"},
        {"redact": ["password"]},
        {"patience": 0},
        {"page_size": 501},
        {"task_url": "https://flower.example/task"},
        {"task_url": "javascript:alert({id})"},
        {"proxies": "10.0.0.1"},
        {"proxies": ["x"]},
        {"proxies": ["*"]},
        {"hosts": "a"},
        {"origins": "a"},
    ],
)
def test_an_option_that_cannot_work_is_refused_by_its_name(given):
    (name,) = given
    with pytest.raises(InvalidSetting, match=name):
        Options(**given)
    with pytest.raises(InvalidSchedule):
        Options(timezone="Mars/Olympus")


def test_an_id_in_a_link_cannot_leave_its_place():
    assert Options(task_url="https://f.example/{id}?x").link("../a b") == "https://f.example/..%2Fa%20b?x"
    assert Options().link("7") is None
