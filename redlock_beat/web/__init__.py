"""The schedule in a browser: one page to mount in any project, or to start with ``celery -A proj redlock web``.

``http``       a request and a response, as values; ``limits`` says how large they may be
``adapters``   :func:`wsgi` and :func:`asgi`: from a server's way of speaking to ``http``, and back
``options``    what both take, checked
``site``       one request, from the first check to the last header
``access``     who may do what; ``logins`` are ready-made answers: a token, a password
``guard``      what no request gets past: hosts, other origins, repeated forms; and the headers of every response
``proxies``    what a trusted proxy says of a visitor
``routes``     a page, as a value: its path, its parameters, its verb, its schema
``visit``      what a page is given: who asks for what, and the schedule
``pages``      the pages, a module each
``rendering``  Jinja's environment, and what templates may call; ``assets``: own style and script
``catalogue``  names and facts of all entries, kept here so that a search asks Redis for one page of entries
``tail``       the newest rows of the ledger, kept likewise; ``charts`` draws them
``openapi``    the description of all of it for programs

A page is a small module in ``pages``, with a function that is given a visit and returns data, and a template in
``templates`` that shows it. The same path answers a program with the data as JSON.

The folder knows ``schedule`` and ``store``, and nothing of beats, messages and workers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .access import Grant
    from .adapters import asgi, wsgi
    from .http import Request, Response
    from .logins import Password, Token

_HOMES = {
    "asgi": "adapters",
    "wsgi": "adapters",
    "Grant": "access",
    "Request": "http",
    "Response": "http",
    "Password": "logins",
    "Token": "logins",
}

__all__ = ["Grant", "Password", "Request", "Response", "Token", "asgi", "wsgi"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{home}"), name)
