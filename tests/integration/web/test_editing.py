"""The forms that add and edit: errors at the field, a preview, and nothing lost when two edit at once."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from redlock_beat.recurrence import Interval


def filled(page, path: str, /, **query) -> dict[str, str]:
    """The fields of a form as it is shown, and the hidden ones."""
    values = page.json(path, **query)["values"]
    hidden = {}
    for form in page.get(path, **query).forms(path):
        hidden |= form
    return {**values, **hidden}


def test_an_entry_is_added_with_what_its_form_says(page, schedule):
    form = filled(page, "/add") | {
        "name": "mail",
        "task": "tasks.mail",
        "how": "cron",
        "when": "0 7 * * 1-5",
        "args": "[1]",
        "kwargs": '{"to": "ann"}',
        "queue": "slow",
        "options": '{"priority": 3}',
        "expires": "1h",
        "labels": "team=mail\ntenant=7",
        "missed": "skip",
        "grace": "10m",
        "exclude": "sat, 12-25",
        "max_runs": "9",
        "starts": "2091-01-01T00:00",
        "why": "ticket 7",
    }
    shown = page.done("/add", **form)
    assert "mail is added." in shown.text
    entry = schedule["mail"]
    assert (entry.task, str(entry.schedule), entry.timezone) == ("tasks.mail", "0 7 * * 1-5", "Europe/Berlin")
    assert (entry.args, entry.kwargs) == ((1,), {"to": "ann"})
    assert entry.options == {"priority": 3, "queue": "slow", "expires": 3600.0}
    assert (entry.labels, entry.missed, entry.grace, entry.max_runs) == (
        {"team": "mail", "tenant": "7"},
        "skip",
        600.0,
        9,
    )
    assert entry.exclude == ("sat", "12-25")
    assert entry.next_due.isoformat() == "2091-01-01T06:00:00+00:00"
    (row,) = schedule.log("mail")
    assert (row.what, row.actor, row.why) == ("added", "web@127.0.0.1", "ticket 7")


@pytest.mark.parametrize(
    ("how", "when", "words"),
    [
        ("every", "10m", "every 10 minutes"),
        ("cron", "*/10 * * * * *", "every 10 seconds"),
        ("at", "2100-01-01T07:00", "once"),
        ("rrule", "FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=9;BYMINUTE=0;BYSECOND=0", ""),
    ],
)
def test_every_way_to_say_when_comes_back_as_it_was_written(page, schedule, how, when, words):
    form = filled(page, "/add") | {"name": "e", "task": "t", "how": how, "when": when}
    assert page.post("/add", **form).status == 303
    before = schedule["e"]
    again = filled(page, "/entry/edit", name="e")
    assert again["how"] == how
    assert page.done("/entry/edit", **(again | {"note": "x"}))
    assert schedule["e"].schedule == before.schedule
    assert words in page.get("/entry/edit", name="e").text


@pytest.mark.parametrize(
    ("field", "wrong", "words"),
    [
        ("name", "", "Give it a name."),
        ("task", "", "Say which task is sent."),
        ("when", "0 7 * *", "crontab"),
        ("when", "", "Say when it is sent."),
        ("timezone", "Mars/Base", "Mars/Base"),
        ("args", "{}", "Write a JSON list"),
        ("kwargs", "{", "This is not JSON"),
        ("labels", "team", "is not a label"),
        ("grace", "soon", "soon"),
        ("max_runs", "-1", "is not a whole number"),
        ("starts", "tomorrow", "is not a time"),
        ("exclude", "32-25", "is not a date"),
        ("grace", "-1", "0 or more"),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_all_else_is_kept(page, schedule, field, wrong, words):
    good = {"name": "mail", "task": "t", "when": "0 7 * * *", "note": "kept"}
    shown = page.post("/add", **(filled(page, "/add") | good | {field: wrong}))
    assert shown.status == 422
    assert words in shown.text
    assert f'id="{field}-words" class="error"' in shown.html
    assert 'value="kept"' in shown.html
    assert len(schedule) == 0


def test_a_name_that_is_taken_is_said(page, schedule):
    schedule.add("mail", "t", 30)
    shown = page.post("/add", **(filled(page, "/add") | {"name": "mail", "task": "t", "when": "0 7 * * *"}))
    assert shown.status == 422
    assert "There is an entry of this name already." in shown.text


def test_an_edit_changes_what_was_changed_alone(page, schedule):
    schedule.add("mail", "tasks.mail", 3600, (1,), {"x": 1}, options={"queue": "slow", "priority": 2}, jitter=5)
    due = schedule["mail"].next_due
    form = filled(page, "/entry/edit", name="mail")
    assert "mail is changed." in page.done("/entry/edit", **(form | {"args": "[2]"})).text
    after = schedule["mail"]
    assert (after.args, after.revision, after.next_due) == ((2,), 2, due)
    (change,) = schedule.log("mail")[0].changes
    assert change[0] == "args"
    form = filled(page, "/entry/edit", name="mail")
    assert "Nothing was changed." in page.done("/entry/edit", **form).text
    assert schedule["mail"].revision == 2
    form = filled(page, "/entry/edit", name="mail")
    page.done("/entry/edit", **(form | {"queue": "", "jitter": "", "how": "cron", "when": "0 7 * * *"}))
    after = schedule["mail"]
    assert (after.options, after.jitter, str(after.schedule)) == ({"priority": 2}, 0, "0 7 * * *")


def test_two_who_edit_at_once_lose_nothing(page, schedule):
    schedule.add("mail", "tasks.mail", 3600)
    form = filled(page, "/entry/edit", name="mail")
    schedule.update("mail", grace=60, note="theirs", actor="bob@web-1")
    shown = page.post("/entry/edit", **(form | {"args": "[2]", "note": "mine"}))
    assert shown.status == 409
    assert "Somebody else has edited it meanwhile" in shown.text
    assert schedule["mail"].note == "theirs"
    assert "<td>grace</td>" in shown.html
    assert "<td>note</td><td><code></code></td><td><code>theirs</code></td><td><code>mine</code></td>" in shown.html
    # The form holds both, and saving it again is enough.
    (hidden,) = shown.forms("/entry/edit")
    assert hidden["revision"] == "2"
    merged = json.loads(hidden["base"]) | {"args": "[2]", "note": "mine"} | hidden
    assert "mail is changed." in page.done("/entry/edit", **merged).text
    after = schedule["mail"]
    assert (after.args, after.note, after.grace) == ((2,), "mine", 60.0)


def test_the_preview_shows_the_next_slots_and_changes_nothing(page, schedule):
    form = filled(page, "/add") | {"name": "mail", "task": "t", "when": "0 7 * * *"}
    form.pop("request")
    live = page.ask(
        "POST",
        "/preview",
        body=_body(form),
        content_type="application/x-www-form-urlencoded",
        x_live="1",
    )
    assert live.status == 200
    assert "at 07:00, every day, Europe/Berlin" in live.text or "at 07:00" in live.text
    assert live.html.count("<li>") == 10
    assert "<html" not in live.html
    whole = page.post("/preview", **form)
    assert whole.status == 200
    assert "<html" in whole.html
    wrong = page.ask(
        "POST",
        "/preview",
        body=_body(form | {"when": "0 7"}),
        content_type="application/x-www-form-urlencoded",
        accept="application/json",
    )
    assert list(wrong.json["errors"]) == ["when"]
    assert len(schedule) == 0


def _body(form: dict[str, str]) -> bytes:
    from urllib.parse import urlencode

    return urlencode(form).encode()


def test_a_form_that_is_not_whole_is_refused(page, schedule):
    schedule.add("mail", "t", 30)
    form = filled(page, "/entry/edit", name="mail")
    form.pop("revision")
    assert page.post("/entry/edit", **form).status == 422
    assert page.post("/entry/edit", **(form | {"revision": 1, "base": "["})).status == 422


def test_a_copy_begins_like_the_other(page, schedule):
    schedule.add("mail", "tasks.mail", "0 7 * * *", (7,), labels={"team": "mail"})
    form = filled(page, "/add", like="mail")
    assert (form["name"], form["when"], form["args"], form["labels"]) == ("", "0 7 * * *", "[7]", "team=mail")


def test_what_a_browser_does_to_line_ends_is_no_change(page, schedule):
    schedule.add("mail", "t", 3600, note="a\r\nb", labels={"team": "a", "tenant": "b"})
    form = filled(page, "/entry/edit", name="mail")
    sent = {"note": "ab", "labels": "team=a\r\ntenant=b", "queue": "slow"}
    page.done("/entry/edit", **(form | sent))
    assert (schedule["mail"].note, schedule["mail"].options) == ("a\r\nb", {"queue": "slow"})


@pytest.mark.parametrize(
    "policies",
    [
        {"options": {"expires": datetime(2040, 1, 1, tzinfo=UTC)}},
        {"options": {"expires": 1234567.0}, "grace": 1234567.0},
        {"labels": {"team": "a,b"}},
        {"when": Interval.of(3600, relative=True)},
    ],
)
def test_a_form_says_all_of_an_entry(page, schedule, policies):
    given = dict(policies)
    schedule.add("mail", "t", given.pop("when", 3600), **given)
    form = filled(page, "/entry/edit", name="mail")
    page.done("/add", **(form | {"name": "copy", "base": "", "revision": ""}))
    before, after = schedule["mail"], schedule["copy"]
    for part in ("schedule", "options", "labels", "grace"):
        assert getattr(after, part) == getattr(before, part)
    page.done("/entry/edit", **({name: text for name, text in form.items() if name != "request"} | {"queue": "slow"}))
    assert schedule["mail"].options == {**before.options, "queue": "slow"}


def test_a_form_that_was_refused_may_be_mended_and_sent_again(page, schedule):
    form = filled(page, "/add") | {"name": "mail", "task": "t", "when": "no"}
    assert page.post("/add", **form).status == 422
    page.done("/add", **(form | {"when": "0 7 * * *"}))
    assert "mail" in schedule
