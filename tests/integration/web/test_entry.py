"""The page of one entry: everything about it, and each verb."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from redlock_beat import Schedule
from redlock_beat.web import tail
from redlock_beat.web.pages import entry
from tests.beats import messages


def test_everything_about_an_entry_is_shown(page, schedule):
    schedule.add(
        "mail",
        "tasks.mail",
        "0 7 * * 1-5",
        (7,),
        {"to": "ann"},
        options={"queue": "slow"},
        timezone="Europe/Berlin",
        missed="skip",
        grace=600,
        labels={"team": "mail"},
        exclude=["12-25"],
    )
    shown = page.get("/entry", name="mail").text
    for words in ("tasks.mail", "at 07:00, Monday to Friday, Europe/Berlin", "[7]", '"to": "ann"', '"queue": "slow"'):
        assert words in shown
    for words in ("skip, if not later than 10 min", "team=mail", "12-25", "runtime", "Nothing yet."):
        assert words in shown
    assert shown.count("07:00:00") >= 10
    assert page.json("/entry", name="mail")["task"] == "tasks.mail"
    assert page.get("/entry", name="none").status == 404


def test_a_change_of_the_clock_is_noted(page, schedule):
    at = schedule.now().replace(month=10, day=20, hour=0, minute=0, second=0, microsecond=0)
    at = at if at > schedule.now() else at.replace(year=at.year + 1)
    schedule.add("daily", "t", "0 7 * * *", timezone="Europe/Berlin", starts=at)
    shown = page.get("/entry", name="daily").text
    assert shown.count("the clock of Europe/Berlin goes back before this one") == (1 if _sunday_in_ten(at) else 0)


def _sunday_in_ten(at: datetime) -> bool:
    """Whether the last Sunday of that October is one of the ten days that are shown."""
    last = at.replace(day=31)
    last -= timedelta(days=(last.weekday() + 1) % 7)
    return 20 < last.day <= 29


def test_each_verb_does_what_it_says(page, valkey, beats, schedule):
    beat = beats(valkey).lead()
    schedule.add("mail", "tasks.add", 3600, (1,))
    shown = page.done("/entry/pause", name="mail", note="provider <is> down", until="2030-01-01T00:00", revision=1)
    assert "Paused mail until 2030-01-01 00:00:00." in shown.text
    assert "provider <is> down" in shown.text
    assert "state-paused" in shown.html
    assert schedule["mail"].paused_by == "web@127.0.0.1"
    assert "Resumed mail." in page.done("/entry/resume", name="mail").text
    assert schedule["mail"].next_due is not None
    assert "The next 2 slots of mail will be skipped." in page.done("/entry/skip", name="mail", n=2).text
    assert "state-skipped" in page.get("/entry", name="mail").html
    assert "No slot of mail is skipped any more." in page.done("/entry/skip", name="mail", n=0).text
    shown = page.done("/entry/run", name="mail", args="[5]")
    assert "mail is sent now, as" in shown.text
    client = valkey.client()
    beat.until(lambda: messages(client))
    assert messages(client)[0]["headers"]["argsrepr"] == "[5]" or "5" in messages(client)[0]["headers"]["argsrepr"]
    beat.until(lambda: schedule.history("mail"))
    shown = page.get("/entry", name="mail")
    assert "trigger" in shown.text
    assert "<svg" in shown.html
    assert "mail is post now." in page.done("/entry/rename", name="mail", new="post").text
    assert "post is removed." in page.done("/entry/remove", name="post", why="done with it").text
    assert "post" not in schedule
    assert schedule.log("post")[0].why == "done with it"


def test_a_backfill_begins_waits_and_is_cancelled(page, schedule):
    schedule.add("mail", "tasks.add", "0 * * * *")
    shown = page.done("/entry/backfill", **{"name": "mail", "from": "2026-01-01T00:30", "to": "2026-01-01T03:30"})
    assert "3 slots of mail will be sent, 10 a second." in shown.text
    assert "3 backfill wait to be sent" in shown.text
    assert "3 waiting slots are cancelled." in page.done("/entry/cancel", name="mail").text
    assert schedule.waiting("mail") == []


@pytest.mark.parametrize(
    ("path", "form", "words"),
    [
        ("/entry/pause", {"until": "2020-01-01T00:00"}, "past"),
        ("/entry/pause", {"until": "never"}, "'never' is not a time"),
        ("/entry/run", {"args": '{"a": 1}'}, "args"),
        ("/entry/backfill", {"from": "x", "to": "y"}, "'x' is not a time"),
    ],
)
def test_what_is_wrong_is_said_beside_the_form(page, schedule, path, form, words):
    schedule.add("mail", "tasks.add", 3600)
    shown = page.post(path, name="mail", **form)
    assert shown.status == 422
    assert words in shown.text
    assert '<details class="verb"  open>' in shown.html
    assert schedule["mail"].revision == 1


def test_an_entry_that_cannot_be_read_is_shown_as_it_stands_and_removed(page, visitor, schedule, valkey):
    client, keys = valkey.client(), schedule.keys
    raw = '{"v": 99, "args": ["s3cret"], "<b>": 1}'
    client.hset(keys.entries, "bad", raw)
    shown = page.get("/entry", name="bad")
    assert (shown.status, raw in shown.text, "<b>" in shown.html.split("</h1>")[1].split("<h2")[0]) == (200, True, True)
    assert "its schema version is 99" in shown.text
    found = page.json("/entry", name="bad")
    assert (found["state"], found["definition"]) == ("quarantined", raw)
    assert page.post("/entry/pause", name="bad").status == 422
    hidden = visitor(redact=lambda task, args, kwargs: ((), {}))
    assert "s3cret" not in hidden.get("/entry", name="bad").html + str(hidden.json("/entry", name="bad"))
    assert "Remove" not in visitor(access=lambda request: "read_only").get("/entry", name="bad").text
    client.hset(keys.entries, "huge", "{" * 200_000)
    assert len(page.get("/entry", name="huge").html) < 40_000
    assert "bad is removed." in page.done("/entry/remove", name="bad").text
    assert client.hexists(keys.entries, "bad") is False


def test_an_entry_of_a_class_that_is_unknown_here_is_shown_with_the_reason(page, schedule, valkey):
    client, keys = valkey.client(), schedule.keys
    schedule.add("mail", "tasks.mail", 30)
    data = json.loads(client.hget(keys.entries, "mail"))
    del data["s_every"]
    client.hset(keys.entries, "mail", json.dumps({**data, "kind": "custom", "s_name": "phase", "s_data": {"x": 1}}))
    shown = page.get("/entry", name="mail")
    assert shown.status == 200
    assert "by the class phase" in shown.text
    assert "'phase' is not registered here" in shown.text


def test_what_a_visit_reads_of_one_entry_is_bounded(page, schedule, valkey, monkeypatch):
    client, keys = valkey.client(), schedule.keys
    schedule.add("mail", "tasks.mail", "0 * * * *")
    schedule.backfill("mail", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC))
    monkeypatch.setattr(entry, "WAITING", 1)
    monkeypatch.setattr(tail, "PAGE", 5)
    monkeypatch.setattr(tail, "BACK", 2)
    assert " 1416 backfill wait" not in page.get("/entry", name="mail").text
    assert "at least " in page.get("/entry", name="mail").text
    for i in range(20):
        client.xadd(keys.ledger, {"is": "sent", "entry": "other", "at": i, "nominal": i, "id": f"i{i}"})
    assert "Nothing among the newest 10 rows of the ledger." in page.get("/entry", name="mail").text
    assert "Nothing that fits among the newest 10 rows" in page.get("/runs", name="mail").text
    client.config_resetstat()
    page.get("/entry", name="mail")
    read = {name.removeprefix("cmdstat_"): one["calls"] for name, one in client.info("commandstats").items()}
    assert "hgetall" not in read or read["hgetall"] <= 1  # of the hold; no status of everything
    assert read["zscan"] == 1


def test_an_edit_that_is_stale_is_refused(page, schedule):
    schedule.add("mail", "tasks.add", 3600)
    schedule.update("mail", grace=5)
    assert page.post("/entry/pause", name="mail", revision=1).status == 409
    assert page.post("/entry/remove", name="mail", revision=1).status == 409
    assert not schedule["mail"].paused


def test_who_may_only_look_sees_no_verb(visitor, schedule):
    schedule.add("mail", "tasks.add", 3600)
    guest = visitor(access=lambda request: "read_only")
    assert 'action="/entry/' not in guest.get("/entry", name="mail").html
    for verb in ("pause", "resume", "skip", "run", "backfill", "cancel", "rename", "remove"):
        sent = guest.post(f"/entry/{verb}", **{"name": "mail", "new": "x", "from": "a", "to": "b"})
        assert sent.status == 403
    assert guest.get("/add").status == 403
    assert guest.get("/entry/edit", name="mail").status == 403


def test_what_is_copied_makes_the_same_entry(page, schedule, valkey):
    schedule.add(
        "it's", "tasks.mail", "0 7 * * 1-5", (7, "ä"), {"to": None}, timezone="Europe/Berlin", labels={"team": "mail"}
    )
    before = page.json("/entry", name="it's")
    from redlock_beat.web.snippets import snippets

    text = snippets(schedule["it's"])["python"]
    schedule.remove("it's")
    exec(text, {"schedule": schedule})  # the form that is shown to be pasted into a program
    after = Schedule.from_url(valkey.url())["it's"]
    assert after.kwargs == {"to": None}
    changing = ("uid", "next_due", "last_sent")
    now = page.json("/entry", name="it's")
    assert {key: value for key, value in now.items() if key not in changing} == {
        key: value for key, value in before.items() if key not in changing
    }


def test_arguments_that_may_not_be_seen_are_in_no_form_and_stay(visitor, schedule):
    schedule.add("mail", "tasks.mail", 30, kwargs={"to": "secret@example.org"})
    guest = visitor(redact=lambda task, args, kwargs: (args, {"to": "***"}))
    for path in ("/entry", "/entry/edit"):
        assert "secret@" not in guest.get(path, name="mail").html
    assert "secret@" not in guest.get("/add", like="mail").html
    form = guest.json("/entry/edit", name="mail")["values"]
    sent = guest.post("/entry/edit", **{**form, "note": "new", "base": json.dumps(form), "revision": 1})
    assert sent.status == 303
    assert schedule["mail"].note == "new"
    assert schedule["mail"].kwargs == {"to": "secret@example.org"}


def test_options_that_carry_arguments_are_hidden_too_and_stay_when_the_queue_is_edited(visitor, schedule):
    schedule.add("mail", "tasks.mail", 30, ("a",), options={"headers": {"token": "s3cret"}, "queue": "old"})
    guest = visitor(redact=lambda task, args, kwargs: (("***",), kwargs))
    for path in ("/entry", "/entry/edit"):
        assert "s3cret" not in guest.get(path, name="mail").html
        assert "s3cret" not in str(guest.json(path, name="mail"))
    form = guest.json("/entry/edit", name="mail")["values"]
    sent = guest.post("/entry/edit", **{**form, "queue": "new", "base": json.dumps(form), "revision": 1})
    assert sent.status == 303
    assert schedule["mail"].options == {"headers": {"token": "s3cret"}, "queue": "new"}
    copied = guest.json("/add", like="mail")["values"]
    assert (copied["args"], copied["kwargs"], copied["options"]) == ("[]", "{}", "")
