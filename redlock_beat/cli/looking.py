"""Verbs that show the schedule: list, show, next, history."""

from __future__ import annotations

import contextlib
import heapq
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import click

from ..clock import micros, moment
from ..entries.document import document
from ..entries.entry import Entry, Skip
from ..errors import NoSuchEntry
from ..schedule.answers import OUTCOMES, LedgerRow, SimulatedRow, Slot
from ..schedule.configuration import edited
from ..schedule.edits import readable
from ..schedule.filters import STATES, Filter, Which
from ..schedule.load import Load
from ..schedule.operations import glob
from ..store import requests
from ..store.digests import digests
from ..store.requests import PAGE
from .terminal import Clock, Column, Stream, bursts, clean, cut, fields, progress, relative, say, span, table
from .times import COMING, PAST, Written
from .verbs import JSON, LABEL, MAYBE_NAME, NAME, TZ, Verb, VerbSchedule, clock_of, printed, read, usage
from .watching import show_problems

#: Entries in one page of `list`, unless -n says otherwise.
SHOWN = 100
#: Names in one round trip when only names are needed.
_NAMES = 500


# --- list ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Choice:
    """Which entries `list` shows, and in which order."""

    which: Filter
    sort: str | None
    page: int | None
    count: int | None

    @property
    def in_order(self) -> bool:
        """Whether an order or a page is asked for."""
        return (self.sort, self.page, self.count) != (None, None, None)

    @property
    def by_name_alone(self) -> bool:
        """Whether names are all that is needed to choose."""
        return self.sort in (None, "name") and self.which.by_name_alone

    @property
    def first(self) -> int:
        """How many entries come before the page."""
        return ((self.page or 1) - 1) * (self.count or SHOWN)

    @property
    def end(self) -> int:
        """How many entries there are to the end of the page."""
        return self.first + (self.count or SHOWN)

    def fits(self, schedule: VerbSchedule) -> Iterator[Entry]:
        """The entries that fit, in no order."""
        which = {part: getattr(self.which, part) for part in Which.__annotations__}
        return schedule.entries(**cast(Which, which))


_ORDER: dict[str, Callable[[Entry], Any]] = {
    "name": lambda entry: entry.name,
    "next": lambda entry: (entry.next_due is None, entry.next_due and entry.next_due.timestamp(), entry.name),
    "last": lambda entry: (entry.last_sent is None, entry.last_sent and -entry.last_sent.timestamp(), entry.name),
}


@click.command("list", cls=Verb)
@click.option("--task", help="Only entries that send this task; * and ? are wildcards.")
@click.option("--prefix", help="Only entries whose name begins with this.")
@click.option("--paused/--active", "paused", default=None, help="Only paused entries, or only active ones.")
@click.option("--origin", type=click.Choice(["config", "api"]), help="Only configured entries, or those of the API.")
@LABEL
@click.option("--queue", help="Only entries whose options name this queue; * and ? are wildcards.")
@click.option("--state", type=click.Choice(STATES), help="Only entries in this state.")
@click.option("--contains", help="Only entries with this somewhere in their name.")
@click.option("--sort", type=click.Choice(list(_ORDER)), help="By name, next slot or time last sent.  [default: name]")
@click.option("-n", "count", type=click.IntRange(1), help=f"Entries in a page.  [default: {SHOWN}; all with --json]")
@click.option("--page", type=click.IntRange(1), help="Which page.  [default: 1]")
@click.option("--wide", "-w", is_flag=True, help="All columns, uncut, and times rather than spans.")
@TZ
@JSON
def list_(
    schedule: VerbSchedule,
    sort: str | None,
    count: int | None,
    page: int | None,
    wide: bool,
    zone: str | None,
    as_json: bool,
    paused: bool | None,
    **given: Any,
) -> None:
    """List entries in order.

    --json prints all entries, one on each line. They are in no order unless you give --sort, -n or --page.

    \b
    Examples:
      celery -A proj redlock list --sort next
      celery -A proj redlock list --task 'billing.*' --paused --wide
      celery -A proj redlock list --label team=billing --label tenant
    """
    choice = _Choice(Filter(enabled=None if paused is None else not paused, **given), sort, page, count)
    if as_json:
        for entry in _chosen(schedule, choice)[1] if choice.in_order else choice.fits(schedule):
            click.echo(printed(document(entry)))
        return
    clock = clock_of(schedule, zone)
    _say_if_held(schedule, clock)
    total, shown = _chosen(schedule, choice)
    _show_entries(schedule, shown, clock, wide)
    if len(shown) < total:
        last = choice.first + len(shown)
        which = "none" if not shown else f"{choice.first + 1} to {last}" if choice.first else str(last)
        more = f"; more with --page {(choice.page or 1) + 1} or -n {total}" if last < total else ""
        click.echo(f"{which} of {total}{more}.")
    show_problems(schedule.status())


