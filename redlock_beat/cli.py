"""``celery -A proj redlock ...``: the schedule from the command line.

Tables for people, ``--json`` for programs. Exit codes: 0 fine, 1 not found or unhealthy, 2 usage.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import wraps
from typing import Any

import click

from .entry import Entry
from .errors import RedlockBeatError
from .operations import Foreseen, Happened, Slot
from .schedule import Schedule

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
_YES = click.option("--yes", is_flag=True, help="Do not ask.")


def _command(function: Callable[..., Any]) -> Callable[..., Any]:
    """Hand the schedule to a verb, and turn our errors into one line and an exit code."""

    @click.pass_context
    @wraps(function)
    def run(ctx: click.Context, *args: Any, **kwargs: Any) -> Any:
        try:
            return function(Schedule(ctx.obj.app), *args, **kwargs)
        except RedlockBeatError as exc:
            click.secho(f"Error: {exc}", fg="red", err=True)
            ctx.exit(1)

    return run


@click.group()
def redlock() -> None:
    """Look at the schedule of redlock_beat and edit it while it runs.

    Example: celery -A proj redlock list
    """


@redlock.command("list")
@_JSON
@_command
def list_(schedule: Schedule, as_json: bool) -> None:
    """List all entries, in pages.

    Example: celery -A proj redlock list
    """
    if as_json:
        for entry in schedule:
            click.echo(json.dumps(_entry(entry), default=str))
        return
    rows = [(e.name, e.task, str(e.schedule), _when(e), _ago(e.last_sent), str(e.total_run_count)) for e in schedule]
    _table(("NAME", "TASK", "SCHEDULE", "NEXT", "LAST SENT", "SENT"), sorted(rows))
    for name, why in schedule.status().quarantine.items():
        click.secho(f"in quarantine: {name}: {why}", fg="red")


@redlock.command()
@click.argument("name")
@_JSON
@_command
def show(schedule: Schedule, name: str, as_json: bool) -> None:
    """Show one entry with all it says.

    Example: celery -A proj redlock show nightly-report
    """
    data = _entry(schedule[name])
    if as_json:
        click.echo(json.dumps(data, default=str))
        return
    width = max(map(len, data))
    for key, value in data.items():
        click.echo(f"{key:<{width}}  {value}")


@redlock.command("next")
@click.argument("name", required=False)
@click.option("-n", "count", default=10, show_default=True, help="How many slots.")
@click.option("--outage", type=click.DateTime(["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]), nargs=2,
              help="Instead: what would be sent and missed if nothing ran from START to END (local time).")  # fmt: skip
@_JSON
@_command
def next_(
    schedule: Schedule, name: str | None, count: int, outage: tuple[datetime, datetime] | None, as_json: bool
) -> None:
    """Show the coming slots of one entry, or of the whole schedule.

    Example: celery -A proj redlock next nightly-report -n 3
    """
    if outage:
        rows = schedule.simulate(outage=(outage[0].astimezone(), outage[1].astimezone()), name=name)
        if as_json:
            click.echo(
                json.dumps([{key: getattr(row, key) for key in Foreseen.__slots__} for row in rows], default=str)
            )
            return
        lines = [
            (row.name, row.what if row.what == "sent" else f"missed {row.count}", _local(row.nominal), _local(row.at),
             row.why or "")
            for row in rows
        ]  # fmt: skip
        _table(("NAME", "WHAT", "SLOT", "AT", "WHY"), lines)
        return
    found: Sequence[Slot] = schedule.preview(name, count)
    if as_json:
        click.echo(json.dumps([{"name": slot.name, "nominal": slot.nominal.isoformat()} for slot in found]))
        return
    _table(("NAME", "AT", ""), [(slot.name, _local(slot.nominal), _in(slot.nominal)) for slot in found])


@redlock.command()
@click.argument("name", required=False)
@click.option("-n", "count", default=20, show_default=True, help="How many rows, newest first.")
@_JSON
@_command
def history(schedule: Schedule, name: str | None, count: int, as_json: bool) -> None:
    """Show what became of occurrences: sent, missed, failed, skipped.

    Example: celery -A proj redlock history nightly-report -n 5
    """
    found: Sequence[Happened] = schedule.history(name, n=count)
    if as_json:
        click.echo(json.dumps([{key: getattr(row, key) for key in Happened.__slots__} for row in found], default=str))
        return
    rows = []
    for row in found:
        late = "" if row.lateness is None else f"{row.lateness * 1000:.0f} ms"
        what = row.what if row.what != "missed" else f"missed {row.count}"
        rows.append((row.entry, what, _local(row.at), late, row.task_id or "", row.why or row.how or ""))
    _table(("NAME", "WHAT", "AT", "LATE", "TASK ID", "WHY"), rows)


@redlock.command()
@click.argument("name")
@click.option("--note", help="Why; kept and shown until it is resumed.")
@_command
def pause(schedule: Schedule, name: str, note: str | None) -> None:
    """Pause an entry until it is resumed.

    Example: celery -A proj redlock pause mail --note "provider is down"
    """
    schedule.pause(name, note)
    click.echo(f"{name} is paused.")


@redlock.command()
@click.argument("name")
@click.option("--catch-up", is_flag=True, help="What it missed while paused falls under its policy.")
@_command
def resume(schedule: Schedule, name: str, catch_up: bool) -> None:
    """Resume a paused entry, from now.

    Example: celery -A proj redlock resume mail
    """
    entry = schedule.resume(name, catch_up=catch_up)
    click.echo(f"{name} is resumed; next {_when(entry)}.")


@redlock.command()
@click.argument("name")
@_command
def run(schedule: Schedule, name: str) -> None:
    """Send an entry once, now, without moving its next slot.

    Example: celery -A proj redlock run nightly-report
    """
    click.echo(schedule.trigger(name))


@redlock.command()
@click.argument("name")
@_YES
@_command
def remove(schedule: Schedule, name: str, yes: bool) -> None:
    """Remove an entry for good.

    Example: celery -A proj redlock remove mail --yes
    """
    entry = schedule[name]
    if not yes:
        click.confirm(f"Remove {name!r} ({entry.task}, {entry.schedule})?", abort=True)
    schedule.remove(name)
    click.echo(f"{name} is removed.")


@redlock.command()
@_JSON
@_command
def status(schedule: Schedule, as_json: bool) -> None:
    """Show who leads, what waits and what is wrong. Exits with 1 when nobody leads.

    Example: celery -A proj redlock status
    """
    found = schedule.status()
    if as_json:
        click.echo(json.dumps(found.json()))
    else:
        leader = f"{found.leader}, term {found.epoch}, {found.lease_left:.1f} s left" if found.leader else "NOBODY"
        click.echo(f"leader      {leader}")
        click.echo(f"entries     {found.entries}")
        late = f", the oldest for {found.oldest_due:.1f} s" if found.overdue else ""
        click.echo(f"due now     {found.overdue}{late}")
        click.echo(f"outbox      {found.outbox}")
        click.echo(f"quarantine  {len(found.quarantine)}")
        for name, why in found.quarantine.items():
            click.echo(f"            {name}: {why}")
        rows = [
            (f"{one.host}:{one.pid}", one.role, one.version, one.delivery, f"{one.age:.1f} s", f"{one.skew:+.3f} s")
            for one in found.replicas
        ]
        _table(("REPLICA", "ROLE", "VERSION", "DELIVERY", "HEARD OF", "CLOCK SKEW"), rows)
    if found.leader is None:
        click.get_current_context().exit(1)


# --- how things are shown ----------------------------------------------------------------------------


def _entry(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name, "task": entry.task, "schedule": str(entry.schedule), "timezone": entry.timezone,
        "args": list(entry.args), "kwargs": dict(entry.kwargs), "options": dict(entry.options),
        "enabled": entry.enabled, "note": entry.note, "paused_by": entry.paused_by, "missed": entry.missed,
        "grace": entry.grace, "jitter": entry.jitter, "dst_gap": entry.dst_gap, "dst_fold": entry.dst_fold,
        "max_runs": entry.max_runs, "delivery": entry.delivery, "origin": entry.origin, "revision": entry.revision,
        "uid": entry.uid, "next_due": entry.next_due, "last_sent": entry.last_sent, "sent": entry.total_run_count,
    }  # fmt: skip


def _when(entry: Entry) -> str:
    if not entry.enabled:
        return "paused" + (f": {entry.note}" if entry.note else "")
    return "finished" if entry.next_due is None else _in(entry.next_due)


def _local(when: datetime) -> str:
    return when.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _span(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _in(when: datetime) -> str:
    seconds = (when - datetime.now(UTC)).total_seconds()
    return f"in {_span(seconds)}" if seconds >= 0 else f"{_span(-seconds)} ago"


def _ago(when: datetime | None) -> str:
    return "never" if when is None else _in(when)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table that fits the terminal: the widest columns give way."""
    import shutil

    lines = [list(head), *[["" if cell is None else " ".join(str(cell).split()) for cell in row] for row in rows]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    room = max(60, shutil.get_terminal_size((120, 24)).columns) - 2 * (len(head) - 1)
    while sum(widths) > room:
        widths[widths.index(max(widths))] -= 1
    for number, line in enumerate(lines):
        cells = [c if len(c) <= w else c[: max(w - 1, 0)] + "…" for c, w in zip(line, widths, strict=True)]
        text = "  ".join(f"{c:<{w}}" for c, w in zip(cells, widths, strict=True)).rstrip()
        click.secho(text, bold=number == 0)
