"""What the parameters of a page may be, and which page a request is for."""

from __future__ import annotations

import pytest

from redlock_beat.web.guard import Refused
from redlock_beat.web.pages import ROUTES
from redlock_beat.web.routes import Param, found


@pytest.mark.parametrize(
    ("param", "given", "value"),
    [
        (Param("a"), None, None),
        (Param("a", default="x"), "", "x"),
        (Param("a"), "é" * 1000, "é" * 1000),
        (Param("a", "integer", most=5), "5", 5),
        (Param("a", "integer", most=5), 5, 5),
        (Param("a", "choice", choices=("x", "y")), "y", "y"),
        (Param("a", "flag"), "yes", True),
        (Param("a", "flag"), False, False),
        (Param("a", "json"), '{"x": 1}', {"x": 1}),
        (Param("a", "json"), [1], [1]),
        (Param("a", "texts"), "x", ["x"]),
        (Param("a", "texts"), ["x", "y"], ["x", "y"]),
    ],
)
def test_a_parameter_is_read(param, given, value):
    assert param.read(given) == value


@pytest.mark.parametrize(
    ("param", "given"),
    [
        (Param("a", required=True), None),
        (Param("a"), "x" * 1001),
        (Param("a"), ["x", "y"]),
        (Param("a"), "a\0b"),
        (Param("a"), "a\ud800"),
        (Param("a"), 7),
        (Param("a", "integer", most=5), "6"),
        (Param("a", "integer", most=5), "-1"),
        (Param("a", "integer", most=5), True),
        (Param("a", "integer", most=5), "9" * 5000),
        (Param("a", "integer", most=5), {}),
        (Param("a", "choice", choices=("x",)), "z"),
        (Param("a", "choice", choices=("x",)), ["x"]),
        (Param("a", "flag"), "perhaps"),
        (Param("a", "instant"), "2027-01-01T07:00"),
        (Param("a", "instant"), "soon"),
        (Param("a", "json", most=10**6), "[" * 100_000),
        (Param("a", "json"), "{"),
        (Param("a", "texts"), ["x", 7]),
    ],
)
def test_a_parameter_that_cannot_be_is_refused_by_its_name(param, given):
    with pytest.raises(Refused, match=r"^a ") as refused:
        param.read(given)
    assert refused.value.status == 422


def test_an_instant_needs_an_offset():
    assert Param("a", "instant").read("2027-01-01T07:00+01:00").isoformat() == "2027-01-01T07:00:00+01:00"


def test_a_page_that_is_not_there_or_has_another_method_is_refused():
    assert found(ROUTES, "HEAD", "/").title == "Schedule"
    for method, path, status in (("GET", "/none", 404), ("POST", "/", 405), ("GET", "/entry/pause", 405)):
        with pytest.raises(Refused) as refused:
            found(ROUTES, method, path)
        assert refused.value.status == status


def test_every_path_has_one_page_and_every_edit_a_verb():
    assert len({(one.method, one.path) for one in ROUTES}) == len(ROUTES)
    for one in ROUTES:
        assert (one.method == "POST") == (one.verb is not None) or one.path in ("/theme", "/preview"), one.path
        assert all((one.title, one.words, *(param.words for param in one.params))), one.path