def _say_if_held(schedule: VerbSchedule, clock: Clock) -> None:
    """Print that nothing is sent now, before what would be."""
    hold = schedule.held()
    if hold is not None:
        say(f"Everything is held {clock.hold(hold)}.", colour="red")


def _chosen(schedule: VerbSchedule, choice: _Choice) -> tuple[int, list[Entry]]:
    """How many entries fit, and those of the page."""
    with progress(schedule.count(), "Reading") as advance:
        if choice.by_name_alone:
            seen = list(_each_name(schedule, choice.which.prefix, advance)) if choice.which.prefix else None
            total = schedule.count() if seen is None else len(seen)
            names = heapq.nsmallest(choice.end, _each_name(schedule, None, advance) if seen is None else seen)
            return total, list(_named(schedule, list(dict.fromkeys(names))[choice.first :]))
        total = 0

        def counted() -> Iterator[Entry]:
            nonlocal total
            for entry in choice.fits(schedule):
                total += 1
                advance(1)
                yield entry

        kept = heapq.nsmallest(choice.end, counted(), key=_ORDER[choice.sort or "name"])
        return total, kept[choice.first :]


def _each_name(schedule: VerbSchedule, prefix: str | None, advance: Callable[[int], None]) -> Iterator[str]:
    keys, cursor = schedule.keys, "0"
    while True:
        cursor, names = schedule.ask(requests.names(keys, cursor, glob(prefix) if prefix else None, _NAMES))
        advance(len(names))
        yield from names
        if cursor == "0":
            return


def _named(schedule: VerbSchedule, names: Sequence[str]) -> Iterator[Entry]:
    for i in range(0, len(names), PAGE):
        now, page = schedule.ask(requests.read(schedule.keys, names[i : i + PAGE]))
        yield from (entry for stored in page if (entry := readable(stored, now)) is not None)


_ENTRIES = (
    Column("NAME", least=24),
    Column("TASK", 3, 14, front=True),
    Column("SCHEDULE", least=12),
    Column("IN WORDS"),
    Column("ZONE", 2),
    Column("NEXT", least=12),
    Column("LAST SENT", 4),
    Column("SENT", 6),
    Column("ORIGIN", 5),
    Column("LABELS", 7, 8),
)


def _show_entries(schedule: VerbSchedule, shown: list[Entry], clock: Clock, wide: bool) -> None:
    def row(entry: Entry, origin: str) -> tuple[object, ...]:
        next_, last = when(entry, clock if wide else None), relative(entry.last_sent)
        if wide:
            last = clock.time(entry.last_sent) or "never"
        words = entry.words if wide else ""
        spec, zone = clock.schedule(entry.schedule), _zone(entry, clock)
        labels = in_a_row(entry.labels)
        return entry.name, entry.task, spec, words, zone, next_, last, entry.total_run_count, origin, labels

    rows = [row(entry, origin) for entry, origin in zip(shown, _origins(schedule, shown), strict=True)]
    table(_ENTRIES, rows, ["yellow" if entry.paused else None for entry in shown], wide=wide)


def _origins(schedule: VerbSchedule, shown: list[Entry]) -> list[str]:
    """Where each entry comes from, and whether a configured one was edited at runtime."""
    names = [entry.name for entry in shown if entry.origin == "config"]
    said: dict[str, str] = {}
    for i in range(0, len(names), PAGE):
        page = names[i : i + PAGE]
        known = schedule.ask(digests(schedule.keys, page))
        said.update(known)
    return ["config, edited" if edited(entry, said.get(entry.name)) else entry.origin for entry in shown]


