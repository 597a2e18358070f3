"""What a trusted proxy says of a visitor: address, scheme, host and prefix."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..errors import InvalidSetting
from .http import Request


def networks(given: Sequence[str]) -> tuple[Any, ...]:
    """The networks of addresses such as ``10.0.0.0/8``; ``*`` is every address."""
    try:
        every = [one for text in given for one in (("0.0.0.0/0", "::/0") if text == "*" else (text,))]
        return tuple(ipaddress.ip_network(text, strict=False) for text in every)
    except ValueError as exc:
        raise InvalidSetting(f"proxies are addresses or networks, such as 10.0.0.0/8: {exc}.") from None


def seen_through(request: Request, trusted: Sequence[Any]) -> Request:
    """The request as the proxy received it, if it came from a trusted one.

    >>> request = Request("GET", "/", headers={"x-forwarded-prefix": "/beat"}, peer="10.0.0.1")
    >>> seen_through(request, networks(["10.0.0.0/8"])).prefix, seen_through(request, ()).prefix
    ('/beat', '')
    """
    if not trusted or not _within(request.peer, trusted):
        return request
    headers = dict(request.headers)
    chain = [one.strip() for one in headers.pop("x-forwarded-for", "").split(",") if one.strip()]
    # From the right: whoever is left of the first address that is no trusted proxy may have been made up. Without any
    # address nobody knows whose request it is: the proxy's own address says nothing of the visitor.
    visitor = next((one for one in reversed(chain) if not _within(one, trusted)), chain[0] if chain else None)
    for name in ("forwarded", "x-real-ip", "via"):
        headers.pop(name, None)
    scheme = _last(headers.pop("x-forwarded-proto", "")) or request.scheme
    host = _last(headers.pop("x-forwarded-host", "")) or headers.get("host", "")
    prefix = _last(headers.pop("x-forwarded-prefix", "")).rstrip("/")
    if not _is_path(prefix):
        prefix = ""
    headers["host"] = host
    return replace(
        request,
        headers=headers,
        peer=visitor,
        scheme=scheme if scheme in ("http", "https") else request.scheme,
        prefix=prefix + request.prefix,
    )


def _last(value: str) -> str:
    return value.rpartition(",")[2].strip()


def _is_path(prefix: str) -> bool:
    return prefix == "" or (prefix.startswith("/") and not prefix.startswith("//") and prefix.isprintable())


def _within(address: str | None, trusted: Sequence[Any]) -> bool:
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return False
    return any(found in one for one in trusted if one.version == found.version)
