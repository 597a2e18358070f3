"""WSGI and ASGI say the same of a request, below any prefix."""

from __future__ import annotations

import asyncio
import io

import pytest

from redlock_beat.web import adapters
from redlock_beat.web.adapters import ASGI, WSGI, from_environ, from_scope
from redlock_beat.web.http import MAX_BODY, Response


class Echo:
    """A site that answers with what it was asked, and keeps it."""

    closed = warmed = False

    def warm(self):
        self.warmed = True

    def handle(self, request):
        self.request = request
        return Response(201, b"body", "text/plain", (("X-A", "b\r\nX-Evil: 1"),))

    def close(self):
        self.closed = True


def environ(**given):
    return {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "/be\xc3\xa4t",
        "PATH_INFO": "/\xc3\xa9",
        "QUERY_STRING": "q=%C3%A9",
        "HTTP_HOST": "beat.example",
        "HTTP_SEC_FETCH_SITE": "same-origin",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": "2",
        "REMOTE_ADDR": "10.0.0.1",
        "REMOTE_USER": "ann",
        "wsgi.url_scheme": "https",
        "wsgi.input": io.BytesIO(b"{}and more"),
        **given,
    }


def scope(**given):
    return {
        "type": "http",
        "method": "POST",
        "root_path": "/beät",
        "path": "/beät/é",
        "query_string": b"q=%C3%A9",
        "headers": [
            (b"host", b"beat.example"),
            (b"Sec-Fetch-Site", b"same-origin"),
            (b"content-type", b"application/json"),
            (b"content-length", b"2"),
        ],
        "client": ("10.0.0.1", 4711),
        "scheme": "https",
        **given,
    }


def parts(request):
    return (
        request.method,
        request.prefix,
        request.path,
        request.params,
        request.headers,
        request.body,
        request.peer,
        request.scheme,
    )


def test_both_say_the_same_of_a_request():
    one, two = from_environ(environ()), from_scope(scope(), b"{}")
    assert parts(one) == parts(two)
    assert (one.prefix, one.path, one.params, one.user) == ("/beät", "/é", {"q": "é"}, "ann")
    assert one.url("/entry", name="a/b") == "/be%C3%A4t/entry?name=a%2Fb"


@pytest.mark.parametrize(
    ("root", "path", "found"), [("", "/log", "/log"), ("/b", "/b", ""), ("/b", "/beat", "/beat"), ("/b/", "/b/x", "/x")]
)
def test_an_asgi_path_is_taken_below_its_mount(root, path, found):
    assert from_scope(scope(root_path=root, path=path), b"").path == found


def test_cookies_in_several_headers_are_one():
    headers = [(b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"x", b"1"), (b"x", b"2")]
    request = from_scope(scope(headers=headers), b"")
    assert request.cookies == {"a": "1", "b": "2"}
    assert request.headers["x"] == "1, 2"


@pytest.mark.parametrize("length", [str(MAX_BODY + 1), "9" * 15])
def test_a_wsgi_body_that_is_too_large_is_not_read(length):
    given = environ(CONTENT_LENGTH=length)
    assert from_environ(given).body is None
    assert given["wsgi.input"].tell() == 0


def test_a_wsgi_body_without_an_honest_length_is_none():
    assert from_environ(environ(CONTENT_LENGTH="")).body == b""
    assert from_environ(environ(CONTENT_LENGTH="-1")).body == b""
    ended = {"CONTENT_LENGTH": "", "wsgi.input_terminated": True}
    assert from_environ(environ(**ended)).body == b"{}and more"
    assert from_environ(environ(**ended, **{"wsgi.input": io.BytesIO(b"x" * (MAX_BODY + 5))})).body is None


def test_a_wsgi_response_has_no_header_within_a_header():
    started = []
    body = WSGI(Echo())(environ(), lambda status, headers: started.append((status, headers)))
    assert list(body) == [b"body"]
    assert started == [
        ("201 Created", [("X-A", "b  X-Evil: 1"), ("Content-Type", "text/plain"), ("Content-Length", "4")])
    ]


def asked(page, given, *messages):
    """What an ASGI app sends for a scope and some messages."""

    async def run():
        left, sent = list(messages), []

        async def receive():
            return left.pop(0)

        async def send(message):
            sent.append(message)

        await page(given, receive, send)
        return sent

    return asyncio.run(run())


def test_an_asgi_request_comes_in_parts():
    site = Echo()
    start, body = asked(
        ASGI(site),
        scope(),
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.request", "body": b"}"},
    )
    assert (site.request.body, start["status"], body["body"]) == (b"{}", 201, b"body")
    assert (b"x-a", b"b  X-Evil: 1") in start["headers"]


def test_an_asgi_body_that_is_too_large_is_not_kept():
    site = Echo()
    large = {"type": "http.request", "body": b"x" * (MAX_BODY // 2 + 1), "more_body": True}
    asked(ASGI(site), scope(), large, large, large)
    assert site.request.body is None
    asked(ASGI(site), scope(), {"type": "http.disconnect"})
    assert site.request.body == b""


def test_an_asgi_app_starts_and_ends_with_its_server():
    site = Echo()
    sent = asked(ASGI(site), {"type": "lifespan"}, {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"})
    assert [one["type"] for one in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert (site.warmed, site.closed) == (True, True)
    with pytest.raises(ValueError, match="websocket"):
        asked(ASGI(site), {"type": "websocket"})


def test_more_requests_than_may_wait_are_sent_away(monkeypatch):
    monkeypatch.setattr(adapters, "WAITING", -adapters.THREADS)
    (start, body) = asked(ASGI(Echo()), scope(method="GET"))
    assert (start["status"], body["body"]) == (503, b"Too many requests wait; try again.")
    assert (b"retry-after", b"1") in start["headers"]
