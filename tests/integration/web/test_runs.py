"""The page of runs: what became of occurrences."""

from __future__ import annotations


def test_rows_are_found_by_name_and_by_what_became_of_them(page, valkey, beats, schedule):
    beat = beats(valkey).lead()
    schedule.add("mail", "tasks.add", 3600)
    schedule.add("bill", "tasks.add", 3600)
    sent = schedule.trigger("mail")
    schedule.trigger("bill")
    beat.until(lambda: len(schedule.history()) == 2)
    assert {row["entry"] for row in page.json("/runs")["rows"]} == {"mail", "bill"}
    (row,) = page.json("/runs", q="MAI")["rows"]
    assert (row["what"], row["task_id"], row["source"]) == ("sent", sent, "trigger")
    assert [one["entry"] for one in page.json("/runs", name="bill")["rows"]] == ["bill"]
    assert page.json("/runs", state="failed")["rows"] == []
    assert "Nothing that fits among the newest 2 rows" in page.get("/runs", state="failed").text
    assert len(page.json("/runs", state="sent")["rows"]) == 2
    assert page.get("/runs", state="odd").status == 422
    assert page.get("/runs", name="none").status == 404


def test_a_task_id_leads_where_the_option_says(visitor, valkey, beats, schedule):
    beat = beats(valkey).lead()
    schedule.add("mail", "tasks.add", 3600)
    sent = schedule.trigger("mail")
    beat.until(lambda: schedule.history())
    shown = visitor(task_url="https://flower.example/task/{id}").get("/runs")
    assert f'href="https://flower.example/task/{sent}"' in shown.html


def test_more_rows_are_one_link_away(page, valkey, beats, schedule):
    beat = beats(valkey).lead()
    schedule.add("mail", "tasks.add", 3600)
    for _ in range(3):
        schedule.trigger("mail")
    beat.until(lambda: len(schedule.history()) == 3)
    shown = page.get("/runs", n=2)
    assert shown.html.count('data-label="At"') == 2
    assert "/runs?n=8" in shown.html
