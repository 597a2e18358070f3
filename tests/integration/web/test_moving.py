"""Export and import on the page: the file of the one is what the other reads."""

from __future__ import annotations

from redlock_beat.web.pages import moving


def test_what_is_exported_comes_back(page, schedule):
    schedule.add("mail", "tasks.mail", "0 7 * * *", ("ä",), labels={"team": "mail"})
    schedule.add("gone", "tasks.mail", 30)
    found = page.get("/export")
    assert found.headers["Content-Disposition"].startswith('attachment; filename="schedule-')
    schedule.remove("gone")
    schedule.update("mail", grace=60)
    shown = page.post("/import/look", text=found.html)
    assert shown.status == 200
    assert "1 added" in shown.text
    assert "1 changed" in shown.text
    assert "gone" not in schedule
    assert "Imported: 1 added, 1 changed." in page.done("/import", text=found.html).text
    assert schedule["mail"].grace is None
    assert "gone" in schedule
    assert {row.actor for row in schedule.log() if row.what == "imported"} == {"web@127.0.0.1"}
    assert "Imported: 2 unchanged." in page.done("/import", text=found.html.replace("\n", "\r\n")).text


def test_a_file_that_is_cut_off_or_no_export_is_refused(page, schedule):
    schedule.add("mail", "tasks.mail", 30)
    text = page.get("/export").html
    schedule.remove("mail")
    for wrong, words in (
        (text.rsplit("\n", 2)[0], "cut off"),
        ("[]", "is not an object"),
        ("rubbish", "is not JSON"),
        ("[" * 9999, "is not JSON"),
    ):
        for path in ("/import", "/import/look"):
            shown = page.post(path, text=wrong)
            assert (shown.status, words in shown.text) == (422, True)
    assert len(schedule) == 0


def test_hidden_arguments_leave_by_no_file_and_large_schedules_by_the_command_line(
    page, visitor, schedule, monkeypatch
):
    schedule.add("mail", "tasks.mail", 30, ("secret",))
    text = page.get("/export").html
    guest = visitor(redact=lambda task, args, kwargs: ((), {}))
    assert guest.get("/export").status == 403
    schedule.update("mail", args=("other",))
    assert (
        "secret" not in guest.post("/import/look", text=text).html.replace(text.splitlines()[1], "").split("<table")[-1]
    )
    monkeypatch.setattr(moving, "MOST", 0)
    assert page.get("/export").status == 422
    assert "more than a page exports" in page.get("/moving").text


def test_who_may_not_import_sees_no_form(visitor, schedule):
    guest = visitor(access=lambda request: "read_only")
    assert "/import" not in guest.get("/moving").html
    assert guest.post("/import", text="x").status == 403
    assert guest.post("/import/look", text="x").status == 403
