"""``celery redlock explain``."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from redlock_beat.cli import redlock
from tests.acceptance.test_command_line import fits
from tests.beats import make_app


def test_a_schedule_is_said_in_words_with_its_next_slots(cli):
    out = cli("explain", "0 7 * * 1-5", "--tz", "Europe/Berlin", "-n", "3").splitlines()
    assert out[0] == "At 07:00, Monday to Friday, Europe/Berlin."
    assert [line.split()[1] for line in out[2:]] == ["07:00:00"] * 3
    found = json.loads(cli("explain", "*/10 * * * * *", "--json", "-n", "2"))
    fits(found, "explained")
    assert found["words"] == "every 10 seconds, UTC"
    assert [at[17:] for at in found["slots"]] == [f"{int(at[17:19]) // 10}0+00:00" for at in found["slots"]]


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("10m", (), "Every 10 minutes."),
        (
            "FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=7;BYMINUTE=0;BYSECOND=0",
            (),
            "Every month, on the last Friday, at 07:00, UTC.",
        ),
        ("2090-01-01T07:00", ("--tz", "Europe/Berlin"), "Once, at 2090-01-01 07:00:00, Europe/Berlin."),
        ("sunset,52.5,13.4", (), "At sunset, at 52.5, 13.4."),
        ("0 6 25 * *", ("--exclude", "sat,sun", "--shift", "previous"), "then on the previous day."),
    ],
)
def test_every_way_of_writing_one_is_understood(cli, text, options, words):
    assert words in cli("explain", text, *options).splitlines()[0]


def test_what_is_none_or_never_comes_is_said(cli):
    assert "is not a schedule" in cli("explain", "soon", code=2)
    assert "'holidays_de' is not known" in cli("explain", "0 7 * * *", "--exclude", "holidays_de", code=1)
    assert "no slot from now on" in cli("explain", "2020-01-01T07:00")


def test_it_needs_no_redis():
    app = make_app("redis://127.0.0.1:1/0")
    got = CliRunner().invoke(redlock, ["explain", "0 7 * * *"], obj=type("Context", (), {"app": app}))
    assert (got.exit_code, got.output.splitlines()[0]) == (0, "At 07:00, every day, UTC.")
