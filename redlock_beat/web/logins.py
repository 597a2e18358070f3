"""Ready-made answers to ``access=``: a token in the URL, as Jupyter has it, and a user's password."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from ..errors import InvalidSetting
from .access import Grant
from .http import Request, Response, cookie, text

COOKIE = "redlock_beat_token"
#: Characters of a token, at least.
LEAST = 16


class Token:
    """Lets in whoever has opened the page with ``?token=...`` once; programs send it as ``Authorization: Bearer``.

    The browser keeps a cookie that was made of the token, and cannot be turned back into it.

    >>> Token("0123456789abcdef")(Request("GET", "/", headers={"authorization": "Bearer 0123456789abcdef"})).verbs
    'all'
    """

    def __init__(self, token: str, verbs: Any = "all") -> None:
        if len(token) < LEAST or not token.isascii() or not token.isprintable():
            raise InvalidSetting(
                f"a token must be {LEAST} or more printable ASCII characters; leave it out to have one."
            )
        self._token = token.encode()
        self._cookie = hmac.new(self._token, b"cookie", hashlib.sha256).hexdigest()
        self._grant = Grant(verbs)

    def __call__(self, request: Request) -> Grant | Response | None:
        """What the holder of the token may do; nothing for others."""
        given = request.params.get("token")
        if given is not None and self._right(given):
            return self._let_in(request) if request.method == "GET" else None
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._right(bearer.strip()):
            return self._grant
        if hmac.compare_digest(request.cookies.get(COOKIE, "").encode("utf-8", "replace"), self._cookie.encode()):
            return self._grant
        return None

    def _right(self, given: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "replace"), self._token)

    def _let_in(self, request: Request) -> Response:
        """Set the cookie and go on without the token in the URL.

        By a page and not by a redirect: after a click elsewhere, a browser sends no strict cookie along a redirect.
        """
        kept = urlencode([(name, value) for name, value in request.pairs if name != "token"])
        there = request.url() + (f"?{kept}" if kept else "")
        response = text("Signing in ...")
        return response.with_headers(("Refresh", f"0; url={there}"), cookie(request, COOKIE, self._cookie))


class Password:
    """Basic authentication; the user's name signs the edits.

    >>> Password({"ann": "secret"})(Request("GET", "/")).status
    401
    """

    def __init__(self, users: Mapping[str, str], verbs: Any = "all") -> None:
        if not users or not all(name and password and ":" not in name for name, password in users.items()):
            raise InvalidSetting("each user needs a name without a colon, and a password.")
        self._users = {name: _digest(password) for name, password in users.items()}
        self._verbs = verbs

    def __call__(self, request: Request) -> Grant | Response:
        """What the user may do; a demand for the password from others."""
        name, password = _credentials(request)
        # Compared also for an unknown name, so that the time it takes tells nothing.
        known = self._users.get(name, b"")
        if hmac.compare_digest(known, _digest(password)):
            return Grant(self._verbs, actor=name)
        wanted = ("WWW-Authenticate", 'Basic realm="redlock_beat", charset="UTF-8"')
        return text("This page needs a user and a password.", 401).with_headers(wanted)


def _credentials(request: Request) -> tuple[str, str]:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        name, _, password = base64.b64decode(given, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return "", ""
    return name, password


def _digest(password: str) -> bytes:
    return hashlib.sha256(password.encode("utf-8", "replace")).digest()
