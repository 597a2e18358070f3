"""Verbs for a maintenance window: hold, release."""

from __future__ import annotations

from dataclasses import asdict

import click

from ..schedule.answers import Hold
from .looking import iso
from .terminal import say
from .times import COMING, Written
from .verbs import JSON, TZ, WHY, Verb, VerbSchedule, clock_of, hint, printed, read, usage


@click.command(cls=Verb)
@click.option("--until", type=COMING, help="It ends by itself then: 'in 2h', 06:00, 2027-01-01T07:00.")
@click.option("--note", help="A text for people.")
@WHY
@TZ
@JSON
def hold(
    schedule: VerbSchedule, until: Written | None, note: str | None, why: str | None, zone: str | None, as_json: bool
) -> None:
    """Send nothing until the hold is released or its time has come. Everything stays due.

    A second hold replaces the first. Exits with 1 when the leader does not confirm that it has stopped; the
    hold is in force all the same.

    \b
    Examples:
      celery -A proj redlock hold --until 'in 2h' --note 'new database'
      celery -A proj redlock release
    """
    clock = clock_of(schedule, zone)
    ends = None if until is None else read(schedule, until, clock.zone)
    before = schedule.held()
    with usage():
        made = schedule.hold(ends, note, why=why)
    if as_json:
        click.echo(_json(made))
    else:
        say(f"Everything is held {clock.hold(made)}.", colour="yellow")
    if before is not None:
        hint(f"It takes the place of the hold {clock.hold(before)}.")
    if not made.confirmed:
        hint(
            "The leader has not confirmed it: it is busy with one entry or one message, or its release knows of no "
            "hold and sends on. Look at `redlock status`."
        )
        click.get_current_context().exit(1)


@click.command(cls=Verb)
@WHY
@TZ
@JSON
def release(schedule: VerbSchedule, why: str | None, zone: str | None, as_json: bool) -> None:
    """Release the hold. What became due meanwhile is sent or missed by its policies, as after an outage.

    If nothing is held, it changes nothing.

    \b
    Example:
      celery -A proj redlock release --why 'the new database is up'
    """
    stood = schedule.release(why=why)
    if as_json:
        click.echo(_json(stood))
    elif stood is None:
        click.echo("Nothing is held, so nothing was changed.")
    else:
        click.echo(f"Released. Everything was held {clock_of(schedule, zone).hold(stood)}.")


def _json(one: Hold | None) -> str:
    return printed(one and {key: iso(value) for key, value in asdict(one).items()})
