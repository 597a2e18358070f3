"""Tasks and arguments that the app does not know."""

from __future__ import annotations


def test_a_task_that_the_app_does_not_know_is_warned_of(cli):
    cli("add", "a", "tasks.ad", "--every", "1h")
    assert "Did you mean 'tasks.add'?" in cli.err
    assert "a" in cli.schedule
    assert "Did you mean" in cli("add", "b", "add", "--every", "1h", "--strict", code=2)
    assert "unexpected keyword" in cli(
        "add", "b", "tasks.add", "--every", "1h", "--kwargs", '{"q": 1}', "--strict", code=2
    )
    assert "b" not in cli.schedule
    cli("add", "b", "tasks.add", "--every", "1h", "--args", "[1]")
    assert "Warning" not in cli.err
    cli("edit", "b", "--args", "[1, 2, 3]")
    assert "the arguments do not fit" in cli.err
