"""Every verb of an entry in a real browser: clicked, by keyboard alone, and without scripts."""

from __future__ import annotations

import threading

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from redlock_beat.web.site import Site

from .test_browser import complaints, until


def said(browser) -> str:
    return browser.find_element(By.CSS_SELECTOR, "[data-said]").text


def click(browser, words: str, kind: str = "button") -> None:
    there = f"//{kind}[normalize-space()='{words}']"
    until(browser, lambda: browser.find_element(By.XPATH, there).click() is None)


def put(browser, name: str, text: str) -> None:
    field = browser.find_element(By.NAME, name)
    field.clear()
    field.send_keys(text)


def test_each_verb_is_clicked(browser, served, schedule):
    schedule.add("mail", "tasks.mail", 3600)
    browser.get(served() + "/entry?name=mail")
    click(browser, "Skip next")
    until(browser, lambda: "The next slot of mail will be skipped." in said(browser))
    click(browser, "Skip none")
    until(browser, lambda: "No slot of mail is skipped any more." in said(browser))
    click(browser, "Pause", "summary")
    put(browser, "until", "yesterday")
    click(browser, "Pause")
    until(browser, lambda: "'yesterday' is not a time" in browser.find_element(By.ID, "until-words").text)
    put(browser, "until", "2030-01-01T07:00")
    put(browser, "note", "provider is down")
    click(browser, "Pause")
    until(browser, lambda: "Paused mail until 2030-01-01 07:00:00." in said(browser))
    assert schedule["mail"].note == "provider is down"
    click(browser, "Resume")
    until(browser, lambda: "Resumed mail." in said(browser))
    click(browser, "Run now", "summary")
    click(browser, "Run now")
    until(browser, lambda: "mail is sent now" in said(browser))
    click(browser, "Cancel what waits")
    click(browser, "Yes")
    until(browser, lambda: "1 waiting slot is cancelled." in said(browser))
    click(browser, "Rename", "summary")
    put(browser, "new", "post")
    click(browser, "Rename")
    until(browser, lambda: "mail is post now." in said(browser))
    click(browser, "Remove", "summary")
    click(browser, "Remove")
    click(browser, "No")
    assert "post" in schedule
    click(browser, "Remove")
    click(browser, "Yes")
    until(browser, lambda: "post is removed." in said(browser))
    assert "post" not in schedule
    assert [one for one in complaints(browser) if "422" not in one["message"]] == []


def test_the_answer_to_a_refused_form_is_not_asked_for_anew(quick_browser, served, schedule):
    browser = quick_browser
    schedule.add("mail", "tasks.mail", 3600)
    url = served()
    for page, opens, field, sends in (
        ("/entry?name=mail", "Pause", "until", "Pause"),
        ("/beats", "Hold everything", "until", "Hold everything"),
    ):
        browser.get(url + page)
        click(browser, opens, "summary")
        put(browser, field, "yesterday")
        click(browser, sends)
        if page == "/beats":
            click(browser, "Yes")
        until(browser, lambda: "'yesterday' is not a time" in browser.find_element(By.ID, "until-words").text)
        # What the page itself does every five seconds is done before, and answered before.
        browser.execute_async_script("setInterval(() => fetch('/livez').then(arguments[0]), 6000)")
        assert [one for one in complaints(browser) if "422" not in one["message"]] == []
    browser.get(url + "/entry?name=mail")
    schedule.pause("mail", note="elsewhere")
    until(browser, lambda: "elsewhere" in browser.find_element(By.ID, "entry-state").text)


def test_an_entry_is_added_and_its_next_slots_are_seen_while_one_types(browser, served, schedule):
    browser.get(served() + "/add")
    put(browser, "name", "mail")
    put(browser, "task", "tasks.mail")
    put(browser, "when", "0 7 * *")
    preview = browser.find_element(By.ID, "preview")
    until(browser, lambda: preview.find_elements(By.CLASS_NAME, "error"))
    browser.find_element(By.NAME, "when").send_keys(" 1-5")
    until(browser, lambda: "at 07:00, Monday to Friday, Europe/Berlin" in preview.text)
    assert len(preview.find_elements(By.TAG_NAME, "li")) == 10
    assert len(schedule) == 0
    click(browser, "Add")
    until(browser, lambda: "mail is added." in said(browser))
    assert str(schedule["mail"].schedule) == "0 7 * * 1-5"
    assert complaints(browser) == []


def test_a_preview_that_comes_late_does_not_take_the_place_of_a_newer_one(browser, served, schedule, monkeypatch):
    asked, answers, answered, handle = *(threading.Event() for _ in range(3)), Site.handle

    def slow(site, request):
        late = request.path == "/preview" and not asked.is_set()
        if late:
            asked.set()
            assert answers.wait(60)
        found = handle(site, request)
        if late:
            answered.set()
        return found

    monkeypatch.setattr(Site, "handle", slow)
    browser.get(served() + "/add")
    put(browser, "name", "mail")
    assert asked.wait(60)
    put(browser, "task", "tasks.mail")
    put(browser, "when", "0 7 * * 1-5")
    preview = browser.find_element(By.ID, "preview")
    until(browser, lambda: "Monday to Friday" in preview.text)
    answers.set()
    assert answered.wait(60)
    another = "fetch(location.href).then((one) => one.text()).then(arguments[0])"
    for _ in range(3):  # whatever was on its way has come
        browser.execute_async_script(another)
    assert "Monday to Friday" in preview.text


def test_by_keyboard_alone(browser, served, schedule):
    schedule.add("mail", "tasks.mail", 3600)
    browser.get(served() + "/entry?name=mail")

    def focus() -> str:
        return browser.execute_script("return document.activeElement?.innerText.trim() ?? ''")

    def tab_to(words: str) -> None:
        for _ in range(60):
            ActionChains(browser, duration=0).send_keys(Keys.TAB).perform()
            if focus() == words:
                ring = browser.switch_to.active_element.value_of_css_property("outline-style")
                assert ring == "solid", f"{words} has the focus and does not show it"
                return
        raise AssertionError(f"no way to {words} by the tab key")

    tab_to("Skip to the content")
    tab_to("Edit")
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    until(browser, lambda: "Edit mail" in browser.find_element(By.TAG_NAME, "h1").text)
    tab_to("Save")
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    until(browser, lambda: "Nothing was changed." in said(browser))
    tab_to("Remove")
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    tab_to("Remove")
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    dialog = browser.find_element(By.TAG_NAME, "dialog")
    until(browser, lambda: dialog.is_displayed())
    assert focus() == "No"  # what is destroyed is not one careless key away
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert "mail" in schedule


def test_without_scripts_an_entry_is_added_previewed_edited_and_removed(plain_browser, served, schedule):
    browser = plain_browser
    browser.get(served() + "/add")
    put(browser, "name", "mail")
    put(browser, "task", "tasks.mail")
    put(browser, "when", "0 7 * * *")
    click(browser, "Preview")
    until(browser, lambda: len(browser.find_elements(By.CSS_SELECTOR, "#preview li")) == 10)
    click(browser, "Add")
    until(browser, lambda: "mail is added." in said(browser))
    click(browser, "Edit", "a")
    put(browser, "args", "{")
    click(browser, "Save")
    until(browser, lambda: "JSON" in browser.find_element(By.ID, "args-words").text)
    put(browser, "args", "[7]")
    click(browser, "Save")
    until(browser, lambda: "mail is changed." in said(browser))
    assert schedule["mail"].args == (7,)
    click(browser, "Remove", "summary")
    click(browser, "Remove")
    until(browser, lambda: "mail is removed." in said(browser))
