"""The verb that says a schedule in words. It asks nobody: neither Redis nor a beat is needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import click

from ..clock import micros, moment
from ..entries.build import make_entry
from ..entries.document import instant_of
from ..entries.entry import Entry
from ..entries.policies import next_slot
from ..errors import InvalidSchedule
from ..recurrence import SHIFTS, RRule, as_spec
from ..schedule.changes import uncomputable
from .editing import solar_of
from .terminal import Clock, Column, clean, relative, say, table
from .times import DAYS, ZONE, zone_of_app
from .verbs import JSON, Verb, VerbSchedule, printed, usage


@click.command("explain", cls=Verb)
@click.argument("text")
@click.option("-n", "count", default=5, show_default=True, type=click.IntRange(0, 1000), help="How many slots.")
@click.option("--exclude", type=DAYS, help="Days on which it is not sent, as in `add`.")
@click.option("--only", type=DAYS, help="Days on which alone it is sent.")
@click.option("--shift", type=click.Choice(SHIFTS), default="skip", help="Where a slot on another day goes.")
@click.option("--tz", "zone", type=ZONE, help="Zone on whose clock it is read.  [default: the app's]")
@JSON
def explain_(
    schedule: VerbSchedule,
    text: str,
    count: int,
    exclude: tuple[str, ...] | None,
    only: tuple[str, ...] | None,
    shift: str,
    zone: str | None,
    as_json: bool,
) -> None:
    """Say in words what a schedule means, and its next slots.

    TEXT is a crontab of five or six fields, a span, an rrule, a time, or event,latitude,longitude.

    \b
    Examples:
      celery -A proj redlock explain "0 7 * * 1-5"
      celery -A proj redlock explain "FREQ=MONTHLY;BYDAY=-1FR" --tz Europe/Berlin
      celery -A proj redlock explain "0 6 25 * *" --exclude sat,sun --shift previous
    """
    now, zone = datetime.now(UTC), zone or zone_of_app(schedule.app)
    with usage():
        days: dict[str, Any] = {"exclude": exclude, "only": only, "shift": shift}
        entry = make_entry(
            None, "it", "it", _schedule_of(text, now), timezone=zone, calendars=schedule.operations.calendars, **days
        )
    try:
        slots = [moment(at) for at in islice(_slots(replace(entry, anchor=micros(now)), micros(now)), count)]
    except Exception as exc:  # a schedule class may raise anything, or a calendar not be known here
        raise uncomputable(text, exc) from exc
    if as_json:
        click.echo(printed({"words": entry.words, "when": _data(entry), "slots": [at.isoformat() for at in slots]}))
        return
    say(clean(f"{entry.words[0].upper()}{entry.words[1:]}."))
    if count and not slots:
        say("It has no slot from now on.", colour="yellow")
    if slots:
        clock = Clock(zone)
        table((Column("AT"), Column("IN")), [(clock.time(at), relative(at).removeprefix("in ")) for at in slots])


def _slots(entry: Entry, after: int) -> Iterator[int]:
    at: int | None = after
    while at is not None and (at := next_slot(entry, at)) is not None:
        yield at


def _data(entry: Entry) -> dict[str, Any]:
    return {"kind": entry.schedule.kind, **entry.schedule.data()}


def _schedule_of(text: str, now: datetime) -> Any:
    """The schedule of a text in any of the ways in which one is written."""
    if "FREQ=" in text.upper():
        return RRule.parse(text, None if "DTSTART" in text.upper() else now)
    if text.count(",") == 2 and " " not in text.strip() and text[:1].isalpha():
        return solar_of(text)
    try:
        return as_spec(text)
    except InvalidSchedule:
        if len(text.split()) == 1 and text[:4].isdigit() and "-" in text:
            return instant_of(text)
        raise
