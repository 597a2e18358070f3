"""Who may do what, before any page is asked."""

from __future__ import annotations

import pytest

from redlock_beat import InvalidSetting
from redlock_beat.web.access import VERBS, Grant, granted, is_local_name, is_loopback, local
from redlock_beat.web.http import Request, Response


def asked(host="localhost:8765", peer="127.0.0.1", **headers):
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request("GET", "/", headers={"host": host, **given}, peer=peer)


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:80", "127.0.0.1:5", "[::1]:5", "beat.localhost", "localhost."]
)
def test_without_access_a_visitor_of_this_machine_may_do_all(peer, host):
    assert local(asked(host, peer)) == Grant("all")


@pytest.mark.parametrize("peer", ["10.0.0.7", "::2", "", None, "unix:", "testclient", "127.0.0.1.evil.example"])
def test_without_access_nobody_else_is_served(peer):
    assert local(asked(peer=peer)) is None


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "evil-localhost", "10.0.0.7", "", "127.0.0.1@x"]
)
def test_a_name_that_another_page_has_pointed_here_is_refused(host):
    assert local(asked(host)) is None


@pytest.mark.parametrize(
    "header", ["x_forwarded_for", "x_forwarded_host", "forwarded", "x_real_ip", "via", "cf_connecting_ip"]
)
def test_what_comes_through_a_proxy_is_not_of_this_machine(header):
    assert local(asked(**{header: "127.0.0.1"})) is None


def test_a_grant_allows_its_verbs():
    assert all(Grant("all").may(verb) for verb in VERBS)
    assert not any(Grant("read_only").may(verb) for verb in VERBS)
    assert [verb for verb in VERBS if Grant({"pause", "run"}).may(verb)] == ["pause", "run"]


@pytest.mark.parametrize("verbs", [True, "some", {"fly"}, 7, ["run", "fly"]])
def test_a_grant_of_anything_else_is_an_error_that_says_what_it_may_be(verbs):
    with pytest.raises(InvalidSetting, match="read_only"):
        Grant(verbs)


def test_access_may_answer_with_a_word_verbs_a_grant_a_response_or_nothing():
    assert granted("read_only") == Grant("read_only")
    assert granted({"run"}).may("run")
    assert granted(Grant("all", actor="ann")).actor == "ann"
    assert granted(Response(302)) == Response(302)
    assert granted(None) is None
    with pytest.raises(InvalidSetting):
        granted(True)
    assert is_loopback("::1%lo")
    assert is_local_name("localhost")
