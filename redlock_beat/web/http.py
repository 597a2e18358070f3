"""A request and a response, as values: what every framework can be translated to."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

#: Bytes of a body, characters of a query, and fields of either, at most.
MAX_BODY = 1024 * 1024
MAX_QUERY = 16 * 1024
MAX_FIELDS = 1_000


@dataclass(frozen=True)
class Request:
    """What a visitor asks.

    >>> Request("GET", "/", query="q=mail").params
    {'q': 'mail'}
    """

    method: str
    #: The path below *prefix*, decoded.
    path: str
    #: The query as it was sent, without its question mark.
    query: str = ""
    #: By name in lower case.
    headers: Mapping[str, str] = field(default_factory=dict)
    #: None when it is larger than :data:`MAX_BODY`.
    body: bytes | None = b""
    #: The address of whoever has connected; None when the server does not say.
    peer: str | None = None
    scheme: str = "http"
    #: Where the page is mounted: ``/beat``, or ''.
    prefix: str = ""
    #: The user that the server around it has found out.
    user: str | None = None
    #: What the server gave: the WSGI environ, the ASGI scope, or Django's request.
    raw: Any = None

    @property
    def host(self) -> str:
        """Host and port that the visitor asked."""
        return self.headers.get("host", "")

    @cached_property
    def params(self) -> dict[str, str]:
        """The parameters of the query; of a name that comes twice the last."""
        return dict(self.pairs)

    @cached_property
    def pairs(self) -> list[tuple[str, str]]:
        """The parameters of the query, in order; none when there are too many, which the guard refuses."""
        with contextlib.suppress(ValueError):
            return parse_qsl(self.query, keep_blank_values=True, max_num_fields=MAX_FIELDS)
        return []

    @cached_property
    def form(self) -> dict[str, Any]:
        """The fields of the body: of a form texts (a list where a name comes twice), of JSON anything.

        ValueError when it is neither.
        """
        if self.is_json:
            data = json.loads(self.body or b"{}")
            if not isinstance(data, dict):
                raise ValueError("the body must be a JSON object")
            return data
        found: dict[str, Any] = {}
        pairs = parse_qsl((self.body or b"").decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS)
        for name, value in pairs:
            if name in found:
                before = found[name]
                found[name] = [*before, value] if isinstance(before, list) else [before, value]
            else:
                found[name] = value
        return found

    @property
    def is_json(self) -> bool:
        """Whether the body is JSON."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"

    @property
    def wants_json(self) -> bool:
        """Whether the answer shall be JSON."""
        wanted = self.params.get("format")
        if wanted is not None:
            return wanted == "json"
        accept = self.headers.get("accept", "")
        return "application/json" in accept and "text/html" not in accept

    @cached_property
    def cookies(self) -> dict[str, str]:
        """The cookies; none when they cannot be read."""
        try:
            return {name: one.value for name, one in SimpleCookie(self.headers.get("cookie", "")).items()}
        except CookieError:
            return {}

    def url(self, path: str = "", **query: Any) -> str:
        """A URL of the page, below its prefix; parameters that are None are left out.

        >>> Request("GET", "/", prefix="/beat").url("/entry", name="a/b")
        '/beat/entry?name=a%2Fb'
        """
        given = [(name, value) for name, value in query.items() if value is not None]
        # One slash at its start: two would name another host.
        there = "/" + quote(self.prefix + (path or self.path), safe="/", errors="replace").lstrip("/")
        return there + (f"?{written(given)}" if given else "")

    def with_query(self, **query: Any) -> str:
        """This URL with some parameters changed, or left out where they are None."""
        kept = [(name, value) for name, value in self.pairs if name not in query]
        return self.url() + (f"?{written(new)}" if (new := kept + _given(query)) else "")


def written(pairs: Sequence[tuple[str, Any]]) -> str:
    """Parameters as a query; bytes of a name in Redis that are no UTF-8 are question marks there.

    >>> written([("name", "a b"), ("label", ["x", "y"]), ("q", "\\udcff")])
    'name=a+b&label=x&label=y&q=%3F'
    """
    return urlencode(pairs, doseq=True, errors="replace")


def _given(query: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in query.items() if value not in (None, "")]


@dataclass(frozen=True, slots=True)
class Response:
    """What a visitor gets."""

    status: int = 200
    body: bytes = b""
    type: str = "text/html; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()

    def with_headers(self, *headers: tuple[str, str]) -> Response:
        """The same with more headers."""
        return replace(self, headers=self.headers + headers)


def text(words: str, status: int = 200) -> Response:
    """A response of plain text."""
    return Response(status, words.encode("utf-8", "replace"), "text/plain; charset=utf-8")


def redirect(url: str, *headers: tuple[str, str]) -> Response:
    """Go on there, with GET."""
    return Response(303, headers=(("Location", url), *headers))


def cookie(request: Request, name: str, value: str, *, age: int | None = None, script: bool = False) -> tuple[str, str]:
    """The header that sets a cookie for the page alone; *value* holds no characters that cookies may not have.

    >>> cookie(Request("GET", "/", scheme="https"), "theme", "dark")[1]
    'theme=dark; Path=/; SameSite=Strict; HttpOnly; Secure'
    """
    parts = [f"{name}={value}", f"Path={request.url('/')[:-1] or '/'}", "SameSite=Strict"]
    if age is not None:
        parts.append(f"Max-Age={age}")
    if not script:
        parts.append("HttpOnly")
    if request.scheme == "https":
        parts.append("Secure")
    return "Set-Cookie", "; ".join(parts)
