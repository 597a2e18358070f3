"""The verb that says who edited what, when and why."""

from __future__ import annotations

import json
from typing import Any

import click

from ..entries.document import when_of
from ..errors import InvalidSchedule, NoSuchEntry
from ..recurrence import as_spec
from ..schedule.edit_log import EditRow
from .looking import iso
from .terminal import Clock, clean
from .times import PAST, Written
from .verbs import JSON, MAYBE_NAME, TZ, Verb, VerbSchedule, clock_of, printed, read

_COLOURS = {"removed": "red", "paused": "yellow", "added": "green", "held": "yellow"}
#: What a row is about that names no entry.
_ALL = {"held": "everything", "released": "everything", "acknowledged": "a loss of data"}


@click.command("log", cls=Verb)
@MAYBE_NAME
@click.option("-n", "count", default=20, show_default=True, type=click.IntRange(1), help="How many, newest first.")
@click.option("--since", type=PAST, help="Only edits since: 1h, 10:00, 2027-01-01T07:00.")
@click.option("--actor", help="Only edits by this one; * and ? are wildcards.")
@TZ
@JSON
def log_(
    schedule: VerbSchedule,
    name: str | None,
    count: int,
    since: Written | None,
    actor: str | None,
    zone: str | None,
    as_json: bool,
) -> None:
    """Show who edited what, when and why.

    \b
    Examples:
      celery -A proj redlock log nightly
      celery -A proj redlock log --since 1d --actor 'ann@*'
    """
    clock = clock_of(schedule, zone)
    after = None if since is None else read(schedule, since, clock.zone)
    rows = schedule.log(name, after, n=count, actor=actor)
    if not rows and name is not None and name not in schedule:
        raise NoSuchEntry(name)
    if as_json:
        click.echo(printed([_json(row) for row in rows]))
        return
    for row in rows:
        _show(row, clock)


def _json(row: EditRow) -> dict[str, Any]:
    data = {key: iso(getattr(row, key)) for key in EditRow.__slots__}
    parts = ("field", "before", "after")
    return {**data, "changes": [dict(zip(parts, change, strict=True)) for change in row.changes]}


def _show(row: EditRow, clock: Clock) -> None:
    click.echo(f"{clock.time(row.at)}  ", nl=False)
    click.secho(
        f"{clean(row.entry) or _ALL.get(row.what, 'many entries')} {_what(row)}",
        fg=_COLOURS.get(row.what),
        nl=False,
    )
    click.echo(f" by {clean(row.actor)}" + (f": {clean(row.why)}" if row.why else ""))
    for field, before, after in row.changes:
        click.echo(f"    {clean(field)}: {_value(field, before)} -> {_value(field, after)}")


def _what(row: EditRow) -> str:
    words = clean(row.what)
    if row.source is not None:
        words += f" from {clean(row.source)}"
    if row.count is not None:
        words += f" ({row.count})"
    if row.task_id is not None:
        words += f" ({clean(row.task_id)})"
    return words if row.revision is None else f"{words} (revision {row.revision})"


def _value(field: str, value: Any) -> str:
    if value in (None, "", [], {}):
        return "-"
    if field == "when":
        try:
            return clean(as_spec(when_of(value)))
        except InvalidSchedule:  # it was cut, or its class is not registered here
            pass
    return clean(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