# --- show ------------------------------------------------------------------------------------------


@click.command(cls=Verb)
@NAME
@TZ
@JSON
def show(schedule: VerbSchedule, name: str, zone: str | None, as_json: bool) -> None:
    """Show everything about one entry.

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
    if entry.paused:
        by = f" by {entry.paused_by}" if entry.paused_by else ""
        data["state"] = f"paused{by}{_end(entry, clock)}" + (f": {entry.note}" if entry.note else "")
        for part in ("note", "paused_by", "paused_until"):
            del data[part]
    if entry.skip is not None:
        data["skip"] = f"{skipped_slots(entry.skip, clock)}, {entry.skip.words}"
    data["schedule"] = clock.schedule(entry.schedule)
    data["origin"] = _origins(schedule, [entry])[0]
    for bound in ("starts", "ends"):
        at = getattr(entry, bound)
        data[bound] = None if at is None else clock.time(moment(at))
    for length in ("grace", "jitter"):
        value = getattr(entry, length)
        data[length] = span(value) if value else None
    data["labels"] = in_a_row(entry.labels)
    for days in ("exclude", "only"):
        data[days] = ", ".join(data[days])
    if not entry.exclude and not entry.only:
        data.pop("shift")
    for part in ("args", "kwargs", "options", "canvas"):
        if data.get(part):
            data[part] = printed(data[part])
    data.pop("when")
    fields({key: value for key, value in data.items() if value not in (None, "", [], {}, False)})


# --- next ------------------------------------------------------------------------------------------


@click.command("next", cls=Verb)
@MAYBE_NAME
@click.option("-n", "count", default=10, show_default=True, type=click.IntRange(1, 100_000), help="How many slots.")
@LABEL
@click.option("--timeline", type=click.Choice(["hour", "day"]), help="Instead: what is due when, as bars.")
@click.option("--outage", type=COMING, nargs=2, metavar="START END", help="Instead: what an outage would do.")
@TZ
@JSON
def next_(
    schedule: VerbSchedule,
    name: str | None,
    count: int,
    labels: dict[str, str],
    timeline: str | None,
    outage: tuple[Written, Written] | None,
    zone: str | None,
    as_json: bool,
) -> None:
    """Show the coming slots, of one entry or of all.

    With --outage, show what would be sent and missed if nothing ran from START to END.

    \b
    Examples:
      celery -A proj redlock next nightly-report -n 3
      celery -A proj redlock next --outage 22:00 'tomorrow 06:00'
    """
    clock = clock_of(schedule, zone)
    if name is not None and labels:
        raise click.UsageError("a NAME and --label are two ways to choose entries: use one of them.")
    if timeline and outage:
        raise click.UsageError("--timeline and --outage are two questions: use one of them.")
    if not as_json:
        _say_if_held(schedule, clock)
    if timeline:
        _timeline(schedule, name, labels, timeline, clock, as_json)
    elif outage:
        start, end = (read(schedule, at, clock.zone) for at in outage)
        _outage(schedule, name, labels, (start, end), clock, as_json)
    else:
        _show_slots(schedule.preview(name, count, labels=labels), clock, as_json)


_SLOTS = (Column("NAME", least=16), Column("AT"), Column("IN"), Column("WHAT"))


def _show_slots(found: list[Slot], clock: Clock, as_json: bool) -> None:
    known = [slot for slot in found if slot.why is None]
    unknown = [slot for slot in found if slot.why is not None]
    if as_json:
        rows = [{"name": slot.name, "nominal": slot.nominal.isoformat(), "skipped": slot.skipped} for slot in known]
        click.echo(printed([*rows, *({"name": slot.name, "nominal": None, "why": slot.why} for slot in unknown)]))
        return
    lines = []
    for slot in known:
        ahead = relative(slot.nominal).removeprefix("in ")
        lines.append((slot.name, clock.time(slot.nominal), ahead, "skipped" if slot.skipped else ""))
    table(_SLOTS, lines, ["yellow" if slot.skipped else None for slot in known])
    for slot in unknown:
        click.secho(clean(slot.why), fg="red", err=True)


_OUTAGE = (Column("NAME", least=16), Column("WHAT"), Column("SLOT", 2), Column("AT"), Column("WHY", 3, below=True))
_OUTAGE_COLOURS = {"missed": "yellow", "skipped": "yellow", "unknown": "red"}


def _outage(
    schedule: VerbSchedule,
    name: str | None,
    labels: dict[str, str],
    outage: tuple[datetime, datetime],
    clock: Clock,
    as_json: bool,
) -> None:
    with usage():
        rows = schedule.simulate(outage=outage, name=name, labels=labels)
    if as_json:
        click.echo(printed([{key: iso(getattr(row, key)) for key in SimulatedRow.__slots__} for row in rows]))
        return
    lines = [(row.name, _what(row), clock.time(row.nominal), clock.time(row.at), row.why) for row in rows]
    table(_OUTAGE, lines, [_OUTAGE_COLOURS.get(row.what) for row in rows])


def _timeline(
    schedule: VerbSchedule, name: str | None, labels: dict[str, str], reach: str, clock: Clock, as_json: bool
) -> None:
    now = micros(schedule.now())
    columns = 60 if reach == "hour" else 96 if shutil.get_terminal_size((120, 24)).columns >= 96 else 48
    load = Load(now, (3_600_000_000 if reach == "hour" else 86_400_000_000) // columns, columns)
    for entry in [schedule[name]] if name is not None else schedule.entries(labels=labels):
        load.add(entry)
    for why in load.unknown.values():
        click.secho(clean(why), fg="red", err=True)
    if as_json:
        starts = [moment(now + i * load.size).isoformat() for i in range(columns)]
        click.echo(printed([{"from": at, "count": count} for at, count in zip(starts, load.counts, strict=True)]))
        return
    click.echo(bursts(load.counts))
    ends = (clock.hour(moment(now)), clock.hour(moment(load.end)))
    click.echo(ends[0] + " " * (columns - 10) + ends[1])
    many = f"{'at least ' if load.at_least else ''}{load.total}"
    click.echo(f"{many} in the next {reach}; each column is {span(load.size / 1e6)}.")
    place, most = load.most
    if most:
        at_most = clock.time(moment(now + place * load.size))
        others = " and others" if most > 1 else ""
        click.echo(f"The most, {most}, from {at_most} on: {cut(clean(load.first[place]), 40)}{others}.")


# --- history ---------------------------------------------------------------------------------------


@click.command(cls=Verb)
@MAYBE_NAME
@click.option("-n", "count", default=20, show_default=True, type=click.IntRange(1), help="How many rows, newest first.")
@click.option("--since", type=PAST, help="Only what happened since: 1h, 10:00, 2027-01-01T07:00.")
@click.option("--outcome", type=click.Choice(OUTCOMES), help="Only runs with this outcome.")
@LABEL
@click.option("--follow", "-f", is_flag=True, help="Show what happens, until Ctrl-C.")
@click.option("--wide", "-w", is_flag=True, help="All columns, uncut.")
@TZ
@JSON
def history(
    schedule: VerbSchedule,
    name: str | None,
    count: int,
    since: Written | None,
    outcome: str | None,
    labels: dict[str, str],
    follow: bool,
    wide: bool,
    zone: str | None,
    as_json: bool,
) -> None:
    """Show what became of occurrences.

    An occurrence is sent, missed, failed or skipped. If workers report, its run is shown, too. The newest comes
    first. With --follow the oldest comes first, and --json prints one on each line.

    \b
    Examples:
      celery -A proj redlock history nightly-report -n 5
      celery -A proj redlock history --since 1h
      celery -A proj redlock history --outcome failed
    """
    clock = clock_of(schedule, zone)
    after = None if since is None else read(schedule, since, clock.zone)
    if follow:
        with contextlib.suppress(KeyboardInterrupt):
            _follow(schedule, name, labels, count, after, outcome, clock, as_json)
        return
    found = schedule.history(name, after, n=count, outcome=outcome, labels=labels)
    if not found and name is not None and after is None and name not in schedule:
        raise NoSuchEntry(name)
    if as_json:
        click.echo(printed([_row_json(row) for row in found]))
    else:
        table(_HISTORY, [_row(row, clock) for row in found], [_colour(row) for row in found], wide=wide)


_HISTORY = (
    Column("NAME", least=20),
    Column("WHAT"),
    Column("AT"),
    Column("LATE", 2),
    Column("TASK ID", 3),
    Column("WHY", 4, below=True),
)
#: Cells that a followed table makes room for.
_ROOMY = ("-" * 30, "published nothing", "", "100 ms", "-" * 36, "")


def _row(row: LedgerRow, clock: Clock) -> tuple[str, ...]:
    late = "" if row.lateness is None or row.source or row.outcome else span(max(0.0, row.lateness))
    name, why = row.entry or row.task or "", row.why or row.source or ""
    if row.outcome:
        took = "" if row.took is None else f"in {span(row.took)} "
        why = f"{took}on {row.by}{': ' if why else ''}{why}"
    return name, row.outcome or _what(row), clock.time(row.at), late, row.task_id or "", why


def _colour(row: LedgerRow) -> str | None:
    colours = {
        "failed": "red",
        "missed": "yellow",
        "skipped": "yellow",
        "unknown": "red",
        "lost": "red",
        "succeeded": "green",
    }
    return colours.get(row.outcome or row.what)


def _row_json(row: LedgerRow) -> dict[str, Any]:
    return {key: iso(getattr(row, key)) for key in (*LedgerRow.__slots__, "lateness")}


def _follow(
    schedule: VerbSchedule,
    name: str | None,
    labels: dict[str, str],
    count: int,
    since: datetime | None,
    outcome: str | None,
    clock: Clock,
    as_json: bool,
) -> None:
    stream = None
    if not as_json:
        stream = Stream(_HISTORY, [_ROOMY, ("", "", clock.time(schedule.now()), "", "", "")])
    for row in schedule.follow(name, last=count, labels=labels):
        if (since is not None and row.at < since) or (outcome is not None and row.outcome != outcome):
            continue
        if stream is None:
            click.echo(printed(_row_json(row)))
        else:
            stream.row(_row(row, clock), _colour(row))


# --- words -----------------------------------------------------------------------------------------


def _what(row: LedgerRow | SimulatedRow) -> str:
    """What became of an occurrence, and how many slots were missed; "+": so many and more."""
    return f"missed {row.count}{'+' if row.at_least else ''}" if row.what == "missed" else row.what


def when(entry: Entry, clock: Clock | None = None) -> str:
    """When an entry is sent next, or why it is not."""
    if entry.paused:
        return f"paused{_end(entry, clock)}" + (f": {entry.note}" if entry.note else "")
    if entry.next_due is None:
        return "finished" if entry.skip is None else f"skips {entry.skip.count}, then finished"
    at = relative(entry.next_due) if clock is None else clock.time(entry.next_due)
    skip = entry.skip
    return at if skip is None else f"{at}, skips {skip.count}"


def skipped_slots(skip: Skip, clock: Clock) -> str:
    """Which slots are skipped, as a sentence without its end."""
    first, last = clock.time(moment(skip.first)), clock.time(moment(skip.last))
    if skip.count == 1:
        return f"the slot at {last} is skipped"
    return f"{skip.count} slots from {first} to {last} are skipped"


def _end(entry: Entry, clock: Clock | None) -> str:
    """For how long an entry is paused, or until when."""
    end = entry.paused_until
    if end is None:
        return ""
    return f" for {relative(end).removeprefix('in ')} more" if clock is None else f" until {clock.time(end)}"


def _zone(entry: Entry, clock: Clock) -> str:
    """The zone of an entry, where it matters and differs from the zone of the times shown."""
    return entry.timezone if entry.schedule.kind in ("crontab", "rrule") and entry.timezone != clock.zone else ""


def in_a_row(labels: Mapping[str, str]) -> str:
    """Labels on one line: ``team=billing tenant=42``."""
    return " ".join(f"{name}={text}" for name, text in sorted(labels.items()))


def iso(value: Any) -> Any:
    """A value as JSON has it."""
    return value.isoformat() if isinstance(value, datetime) else value
