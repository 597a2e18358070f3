"""The defaults of a project's apps, and fixtures of both kinds."""

from __future__ import annotations

import json
import sys
from types import ModuleType, SimpleNamespace

import pytest
from django.apps import apps

from redlock_beat import InvalidSchedule
from redlock_beat.django import Schedule
from redlock_beat.django.defaults import defaults, fixture, rows
from redlock_beat.schedule.defaults import Default
from redlock_beat.schedule.migrate import NotImported


@pytest.fixture
def schedule(app):
    return Schedule()


def names(found):
    return {(one.entry.name, one.source) if isinstance(one, Default) else (one.name, None) for one in found}


def test_every_app_may_have_some(schedule):
    paid = ("count paid orders", "reminders/fixtures/schedule.json")
    opened = ("count open orders", "orders.schedule")
    assert names(defaults(schedule)) == {paid, opened}
    assert names(defaults(schedule, ["orders"])) == {opened}
    with pytest.raises(InvalidSchedule, match="No installed app with label 'nowhere'"):
        list(defaults(schedule, ["nowhere"]))


def module(monkeypatch, **names):
    made = ModuleType("orders.schedule")
    vars(made).update(names)
    monkeypatch.setitem(sys.modules, "orders.schedule", made)
    made.__spec__ = SimpleNamespace()


def test_a_module_of_that_name_for_something_else_is_none_of_ours(schedule, monkeypatch):
    module(monkeypatch)
    assert names(defaults(schedule, ["orders"])) == set()


def test_one_bad_default_is_one_bad_default(schedule, monkeypatch):
    module(monkeypatch, beat_schedule={"bad": {"task": "t"}, "good": {"task": "t", "schedule": 60}})
    assert names(defaults(schedule, ["orders"])) == {("bad", None), ("good", "orders.schedule")}
    module(monkeypatch, beat_schedule=[])
    with pytest.raises(InvalidSchedule, match="must be a dictionary"):
        list(defaults(schedule, ["orders"]))


def test_a_module_that_raises_stops_the_load(schedule, tmp_path, monkeypatch):
    (tmp_path / "raising").mkdir()
    (tmp_path / "raising" / "__init__.py").touch()
    (tmp_path / "raising" / "schedule.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(str(tmp_path))
    config = SimpleNamespace(name="raising", label="raising", path=str(tmp_path))
    monkeypatch.setattr(apps, "get_app_configs", lambda: [config])
    with pytest.raises(InvalidSchedule, match="ZeroDivisionError"):
        list(defaults(schedule))


def test_a_name_that_has_two_defaults_is_an_error(schedule, monkeypatch):
    module(monkeypatch, beat_schedule={"count paid orders": {"task": "t", "schedule": 60}})
    with pytest.raises(InvalidSchedule, match=r"in orders.schedule and in reminders/fixtures/schedule.json"):
        list(defaults(schedule))


def test_what_dump_writes_is_read_again(schedule):
    from celery import chain, signature

    schedule.add(
        "a", "t", 60, args=(1, b"x"), kwargs={"to": 7}, options={"queue": "q"}, expires=30, labels={"team": "b"}
    )
    schedule.add("b", "t", "0 7 * * 1-5", timezone="Asia/Tokyo", missed="skip", grace="10m", jitter=5, max_runs=3)
    schedule.add("c", chain(signature("t", (1,)), signature("u")), 60, overlap="allow", exclude=["sat", "12-24..12-26"])
    schedule.pause("b", note="later")
    text = json.dumps(list(rows(schedule))).encode()
    found = {one.entry.name: one.entry for one in fixture(schedule, text, "x")}
    from redlock_beat.entries.document import editable

    assert {name: editable(entry) for name, entry in found.items()} == {
        entry.name: editable(entry) for entry in schedule
    }


def test_rows_that_cannot_be_used_are_named_and_other_fixtures_are_left_alone(schedule):
    def row(pk, **fields):
        return {"model": "redlock_beat.periodictask", "pk": pk, "fields": fields}

    bad = [row("a", task="t"), row("b", task="t", when="* * *"), row("c", task="t", when=60, nonsense=1)]
    assert {one.name for one in fixture(schedule, json.dumps(bad).encode(), "x")} == {"a", "b", "c"}
    other = [{"model": "orders.order", "pk": 1, "fields": {}}]
    assert list(fixture(schedule, json.dumps(other).encode(), "x")) == []
    assert list(fixture(schedule, b"no json at all", "x")) == []
    with pytest.raises(InvalidSchedule, match="x is no fixture"):
        list(fixture(schedule, b'"redlock_beat.periodictask', "x"))


def test_a_fixture_of_django_celery_beat_is_read_too(schedule):
    text = json.dumps(
        [
            {"model": "django_celery_beat.intervalschedule", "pk": 1, "fields": {"every": 5, "period": "minutes"}},
            {
                "model": "django_celery_beat.periodictask",
                "pk": 1,
                "fields": {"name": "theirs", "task": "t", "interval": 1, "args": "[7]", "enabled": True},
            },
            {"model": "django_celery_beat.periodictask", "pk": 2, "fields": {"name": "none", "task": "t"}},
        ]
    ).encode()
    one, other = fixture(schedule, text, "x")
    assert (one.entry.name, one.entry.args, str(one.entry.schedule)) == ("theirs", (7,), "every 5 min")
    assert isinstance(other, NotImported)
