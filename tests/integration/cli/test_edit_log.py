"""``celery redlock log``."""

from __future__ import annotations

import json

from redlock_beat.schedule.describing import current_user
from tests.acceptance.test_command_line import fits


def test_verbs_sign_with_user_and_host_and_say_why(cli):
    cli("add", "a", "tasks.add", "--every", "1h", "--why", "ticket 7")
    cli("edit", "a", "--cron", "0 7 * * *", "--missed", "skip", "--why", "ticket 8")
    cli("pause", "a", "--note", "down")
    cli("resume", "a", "--why", "up")
    cli("copy", "a", "b", "--why", "another")
    cli("rename", "b", "c", "--why", "better")
    cli("run", "a", "--why", "now")
    cli("backfill", "a", "48h", "now", "--yes", "--why", "lost", "--rate", "0.01")
    cli("backfill", "a", "--cancel", "--yes", "--why", "enough")
    cli("remove", "c", "--yes", "--why", "gone")
    rows = json.loads(cli("log", "--json"))
    fits(rows, "log")
    assert {row["actor"] for row in rows} == {current_user()}
    said = [(row["what"], row["entry"], row["why"]) for row in reversed(rows)]
    assert said == [
        ("added", "a", "ticket 7"),
        ("changed", "a", "ticket 8"),
        ("paused", "a", "down"),
        ("resumed", "a", "up"),
        ("copied", "b", "another"),
        ("renamed", "c", "better"),
        ("triggered", "a", "now"),
        ("backfilled", "a", "lost"),
        ("cancelled", "a", "enough"),
        ("cancelled", "a", "enough"),
        ("removed", "c", "gone"),
    ]


def test_people_see_what_was_changed_from_what_to_what(cli):
    cli("add", "a", "tasks.add", "--every", "1h", "--label", "team=ops")
    cli("edit", "a", "--cron", "0 7 * * *", "--missed", "skip", "--label", "team=", "--why", "ticket 8")
    out = cli("log", "a")
    assert f"a changed (revision 2) by {current_user()}: ticket 8\n" in out
    assert "    when: every 1 h -> 0 7 * * *\n" in out
    assert "    missed: once -> skip\n" in out
    assert '    labels: {"team": "ops"} -> -\n' in out
    assert out.index("a changed") < out.index("a added (revision 1)")
    assert cli("log", "--actor", "nobody*") == ""
    assert cli("log", "--since", "0s") == ""
    assert "no entry named 'none'" in cli("log", "none", code=1)


def test_nothing_of_it_is_obeyed_by_a_terminal(cli):
    cli.schedule.add("a", "tasks.add", 60, actor="\x1b[31mred", why="two\nlines\x07")
    out = cli("log")
    assert "\x1b" not in out
    assert "\x07" not in out
    assert len(out.splitlines()) == 1
