"""Crontabs with seconds, and entries that keep away from days: from the edit to the message."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from redlock_beat import InvalidSchedule, InvalidSetting, Schedule, crontab6
from redlock_beat.clock import MICROS, micros, score
from redlock_beat.store.keys import Keys
from tests.beats import duplicates, ledger, messages, occurrences

K = Keys("redlock-beat")


def test_a_crontab_with_seconds_is_sent_each_of_its_seconds(valkey, beats):
    beat = beats(valkey, {"configured": {"task": "tasks.add", "schedule": crontab6("* * * * * *")}}).lead()
    Schedule(beat.app).add("every other", "tasks.add", "*/2 * * * * *")
    client = valkey.client()

    def slots(name: str) -> list[float]:
        return sorted(due for entry, due in occurrences(client) if entry == name)

    beat.until(lambda: len(slots("configured")) >= 5 and len(slots("every other")) >= 2)
    for name, step in (("configured", 1), ("every other", 2)):
        found = slots(name)
        assert [b - a for a, b in zip(found, found[1:], strict=False)] == [step] * (len(found) - 1)
        assert all(due % step == 0 for due in found)
    assert duplicates(client) == 0
    assert len(messages(client)) == sum(len(slots(name)) for name in ("configured", "every other"))
    reasons = beat.parts.dispatcher.messages.reasons.summary()
    assert reasons == {}  # they take the quick way


def make_due(client, name: str) -> None:
    """Let an entry be due now, whatever its schedule says: as if that had been another when its slot was computed."""
    uid, revision, *_ = client.hget(K.state, name).split(" ")
    now = micros(datetime.now(UTC)) // MICROS * MICROS - MICROS
    client.hset(K.state, name, f"{uid} {revision} {now} - 0 0")
    client.zadd(K.due, {name: score(now)})


def today() -> tuple[str, str]:
    """Days of UTC that are surely the day of this test: it may run over midnight."""
    now = datetime.now(UTC)
    return tuple((now + timedelta(minutes=minutes)).date().isoformat() for minutes in (-10, 10))


def test_an_entry_is_sent_on_open_days_alone(server, beats):
    """Even if its next slot was computed for a day that is closed, and though others with the same times are sent."""
    beat, client = beats(server).lead(), server.client()
    schedule = Schedule(beat.app)
    with schedule.batch() as batch:
        for name, days in (("open", {}), ("closed", {"exclude": today()}), ("chosen", {"only": today()})):
            batch.add(name, "tasks.add", 0.5, timezone="UTC", **days)
    assert schedule["closed"].next_due.date().isoformat() > max(today())
    make_due(client, "closed")
    beat.until(lambda: {"open", "chosen"} <= {name for name, _ in occurrences(client)} and ledger(client, "missed"))
    assert "closed" not in {name for name, _ in occurrences(client)}
    (row,) = ledger(client, "missed")
    assert (row["entry"], row["why"], row["count"]) == ("closed", "closed day", "1")
    assert schedule["closed"].next_due.date().isoformat() > max(today())
    schedule.trigger("closed")  # by hand on any day
    beat.until(lambda: "closed" in {name for name, _ in occurrences(client)})


def test_edits_that_leave_no_open_day_or_send_on_a_closed_one_are_refused(valkey):
    schedule = Schedule.from_url(valkey.url(), calendars={"always": lambda day: True})
    for days in ({"exclude": "always"}, {"only": ["2020-01-01"]}):
        with pytest.raises(InvalidSchedule, match="never be sent"):
            schedule.add("a", "tasks.add", 60, **days)
    with pytest.raises(InvalidSchedule, match="trigger it"):
        schedule.add("a", "tasks.add", 60, exclude=today(), run_now=True)
    with pytest.raises(InvalidSchedule, match="'unheard_of' is not known to this process"):
        schedule.add("a", "tasks.add", 60, exclude="unheard_of")
    assert "a" not in schedule
    schedule.add("a", "tasks.add", "0 7 * * *", exclude=["sat", "sun"], shift="next")
    assert schedule.update("a", exclude=None).exclude == ()
    schedule.update("a", only=["sat", "sun"], shift="skip")
    assert {slot.nominal.weekday() for slot in schedule.preview("a", n=20)} == {5, 6}


def test_a_calendar_by_name_is_that_of_the_beat(server, beats):
    closed: set[str] = set()

    def shut(day) -> bool:
        return day.isoformat() in closed

    calendars = {"shut": shut, "open": lambda day: True}
    schedule = {
        "a": {"task": "tasks.add", "schedule": 0.5, "exclude": "shut"},
        "b": {"task": "tasks.add", "schedule": 0.5, "only": ["open"]},
    }
    beat = beats(server, schedule, redlock_beat_calendars=calendars).lead()
    client = server.client()
    beat.until(lambda: {"a", "b"} <= {name for name, _ in occurrences(client)})
    beat.close()
    closed.update(today())  # for the next beat: this one has asked already
    client.delete("celery")
    beat = beats(server, schedule, redlock_beat_calendars=calendars).lead()
    beat.until(lambda: "closed day" in {row["why"] for row in ledger(client, "missed")})
    beat.until(lambda: len([name for name, _ in occurrences(client) if name == "b"]) >= 2)
    assert "a" not in {name for name, _ in occurrences(client)}
    assert Schedule(beat.app)["a"].next_due.date().isoformat() > max(today())


def test_an_entry_whose_calendar_the_beat_does_not_know_is_not_sent_and_the_others_are(server, beats):
    editor = Schedule.from_url(server.url(), calendars={"holidays_de": ["12-25"]})
    editor.add("a", "tasks.add", 1, exclude="holidays_de", missed="skip", grace=600)
    editor.add("b", "tasks.add", 1)
    beat, client = beats(server).lead(), server.client()
    schedule = Schedule(beat.app)
    beat.until(lambda: len(occurrences(client)) >= 2 and schedule.status().quarantine)
    assert {name for name, _ in occurrences(client)} == {"b"}
    assert "'holidays_de' is not known to this process" in schedule.status().quarantine["a"]
    beat.close()
    beat = beats(server, redlock_beat_calendars={"holidays_de": ["12-25"]}).lead()
    beat.until(lambda: "a" in {name for name, _ in occurrences(client)})  # tried again by a beat that knows it
    assert not Schedule(beat.app).status().quarantine


def test_a_configured_entry_with_an_unknown_calendar_is_left_out_by_name(valkey, beats):
    schedule = {
        "a": {"task": "tasks.add", "schedule": 0.5, "exclude": "unheard_of"},
        "b": {"task": "tasks.add", "schedule": 0.5},
    }
    beat = beats(valkey, schedule).lead()
    status = Schedule(beat.app).status()
    assert list(status.left_out) == ["a"]
    assert "'unheard_of' is not known" in status.left_out["a"]
    assert "a" not in Schedule(beat.app)


def test_a_calendar_that_cannot_be_read_ends_the_beat_with_its_name(valkey, beats):
    beat = beats(valkey, redlock_beat_calendars={"x": "/nowhere/at/all.ics"})
    with pytest.raises(InvalidSetting, match=r"redlock_beat_calendars\['x'\]"):
        beat.tick()
