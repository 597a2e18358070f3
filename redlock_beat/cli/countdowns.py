"""Verbs for calls with a countdown or eta that the schedule keeps: countdowns, cancel."""

from __future__ import annotations

from itertools import islice

import click

from ..schedule.answers import Countdown
from ..tasks.revoking import cancel as cancel_kept
from .by_id import Words, check, end
from .looking import iso
from .terminal import Clock, Column, relative, table
from .verbs import DRY, JSON, TZ, YES, Verb, VerbSchedule, clock_of, hint_if_nothing_is_sent, printed

#: Calls shown unless -n says otherwise.
SHOWN = 100

_COLUMNS = (
    Column("TASK", least=16),
    Column("IN"),
    Column("AT", 2),
    Column("TASK ID", 1),
    Column("ARGS", 3, 8),
    Column("KWARGS", 4, 8),
    Column("EXPIRES", 5),
)


_CANCEL = Words(
    noun="call",
    verb="Cancel",
    done="cancelled",
    would="would be cancelled, if kept",
    unknown="is not kept: it was sent, cancelled, or never was",
    key="cancelled",
)


@click.command("countdowns", cls=Verb)
@click.option("--task", help="Only calls of this task; * and ? are wildcards.")
@click.option("-n", "count", type=click.IntRange(1), help=f"How many.  [default: {SHOWN}; all with --json]")
@click.option("--wide", "-w", is_flag=True, help="All columns, uncut.")
@TZ
@JSON
def countdowns(
    schedule: VerbSchedule, task: str | None, count: int | None, wide: bool, zone: str | None, as_json: bool
) -> None:
    """List calls with a countdown or eta that are kept, soonest first.

    --json prints one call on each line.

    \b
    Examples:
      celery -A proj redlock countdowns
      celery -A proj redlock countdowns --task 'billing.*' --json
    """
    calls = islice(schedule.countdowns(task=task), count or (None if as_json else SHOWN))
    if as_json:
        for one in calls:
            click.echo(printed({key: iso(getattr(one, key)) for key in Countdown.__slots__}))
        return
    shown = list(calls)
    _show(shown, clock_of(schedule, zone), wide)
    status = schedule.status()
    if len(shown) < status.countdowns:
        click.echo(f"{len(shown)} of {status.countdowns}; more with -n {status.countdowns}.")
    if status.countdowns:
        hint_if_nothing_is_sent(schedule)


def _show(shown: list[Countdown], clock: Clock, wide: bool) -> None:
    def row(one: Countdown) -> tuple[str, ...]:
        task, left = one.task or "(cannot be read)", relative(one.at).removeprefix("in ")
        return task, left, clock.time(one.at), one.id, one.args, one.kwargs, one.expires or ""

    table(_COLUMNS, [row(one) for one in shown], ["red" if not one.task else None for one in shown], wide=wide)


@click.command(cls=Verb)
@click.argument("ids", nargs=-1, metavar="[TASK_ID]...")
@click.option("--task", help="All calls of this task; * and ? are wildcards.")
@DRY
@YES
@JSON
def cancel(
    schedule: VerbSchedule, ids: tuple[str, ...], task: str | None, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Cancel calls with a countdown or eta that are kept. Their tasks get the state REVOKED.

    Exits with 1 if one of the ids is not kept. Perhaps it was sent already.

    \b
    Examples:
      celery -A proj redlock cancel 0b7e1b56-6d3c-4f3b-9d0c-0e7b2f3a5c11
      celery -A proj redlock cancel --task 'billing.*' --dry-run
    """
    check(ids, task)
    wanted = list(ids) if task is None else [one.id for one in schedule.countdowns(task=task)]

    def act() -> list[str]:
        return cancel_kept(schedule.app, wanted, schedule.round_trip, schedule.keys)

    end(_CANCEL, ids, task, len(wanted), act, dry_run=dry_run, yes=yes, as_json=as_json)
