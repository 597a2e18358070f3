"""The pages in a real browser."""

from __future__ import annotations

from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait


def until(browser, check, seconds=60):
    """Wait until a check of the page holds; while one page goes and the next comes the driver may raise anything."""
    from selenium.common.exceptions import WebDriverException

    return WebDriverWait(browser, seconds, 0.05, [WebDriverException]).until(lambda _: check())


def complaints(browser):
    """What the browser's console says: refused scripts and styles, errors of the own script."""
    return [one for one in browser.get_log("browser") if one["level"] in ("SEVERE", "WARNING")]


def test_every_page_loads_without_a_complaint_of_the_browser(browser, served, schedule):
    schedule.add("<b>mail</b>", "tasks.mail", 30)
    url = served()
    for path in ("/", "/timeline", "/beats", "/runs", "/log", "/moving", "/add", "/entry?name=%3Cb%3Email%3C%2Fb%3E"):
        browser.get(url + path)
        assert browser.find_element(By.TAG_NAME, "h1").is_displayed()
        assert complaints(browser) == [], path


def test_an_edit_is_one_click_and_the_page_says_so(browser, served, schedule):
    schedule.add("mail", "tasks.mail", 30)
    browser.get(served() + "/entry?name=mail")
    browser.find_element(By.XPATH, "//summary[text()='Pause']").click()
    browser.find_element(By.NAME, "note").send_keys("why not")
    browser.find_element(By.XPATH, "//button[text()='Pause']").click()
    until(browser, lambda: "Paused mail." in browser.find_element(By.CSS_SELECTOR, "[data-said]").text)
    assert schedule["mail"].note == "why not"
    assert complaints(browser) == []


def test_without_scripts_the_same_works(plain_browser, served, schedule):
    schedule.add("mail", "tasks.mail", 30)
    plain_browser.get(served() + "/entry?name=mail")
    plain_browser.find_element(By.XPATH, "//summary[text()='Pause']").click()
    plain_browser.find_element(By.XPATH, "//button[text()='Pause']").click()
    until(plain_browser, lambda: "Paused mail." in plain_browser.find_element(By.CSS_SELECTOR, "[data-said]").text)
    assert schedule["mail"].enabled is False


def test_the_page_cannot_be_framed(browser, served, tmp_path):
    url = served()
    outer = tmp_path / "outer.html"
    outer.write_text(f'<!doctype html><h1>outer</h1><iframe src="{url}/"></iframe>')
    browser.get(outer.as_uri())
    until(browser, lambda: any("frame-ancestors" in one["message"] for one in browser.get_log("browser")))
    browser.switch_to.frame(0)
    assert "<h1>Schedule" not in browser.page_source


def test_a_form_of_another_page_changes_nothing(browser, served, schedule, tmp_path):
    schedule.add("mail", "tasks.mail", 30)
    url = served()
    outer = tmp_path / "outer.html"
    fields = f'<input name="name" value="mail"><input name="request" value="{"a" * 24}">'
    outer.write_text(
        f'<!doctype html><form method="post" action="{url}/entry/pause">{fields}<button>go</button></form>'
    )
    browser.get(outer.as_uri())
    browser.find_element(By.TAG_NAME, "button").click()
    until(browser, lambda: browser.find_element(By.CSS_SELECTOR, "[data-status='403']"))
    assert schedule["mail"].enabled
