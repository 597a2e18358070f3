"""Verbs that look at the schedule: list, show, next, history."""

from __future__ import annotations

import contextlib
import heapq
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

import click

from ..clock import micros, moment
from ..entries.document import document
from ..entries.entry import Entry
from ..entries.policies import next_slot
from ..errors import NoSuchEntry
from ..schedule.answers import Foreseen, Happened
from ..schedule.changes import uncomputable
from ..schedule.configuration import edited
from ..schedule.edits import readable
from ..schedule.operations import glob
from ..store import requests
from ..store.requests import PAGE
from .terminal import Clock, Column, Stream, bursts, clean, cut, fields, progress, relative, span, table
from .times import COMING, PAST, Written
from .verbs import JSON, MAYBE_NAME, NAME, TZ, Patient, Verb, clock_of, printed, read, usage
from .watching import show_problems

#: Entries in one page of `list`, unless -n says otherwise.
SHOWN = 100
#: Names in one round trip when only names are needed.
_NAMES = 500


# --- list ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Choice:
    """Which entries `list` shows, and in which order."""

    task: str | None
    prefix: str | None
    enabled: bool | None
    origin: str | None
    sort: str
    page: int
    count: int

    @property
    def by_name_alone(self) -> bool:
        """Whether names are all that is needed to choose."""
        return self.sort == "name" and self.task is None and self.enabled is None and self.origin is None


@click.command("list", cls=Verb)
@click.option("--task", help="Only entries that send this task; * and ? are wildcards.")
@click.option("--prefix", help="Only entries whose name begins with this.")
@click.option("--paused/--active", "paused", default=None, help="Only paused entries, or only active ones.")
@click.option("--origin", type=click.Choice(["config", "api"]),
              help="Only entries from the configuration, or only those made at runtime.")  # fmt: skip
@click.option("--sort", type=click.Choice(["name", "next", "last"]),
              help="By name, by what is sent next, or by what was sent last.  [default: name]")  # fmt: skip
@click.option("-n", "count", type=click.IntRange(1), help=f"Entries in a page.  [default: {SHOWN}; all with --json]")
@click.option("--page", type=click.IntRange(1), help="Which page.  [default: 1]")
@click.option("--wide", "-w", is_flag=True, help="All columns, uncut, and times rather than spans.")
@TZ
@JSON
def list_(
    schedule: Patient, task: str | None, prefix: str | None, paused: bool | None, origin: str | None,
    sort: str | None, count: int | None, page: int | None, wide: bool, zone: str | None, as_json: bool,
) -> None:  # fmt: skip
    """List entries in order.

    With --json, one entry a line: all of them, in no order unless --sort, -n or --page is given.

    \b
    Examples:
      celery -A proj redlock list --sort next
      celery -A proj redlock list --task 'billing.*' --paused --wide
    """
    enabled = None if paused is None else not paused
    if as_json and sort is None and count is None and page is None:
        for entry in schedule.entries(task=task, prefix=prefix, enabled=enabled, origin=origin):
            click.echo(printed(document(entry)))
        return
    choice = _Choice(task, prefix, enabled, origin, sort or "name", page or 1, count or SHOWN)
    total, shown = _chosen(schedule, choice)
    if as_json:
        for entry in shown:
            click.echo(printed(document(entry)))
        return
    _show_entries(schedule, shown, clock_of(schedule, zone), wide)
    first = (choice.page - 1) * choice.count
    if len(shown) < total:
        which = f"{first + 1} to {first + len(shown)}" if first else f"{len(shown)}"
        click.echo(f"{which if shown else 'none'} of {total}; more with --page {choice.page + 1} or -n {total}."
                   if first + len(shown) < total else f"{which if shown else 'none'} of {total}.")  # fmt: skip
    show_problems(schedule.status())


def _chosen(schedule: Patient, choice: _Choice) -> tuple[int, list[Entry]]:
    """How many there are, and the page of them that is asked for."""
    upto = choice.page * choice.count
    with progress(schedule.count(), "Reading") as advance:
        if choice.by_name_alone:
            seen = list(_each_name(schedule, choice.prefix, advance)) if choice.prefix else None
            total = schedule.count() if seen is None else len(seen)
            names = heapq.nsmallest(upto, _each_name(schedule, None, advance) if seen is None else seen)
            return total, list(_named(schedule, list(dict.fromkeys(names))[upto - choice.count :]))
        total = 0

        def found() -> Iterator[Entry]:
            nonlocal total
            fits = schedule.entries(
                task=choice.task, prefix=choice.prefix, enabled=choice.enabled, origin=choice.origin
            )
            for entry in fits:
                total += 1
                advance(1)
                yield entry

        kept = heapq.nsmallest(upto, found(), key=_ORDER[choice.sort])
        return total, kept[upto - choice.count :]


