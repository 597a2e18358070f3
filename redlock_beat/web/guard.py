"""What no request gets past: other origins, repeated forms, sizes; and the headers of every response."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from .access import name_of
from .http import MAX_BODY, MAX_FIELDS, MAX_QUERY, Request

#: On every response. The referrer goes to this page alone: with "no-referrer" browsers send ``Origin: null`` with its
#: forms, and where they send no Sec-Fetch-Site (plain http to another machine) nothing would tell them from others'.
HEADERS = (
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=()"),
    ("X-Robots-Tag", "noindex, nofollow"),
)
NO_STORE = ("Cache-Control", "no-store")


class Refused(Exception):
    """A request that is not answered, with a status and the reason in words."""

    def __init__(self, status: int, why: str, *headers: tuple[str, str]) -> None:
        super().__init__(why)
        self.status, self.why, self.headers = status, why, headers


def check_size(request: Request) -> None:
    """Refuse what is too large."""
    if len(request.query) > MAX_QUERY:
        raise Refused(414, f"The address is longer than the {MAX_QUERY} characters that this page reads.")
    if request.query.count("&") >= MAX_FIELDS:
        raise Refused(414, f"The address has more than the {MAX_FIELDS} parameters that this page reads.")
    if request.body is None:
        raise Refused(413, f"The request is larger than the {MAX_BODY} bytes that this page reads.")


def check_method(request: Request) -> None:
    """Refuse all methods but three."""
    if request.method not in ("GET", "HEAD", "POST"):
        raise Refused(405, "This page is read with GET and changed with POST.", ("Allow", "GET, HEAD, POST"))


def check_host(request: Request, hosts: Sequence[str]) -> None:
    """Refuse names that are not this page's, where they are known."""
    if hosts and name_of(request.host) not in hosts:
        raise Refused(
            421, "This page does not answer under this host name; its option hosts= lists those that it does."
        )


def check_origin(request: Request, origins: Sequence[str] = ()) -> None:
    """Refuse a change that another page had the browser ask for.

    Browsers say where a request comes from in ``Sec-Fetch-Site``, or else in ``Origin``. A request that says neither
    comes from a program, and must be JSON: no form of another page can send that without asking first.

    >>> check_origin(Request("POST", "/", headers={"sec-fetch-site": "same-origin"}))
    """
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    if origin is not None and origin in origins:
        return
    if site is not None:
        if site in ("same-origin", "none"):
            return
    elif origin is not None:
        if urlsplit(origin).netloc.lower() == request.host.lower() != "":
            return
    elif request.is_json:
        return
    raise Refused(
        403,
        "The change was refused: it did not come from this page. Behind a proxy that changes the Host header, name the "
        "page's own address in the option origins=. A program must send JSON.",
    )
