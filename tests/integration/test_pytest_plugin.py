"""The fixtures as a project uses them, in a run of pytest of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from redlock_beat import InvalidSetting
from redlock_beat.pytest_plugin import redlock_schedule, redlock_server, redlock_url
from redlock_beat.testing import assert_next, running_beat
from tests.beats import make_app

__all__ = ["redlock_schedule", "redlock_server", "redlock_url"]  # the fixtures of the tests below

TESTS = """
from celery import Celery

from redlock_beat.testing import assert_next, running_beat


def test_a_schedule_on_the_embedded_server(redlock_schedule):
    redlock_schedule.add("nightly", "tasks.report", "30 2 * * *", timezone="Europe/Berlin")
    assert_next(redlock_schedule, "nightly", "2090-03-25T02:30", after="2090-03-25")


def test_it_is_empty_again(redlock_schedule):
    assert len(redlock_schedule) == 0


def test_a_beat_sends_what_is_due(redlock_url, redlock_schedule):
    app = Celery("proj", broker=redlock_url, set_as_current=False)
    app.conf.result_expires = None
    app.conf.beat_schedule = {"often": {"task": "tasks.add", "schedule": 0.2}}
    rows = redlock_schedule.follow()
    with running_beat(app):
        row = next(row for row in rows if row.what == "sent")
    assert row.entry == "often"
"""


def test_the_fixtures_serve_a_project(tmp_path):
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["redlock_beat.pytest_plugin"]\n')
    (tmp_path / "test_project.py").write_text(TESTS)
    got = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    assert "3 passed" in got.stdout, got.stdout + got.stderr


def test_a_beat_runs_until_the_block_ends(redlock_url, redlock_schedule):
    app = make_app(redlock_url, {"often": {"task": "tasks.add", "schedule": 0.2}})
    rows = redlock_schedule.follow()
    with running_beat(app):
        assert next(row for row in rows if row.what == "sent").entry == "often"
    assert redlock_schedule.status().leader is None
    redlock_schedule.add("nightly", "tasks.add", "30 2 * * *", timezone="Europe/Berlin")
    assert_next(redlock_schedule, "nightly", "2090-03-25T02:30", after="2090-03-25")


def test_what_ends_the_beat_is_raised_in_the_test(redlock_url):
    app = make_app(redlock_url, redlock_beat_calendars={"x": "/nowhere/at/all.ics"})
    with pytest.raises(InvalidSetting, match="redlock_beat_calendars"), running_beat(app):
        pass


def test_every_test_begins_with_an_empty_schedule(redlock_schedule):
    assert len(redlock_schedule) == 0