_ORDER: dict[str, Callable[[Entry], Any]] = {
    "name": lambda entry: entry.name,
    "next": lambda entry: (entry.next_due is None, entry.next_due and entry.next_due.timestamp(), entry.name),
    "last": lambda entry: (entry.last_sent is None, entry.last_sent and -entry.last_sent.timestamp(), entry.name),
}


def _each_name(schedule: Patient, prefix: str | None, advance: Callable[[int], None]) -> Iterator[str]:
    keys, cursor = schedule.keys, "0"
    while True:
        cursor, names = schedule.ask(requests.names(keys, cursor, glob(prefix) if prefix else None, _NAMES))
        advance(len(names))
        yield from names
        if cursor == "0":
            return


def _named(schedule: Patient, names: Sequence[str]) -> Iterator[Entry]:
    for i in range(0, len(names), PAGE):
        _, page = schedule.ask(requests.read(schedule.keys, names[i : i + PAGE]))
        yield from (entry for stored in page if (entry := readable(stored)) is not None)


_ENTRIES = (
    Column("NAME", least=24), Column("TASK", 3, 14, front=True), Column("SCHEDULE", least=12), Column("ZONE", 2),
    Column("NEXT", least=12), Column("LAST SENT", 4), Column("SENT", 6), Column("ORIGIN", 5),
)  # fmt: skip


def _show_entries(schedule: Patient, shown: list[Entry], clock: Clock, wide: bool) -> None:
    origins = _origins(schedule, shown)
    rows = [
        (
            entry.name, entry.task, clock.schedule(entry.schedule), _zone(entry, clock),
            when(entry, clock if wide else None),
            (clock.time(entry.last_sent) or "never") if wide else relative(entry.last_sent),
            entry.total_run_count, origin,
        )
        for entry, origin in zip(shown, origins, strict=True)
    ]  # fmt: skip
    table(_ENTRIES, rows, ["yellow" if not entry.enabled else None for entry in shown], wide=wide)


def _origins(schedule: Patient, shown: list[Entry]) -> list[str]:
    """Where each comes from, and whether one of the configuration was edited since."""
    names = [entry.name for entry in shown if entry.origin == "config"]
    said: dict[str, str | None] = {}
    for i in range(0, len(names), PAGE):
        page = names[i : i + PAGE]
        digests = schedule.ask(requests.some(schedule.keys.configured, page))
        said.update(zip(page, digests, strict=True))
    return [
        "config, edited" if edited(entry, said.get(entry.name)) else entry.origin for entry in shown
    ]  # fmt: skip


# --- show ------------------------------------------------------------------------------------------


@click.command(cls=Verb)
@NAME
@TZ
@JSON
def show(schedule: Patient, name: str, zone: str | None, as_json: bool) -> None:
    """Show all there is to say of one entry.

    \b
    Example:
      celery -A proj redlock show nightly-report
    """
    entry = schedule[name]
    data = document(entry)
    if as_json:
        click.echo(printed(data))
        return
    clock = clock_of(schedule, zone)
    due, last = entry.next_due, entry.last_sent
    data["next_due"] = f"{clock.time(due)} ({relative(due)})" if due else when(entry)
    data["last_sent"] = f"{clock.time(last)} ({relative(last)})" if last else "never"
    data["schedule"] = clock.schedule(entry.schedule)
    data["origin"] = _origins(schedule, [entry])[0]
    for bound in ("starts", "ends"):
        at = getattr(entry, bound)
        data[bound] = None if at is None else clock.time(moment(at))
    for length in ("grace", "jitter"):
        value = getattr(entry, length)
        data[length] = span(value) if value else None
    for part in ("args", "kwargs", "options", "canvas"):
        if data.get(part):
            data[part] = printed(data[part])
    data.pop("when")
    fields({key: value for key, value in data.items() if value not in (None, [], {}, False)})


# --- next ------------------------------------------------------------------------------------------


