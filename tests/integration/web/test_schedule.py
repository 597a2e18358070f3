"""The page of all entries: search, filters, order, paging, what a row shows, and what is done to many."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from redlock_beat.clock import micros
from redlock_beat.store import listing
from redlock_beat.web import catalogue, search
from redlock_beat.web.pages import bulk
from tests.beats import LASTING, make_app
from tests.schemas import fits


def names(page, **query):
    return [one["name"] for one in page.json("/", **query)["entries"]]


def walked(page, **query):
    """All entries of a list, page by page."""
    found, after = [], None
    while True:
        data = page.json("/", **query, **({"after": after} if after else {}))
        found += [one["name"] for one in data["entries"]]
        after = data["after"]
        if after is None:
            return found


@pytest.fixture
def some(schedule):
    """Entries of every state, task, queue, label and origin."""
    schedule.add("Mail-daily", "tasks.mail", "0 7 * * *", labels={"team": "billing"}, options={"queue": "slow"})
    schedule.add("mail-hourly", "tasks.mail", 3600, labels={"team": "ops", "tenant": "42"})
    schedule.add("the-mail", "tasks.report", 60)
    schedule.add("once", "tasks.report", datetime.now(UTC) + timedelta(days=3), keep=True)
    schedule.pause("mail-hourly", note="provider is down", actor="ann")
    return schedule


def test_a_search_finds_parts_of_names_those_that_begin_with_it_first(page, some):
    assert names(page) == ["Mail-daily", "mail-hourly", "once", "the-mail"]
    assert names(page, q="mail") == ["Mail-daily", "mail-hourly", "the-mail"]
    assert names(page, q="MAIL-") == ["Mail-daily", "mail-hourly"]
    assert names(page, q="none") == []
    found = page.get("/", q="none")
    assert "No entry is like that." in found.text
    assert "0 entries found" in found.text


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"state": "paused"}, ["mail-hourly"]),
        ({"state": "active"}, ["Mail-daily", "once", "the-mail"]),
        ({"state": "finished"}, []),
        ({"task": "report"}, ["once", "the-mail"]),
        ({"task": "tasks.m*"}, ["Mail-daily", "mail-hourly"]),
        ({"task": "mail", "q": "daily"}, ["Mail-daily"]),
        ({"queue": "slow"}, ["Mail-daily"]),
        ({"label": "team"}, ["Mail-daily", "mail-hourly"]),
        ({"label": "team=ops"}, ["mail-hourly"]),
        ({"label": ["team=*", "tenant=4?"]}, ["mail-hourly"]),
        ({"label": "team=none"}, []),
        ({"origin": "config"}, []),
        ({"origin": "api", "q": "once"}, ["once"]),
        (
            {"q": "", "state": "", "task": "", "label": "", "sort": ""},
            ["Mail-daily", "mail-hourly", "once", "the-mail"],
        ),
    ],
)
def test_filters(page, some, query, expected):
    assert names(page, **query) == expected
    assert page.json("/", **query)["count"] == len(expected)
    assert page.get("/", **query).status == 200


def test_the_list_is_paged_by_name_and_by_when_they_are_sent(visitor, schedule):
    with schedule.batch() as batch:
        for i in range(23):
            batch.add(f"entry-{i:02d}", "tasks.mail", 3600 if i % 2 else 1800 + i)
    page = visitor(page_size=5)
    every = [f"entry-{i:02d}" for i in range(23)]
    assert walked(page) == every
    assert walked(page, q="ENTRY-1") == every[10:20]
    assert walked(page, q="1") == [every[1], *every[10:20], every[21]]
    assert walked(page, task="mail") == every
    assert sorted(walked(page, sort="next")) == every
    soonest = walked(page, sort="next")[:12]
    assert soonest == sorted(every[::2], key=lambda name: schedule[name].next_due)
    html = page.get("/").html
    assert 'rel="next" href="/?after=0entry-04"' in html
    assert "First page" in page.get("/", after="0entry-04").text
    for after in ("x", "~", "9" * 50 + "~1"):
        assert page.get("/", after=after, sort="next" if "~" in after else "name").status == 422
    assert len(page.json("/", n=2)["entries"]) == 2


def test_a_filter_that_few_fit_goes_on_where_it_stopped(visitor, schedule, monkeypatch):
    monkeypatch.setattr(search, "LOOKED_AT", 10)
    with schedule.batch() as batch:
        for i in range(25):
            batch.add(f"entry-{i:02d}", "tasks.mail", 3600 + i, options={"queue": "slow"} if i in (3, 21) else {})
    page = visitor(page_size=5)
    assert walked(page, sort="next", queue="slow") == ["entry-03", "entry-21"]
    looked = page.get("/", sort="next", queue="none")
    assert "None among the 10 entries that were looked at." in looked.text
    assert "Look further" in looked.text


def test_what_has_changed_since_it_was_catalogued_is_shown_as_it_is_now(page, some, valkey):
    assert names(page, state="active") == ["Mail-daily", "once", "the-mail"]
    some.pause("once")
    some.remove("the-mail")
    some.add("fresh", "tasks.new", 60)
    assert names(page, state="active") == ["fresh", "Mail-daily"]
    assert names(page, task="new") == ["fresh"]
    valkey.client().hdel(some.keys.entries, "fresh")  # no edit says so
    assert "fresh" not in names(page)


def test_a_row_shows_the_entry_its_state_and_its_runs(page, some, valkey):
    client, keys, now = valkey.client(), some.keys, micros(some.now())
    for i in range(70):
        at = now - (70 - i) * 60_000_000
        client.xadd(keys.ledger, {"is": "sent", "entry": "the-mail", "at": at + 4200, "nominal": at, "id": f"i{i}"})
        ran = {
            "is": "ran",
            "entry": "the-mail",
            "at": at + 9_000_000,
            "id": f"i{i}",
            "took": "1.5",
            "outcome": "succeeded",
        }
        client.xadd(keys.ledger, ran if i != 68 else {**ran, "outcome": "failed", "why": "KeyError: 'x'"})
    client.xadd(keys.ledger, {"is": "missed", "entry": "Mail-daily", "at": now, "from": now, "to": now, "count": 3})
    found = page.get("/")
    assert found.html.count('class="run-succeeded"') == 59
    assert found.html.count('class="run-failed"') == 1
    assert "failed, took 1.5 s, sent 4.2 ms late (KeyError: &#39;x&#39;)" in found.html
    for words in (
        "succeeded in 1.5 s",
        "4.2 ms late",
        "missed",
        "provider is down",
        "by ann",
        "at 07:00, every day, Europe/Berlin",
        "0 7 * * *",
        "every minute",
        "team=billing",
        "queue slow",
        "runtime",
        "No beat leads",
    ):
        assert words in found.text, words
    rows = {one["name"]: one for one in page.json("/")["entries"]}
    assert rows["the-mail"]["runs"][-1]["state"] == "succeeded"
    assert len(rows["the-mail"]["runs"]) == 60
    assert rows["mail-hourly"]["state"] == "paused"
    assert rows["mail-hourly"]["paused_by"] == "ann"


def test_the_runs_of_a_page_are_read_once(page, some, valkey):
    client, keys = valkey.client(), some.keys
    client.xadd(keys.ledger, {"is": "sent", "entry": "the-mail", "at": 1, "nominal": 1, "id": "i"})
    page.get("/")
    client.config_resetstat()
    page.get("/")
    commands = client.info("commandstats")
    assert "cmdstat_xrevrange" not in commands or commands["cmdstat_xrevrange"]["calls"] <= 2  # of the edit log
    assert commands["cmdstat_xread"]["calls"] == 1


def test_long_definitions_are_read_a_few_at_a_time(visitor, schedule, valkey, monkeypatch):
    monkeypatch.setattr(listing, "BYTES", 1_000)
    monkeypatch.setattr(catalogue, "PAGE", 20)
    every = [f"entry-{i:03d}" for i in range(150)]
    with schedule.batch() as batch:
        for name in every:
            batch.add(name, "tasks.mail", 3600, ("x" * 400,))
    client = valkey.client()
    client.config_resetstat()
    assert names(visitor()) == every[:50]
    calls = {name: one["calls"] for name, one in client.info("commandstats").items()}
    assert calls["cmdstat_zmscore"] == 50  # one entry at a time: two are longer than a page may be
    assert calls["cmdstat_hscan"] > 20  # instead of 8


def test_what_is_in_quarantine_says_why(page, some, valkey):
    client, keys = valkey.client(), some.keys
    client.hset(keys.quarantine, "once", json.dumps({"error": "ImportError: no module", "definition": "x"}))
    client.hset(keys.entries, "broken", '{"v": 99}')
    client.hset(keys.quarantine, "broken", "rubbish")
    assert names(page, state="quarantined") == ["broken", "once"]
    assert names(page, state="quarantined", q="on") == ["once"]
    assert "once" not in names(page, state="active")
    text = page.get("/", state="quarantined").text
    assert "ImportError: no module" in text
    assert "rubbish" in text
    assert "2 in quarantine" in page.get("/").text
    client.hdel(keys.quarantine, "broken")
    rows = {one["name"]: one for one in page.json("/")["entries"]}
    assert "its schema version is 99" in rows["broken"]["error"]


def test_bytes_that_are_no_text_stop_no_page(page, some, valkey):
    client, keys = valkey.client(), some.keys
    client.hset(keys.entries, b"\xff\xfe", b"\xff{")
    client.hset(keys.quarantine, b"\xff\xfe", b"\xff")
    client.zadd(keys.due, {b"\xff\xfe": 4e9})
    client.xadd(keys.ledger, {b"is": b"\xff", b"entry": b"\xff\xfe"})
    client.xadd(keys.edit_log, {b"is": b"\xff", b"entry": b"\xff\xfe"})
    for path in (
        "/",
        "/?sort=next",
        "/?state=quarantined",
        "/timeline",
        "/beats",
        "/runs",
        "/log",
        "/export",
        "/metrics",
    ):
        there, _, query = path.partition("?")
        assert page.ask("GET", there, query).status == 200, path
        assert page.ask("GET", there, query, accept="application/json").status == 200, path
    assert "mail-hourly" in page.get("/").text


def test_configured_entries_are_told_from_others_and_when_they_were_edited(page, beats, valkey, schedule):
    app = make_app(valkey.url(), {"conf": {"task": "tasks.add", "schedule": 3600.0}}, **LASTING)
    beats(app).lead()
    schedule.add("mine", "tasks.add", 3600)
    assert names(page, origin="config") == ["conf"]
    text = page.get("/", origin="config").text
    assert "configured" in text
    assert "edited" not in text
    assert "No beat leads" not in text
    schedule.update("conf", when=7200)
    assert "edited" in page.get("/", origin="config").text


def test_rows_are_as_the_command_line_prints_them(page, some):
    for one in page.json("/")["entries"]:
        fits({key: value for key, value in one.items() if key not in ("error", "edited", "runs")}, "entry")


def test_arguments_are_shown_by_redact(visitor, schedule):
    schedule.add("mail", "tasks.mail", 60, kwargs={"secret": "s3cret"})
    hidden = visitor(redact=lambda task, args, kwargs: (args, dict.fromkeys(kwargs, "***")))
    assert hidden.json("/")["entries"][0]["kwargs"] == {"secret": "***"}
    assert "s3cret" not in hidden.get("/").html


# --- what is done to many ---


def confirmed(page, path, **form):
    """Send the form, see the question, and say yes."""
    asked = page.post(path, **form)
    assert asked.status == 200, asked.text
    (hidden,) = asked.forms(path)
    rest = {key: form[key] for key in ("name", "label") if key in form}
    return asked, page.post(path, **{**hidden, **rest})


def test_those_that_were_chosen_are_paused_resumed_and_sent(page, some, valkey):
    asked, done = confirmed(page, "/bulk/pause", name=["once", "the-mail", "mail-hourly"], note="move")
    assert "Pause 3 entries?" in asked.text
    assert (done.status, some["once"].enabled) == (303, False)
    assert (some["the-mail"].note, some["the-mail"].paused_by) == (None, "web@127.0.0.1")
    assert some["mail-hourly"].note == "provider is down"  # it was paused before
    assert "Paused 2 entries." in page.get("/").text
    confirmed(page, "/bulk/resume", name=["once", "the-mail", "Mail-daily"])
    assert some["once"].enabled
    assert "Resumed 2 entries." in page.get("/").text
    confirmed(page, "/bulk/run", name="once")
    assert "Sent now: 1 entry." in page.get("/").text
    assert valkey.client().zcard(some.keys.manual) == 1


def test_many_are_paused_until_a_time(page, some):
    until = (
        (datetime.now(UTC) + timedelta(days=3)).astimezone(ZoneInfo("Europe/Berlin")).replace(microsecond=0, second=0)
    )
    form = {"all": "yes", "q": "mail", "confirmed": "yes"}
    for wrong, words in (("soon", "not a time"), ("2020-01-01T00:00", "It is past")):
        refused = page.post("/bulk/pause", **form, until=wrong)
        assert (refused.status, words in refused.text) == (422, True)
    assert page.post("/bulk/pause", **form, until=f"{until:%Y-%m-%dT%H:%M}").status == 303
    assert {some[name].paused_until for name in ("Mail-daily", "the-mail")} == {until}
    assert names(page, state="paused") == ["Mail-daily", "mail-hourly", "the-mail"]
    assert f"until {until.day} {until:%b %H:%M}" in page.get("/", q="the").text


def test_all_that_a_search_finds_are_counted_and_paused(page, some):
    asked, done = confirmed(page, "/bulk/pause", all="yes", q="mail", note="why not")
    assert "Pause 3 entries?" in asked.text
    assert "q mail" in asked.text
    assert done.headers["Location"] == "/?q=mail"
    assert [one.name for one in some if one.enabled] == ["once"]
    assert some["the-mail"].note is None
    asked = page.post("/bulk/resume", all="yes", state="paused", confirmed="yes", expected=3, note="all well")
    assert asked.status == 303
    assert {one.enabled for one in some} == {True}
    assert {row.why for row in some.log() if row.what == "resumed"} == {"all well"}


def test_when_more_fit_than_were_counted_it_asks_again(page, some):
    asked = page.post("/bulk/pause", all="yes", task="report", confirmed="yes", expected=1)
    assert (asked.status, "There are more than before" in asked.text) == (200, True)
    assert some["once"].enabled


def test_nothing_chosen_is_said(page, some):
    assert page.post("/bulk/pause").status == 422
    assert page.post("/bulk/pause", q="mail", confirmed="yes").status == 422


def test_so_many_that_one_request_does_a_part_and_offers_to_go_on(visitor, schedule, monkeypatch):
    monkeypatch.setattr(bulk, "MOST", 10)
    monkeypatch.setattr(bulk, "PAGE", 5)
    page = visitor()
    with schedule.batch() as batch:
        for i in range(25):
            batch.add(f"entry-{i:02d}", "tasks.mail", 3600)
    form = {"all": "yes", "confirmed": "yes", "task": "mail"}
    part = page.post("/bulk/pause", **form)
    assert "Paused 10 entries. There are more" in part.text
    (hidden,) = part.forms("/bulk/pause")
    assert hidden["after"] == "0entry-09"
    (hidden,) = page.post("/bulk/pause", **hidden).forms("/bulk/pause")
    assert page.post("/bulk/pause", **hidden).status == 303
    assert [one.name for one in schedule if one.enabled] == []


def test_one_that_refuses_stops_no_other(page, schedule, valkey):
    schedule.add("over", "tasks.mail", 3600, ends=datetime.now(UTC) + timedelta(hours=2))
    schedule.add("well", "tasks.mail", 3600)
    for name in ("over", "well"):
        schedule.pause(name)
    client, keys = valkey.client(), schedule.keys
    definition = json.loads(client.hget(keys.entries, "over"))
    client.hset(keys.entries, "over", json.dumps({**definition, "ends": 1}))
    page.post("/bulk/resume", name=["over", "well"], confirmed="yes")
    assert schedule["well"].enabled
    text = page.get("/").text
    assert "Resumed 1 entry. 1 were refused" in text or "Resumed 2 entries." in text
