"""``celery redlock check``: what is wrong with ``beat_schedule``, before it is deployed and without a server."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from celery import chain, group, signature
from celery.schedules import crontab
from dateutil.rrule import DAILY, rrule

from redlock_beat.cli import redlock
from tests.beats import make_app
from tests.integration.cli.conftest import runner
from tests.schemas import fits

ADD = signature("tasks.add", (1, 2))
GOOD = {"task": "tasks.add", "schedule": crontab(hour=7, minute=0), "args": (1, 2)}


def check(schedule, *args: str, code: int = 0, **conf):
    app = make_app("redis://127.0.0.1:1/0", schedule, **conf)
    got = runner().invoke(redlock, ["check", *args], obj=SimpleNamespace(app=app))
    assert got.exit_code == code, got.output
    return got.stdout


@pytest.mark.parametrize(
    ("schedule", "conf", "level", "what", "why"),
    [
        ({"a": {**GOOD, "schedule": "0 0 30 2 *"}}, {}, "error", "unusable", "never comes"),
        ({"a": {**GOOD, "schedule": "soon"}}, {}, "error", "unusable", "is not a schedule"),
        ({"a": {**GOOD, "mised": "skip"}}, {}, "error", "unusable", "mised is not a policy"),
        ({"a": {**GOOD, "task": "tasks.ad"}}, {}, "error", "task", "Did you mean 'tasks.add'"),
        ({"a": {**GOOD, "args": (1, 2, 3)}}, {}, "error", "task", "arguments do not fit"),
        ({"a": {"task": chain(ADD, signature("tasks.ad")), "schedule": 60}}, {}, "error", "task", "no task 'tasks.ad'"),
        ({"a": {"task": group(signature("tasks.ad"), ADD), "schedule": 60}}, {}, "error", "task", "no task 'tasks.ad'"),
        ({"a": {**GOOD, "exclude": "unheard_of"}}, {}, "error", "unusable", "'unheard_of' is not known"),
        ({"a": GOOD}, {"redlock_beat_policies": {"b": {"missed": "skip"}}}, "error", "policies", "no such entry"),
        ({"a": {**GOOD, "ends": datetime(2020, 1, 1, tzinfo=UTC)}}, {}, "warning", "never", "no slot from now on"),
        ({"a": {**GOOD, "schedule": rrule(DAILY)}}, {}, "warning", "start", "fixed one"),
        ({f"e{i}": GOOD for i in range(50)}, {}, "warning", "herd", "50 entries are due at one minute"),
    ],
)
def test_a_problem_is_found_and_said(schedule, conf, level, what, why):
    found = json.loads(check(schedule, "--json", "--strict", code=1, **conf))
    fits(found, "checked")
    ((one),) = found
    assert (one["level"], one["what"]) == (level, what)
    assert why in one["why"]
    assert f"{level}  " in check(schedule, code=1 if level == "error" else 0, **conf)


def test_all_is_well_without_problems():
    assert check({"a": {"task": chain(ADD, ADD), "schedule": 60}}, "--strict")
    assert check({"a": GOOD}, "--strict") == "1 entry, 0 errors, 0 warnings.\n"
    assert json.loads(check({}, "--json")) == []


def test_a_herd_is_counted_in_minutes_and_jitter_spreads_it():
    jitter = {f"e{i}": {**GOOD, "jitter": 300} for i in range(50)}
    assert check(jitter, "--strict")
    few = {f"e{i}": {"task": "tasks.add", "schedule": crontab(minute=i)} for i in range(20)}
    assert check(few, "--strict", "--herd", "2")
    assert "20 entries" in check({f"e{i}": {**GOOD, "schedule": 10} for i in range(20)}, "--herd", "20")


def test_what_is_wrong_is_said_once():
    app = make_app("redis://127.0.0.1:1/0", {"a": {**GOOD, "schedule": "soon"}})
    got = runner().invoke(redlock, ["check"], obj=SimpleNamespace(app=app))
    assert (got.stdout + got.stderr).count("is not a schedule") == 1
