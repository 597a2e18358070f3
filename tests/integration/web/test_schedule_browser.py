"""The page of all entries in a real browser: typing to find, live rows, boxes and questions, the keyboard alone."""

from __future__ import annotations

import threading

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from redlock_beat.clock import micros
from redlock_beat.entries.codec import encode
from redlock_beat.entries.entry import Entry
from redlock_beat.entries.state import State
from redlock_beat.recurrence import Interval
from redlock_beat.web import catalogue
from redlock_beat.web.site import Site
from tests.integration.web.test_browser import complaints, until


def listed(browser):
    """The names in the list, at one instant: its rows may be replaced at any."""
    return browser.execute_script("return [...document.querySelectorAll('tbody a.entry')].map((one) => one.innerText)")


def read(browser, selector):
    """A part of the page at one instant."""
    return browser.execute_script("return document.querySelector(arguments[0])?.innerText ?? ''", selector)


def shown(browser, names):
    until(browser, lambda: listed(browser) == names)


def focused(browser, what="one.name"):
    """Something of what has the focus, at one instant."""
    return browser.execute_script(f"const one = document.activeElement ?? document.createElement('i'); return {what}")


def press(browser, keys):
    """Keys for what has the focus, also when it has just been replaced."""
    ActionChains(browser).send_keys(keys).perform()


def tab_to(browser, check, most=60):
    """Press Tab until what has the focus is what is meant."""
    for _ in range(most):
        press(browser, Keys.TAB)
        if focused(browser, check):
            return
    raise AssertionError(f"not reached with {most} tabs")


@pytest.fixture
def some(schedule):
    for name in ("mail-a", "mail-b", "report"):
        schedule.add(name, "tasks.mail", 3600, labels={"team": "x"} if name == "report" else None)
    return schedule


def test_one_types_to_find_and_the_address_keeps_it(browser, served, some):
    url = served()
    browser.get(url + "/")
    browser.find_element(By.TAG_NAME, "body").send_keys("/")
    assert focused(browser) == "q"
    press(browser, "mail")
    # What is written slowly is looked for before it is whole.
    until(browser, lambda: browser.current_url == url + "/?q=mail")
    shown(browser, ["mail-a", "mail-b"])
    browser.refresh()
    assert listed(browser) == ["mail-a", "mail-b"]
    browser.find_element(By.NAME, "q").clear()
    browser.find_element(By.NAME, "label").send_keys("team=x")
    shown(browser, ["report"])
    assert complaints(browser) == []


def test_rows_follow_what_happens_and_keep_what_was_checked(quick_browser, served, some):
    browser = quick_browser
    browser.get(served() + "/")
    until(browser, lambda: browser.find_element(By.CSS_SELECTOR, "input[value='mail-b']").click() is None)
    assert "1 chosen" in read(browser, "#bulk")
    some.add("a-new-one", "tasks.mail", 60)
    shown(browser, ["a-new-one", "mail-a", "mail-b", "report"])
    assert browser.execute_script("return document.querySelector('input[value=mail-b]').checked")
    assert browser.execute_script("return document.activeElement.value") == "mail-b"
    assert "1 chosen" in read(browser, "#bulk")
    before = read(browser, "b[data-from]")
    until(browser, lambda: read(browser, "b[data-from]") != before)


def asks_to_run(browser):
    until(browser, lambda: browser.find_element(By.XPATH, "//td//button[text()='Run']").click() is None)
    until(browser, lambda: browser.find_element(By.CSS_SELECTOR, "dialog[open]"))
    assert "Send report once, now?" in browser.find_element(By.CSS_SELECTOR, "dialog[open]").text


def test_news_that_come_while_a_question_is_open_leave_its_form(quick_browser, served, some, valkey, monkeypatch):
    browser = quick_browser
    asked, answers, handle = threading.Event(), threading.Event(), Site.handle

    def slow(site, request):
        if "x-live" in request.headers:
            asked.set()
            assert answers.wait(60)
        return handle(site, request)

    monkeypatch.setattr(Site, "handle", slow)
    browser.get(served() + "/?q=report")
    assert asked.wait(60)
    asks_to_run(browser)
    some.add("report-2", "tasks.mail", 3600)
    answers.set()
    came = "return performance.getEntriesByType('resource').some((one) => one.initiatorType === 'fetch')"
    until(browser, lambda: browser.execute_script(came))
    browser.find_element(By.XPATH, "//dialog//button[text()='Yes']").click()
    until(browser, lambda: "report is sent now" in read(browser, "[data-said]"))
    assert valkey.client().zcard(some.keys.manual) == 1


@pytest.mark.parametrize(
    "what",
    ["[data-all]", "#bulk button[formaction$=pause]", "[name=all]", "[aria-label='Run report now']", "a.entry"],
)
def test_what_has_the_focus_has_it_still_when_the_rows_are_new(quick_browser, served, some, what):
    browser = quick_browser
    browser.get(served() + "/")
    browser.execute_script("window.old = document.querySelector(arguments[0]); old.focus()", what)
    some.add("a-new-one", "tasks.mail", 60)
    shown(browser, ["a-new-one", "mail-a", "mail-b", "report"])
    assert focused(browser, "[one !== old, one.outerHTML === old.outerHTML]") == [True, True]


