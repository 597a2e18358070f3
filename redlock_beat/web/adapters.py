"""From a server's way of speaking to :mod:`~redlock_beat.web.http`, and back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any

from .http import MAX_BODY, Request, Response, text
from .options import Options
from .site import Site

#: Requests that an ASGI app answers at a time, and that may wait for one of them.
THREADS, WAITING = 8, 64

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]


def wsgi(app: Any, **options: Any) -> WSGI:
    """The page as a WSGI app, to mount in Flask or Django, or to serve.

    *app* is the Celery app (or a :class:`~redlock_beat.Schedule`); *options* are the fields of
    :class:`~redlock_beat.web.options.Options`. Without ``access=`` it serves visitors of this machine alone.

    >>> from celery import Celery
    >>> page = wsgi(Celery(broker="redis://localhost/0", set_as_current=False))
    """
    return WSGI(Site(app, Options(**options)))


def asgi(app: Any, **options: Any) -> ASGI:
    """The page as an ASGI app, to mount in FastAPI or Starlette: ``api.mount("/beat", asgi(celery_app))``.

    It takes what :func:`wsgi` takes.

    >>> from celery import Celery
    >>> page = asgi(Celery(broker="redis://localhost/0", set_as_current=False))
    """
    return ASGI(Site(app, Options(**options)))


class WSGI:
    """The page for WSGI servers."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        response = self.site.handle(from_environ(environ))
        start_response(f"{response.status} {HTTPStatus(response.status).phrase}", _headers(response))
        return [response.body]


def from_environ(environ: Mapping[str, Any]) -> Request:
    """The request of a WSGI environ.

    >>> from_environ({"REQUEST_METHOD": "GET", "SCRIPT_NAME": "/beat", "PATH_INFO": "/log", "HTTP_X_A": "b"}).headers
    {'x-a': 'b'}
    """
    headers = {key[5:].replace("_", "-").lower(): str(value) for key, value in environ.items() if key[:5] == "HTTP_"}
    for key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(key):
            headers[key.replace("_", "-").lower()] = str(environ[key])
    if not headers.get("host") and environ.get("SERVER_NAME"):
        headers["host"] = f"{environ['SERVER_NAME']}:{environ.get('SERVER_PORT', '')}"
    method = str(environ.get("REQUEST_METHOD", "GET"))
    return Request(
        method=method,
        path=_decoded(environ.get("PATH_INFO", "")),
        query=str(environ.get("QUERY_STRING") or ""),
        headers=headers,
        body=_body(environ, headers) if method == "POST" else b"",
        peer=environ.get("REMOTE_ADDR") or None,
        scheme=str(environ.get("wsgi.url_scheme", "http")),
        prefix=_decoded(environ.get("SCRIPT_NAME", "")).rstrip("/"),
        user=environ.get("REMOTE_USER") or None,
        raw=environ,
    )


def _decoded(path: str) -> str:
    """A path as WSGI has it (bytes as Latin-1) as text."""
    return path.encode("latin-1", "replace").decode("utf-8", "replace")


def _body(environ: Mapping[str, Any], headers: Mapping[str, str]) -> bytes | None:
    """The body; None when it is too large. Without a length nothing is read: that might wait for ever."""
    length = headers.get("content-length", "")
    many = int(length) if length.isdecimal() and len(length) < 16 else 0
    if environ.get("wsgi.input_terminated") and not length:
        many = MAX_BODY + 1
    if many > MAX_BODY and length:
        return None
    body = bytes(environ["wsgi.input"].read(many)) if many else b""
    return body if len(body) <= MAX_BODY else None


class ASGI:
    """The page for ASGI servers; requests are answered by a few threads, so that the event loop never waits."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="redlock-beat-web")
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or take part in the server's start and end."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] != "http":
            raise ValueError(f"this page speaks HTTP and no {scope['type']!r}.")
        body = await _received(receive) if scope["method"] == "POST" else b""
        await self._respond(send, await self._answer(from_scope(scope, body)))

    async def _answer(self, request: Request) -> Response:
        if self._under_way >= THREADS + WAITING:
            return text("Too many requests wait; try again.", 503).with_headers(("Retry-After", "1"))
        self._under_way += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, self.site.handle, request)
        finally:
            self._under_way -= 1

    @staticmethod
    async def _respond(send: Send, response: Response) -> None:
        headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in _headers(response)]
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            event = (await receive())["type"]
            if event == "lifespan.startup":
                await asyncio.get_running_loop().run_in_executor(self._threads, self.site.warm)
            if event == "lifespan.shutdown":
                self._threads.shutdown(wait=False)
                self.site.close()
            await send({"type": f"{event}.complete"})
            if event == "lifespan.shutdown":
                return


def from_scope(scope: Scope, body: bytes | None) -> Request:
    """The request of an ASGI scope; below a mount, its path may begin with the prefix."""
    prefix, path = str(scope.get("root_path", "")).rstrip("/"), str(scope["path"])
    if prefix and (path == prefix or path.startswith(prefix + "/")):
        path = path[len(prefix) :]
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, words = name.decode("latin-1").lower(), value.decode("latin-1")
        joint = "; " if key == "cookie" else ", "
        headers[key] = headers[key] + joint + words if key in headers else words
    client = scope.get("client")
    return Request(
        method=str(scope["method"]),
        path=path,
        query=scope.get("query_string", b"").decode("latin-1"),
        headers=headers,
        body=body,
        peer=str(client[0]) if client else None,
        scheme=str(scope.get("scheme", "http")),
        prefix=prefix,
        raw=scope,
    )


async def _received(receive: Receive) -> bytes | None:
    """The body; None when it is too large."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b""
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY:
            return None
        if not message.get("more_body"):
            return b"".join(parts)


def _headers(response: Response) -> list[tuple[str, str]]:
    """The headers, of which none can hold a line of its own."""
    kept = [(name, value.replace("\r", " ").replace("\n", " ")) for name, value in response.headers]
    return [*kept, ("Content-Type", response.type), ("Content-Length", str(len(response.body)))]
