"""A schedule on an embedded server, and visitors of its page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from redlock_beat import Schedule
from redlock_beat.web import catalogue
from redlock_beat.web.adapters import WSGI
from redlock_beat.web.options import Options
from redlock_beat.web.pages import timeline
from redlock_beat.web.site import Site
from tests.servers import Server
from tests.web import Served, Visitor, start_browser


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A visit is answered in full, however slow the machine is; tests of what it does then set their own bound."""
    monkeypatch.setattr(catalogue, "PATIENCE", 60.0)
    monkeypatch.setattr(timeline, "PATIENCE", 60.0)


@pytest.fixture
def schedule(valkey: Server) -> Iterator[Schedule]:
    """An empty schedule."""
    with Schedule.from_url(valkey.url(), retry_for=5.0, timezone="Europe/Berlin") as made:
        yield made


@pytest.fixture
def visitor(schedule: Schedule) -> Callable[..., Visitor]:
    """Visitors of the page of the schedule: ``visitor(access=..., redact=...)``; without options, of this machine."""

    def make(*, peer: str | None = "127.0.0.1", prefix: str = "", **options: Any) -> Visitor:
        options.setdefault("timezone", "Europe/Berlin")
        return Visitor(Site(schedule, Options(**options)), peer, prefix)

    return make


@pytest.fixture
def page(visitor: Callable[..., Visitor]) -> Visitor:
    """A visitor of this machine, who may do all."""
    return visitor()


@pytest.fixture
def served(schedule: Schedule) -> Iterator[Callable[..., str]]:
    """The page on a real server; its URL."""
    made: list[Served] = []

    def make(**options: Any) -> str:
        options.setdefault("timezone", "Europe/Berlin")
        made.append(Served(WSGI(Site(schedule, Options(**options)))))
        return made[-1].url

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Debian's Chromium, driven by Selenium: one for all tests of this process, since it takes seconds to start."""
    made = start_browser(str(tmp_path_factory.mktemp("profile")))
    yield made
    made.quit()


@pytest.fixture
def browser(chromium: Any) -> Any:
    """A real browser with nothing kept of other tests."""
    return fresh(chromium, scripts=True)


@pytest.fixture
def plain_browser(chromium: Any) -> Any:
    """The same with scripts turned off."""
    return fresh(chromium, scripts=False)


@pytest.fixture
def quick_browser(browser: Any) -> Iterator[Any]:
    """The same, where what the script of a page does at intervals is done twenty times as often."""
    words = "const every = setInterval; window.setInterval = (what, wait) => every(what, wait / 20);"
    added = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": words})
    yield browser
    browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def fresh(chromium: Any, *, scripts: bool) -> Any:
    chromium.switch_to.default_content()
    chromium.get("about:blank")
    chromium.execute_cdp_cmd("Network.clearBrowserCookies", {})
    chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not scripts})
    chromium.set_window_size(1280, 900)
    chromium.get_log("browser")
    return chromium
