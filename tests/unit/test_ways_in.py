"""What users write is taken as it says, or refused with what to write instead; nothing is taken for something else."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from celery import Celery, chain

from redlock_beat import Crontab, InvalidSchedule, next_due
from redlock_beat.entries.build import make_entry
from redlock_beat.entries.codec import decode, encode
from redlock_beat.entries.document import assigned, changes_of, document, editable
from redlock_beat.recurrence import Interval, Once, RRule, Solar, from_data
from redlock_beat.schedule.transfer import check

AT = datetime(2027, 1, 1, 7, tzinfo=UTC)
TYPED = (
    AT, date(2027, 1, 1), time(7, 30), UUID(int=7), Decimal("1.50"), b"text", b"\xff\x00", {"deep": [AT, {"id": UUID(int=8)}]},
)  # fmt: skip


def made(when=60, **more):
    return make_entry(None, "a", "tasks.add", when, **more)


# --- one form for what JSON has no type for --------------------------------------------------------


def rich():
    options = {"expires": AT, "headers": {"id": UUID(int=9)}, "queue": "q"}
    return made(args=TYPED, kwargs={"at": AT, "price": Decimal("2.5")}, options=options)


def test_a_document_of_any_entry_is_plain_json():
    shown = json.loads(json.dumps(document(rich())))
    assert shown["args"][0] == {"__type__": "datetime", "__value__": "2027-01-01T07:00:00+00:00"}
    assert shown["options"]["expires"] == shown["args"][0]
    entry = rich()
    assert document(decode("a", encode(entry))) == document(entry)


def test_an_edit_that_leaves_typed_arguments_alone_leaves_them_as_they_are():
    entry = rich()
    data = json.loads(json.dumps(editable(entry)))
    assert changes_of(entry, data) == {}
    assigned(data, "note=x")
    assert changes_of(entry, data) == {"note": "x"}
    assigned(data, "args.1=5")
    changed = changes_of(entry, data)
    assert changed["args"] == [AT, 5, *TYPED[2:]]
    assert [type(one) for one in changed["args"][2:]] == [type(one) for one in TYPED[2:]]


def test_a_typed_value_can_be_written_and_a_wrong_one_is_refused():
    entry = made(kwargs={"at": 1})
    data = editable(entry)
    assigned(data, 'kwargs.at={"__type__": "decimal", "__value__": "1.5"}')
    assert changes_of(entry, data)["kwargs"] == {"at": Decimal("1.5")}
    for wrong in ('{"__type__": "datetime", "__value__": "soon"}', '{"__type__": "magic", "__value__": 1}'):
        assigned(data, f"kwargs.at={wrong}")
        with pytest.raises(InvalidSchedule, match="kwargs cannot be read"):
            changes_of(entry, data)


def test_a_canvas_with_typed_arguments_is_shown_and_edited():
    app = Celery("t", set_as_current=False)

    @app.task(name="tasks.add", shared=False)
    def add(*args):
        """It does nothing."""

    entry = make_entry(app, "a", chain(add.si(AT), add.si(b"\xff")), 60)
    data = json.loads(json.dumps(editable(entry)))
    assert changes_of(entry, data) == {}
    data["canvas"]["kwargs"]["tasks"][0]["args"] = [5]
    canvas = changes_of(entry, data)["task"]
    assert [one["args"] for one in canvas["kwargs"]["tasks"]] == [[5], [b"\xff"]]


# --- types, and numbers that are none --------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"enabled": "no"}, "true or false"),
        ({"enabled": 0}, "true or false"),
        ({"keep": "yes"}, "true or false"),
        ({"relative": "no"}, "true or false"),
        ({"note": 5}, "note"),
        ({"args": {"a": 1}}, "list or tuple"),
        ({"args": {1, 2}}, "list or tuple"),
        ({"args": (math.inf,)}, "no infinity"),
        ({"kwargs": {"deep": [{"x": -math.inf}]}}, "no infinity"),
        ({"options": {"countdown": math.nan}}, "no NaN"),
        ({"grace": math.nan}, "grace"),
        ({"grace": math.inf}, "grace"),
        ({"jitter": math.nan}, "jitter"),
        ({"jitter": "soon"}, "span of time"),
        ({"grace": "-5"}, "0 or more"),
        ({"expires": math.nan}, "expires"),
        ({"expires": math.inf}, "expires"),
        ({"expires": "soon"}, "span of time"),
        ({"expires": True}, "expires"),
        ({"expires": -1}, "expires"),
        ({"options": {"expires": "soon"}}, "span of time"),
        ({"max_runs": 1.0}, "whole number"),
        ({"when": math.inf}, "number"),
        ({"when": timedelta(0)}, "cannot be used"),
        ({"when": Crontab(), "relative": True}, "for intervals"),
        ({"args": ("\ud800",)}, "half a character"),
    ],
)
def test_what_is_no_value_of_a_part_is_refused(given, said):
    with pytest.raises(InvalidSchedule, match=said):
        encode(made(**given))


@pytest.mark.parametrize("place", [(math.nan, 0), (0, math.inf), (91, 0), (0, -181), ("5", 0)])
def test_the_sun_does_not_rise_where_there_is_no_place(place):
    with pytest.raises(InvalidSchedule, match="must be a number from"):
        Solar("sunset", *place)


def test_a_name_with_half_a_character_is_refused():
    with pytest.raises(InvalidSchedule, match="half a character"):
        make_entry(None, "a\ud800", "t", 60)


def test_spans_are_taken_as_text_and_as_timedelta():
    entry = made(grace="10m", jitter="1h30m", expires="2d")
    assert (entry.grace, entry.jitter, entry.options["expires"]) == (600.0, 5400.0, 172800)
    assert made(expires=timedelta(seconds=1.5)).options["expires"] == 1.5
    assert made(options={"expires": timedelta(minutes=1)}).options["expires"] == 60
    assert made(expires=AT).options["expires"] == AT
    assert made(expires="2027-01-01T07:00:00+00:00").options["expires"] == "2027-01-01T07:00:00+00:00"
    with pytest.raises(InvalidSchedule, match="not a span"):
        made(grace="9" * 300 + "d")


def test_an_import_refuses_numbers_that_json_does_not_have():
    head = json.dumps({"redlock_beat": "export", "version": 1})
    for number in ("NaN", "Infinity", "-Infinity"):
        definition = {**json.loads(encode(made())), "args": ["X"]}
        line = json.dumps({"entry": "a", "definition": definition, "state": f"{definition['uid']} 1 5 - 0 0"})
        with pytest.raises(InvalidSchedule, match="line 2 is not JSON"):
            check([head, line.replace('"X"', number), '{"end": 1}'])


# --- the parts of a schedule -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ({"kind": "interval", "every": 30, "cron": "0 8 * * *"}, '"kind": "crontab"'),
        ({"kind": "interval", "every": 30, "evry": 5}, "this one has 'evry'"),
        ({"kind": "interval"}, "no 'every'"),
        ({"kind": "interval", "every": 30, "relative": "no"}, "true or false"),
        ({"kind": "crontab", "cron": "0 8 * * *", "every": 5}, "consists of cron"),
        ({"kind": "once", "at": "soon"}, "not a time"),
        ({"kind": "once", "at": 5}, "not a time"),
        ({"kind": "solar", "event": "sunset", "lat": math.nan, "lon": 0}, "latitude"),
        ({"every": 30}, '"kind"'),
        (True, '"kind"'),
        ("soon", "not a schedule"),
    ],
)
def test_parts_of_a_schedule_that_contradict_it_are_errors(when, said):
    entry = made()
    with pytest.raises(InvalidSchedule, match=said):
        changed = changes_of(entry, {**editable(entry), "when": when})
        made(**changed)


def test_the_parts_of_each_kind_come_back():
    for spec in (
        Interval.of(30, True), Crontab.parse("0 7 * * 1-5"), Solar("sunset", 52.5, 13.4), Once.of(AT),
        RRule("FREQ=DAILY", datetime(2027, 1, 1)),
    ):  # fmt: skip
        assert from_data(spec.kind, spec.data()) == spec


def test_a_schedule_is_edited_as_a_text_and_its_times_are_read_in_the_zone_of_the_entry():
    entry = made(timezone="Europe/Berlin")
    data = editable(entry)
    for text, spec in (
        ("when=0 7 * * 1-5", Crontab.parse("0 7 * * 1-5")), ("when=10m", Interval.of(600)), ("when=90", Interval.of(90)),
        ('when={"kind": "once", "at": "2027-01-01T07:00"}', Once.of(AT.replace(hour=6))),
    ):  # fmt: skip
        assigned(data, text)
        assert made(timezone="Europe/Berlin", **changes_of(entry, data)).schedule == spec


# --- crontabs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0 7 * * mon#1", "day_of_month='1-7' and day_of_week='mon'"),
        ("0 7 * * fri#5", "'29-31'"),
        ("0 7 * * sundae", "did you mean 'sun'"),
        ("0 7 * * mo", "not a name"),
        ("0 7 * foo *", "not a name"),
        ("mon feb * * *", "this field takes numbers"),
        ("0 0 mon * *", "this field takes numbers"),
        ("0 0 * mon *", "not a name"),
        ("0 0 * * feb", "not a name"),
        ("0 0 L * *", "FREQ=MONTHLY;BYMONTHDAY=-1"),
        ("0 0 15W * *", "rrule"),
        ("0 0 * * friL", "BYDAY=-1FR"),
        ("0 0 ? * *", "write '\\*'"),
        ("0 0 * * 7", "Sunday is 0"),
        ("0 0 * * 1-7", "Sunday is 0"),
        ("5/15 * * * *", "5-59/15"),
        ("*/90 * * * *", "interval"),
        ("*/0 * * * *", "cannot be used"),
        ("1-5#2 * * * *", "not a number"),
        ("1_0 * * * *", "not a number"),
        ("٥ * * * *", "not a number"),
        ("0 0 7 * * *", "no field for seconds"),
        ("0 7 * *", "five"),
        ("@reboot", "five"),
        (",1 * * * *", "not a number"),
    ],
)
def test_a_crontab_that_means_something_else_than_it_says_is_refused(text, said):
    with pytest.raises(InvalidSchedule, match=said):
        Crontab.parse(text)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("0 7 * * Monday,TUES,thurs", "0 7 * * 1,2,4"),
        ("0 7 * sept-dec sat-mon", "0 7 * 9-12 6,0,1"),
        ("*/60 * * * *", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        (" @Weekly ", "0 0 * * 0"),
        ("55-5/5 * * * *", "0,5,55 * * * *"),
    ],
)
def test_a_crontab_says_the_same_in_other_words(text, same):
    assert Crontab.parse(text)._plan == Crontab.parse(same)._plan


def test_spaces_join_no_numbers():
    from celery.schedules import crontab

    assert Crontab.of(crontab(minute="1 , 2", hour=" 3 ")).minute == "1,2"
    with pytest.raises(InvalidSchedule):
        Crontab(minute="1 2")


def test_a_text_is_a_schedule_wherever_one_is_taken():
    after = datetime(2026, 11, 27, 12, tzinfo=UTC)  # a Friday
    assert next_due("0 7 * * 1-5", after) == datetime(2026, 11, 30, 7, tzinfo=UTC)
    assert next_due("10m", after) == after + timedelta(minutes=10)
    assert made("0 7 * * 1-5").schedule == Crontab.parse("0 7 * * 1-5")
    for wrong in ("soon", "", "7", "FREQ=DAILY", "2027-01-01T07:00"):
        if wrong == "7":
            assert made(wrong).schedule == Interval.of(7)
            continue
        with pytest.raises(InvalidSchedule, match="write a crontab of five fields"):
            made(wrong)
