"""The admin in a real browser: log in, add, see it sent, pause, run, get something wrong; and look without buttons.

With ``REDLOCK_BEAT_SCREENSHOTS`` set to a folder, the pictures of docs/django.md are taken on the way.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from redlock_beat.django import Schedule
from tests.servers import eventually
from tests.web import Served, start_browser

LIST = "/admin/redlock_beat/periodictask/"


@pytest.fixture
def url(app: Any) -> Iterator[str]:
    """The project on a real server, with its static files."""
    from django.contrib.staticfiles.handlers import StaticFilesHandler
    from django.core.wsgi import get_wsgi_application

    server = Served(StaticFilesHandler(get_wsgi_application()))
    yield server.url
    server.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    made = start_browser(str(tmp_path_factory.mktemp("browser") / "profile"))
    yield made
    made.quit()


class Admin:
    """Somebody at the browser, logged in."""

    def __init__(self, browser: Any, url: str, name: str, *permissions: str) -> None:
        from django.contrib.auth.models import Permission, User

        user = User.objects.create_user(name, password="secret", is_staff=True, is_superuser=not permissions)
        for one in permissions:
            user.user_permissions.add(Permission.objects.get(codename=f"{one}_periodictask"))
        self.browser, self.url = browser, url
        browser.delete_all_cookies()
        self.open("/admin/")
        self.fill(username=name, password="secret")
        self.press("Log in")

    def open(self, path: str) -> None:
        self.browser.get(self.url + path)

    def find(self, what: str) -> Any:
        return self.browser.find_element("css selector", what)

    @property
    def text(self) -> str:
        return str(self.find("body").text)

    def fill(self, **fields: str) -> None:
        for name, value in fields.items():
            field = self.find(f"[name={name}]")
            if field.tag_name == "select":
                field.find_element("css selector", f"option[value={value}]").click()
            else:
                field.clear()
                field.send_keys(value)

    def press(self, words: str) -> None:
        from selenium.webdriver.support.expected_conditions import staleness_of

        before = self.find("html")
        self.find(f'input[type=submit][value="{words}"]').click()
        self.wait(staleness_of(before))

    def until(self, words: str) -> None:
        """Look again until the page says it."""

        def said(browser: Any) -> bool:
            if words in self.text:
                return True
            browser.refresh()
            return False

        self.wait(said)

    def wait(self, check: Any) -> None:
        """Wait for an event; while one page goes and the next comes the driver may raise whatever it likes."""
        from selenium.common.exceptions import WebDriverException
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.browser, 60, 0.05, [WebDriverException]).until(check)

    def picture(self, name: str) -> None:
        if folder := os.environ.get("REDLOCK_BEAT_SCREENSHOTS"):
            width = self.browser.get_window_size()["width"]
            self.browser.set_window_size(width, self.browser.execute_script("return document.body.scrollHeight") + 150)
            self.browser.save_screenshot(str(Path(folder) / f"{name}.png"))
            self.browser.set_window_size(width, 900)


def test_a_day_in_the_admin(browser, url, app, beats, valkey):
    beats(app).lead().start()
    schedule = Schedule()
    root = Admin(browser, url, "root")
    assert "Periodic tasks" in root.text
    root.open(f"{LIST}add/")
    root.fill(
        name="often", task="reminders.tasks.report", kind="interval", every="1", period="seconds", args='["paid"]'
    )
    root.press("Save")
    assert "“often” was added successfully" in root.text
    root.open(f"{LIST}add/")
    shown = {"every": True, "crontab": False, "event": False, "at_0": False, "timezone": True}
    eventually(
        lambda: {name: root.find(f"[name={name}]").is_displayed() for name in shown} == shown,
        "only those of an interval",
    )
    root.fill(name="nightly", task="reminders.tasks.report", kind="crontab", crontab="0 25 * * *", args='["open"]')
    root.press("Save")
    assert "Please correct the error below." in root.text
    assert "25" in root.find(".field-crontab .errorlist").text
    root.picture("django_error")
    root.fill(crontab="0 3 * * 1-5")
    root.press("Preview")
    assert "Nothing is saved yet: at 03:00, Monday to Friday" in root.text
    assert not schedule.has("nightly")
    root.press("Save")
    root.open(LIST)
    assert "at 03:00, Monday to Friday, Europe/Berlin" in root.text
    root.picture("django_list")
    root.open(f"{LIST}often/change/")
    root.until("sent")
    root.picture("django_entry")
    root.press("Disable")
    assert "was disabled" in root.text
    assert not schedule["often"].enabled
    root.open(f"{LIST}nightly/change/")
    root.press("Run now")
    assert "was sent once, now" in root.text
    root.until("sent (trigger)")
    schedule.update("nightly", note="meanwhile")
    root.fill(crontab="0 4 * * *")
    root.press("Save")  # of what was shown before the edit
    assert "was edited since you read revision" in root.text


def test_who_may_only_look_sees_no_button(browser, url, app):
    Schedule().add("nightly", "reminders.tasks.report", "0 3 * * *", args=("paid",))
    ann = Admin(browser, url, "ann", "view")
    ann.open(LIST)
    assert "nightly" in ann.text
    assert browser.find_elements("css selector", "[name=action]") == []
    ann.open(f"{LIST}nightly/change/")
    assert '["paid"]' in ann.text
    assert browser.find_elements("css selector", "#content input[type=submit], #content a.deletelink") == []
