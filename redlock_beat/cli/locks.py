"""Verbs for the locks of unique tasks: locks, unlock."""

from __future__ import annotations

from itertools import islice

import click

from ..schedule.answers import TaskLock
from .by_id import Words, check, end
from .looking import iso
from .terminal import Column, relative, table
from .verbs import DRY, JSON, YES, Verb, VerbSchedule, printed

#: Locks shown unless -n says otherwise.
SHOWN = 100

_COLUMNS = (
    Column("TASK", least=16),
    Column("KEY", 1, 8),
    Column("PHASE"),
    Column("SINCE"),
    Column("ENDS", 2),
    Column("TASK ID", least=36),
    Column("NEXT", 3),
)


_UNLOCK = Words(
    noun="lock",
    verb="Free",
    done="free",
    would="would be freed",
    unknown="holds no lock",
    key="freed",
)


@click.command("locks", cls=Verb)
@click.option("--task", help="Only locks of this task; * and ? are wildcards.")
@click.option("-n", "count", type=click.IntRange(1), help=f"How many.  [default: {SHOWN}; all with --json]")
@click.option("--wide", "-w", is_flag=True, help="All columns, uncut.")
@JSON
def locks(schedule: VerbSchedule, task: str | None, count: int | None, wide: bool, as_json: bool) -> None:
    """List the locks of unique tasks: which calls wait or run, so that others like them are not sent.

    --json prints one lock on each line.

    \b
    Examples:
      celery -A proj redlock locks
      celery -A proj redlock locks --task 'billing.*' --json
    """
    found = islice(schedule.locks(task=task), count or (None if as_json else SHOWN))
    if as_json:
        for one in found:
            click.echo(printed({key: iso(getattr(one, key)) for key in TaskLock.__slots__}))
        return
    shown = list(found)
    table(_COLUMNS, [_row(one) for one in shown], wide=wide)
    if len(shown) == (count or SHOWN):
        click.echo(f"The first {len(shown)}; more with -n.")


def _row(lock: TaskLock) -> tuple[str, ...]:
    since = relative(lock.since).removesuffix(" ago")
    return lock.task, lock.key, lock.phase, since, relative(lock.ends), lock.holder, lock.next or ""


@click.command(cls=Verb)
@click.argument("ids", nargs=-1, metavar="[TASK_ID]...")
@click.option("--task", help="All locks of this task; * and ? are wildcards.")
@DRY
@YES
@JSON
def unlock(
    schedule: VerbSchedule, ids: tuple[str, ...], task: str | None, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Free locks of unique tasks, by the task ids that hold them. A call that waits or runs is not stopped.

    Exits with 1 when one of the ids holds no lock.

    \b
    Examples:
      celery -A proj redlock unlock 0b7e1b56-6d3c-4f3b-9d0c-0e7b2f3a5c11
      celery -A proj redlock unlock --task 'billing.*' --dry-run
    """
    check(ids, task)
    wanted = {one.digest: one for one in schedule.locks(task=task) if task is not None or one.holder in ids}

    def act() -> list[str]:
        return sorted({one.holder for one in wanted.values() if schedule.unlock(one)})

    end(_UNLOCK, ids, task, len(wanted), act, dry_run=dry_run, yes=yes, as_json=as_json)