@click.command("next", cls=Verb)
@MAYBE_NAME
@click.option("-n", "count", default=10, show_default=True, type=click.IntRange(1, 100_000), help="How many slots.")
@click.option("--timeline", type=click.Choice(["hour", "day"]), help="Instead: what is due when, as bars.")
@click.option("--outage", type=COMING, nargs=2, metavar="START END",
              help="Instead: what would be sent and missed if nothing ran from START to END.")  # fmt: skip
@TZ
@JSON
def next_(
    schedule: Patient, name: str | None, count: int, timeline: str | None,
    outage: tuple[Written, Written] | None, zone: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Show the coming slots, of one entry or of all.

    \b
    Examples:
      celery -A proj redlock next nightly-report -n 3
      celery -A proj redlock next --outage 22:00 'tomorrow 06:00'
    """
    clock = clock_of(schedule, zone)
    if timeline and outage:
        raise click.UsageError("--timeline and --outage are two questions: ask one at a time.")
    if timeline:
        _timeline(schedule, name, timeline, clock, as_json)
    elif outage:
        start, end = (read(schedule, at, clock.zone) for at in outage)
        _outage(schedule, name, (start, end), clock, as_json)
    else:
        found = schedule.preview(name, count)
        if as_json:
            rows: list[dict[str, Any]] = [
                {"name": slot.name, "nominal": slot.nominal.isoformat()} if slot.why is None
                else {"name": slot.name, "nominal": None, "why": slot.why}
                for slot in found
            ]  # fmt: skip
            click.echo(printed(rows))
            return
        lines = [
            (slot.name, clock.time(slot.nominal), relative(slot.nominal).removeprefix("in "))
            for slot in found if slot.why is None
        ]  # fmt: skip
        table((Column("NAME", least=16), Column("AT"), Column("IN")), lines)
        for slot in found:
            if slot.why is not None:
                click.secho(clean(slot.why), fg="red", err=True)


_OUTAGE = (Column("NAME", least=16), Column("WHAT"), Column("SLOT", 2), Column("AT"), Column("WHY", 3, below=True))
_OUTAGE_COLOURS = {"missed": "yellow", "unknown": "red"}


def _outage(
    schedule: Patient, name: str | None, outage: tuple[datetime, datetime], clock: Clock, as_json: bool
) -> None:
    with usage():
        rows = schedule.simulate(outage=outage, name=name)
    if as_json:
        click.echo(printed([{key: iso(getattr(row, key)) for key in Foreseen.__slots__} for row in rows]))
        return
    lines = [
        (
            row.name, missed(row) if row.what == "missed" else row.what, clock.time(row.nominal),
            clock.time(row.at), row.why,
        )
        for row in rows
    ]  # fmt: skip
    table(_OUTAGE, lines, [_OUTAGE_COLOURS.get(row.what) for row in rows])


#: Slots of one entry, and of all, that a timeline counts.
_TIMELINE_ENTRY, _TIMELINE_ALL = 100_000, 2_000_000


def _timed(entry: Entry, now: int, end: int) -> Iterator[int]:
    """The slots of an entry from now on, to before *end*."""
    if not entry.enabled or entry.state is None or entry.state.nominal is None:
        return
    at: int | None = entry.state.nominal if entry.state.nominal > now else next_slot(entry, now)
    while at is not None and at < end:
        yield at
        at = next_slot(entry, at)


def _timeline(schedule: Patient, name: str | None, reach: str, clock: Clock, as_json: bool) -> None:
    now = micros(schedule.now())
    columns = 60 if reach == "hour" else 96 if shutil.get_terminal_size((120, 24)).columns >= 96 else 48
    size = (3_600_000_000 if reach == "hour" else 86_400_000_000) // columns
    counts, busiest, total = [0] * columns, [""] * columns, 0
    entries = [schedule[name]] if name is not None else schedule.entries()
    for entry in entries:
        try:
            for at in islice(_timed(entry, now, now + size * columns), min(_TIMELINE_ENTRY, _TIMELINE_ALL - total)):
                place = (at - now) // size
                counts[place] += 1
                busiest[place] = busiest[place] or entry.name
                total += 1
        except Exception as exc:  # noqa: BLE001 - a schedule class may raise anything, or not be registered here
            click.secho(clean(uncomputable(entry.name, exc)), fg="red", err=True)
    if as_json:
        starts = [moment(now + i * size).isoformat() for i in range(columns)]
        click.echo(printed([{"from": at, "count": count} for at, count in zip(starts, counts, strict=True)]))
        return
    each = span(size / 1e6)
    click.echo(bursts(counts))
    ends = (clock.hour(moment(now)), clock.hour(moment(now + size * columns)))
    click.echo(ends[0] + " " * (columns - 10) + ends[1])
    click.echo(f"{'at least ' if total >= _TIMELINE_ALL else ''}{total} in the next {reach}; each column is {each}.")
    most = max(counts)
    if most:
        place = counts.index(most)
        at_most = clock.time(moment(now + place * size))
        click.echo(f"The most, {most}, from {at_most} on: {cut(clean(busiest[place]), 40)}"
                   + (" and others." if most > 1 else "."))  # fmt: skip


# --- history ---------------------------------------------------------------------------------------


@click.command(cls=Verb)
@MAYBE_NAME
@click.option("-n", "count", default=20, show_default=True, type=click.IntRange(1), help="How many rows, newest first.")
@click.option("--since", type=PAST, help="Only what happened since: 1h, 10:00, 2027-01-01T07:00.")
@click.option("--follow", "-f", is_flag=True, help="Go on showing what happens, until Ctrl-C.")
@click.option("--wide", "-w", is_flag=True, help="All columns, uncut.")
@TZ
@JSON
def history(
    schedule: Patient, name: str | None, count: int, since: Written | None, follow: bool, wide: bool,
    zone: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Show what became of occurrences.

    They are sent, missed, failed or skipped. The newest comes first; with --follow the oldest, and with
    --json then one a line.

    \b
    Examples:
      celery -A proj redlock history nightly-report -n 5
      celery -A proj redlock history --since 1h
    """
    clock = clock_of(schedule, zone)
    after = None if since is None else read(schedule, since, clock.zone)
    if follow:
        with contextlib.suppress(KeyboardInterrupt):
            _follow(schedule, name, count, after, clock, as_json)
        return
    found = schedule.history(name, after, n=count)
    if not found and name is not None and after is None and name not in schedule:
        raise NoSuchEntry(name)
    if as_json:
        click.echo(printed([_happened(row) for row in found]))
    else:
        table(_HISTORY, [_row(row, clock) for row in found], [_colour(row) for row in found], wide=wide)


_HISTORY = (
    Column("NAME", least=20), Column("WHAT"), Column("AT"), Column("LATE", 2), Column("TASK ID", 3),
    Column("WHY", 4, below=True),
)  # fmt: skip
#: What a followed table makes room for besides what it begins with.
_ROOMY = ("-" * 30, "published nothing", "", "100 ms", "-" * 36, "")


def _row(row: Happened, clock: Clock) -> tuple[str, ...]:
    late = "" if row.lateness is None or row.how else span(max(0.0, row.lateness))
    what = row.what if row.what != "missed" else missed(row)
    return row.entry, what, clock.time(row.at), late, row.task_id or "", row.why or row.how or ""


def _colour(row: Happened) -> str | None:
    return {"failed": "red", "missed": "yellow", "skipped": "yellow", "unknown": "red"}.get(row.what)


def _happened(row: Happened) -> dict[str, Any]:
    return {key: iso(getattr(row, key)) for key in (*Happened.__slots__, "lateness")}


def _follow(
    schedule: Patient, name: str | None, count: int, since: datetime | None, clock: Clock, as_json: bool
) -> None:
    stream = None
    if not as_json:
        stream = Stream(_HISTORY, [_ROOMY, ("", "", clock.time(schedule.now()), "", "", "")])
    for row in schedule.follow(name, last=count):
        if since is not None and row.at < since:
            continue
        if stream is None:
            click.echo(printed(_happened(row)))
        else:
            stream.row(_row(row, clock), _colour(row))


# --- words -----------------------------------------------------------------------------------------


def missed(row: Happened | Foreseen) -> str:
    """How many slots were missed; "+": so many and more."""
    return f"missed {row.count}{'+' if row.at_least else ''}"


def when(entry: Entry, clock: Clock | None = None) -> str:
    """When an entry is sent next, or why it is not."""
    if not entry.enabled:
        return "paused" + (f": {entry.note}" if entry.note else "")
    if entry.next_due is None:
        return "finished"
    return relative(entry.next_due) if clock is None else clock.time(entry.next_due)


def _zone(entry: Entry, clock: Clock) -> str:
    """The zone of an entry for which it matters, where it is not the one that is shown anyway."""
    return entry.timezone if entry.schedule.kind in ("crontab", "rrule") and entry.timezone != clock.zone else ""


def iso(value: Any) -> Any:
    """A value as JSON can say it."""
    return value.isoformat() if isinstance(value, datetime) else value
