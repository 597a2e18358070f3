"""What of arguments is shown."""

from __future__ import annotations

from redlock_beat import Entry, Interval
from redlock_beat.web.redacting import HIDDEN, redacted, redacted_entry, shown_changes


def no_secrets(task, args, kwargs):
    return args, {name: "***" if name == "secret" else value for name, value in kwargs.items()}


def test_an_entry_is_shown_with_what_redact_leaves_also_inside_a_canvas():
    inner = {"task": "tasks.b", "args": [1], "kwargs": {"secret": "s3"}}
    canvas = {"task": "celery.chain", "kwargs": {"tasks": [inner, {"task": "tasks.c", "kwargs": {"secret": "s3"}}]}}
    entry = Entry("a", "tasks.a", Interval.of(30), (1,), {"secret": "s3", "to": 7}, canvas=canvas)
    shown = redacted_entry(no_secrets, entry)
    assert (shown.args, shown.kwargs) == ((1,), {"secret": "***", "to": 7})
    assert "s3" not in str(shown)
    assert shown.canvas["kwargs"]["tasks"][0] == {"task": "tasks.b", "args": [1], "kwargs": {"secret": "***"}}


def test_a_redact_that_fails_shows_nothing():
    def fails(task, args, kwargs):
        raise KeyError("s3")

    assert redacted(fails, "tasks.a", (1,), {"secret": "s3"}) == ((HIDDEN,), {})
    assert redacted(lambda *_: None, "tasks.a", (1,), {}) == ((HIDDEN,), {})


def test_differences_of_arguments_are_hidden_where_there_is_a_redact():
    changes = [("kwargs", {"secret": 1}, {"secret": 2}), ("missed", "once", "skip")]
    assert shown_changes(None, changes) == changes
    assert shown_changes(no_secrets, changes) == [("kwargs", HIDDEN, HIDDEN), ("missed", "once", "skip")]
