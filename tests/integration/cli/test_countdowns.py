"""The verbs for calls that the schedule keeps."""

from __future__ import annotations

import json
from types import SimpleNamespace

from redlock_beat import keep_countdowns
from redlock_beat.cli import redlock
from tests.beats import make_app
from tests.integration.cli.conftest import runner
from tests.integration.schedule.test_countdowns import keep
from tests.schemas import fits


def test_what_is_kept_is_listed_for_people_and_for_programs(cli):
    _, late = keep(cli.schedule, 7200, "tasks.late", args="(1, 2)")
    _, soon = keep(cli.schedule, 600, "tasks.soon", expires="2027-01-01T00:00:00+00:00")
    out = cli("countdowns")
    assert out.index("tasks.soon") < out.index("tasks.late")
    assert soon.id in out
    assert "(1, 2)" in out
    assert "Nobody leads" in cli.err
    assert "1 of 2; more with -n 2." in cli("countdowns", "-n", "1")
    lines = [json.loads(line) for line in cli("countdowns", "--json").splitlines()]
    for line in lines:
        fits(line, "countdown")
    assert [line["id"] for line in lines] == [soon.id, late.id]
    assert [json.loads(line)["id"] for line in cli("countdowns", "--json", "--task", "*.late").splitlines()] == [
        late.id
    ]
    assert "2 kept" in cli("status", code=1)


def test_cancel_says_which_it_did_not_find(cli):
    _, call = keep(cli.schedule)
    assert "1 call would be cancelled" in cli("cancel", call.id, "--dry-run")
    out = json.loads(cli("cancel", call.id, "nobody", "--json", code=1))
    fits(out, "cancelled")
    assert out == {"cancelled": [call.id], "unknown": ["nobody"]}
    assert f"{call.id} is not kept" in cli("cancel", call.id, code=1)
    cli("cancel", code=2)
    cli("cancel", call.id, "--task", "*", code=2)


def test_a_cancelled_task_is_revoked_for_who_waits_for_it(valkey):
    app = make_app(valkey.url(), redlock_beat_eta_threshold=60, result_backend="cache+memory://")
    keep_countdowns(app)
    result = app.tasks["tasks.add"].apply_async((1,), countdown=600)
    got = runner().invoke(redlock, ["cancel", result.id], obj=SimpleNamespace(app=app))
    assert (got.exit_code, result.state) == (0, "REVOKED")


def test_cancelling_all_of_a_task_asks_first_and_leaves_the_others(cli):
    for i in range(3):
        keep(cli.schedule, 600 + i, "tasks.mail")
    _, other = keep(cli.schedule, 600, "tasks.other")
    cli("cancel", "--task", "tasks.mail", answer="n\n", code=1)
    assert len(list(cli.schedule.countdowns())) == 4
    assert "3 calls are cancelled." in cli("cancel", "--task", "tasks.mail", answer="y\n")
    assert [one.id for one in cli.schedule.countdowns()] == [other.id]
    assert "0 calls are cancelled." in cli("cancel", "--task", "tasks.mail", "--yes")
    assert "tasks.mail" in cli("history")
