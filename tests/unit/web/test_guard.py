"""Requests that are refused, whatever they ask."""

from __future__ import annotations

import pytest

from redlock_beat.web import guard
from redlock_beat.web.guard import Refused
from redlock_beat.web.http import MAX_QUERY, Request


def post(**headers):
    return Request("POST", "/", headers={name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(
    "headers",
    [
        {"sec_fetch_site": "same-origin"},
        {"sec_fetch_site": "same-origin", "origin": "null"},
        {"sec_fetch_site": "none"},
        {"origin": "https://beat.example:8443", "host": "beat.example:8443"},
        {"origin": "https://outer.example", "host": "inner"},
        {"sec_fetch_site": "cross-site", "origin": "https://outer.example"},
        {"content_type": "application/json; charset=utf-8"},
    ],
)
def test_a_change_from_this_page_or_from_a_program_is_let_through(headers):
    guard.check_origin(post(**headers), origins=["https://outer.example"])


@pytest.mark.parametrize(
    "headers",
    [
        {"sec_fetch_site": "cross-site", "host": "a", "origin": "http://a"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "cross-site", "content_type": "application/json"},
        {"origin": "https://evil.example", "host": "beat.example"},
        {"origin": "https://beat.example:1", "host": "beat.example"},
        {"origin": "null", "host": "null"},
        {"origin": "", "host": ""},
        {"origin": "null", "content_type": "application/json"},
        {"content_type": "application/x-www-form-urlencoded"},
        {"content_type": "text/plain; application/json"},
        {},
    ],
)
def test_a_change_from_anywhere_else_is_refused(headers):
    with pytest.raises(Refused) as refused:
        guard.check_origin(post(**headers))
    assert refused.value.status == 403


def test_what_is_too_large_or_of_another_method_is_refused():
    for request, status in (
        (Request("GET", "/", "x" * (MAX_QUERY + 1)), 414),
        (Request("POST", "/", body=None), 413),
    ):
        with pytest.raises(Refused) as refused:
            guard.check_size(request)
        assert refused.value.status == status
    for method in ("PUT", "DELETE", "OPTIONS", "TRACE", "get"):
        with pytest.raises(Refused) as refused:
            guard.check_method(Request(method, "/"))
        assert refused.value.status == 405


def test_a_host_that_is_not_listed_is_refused_where_some_are():
    guard.check_host(Request("GET", "/", headers={"host": "any"}), [])
    guard.check_host(Request("GET", "/", headers={"host": "Beat.example:80"}), ["beat.example"])
    with pytest.raises(Refused):
        guard.check_host(Request("GET", "/", headers={"host": "evil.example"}), ["beat.example"])
