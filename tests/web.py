"""A visitor of the page without a server, and one with a real browser."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import threading
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from redlock_beat.web.http import Request, Response
from redlock_beat.web.once import new_id
from redlock_beat.web.site import Site

#: What a browser of this machine sends.
BROWSER = {"host": "localhost:8765", "accept": "text/html,*/*", "sec-fetch-site": "same-origin"}


@dataclass(frozen=True)
class Page:
    """What a visitor has got."""

    response: Response

    @property
    def status(self) -> int:
        return self.response.status

    @property
    def html(self) -> str:
        return self.response.body.decode()

    @property
    def text(self) -> str:
        """What a person reads: no tags, no entities, one space between words."""
        return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", self.html)).split())

    @property
    def json(self) -> Any:
        return json.loads(self.response.body)

    @property
    def headers(self) -> dict[str, str]:
        return dict(self.response.headers)

    def forms(self, action: str) -> list[dict[str, str]]:
        """The hidden fields of the forms that post there."""
        found = re.findall(rf'<form[^>]*action="[^"]*{re.escape(action)}"[^>]*>(.*?)</form>', self.html, re.DOTALL)
        hidden = r'<input type="hidden" name="([^"]*)" value="([^"]*)"'
        return [{name: html.unescape(value) for name, value in re.findall(hidden, one)} for one in found]


class Visitor:
    """Somebody who opens pages and sends forms, with the cookies that they set."""

    def __init__(self, site: Site, peer: str | None = "127.0.0.1", prefix: str = "", **headers: str) -> None:
        self.site, self.peer, self.prefix = site, peer, prefix
        self.headers = {**BROWSER, **{name.replace("_", "-"): value for name, value in headers.items()}}
        self.cookies: dict[str, str] = {}

    def get(self, path: str, **query: Any) -> Page:
        return self.ask("GET", path, urlencode(query, doseq=True))

    def json(self, path: str, **query: Any) -> Any:
        """The data of a page."""
        page = self.ask("GET", path, urlencode(query, doseq=True), accept="application/json")
        assert page.status == 200, page.html
        return page.json

    def post(self, path: str, /, **form: Any) -> Page:
        """Send a form; it has a request id unless one is given."""
        body = urlencode({"request": new_id(), **form}, doseq=True).encode()
        return self.ask("POST", path, body=body, content_type="application/x-www-form-urlencoded")

    def done(self, path: str, /, **form: Any) -> Page:
        """Send a form, and see the page to which it leads."""
        page = self.post(path, **form)
        assert page.status == 303, (page.status, page.text)
        there = urlsplit(page.headers["Location"])
        return self.get(there.path.removeprefix(self.prefix), **dict(parse_qsl(there.query)))

    def ask(self, method: str, path: str, query: str = "", body: bytes | None = b"", **headers: str | None) -> Page:
        """Any request; a header that is None is not sent."""
        sent = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if self.cookies:
            sent.setdefault("cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items()))
        kept = {name: value for name, value in sent.items() if value is not None}
        response = self.site.handle(
            Request(method, path, query, kept, body, peer=self.peer, prefix=self.prefix, scheme="http")
        )
        for name, value in response.headers:
            if name == "Set-Cookie":
                key, _, rest = value.partition("=")
                self.cookies[key] = rest.partition(";")[0]
                if "Max-Age=0" in rest:
                    del self.cookies[key]
        return Page(response)


# --- a real browser ---

_FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1280,900",
]


def browser_here() -> tuple[str, str]:
    """Chromium and its driver on this machine; without them the test is skipped, or fails in CI."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if found is None or driver is None:
        words = "no Chromium with its driver on this machine (Debian: apt-get install chromium chromium-driver)"
        if os.environ.get("CI"):
            pytest.fail(words)
        pytest.skip(words)
    return found, driver


def start_browser(profile: str) -> Any:
    """A new browser with an empty profile; what it fetches from elsewhere nobody has asked for."""
    from selenium import webdriver

    binary, driver = browser_here()
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=driver))


class Served:
    """A page that a real server serves, at a free port of this machine."""

    def __init__(self, app: Any) -> None:
        from waitress.server import create_server

        self._sockets: dict[int, Any] = {}
        self._server = create_server(
            app, map=self._sockets, host="127.0.0.1", port=0, threads=4, clear_untrusted_proxy_headers=False
        )
        self.url = f"http://127.0.0.1:{self._server.effective_port}"
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._server.run()

    def close(self) -> None:
        from waitress.wasyncore import close_all

        self._server.trigger.pull_trigger(lambda: close_all(self._sockets))  # in the loop, which ends without sockets
        self._thread.join(10)
        self._server.task_dispatcher.shutdown()