def test_the_question_before_a_run_is_answered_by_no_and_by_yes(browser, served, some, valkey):
    browser.get(served() + "/?q=report")

    asks_to_run(browser)
    browser.find_element(By.XPATH, "//dialog//button[text()='No']").click()
    assert valkey.client().zcard(some.keys.manual) == 0
    asks_to_run(browser)
    browser.find_element(By.XPATH, "//dialog//button[text()='Yes']").click()
    until(browser, lambda: "report is sent now" in browser.find_element(By.CSS_SELECTOR, "[data-said]").text)
    assert valkey.client().zcard(some.keys.manual) == 1
    assert "q=report" in browser.current_url  # back where it was asked
    assert complaints(browser) == []


def test_all_on_the_page_are_paused_with_the_keyboard_alone(browser, served, some):
    browser.get(served() + "/")
    tab_to(browser, "one.className === 'skip'")
    press(browser, Keys.ENTER)
    tab_to(browser, "one.matches('[data-all]')")
    press(browser, Keys.SPACE)
    assert "3 chosen" in read(browser, "#bulk")
    for _ in range(6):
        ActionChains(browser).key_down(Keys.SHIFT).send_keys(Keys.TAB).key_up(Keys.SHIFT).perform()
        if focused(browser, "one.innerText") == "Pause":
            break
    outline = browser.execute_script("return getComputedStyle(document.activeElement).outlineWidth")
    assert outline == "3px"
    press(browser, Keys.ENTER)
    until(browser, lambda: "Pause 3 entries?" in browser.find_element(By.TAG_NAME, "h1").text)
    tab_to(browser, "one.name === 'note'")
    press(browser, "night shift")
    tab_to(browser, "one.innerText === 'Pause'")
    press(browser, Keys.ENTER)
    until(browser, lambda: "Paused 3 entries." in browser.find_element(By.CSS_SELECTOR, "[data-said]").text)
    assert {one.note for one in some} == {"night shift"}
    assert read(browser, ".state-paused").endswith("paused")


def test_without_scripts_it_finds_pages_and_asks(plain_browser, served, some):
    browser = plain_browser
    browser.get(served(page_size=2) + "/")
    assert listed(browser) == ["mail-a", "mail-b"]
    browser.find_element(By.LINK_TEXT, "More").click()
    shown(browser, ["report"])
    browser.find_element(By.NAME, "q").send_keys("mail" + Keys.ENTER)
    shown(browser, ["mail-a", "mail-b"])
    browser.find_element(By.NAME, "all").click()
    browser.find_element(By.XPATH, "//form[@id='bulk']//button[text()='Pause']").click()
    until(browser, lambda: "Pause 2 entries?" in browser.find_element(By.TAG_NAME, "h1").text)
    browser.find_element(By.XPATH, "//button[text()='Pause']").click()
    until(browser, lambda: "Paused 2 entries." in browser.find_element(By.CSS_SELECTOR, "[data-said]").text)
    assert some["report"].enabled


def test_a_phone_has_no_bar_to_scroll_sideways(browser, served, some):
    some.add("n" * 300, "t" * 200, 60, labels={"team": "l" * 200})
    url = served()
    browser.set_window_size(500, 900)
    for path in ("/", "/beats", "/runs", "/log", "/timeline"):
        browser.get(url + path)
        wide = browser.execute_script("return document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, path


def test_a_hundred_thousand_entries_are_found_while_one_types(quick_browser, served, schedule, valkey, monkeypatch):
    browser = quick_browser
    monkeypatch.setattr(catalogue, "PATIENCE", 0.04)
    monkeypatch.setattr(catalogue, "REST", 0.0)  # nobody else has to be served meanwhile
    client, keys, now = valkey.client(), schedule.keys, micros(schedule.now())
    pipe = client.pipeline(transaction=False)
    one = encode(Entry("x", "tasks.mail", Interval.of(3600), uid="u", anchor=now))
    state = State("u", 1, now + 3_600_000_000).text()
    for first in range(0, 100_000, 5_000):
        names = [f"entry-{i:06d}" for i in range(first, first + 5_000)]
        pipe.hset(keys.entries, mapping=dict.fromkeys(names, one))
        pipe.hset(keys.state, mapping=dict.fromkeys(names, state))
        pipe.zadd(keys.due, dict.fromkeys(names, (now + 3_600_000_000) / 1e6))
    pipe.execute()
    browser.get(served() + "/")
    assert "100,000 entries" in read(browser, ".count")
    until(browser, lambda: "still being read" not in read(browser, ".count"), 60)
    browser.find_element(By.NAME, "q").send_keys("-0999")
    shown(browser, [f"entry-0999{i:02d}" for i in range(50)])
    assert "100 entries found" in read(browser, ".count")
    until(browser, lambda: browser.find_element(By.LINK_TEXT, "More").click() is None)
    shown(browser, [f"entry-0999{i:02d}" for i in range(50, 100)])
