"""A token in the URL, and a user's password."""

from __future__ import annotations

import base64
from urllib.parse import urlencode

import pytest

from redlock_beat import InvalidSetting
from redlock_beat.web.access import Grant
from redlock_beat.web.http import Request
from redlock_beat.web.logins import COOKIE, Password, Token

TOKEN = "0123456789abcdefXYZ"


def asked(query=None, method="GET", path="/log", scheme="http", prefix="/beat", **headers):
    return Request(method, path, urlencode(query or {}), headers, scheme=scheme, prefix=prefix)


def basic(user, password):
    return {"authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def test_a_token_in_the_url_becomes_a_cookie_and_leaves_the_url():
    token = Token(TOKEN, "read_only")
    response = token(asked({"token": TOKEN, "n": "5"}))
    headers = dict(response.headers)
    assert headers["Refresh"] == "0; url=/beat/log?n=5"
    name, _, rest = headers["Set-Cookie"].partition("=")
    value, *flags = rest.split("; ")
    assert name == COOKIE
    assert set(flags) == {"Path=/beat", "SameSite=Strict", "HttpOnly"}
    assert TOKEN not in headers["Set-Cookie"]
    assert token(asked(cookie=f"{COOKIE}={value}")) == Grant("read_only")
    assert "Secure" in dict(token(asked({"token": TOKEN}, scheme="https")).headers)["Set-Cookie"]


def test_no_token_a_wrong_one_or_a_wrong_cookie_lets_nobody_in():
    token = Token(TOKEN)
    assert token(asked()) is None
    assert token(asked({"token": TOKEN[:-1]})) is None
    assert token(asked({"token": "é" * 20})) is None
    assert token(asked({"token": TOKEN}, method="POST")) is None
    assert token(asked(cookie=f"{COOKIE}={TOKEN}")) is None
    assert token(asked(cookie="x" * 50 + "\x00;;=")) is None
    assert token(asked(authorization=f"Bearer {TOKEN[1:]}")) is None
    assert token(asked(authorization=f"bearer {TOKEN}")) == Grant("all")


def test_the_page_after_a_token_is_always_one_of_this_host():
    headers = dict(Token(TOKEN)(asked({"token": TOKEN}, path="//evil.example/\r\nX: y", prefix="")).headers)
    assert headers["Refresh"] == "0; url=/evil.example/%0D%0AX%3A%20y"


@pytest.mark.parametrize("token", ["short", "x" * 20 + "\n", "ü" * 20])
def test_a_token_that_can_be_guessed_or_sent_by_nobody_is_refused(token):
    with pytest.raises(InvalidSetting, match="16"):
        Token(token)


def test_a_password_lets_its_user_in_who_signs_the_edits():
    password = Password({"ann": "sécret", "bob": "other"}, {"run"})
    assert password(asked(**basic("ann", "sécret"))) == Grant({"run"}, actor="ann")
    for wrong in (basic("ann", "other"), basic("eve", ""), basic("", ""), {"authorization": "Basic ?"}, {}):
        refused = password(asked(**wrong))
        assert refused.status == 401
        assert dict(refused.headers)["WWW-Authenticate"].startswith("Basic realm=")


@pytest.mark.parametrize("users", [{}, {"": "x"}, {"ann": ""}, {"a:b": "x"}])
def test_users_that_cannot_work_are_refused(users):
    with pytest.raises(InvalidSetting):
        Password(users)
