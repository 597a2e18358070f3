"""Times on the command line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def test_times_say_their_zone_and_are_read_in_the_one_asked_for(cli):
    cli.schedule.app.conf.timezone = "Europe/Berlin"
    cli.schedule.add("shot", "tasks.add", datetime(2090, 1, 1, 5, tzinfo=UTC))
    assert "2090-01-01 06:00:00 CET" in cli("next", "shot")
    assert "2090-01-01 14:00:00 JST" in cli("show", "shot", "--tz", "Asia/Tokyo")
    cli("add", "b", "tasks.add", "--at", "2090-01-01 06:00")
    cli("add", "c", "tasks.add", "--at", "2090-01-01T14:00", "--tz", "Asia/Tokyo")
    assert cli.schedule["b"].next_due == cli.schedule["c"].next_due == cli.schedule["shot"].next_due
    before = datetime.now(UTC)
    assert "CET" in cli("add", "soon", "tasks.add", "--at", "in 5 min")
    assert timedelta(minutes=4) < cli.schedule["soon"].next_due - before < timedelta(minutes=6)
    assert "is not a time" in cli("history", "--since", "some day", code=2)
    assert "NAME" in cli("history", "--since", "1h")
    assert "--tz" in cli("list", "--tz", "Mars/Base", code=2)
    assert "is after END" in cli("backfill", "b", "now", "1h ago", code=2)
