"""An entry as people read and edit it: plain JSON, taken as it says or refused."""

from __future__ import annotations

import json
import math
from datetime import date, time
from decimal import Decimal
from uuid import UUID

import pytest
from celery import Celery, chain

from redlock_beat import Crontab, Interval, InvalidSchedule, Once
from redlock_beat.entries.build import make_entry
from redlock_beat.entries.codec import decode, encode
from redlock_beat.entries.document import assigned, changes_of, document, editable

from ..values import AT, made

TYPED = (
    AT,
    date(2027, 1, 1),
    time(7, 30),
    UUID(int=7),
    Decimal("1.50"),
    b"text",
    b"\xff\x00",
    {"deep": [AT, {"id": UUID(int=8)}]},
)


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


def test_a_schedule_is_edited_as_a_text_and_its_times_are_read_in_the_zone_of_the_entry():
    entry = made(timezone="Europe/Berlin")
    data = editable(entry)
    for text, spec in (
        ("when=0 7 * * 1-5", Crontab.parse("0 7 * * 1-5")),
        ("when=10m", Interval.of(600)),
        ("when=90", Interval.of(90)),
        ('when={"kind": "once", "at": "2027-01-01T07:00"}', Once.of(AT.replace(hour=6))),
    ):
        assigned(data, text)
        assert made(timezone="Europe/Berlin", **changes_of(entry, data)).schedule == spec
