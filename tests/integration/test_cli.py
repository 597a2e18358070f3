"""The command line, driven as Celery drives it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from celery.schedules import crontab
from click.testing import CliRunner

from redlock_beat import InvalidSchedule, Schedule
from redlock_beat.cli import redlock
from redlock_beat.keys import Keys
from tests.beats import make_app, messages

K = Keys("redlock-beat")


@pytest.fixture
def cli(valkey):
    app = make_app(valkey.url())

    def call(*args: str, code: int = 0, answer: str | None = None) -> str:
        got = CliRunner().invoke(redlock, args, obj=SimpleNamespace(app=app), input=answer)
        assert got.exit_code == code, got.output
        return got.output

    call.schedule = Schedule(app)
    return call


def test_looking_at_the_schedule(cli, valkey):
    cli.schedule.add("nightly", "tasks.report", 3600, ("a",))
    cli.schedule.add("paused", "t", 60)
    cli.schedule.add("x" * 200, "t", 200_000)
    cli("pause", "paused", "--note", "why")
    out = cli("list")
    assert "tasks.report" in out
    assert "paused: why" in out
    assert "…" in out
    assert max(map(len, out.splitlines())) <= 120
    assert {json.loads(line)["name"] for line in cli("list", "--json").splitlines()} == {"nightly", "paused", "x" * 200}
    assert "every 1:00:00" in cli("show", "nightly")
    assert json.loads(cli("show", "nightly", "--json"))["args"] == ["a"]
    assert "in " in cli("next", "nightly", "-n", "3")
    assert len(json.loads(cli("next", "nightly", "-n", "3", "--json"))) == 3
    assert "resumed" in cli("resume", "paused")
    assert "no entry named 'none'" in cli("show", "none", code=1)


def test_an_outage_is_simulated_without_sending_anything(cli, valkey):
    cli.schedule.add("hourly", "t", crontab(minute=0), timezone="UTC")
    cli.schedule.add("all", "t", crontab(minute=0), timezone="UTC", missed="all")
    cli.schedule.add("once", "t", datetime(2090, 1, 1, 5, tzinfo=UTC))
    cli.schedule.pause("once")
    start, end = datetime(2090, 1, 1, 0, 30, tzinfo=UTC), datetime(2090, 1, 1, 3, 30, tzinfo=UTC)
    rows = cli.schedule.simulate(outage=(start, end), name="hourly")
    assert [(row.what, row.count, row.nominal.hour, row.at.hour) for row in rows] == [
        ("missed", 2, 1, 3), ("sent", 1, 3, 3), ("sent", 1, 4, 4),
    ]  # fmt: skip
    assert len(cli.schedule.simulate(outage=(start, end))) == 3 + 4
    assert cli.schedule.simulate(outage=(start - timedelta(days=36500), start - timedelta(days=36499))) == []
    out = cli("next", "hourly", "--outage", "2090-01-01T00:30", "2090-01-01T03:30:00")
    assert "missed 2" in out
    assert json.loads(cli("next", "--outage", "2090-01-01T00:30", "2090-01-01T03:30", "--json"))
    with pytest.raises(InvalidSchedule):
        cli.schedule.simulate(outage=(end, start))
    assert valkey.client().llen("celery") == 0


def test_removing_asks_first(cli):
    cli.schedule.add("a", "t", 60)
    cli("remove", "a", code=1, answer="n\n")
    assert "a" in cli.schedule
    cli("remove", "a", "--yes")
    assert "a" not in cli.schedule


def test_status_says_who_leads_and_what_is_wrong(cli, valkey, beats):
    assert "NOBODY" in cli("status", code=1)
    cli.schedule.add("bad", "t", 0.1)
    client = valkey.client()
    client.hset(K.entries, "bad", "rubbish")
    client.hset(K.beats, "other", "rubbish")
    beat = beats(valkey).lead()
    beat.until(lambda: client.hexists(K.quarantine, "bad"))
    out = cli("status")
    assert "term 1" in out
    assert "commit" in out
    assert "bad: the definition of 'bad'" in out
    assert "in quarantine: bad" in cli("list")
    data = json.loads(cli("status", "--json"))
    assert data["leader"].endswith(str(data["replicas"][0]["pid"]))


def test_running_and_history(cli, valkey, beats):
    beat = beats(valkey).lead()
    cli.schedule.add("a", "t", 3600)
    id_ = cli("run", "a").strip()
    client = valkey.client()
    beat.until(lambda: messages(client))
    assert id_[:20] in cli("history", "a")
    assert json.loads(cli("history", "--json"))[0]["task_id"] == id_
    assert "trigger" in cli("history")
