"""The timeline: how much is due when, and what an outage would do."""

from __future__ import annotations

from datetime import timedelta

from redlock_beat.web.pages import timeline


def test_the_herd_at_one_minute_is_seen(page, schedule):
    for i in range(7):
        schedule.add(f"e{i}", "t", "0 * * * *")
    schedule.add("other", "t", "30 * * * *")
    found = page.json("/timeline", reach="day")
    assert (len(found["counts"]), found["seconds"], found["entries"]) == (24 * 60, 60, 8)
    assert found["most"]["count"] == 7
    assert found["most"]["entry"].startswith("e")
    # The hour that has begun is shown whole; what went by of it is empty.
    assert sum(one == 7 for one in found["counts"]) == 23
    assert not found["at_least"]
    shown = page.get("/timeline", reach="day")
    assert "e0" in shown.text or "and 6 more" in shown.text
    assert shown.html.count("<rect") == 24 * 60


def test_each_reach_and_each_filter(page, schedule):
    schedule.add("a", "mail.send", 600, labels={"team": "mail"})
    schedule.add("b", "billing.run", 600)
    for reach, columns in (("hour", 60), ("day", 1440), ("week", 672)):
        assert len(page.json("/timeline", reach=reach)["counts"]) == columns
    assert page.json("/timeline", task="mail.*")["entries"] == 1
    assert page.json("/timeline", label="team=mail")["entries"] == 1
    assert page.json("/timeline", label="team")["entries"] == 1
    assert page.json("/timeline", name="b")["total"] in (5, 6)
    assert page.get("/timeline", name="none").status == 404
    assert page.get("/timeline", reach="year").status == 422


def test_an_outage_is_computed_and_a_wrong_one_is_said_at_its_field(page, schedule):
    schedule.add("a", "t", "0 * * * *")
    begin = schedule.now() + timedelta(hours=2)
    ask = {"from": begin.isoformat(), "to": (begin + timedelta(hours=3)).isoformat()}
    found = page.json("/timeline", **ask)["outage"]
    assert found["counts"] == {"missed": 2, "sent": 2}  # the last one is on time again
    shown = page.get("/timeline", **ask)
    assert "Slot by slot" in shown.text
    turned = page.get("/timeline", **{"from": ask["to"], "to": ask["from"]})
    assert turned.status == 422
    assert "ends before it starts" in turned.text
    assert 'aria-invalid="true"' in turned.html
    wrong = page.get("/timeline", **{"from": "yesterday", "to": ask["to"]})
    assert "'yesterday' is not a time" in wrong.text
    # A clock that is put back shows this time twice.
    twice = page.get("/timeline", **{"from": "2027-10-31T02:30", "to": "2027-11-01T00:00"})
    assert "happens twice" in twice.text


def test_what_takes_too_long_is_said_to_be_less_than_all(page, schedule, monkeypatch):
    for i in range(5):
        schedule.add(f"e{i}", "t", 60)
    monkeypatch.setattr(timeline, "MOST_SLOTS", 100)
    found = page.json("/timeline")
    assert found["at_least"]
    assert found["total"] == 100
    assert "Not everything was counted" in page.get("/timeline").text
    monkeypatch.setattr(timeline, "MOST_ENTRIES", 4)
    refused = page.get("/timeline", **{"from": "2027-01-01T00:00", "to": "2027-01-02T00:00"})
    assert refused.status == 422
    assert "name one" in refused.text


def test_a_filter_that_nothing_fits_ends_in_time_too(page, schedule, monkeypatch):
    schedule.add("mail", "t", 60)
    monkeypatch.setattr(timeline, "PATIENCE", -1)
    assert page.json("/timeline", task="none")["at_least"]


def test_a_time_at_the_end_of_the_calendar_is_refused(page):
    for at in ("0001-01-01T00:00", "9999-12-31T23:59-12:00"):
        assert page.get("/timeline", **{"from": at, "to": "2027-01-01"}).status == 422
