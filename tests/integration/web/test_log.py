"""The page of the edit log: who changed what, when, why."""

from __future__ import annotations


def test_edits_are_shown_with_what_they_changed(page, schedule):
    schedule.add("mail", "tasks.mail", 30, actor="ann@web-1")
    schedule.update("mail", grace=60, actor="bob@web-1", why="ticket <7>")
    schedule.add("other", "tasks.mail", 30, actor="ann@web-1")
    shown = page.get("/log")
    assert "ticket <7>" in shown.text
    assert "<ins>60" in shown.html
    rows = page.json("/log", name="mail")["rows"]
    assert [row["what"] for row in rows] == ["changed", "added"]
    assert [row["entry"] for row in page.json("/log", actor="ann@*")["rows"]] == ["other", "mail"]
    assert "No edit that fits." in page.get("/log", actor="nobody").text
    assert "/log?n=8" in page.get("/log", n=2).html


def test_arguments_that_may_not_be_seen_are_not_seen(visitor, schedule):
    schedule.add("mail", "tasks.mail", 30, kwargs={"to": "secret@example.org"})
    schedule.update("mail", kwargs={"to": "hidden@example.org"})
    shown = visitor(redact=lambda task, args, kwargs: ((), {})).get("/log")
    assert shown.status == 200
    assert "example.org" not in shown.html
