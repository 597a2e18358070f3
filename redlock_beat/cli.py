"""``celery -A proj redlock ...``: the schedule from the command line.

Tables for people, ``--json`` for programs. Exit codes: 0 fine, 1 not found or unhealthy, 2 usage.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from functools import wraps
from typing import IO, Any

import click

from .clock import micros, moment
from .config import Settings
from .connection import Target
from .documents import assigned, changes_of, document, editable, instant_of, span_of
from .entry import Entry
from .errors import InvalidSchedule, RedlockBeatError
from .health import this
from .operations import Foreseen, Happened
from .policies import next_slot
from .schedule import Schedule
from .schedules import Crontab, RRule, Solar
from .status import Status
from .steps import PAGE
from .tables import bursts, clean, cut, fields, local, relative, span, table
from .transfer import Arrival, Difference, check, export, load, take

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
_YES = click.option("--yes", is_flag=True, help="Do not ask.")
_DRY = click.option("--dry-run", is_flag=True, help="Change nothing; say what would be changed.")


def _schedule_of(ctx: click.Context) -> Schedule:
    return Schedule(ctx.obj.app)


def _command(function: Callable[..., Any]) -> Callable[..., Any]:
    """Hand the schedule to a verb, and turn our errors into one line and an exit code."""

    @click.pass_context
    @wraps(function)
    def run(ctx: click.Context, *args: Any, **kwargs: Any) -> Any:
        try:
            return function(_schedule_of(ctx), *args, **kwargs)
        except RedlockBeatError as exc:
            click.secho(f"Error: {clean(exc)}", fg="red", err=True)
            ctx.exit(1)
        except BrokenPipeError:  # `... | head`
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for the flush at exit
            ctx.exit(0)

    return run


def _names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Shell completion of an entry's name; it never raises, and waits a second at most."""
    with contextlib.suppress(Exception):
        from celery.app.utils import find_app

        app = ctx.find_root().params["app"]
        schedule = Schedule(find_app(app) if isinstance(app, str) else app, retry_for=1.0)
        found = []
        for entry in schedule.entries(prefix=incomplete or None):
            found.append(entry.name)
            if len(found) >= 50:
                break
        return sorted(found)
    return []


_NAME = click.argument("name", shell_complete=_names)
_MAYBE_NAME = click.argument("name", required=False, shell_complete=_names)


class _Span(click.ParamType):  # type: ignore[type-arg] # generic in newer releases alone
    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        try:
            return value if isinstance(value, timedelta) else span_of(value)
        except InvalidSchedule as exc:
            self.fail(str(exc), param, ctx)


class _Instant(click.ParamType):  # type: ignore[type-arg] # generic in newer releases alone
    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            return value if isinstance(value, datetime) else instant_of(value)
        except InvalidSchedule as exc:
            self.fail(str(exc), param, ctx)


class _Json(click.ParamType):  # type: ignore[type-arg] # generic in newer releases alone
    def __init__(self, kind: type, words: str) -> None:
        self.kind, self.words, self.name = kind, words, "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, self.kind):
            return value
        try:
            found = json.loads(value)
        except ValueError as exc:
            self.fail(f"{value!r} is not JSON ({exc}); write {self.words}.", param, ctx)
        if not isinstance(found, self.kind):
            self.fail(f"{value!r} must be {self.words}.", param, ctx)
        return found


_SPAN, _INSTANT = _Span(), _Instant()
_LIST, _OBJECT = _Json(list, "a list, such as '[1, 2]'"), _Json(dict, "an object, such as '{\"to\": 7}'")


@click.group()
def redlock() -> None:
    """Look at the schedule of redlock_beat and edit it while it runs.

    Exit codes: 0 fine, 1 not found or unhealthy, 2 wrong usage.

    Example: celery -A proj redlock list
    """


# --- looking ---------------------------------------------------------------------------------------


@redlock.command("list")
@click.option("--task", help="Only entries that send this task; * and ? are wildcards.")
@click.option("--prefix", help="Only entries whose name begins so.")
@click.option("--paused/--active", "paused", default=None, help="Only paused entries, or only active ones.")
@click.option("--origin", type=click.Choice(["config", "api"]), help="Only configured ones, or those made at runtime.")
@click.option("-n", "limit", type=click.IntRange(1), help="At most so many.  [default: 100 in a table, else all]")
@_JSON
@_command
def list_(
    schedule: Schedule, task: str | None, prefix: str | None, paused: bool | None, origin: str | None,
    limit: int | None, as_json: bool,
) -> None:  # fmt: skip
    """List entries. With --json, one a line.

    Example: celery -A proj redlock list --task 'billing.*' --paused
    """
    found = schedule.entries(task=task, prefix=prefix, enabled=None if paused is None else not paused, origin=origin)
    if as_json:
        for number, entry in enumerate(found, 1):
            click.echo(json.dumps(document(entry)))
            if number == limit:
                return
        return
    shown: list[Entry] = []
    more = False
    for entry in found:
        if len(shown) == (limit or 100):
            more = True
            break
        shown.append(entry)
    shown.sort(key=lambda one: one.name)
    rows = [
        (e.name, e.task, e.schedule, _zone(e), _when(e), relative(e.last_sent), e.total_run_count) for e in shown
    ]  # fmt: skip
    colours = ["yellow" if not e.enabled else None for e in shown]
    table(("NAME", "TASK", "SCHEDULE", "ZONE", "NEXT", "LAST SENT", "SENT"), rows, colours)
    if more:
        click.echo(f"… and more: {schedule.count()} entries in all. -n shows more, --prefix and --task choose.")
    now = schedule.status()
    for name, why in now.quarantine.items():
        click.secho(f"in quarantine: {clean(name)}: {clean(why)}", fg="red")
    _say_left_out(now)


def _say_left_out(found: Status) -> None:
    for name, why in found.left_out.items():
        click.secho(f"left out of beat_schedule: {clean(name)}: {clean(why)}", fg="red")
    more = found.left_out_total - len(found.left_out)
    if more:
        click.secho(f"left out of beat_schedule: and {more} more; the leader's log names them all.", fg="red")


@redlock.command()
@_NAME
@_JSON
@_command
def show(schedule: Schedule, name: str, as_json: bool) -> None:
    """Show one entry with all it says.

    Example: celery -A proj redlock show nightly-report
    """
    entry = schedule[name]
    data = document(entry)
    if as_json:
        click.echo(json.dumps(data))
        return
    data["next_due"] = f"{local(entry.next_due)} ({_when(entry)})" if entry.next_due else _when(entry)
    data["last_sent"] = f"{local(entry.last_sent)} ({relative(entry.last_sent)})" if entry.last_sent else "never"
    data.pop("when")
    fields({key: value for key, value in data.items() if value not in (None, [], {})})


@redlock.command("next")
@_MAYBE_NAME
@click.option("-n", "count", default=10, show_default=True, type=click.IntRange(1, 100_000), help="How many slots.")
@click.option("--timeline", type=click.Choice(["hour", "day"]), help="Instead: what is due when, as bars.")
@click.option("--outage", type=_INSTANT, nargs=2,
              help="Instead: what would be sent and missed if nothing ran from START to END (local time).")  # fmt: skip
@_JSON
@_command
def next_(
    schedule: Schedule, name: str | None, count: int, timeline: str | None,
    outage: tuple[datetime, datetime] | None, as_json: bool,
) -> None:  # fmt: skip
    """Show the coming slots of one entry, or of the whole schedule.

    Example: celery -A proj redlock next nightly-report -n 3
    """
    if timeline:
        _timeline(schedule, name, timeline, as_json)
    elif outage:
        _outage(schedule, name, outage, as_json)
    else:
        found = schedule.preview(name, count)
        if as_json:
            click.echo(json.dumps([{"name": slot.name, "nominal": slot.nominal.isoformat()} for slot in found]))
            return
        table(("NAME", "AT", ""), [(slot.name, local(slot.nominal), relative(slot.nominal)) for slot in found])


def _outage(schedule: Schedule, name: str | None, outage: tuple[datetime, datetime], as_json: bool) -> None:
    start, end = (when if when.tzinfo else when.astimezone() for when in outage)
    rows = schedule.simulate(outage=(start, end), name=name)
    if as_json:
        click.echo(json.dumps([{key: getattr(row, key) for key in Foreseen.__slots__} for row in rows], default=_iso))
        return
    lines = [
        (
            row.name,
            row.what if row.what == "sent" else f"missed {row.count}",
            local(row.nominal),
            local(row.at),
            row.why,
        )
        for row in rows
    ]
    table(("NAME", "WHAT", "SLOT", "AT", "WHY"), lines)


#: Slots of one entry, and of all, that a timeline counts.
_TIMELINE_ENTRY, _TIMELINE_ALL = 100_000, 2_000_000


def _timeline(schedule: Schedule, name: str | None, reach: str, as_json: bool) -> None:
    now = schedule._store.now()
    columns = 60 if reach == "hour" else 96 if shutil.get_terminal_size((120, 24)).columns >= 96 else 48
    size = (3_600_000_000 if reach == "hour" else 86_400_000_000) // columns
    counts, busiest, total = [0] * columns, [""] * columns, 0
    entries = [schedule[name]] if name is not None else schedule.entries()
    for entry in entries:
        if not entry.enabled or entry.state is None or entry.state.nominal is None:
            continue
        at: int | None = entry.state.nominal if entry.state.nominal > now else next_slot(entry, now)
        steps = 0
        while at is not None and at < now + size * columns and steps < _TIMELINE_ENTRY and total < _TIMELINE_ALL:
            place = (at - now) // size
            counts[place] += 1
            busiest[place] = busiest[place] or entry.name
            at = next_slot(entry, at)
            steps, total = steps + 1, total + 1
    if as_json:
        starts = [moment(now + i * size).isoformat() for i in range(columns)]
        click.echo(json.dumps([{"from": at, "count": count} for at, count in zip(starts, counts, strict=True)]))
        return
    each = span(size / 1e6)
    click.echo(bursts(counts))
    ends = (local(moment(now))[11:16], local(moment(now + size * columns))[11:16])
    click.echo(ends[0] + " " * (columns - 10) + ends[1])
    click.echo(f"{'at least ' if total >= _TIMELINE_ALL else ''}{total} in the next {reach}; each column is {each}.")
    most = max(counts)
    if most:
        place = counts.index(most)
        at_most = local(moment(now + place * size))[11:16]
        click.echo(f"The most, {most}, from {at_most} on: {cut(clean(busiest[place]), 40)}"
                   + (" and others." if most > 1 else "."))  # fmt: skip


@redlock.command()
@_MAYBE_NAME
@click.option("-n", "count", default=20, show_default=True, type=click.IntRange(1), help="How many rows, newest first.")
@click.option("--since", type=_INSTANT, help="Only what happened since (local time).")
@click.option("--follow", "-f", is_flag=True, help="Go on showing what happens, until Ctrl-C.")
@_JSON
@_command
def history(
    schedule: Schedule, name: str | None, count: int, since: datetime | None, follow: bool, as_json: bool
) -> None:
    """Show what became of occurrences: sent, missed, failed, skipped. With --follow and --json, one a line.

    Example: celery -A proj redlock history nightly-report -n 5
    """
    since = since.astimezone() if since is not None else None
    if not follow:
        found: Sequence[Happened] = schedule.history(name, since, n=count)
        if as_json:
            click.echo(json.dumps([_happened(row) for row in found]))
        else:
            table(_HISTORY, [_row(row) for row in found], [_colour(row) for row in found])
        return
    with contextlib.suppress(KeyboardInterrupt):
        for row in schedule.follow(name, last=count):
            _follow(row, as_json)


_HISTORY = ("NAME", "WHAT", "AT", "LATE", "TASK ID", "WHY")


def _row(row: Happened) -> tuple[str, ...]:
    late = "" if row.lateness is None or row.how else span(max(0.0, row.lateness))
    what = row.what if row.what != "missed" else f"missed {row.count}"
    return row.entry, what, local(row.at), late, row.task_id or "", row.why or row.how or ""


def _colour(row: Happened) -> str | None:
    return {"failed": "red", "missed": "yellow", "skipped": "yellow", "unknown": "red"}.get(row.what)


def _happened(row: Happened) -> dict[str, Any]:
    data = {key: getattr(row, key) for key in (*Happened.__slots__, "lateness")}
    return {key: _iso(value) if isinstance(value, datetime) else value for key, value in data.items()}


def _follow(row: Happened, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(_happened(row)))
    else:
        name, what, at, late, task, why = _row(row)
        click.secho(f"{at}  {clean(name)}  {what}  {late}  {task}  {clean(why)}".rstrip(), fg=_colour(row))


@redlock.command()
@click.option("--watch", is_flag=True, help="Show it again every so often, until Ctrl-C.")
@click.option("--every", default="2s", show_default=True, type=_SPAN, help="How often, with --watch.")
@_JSON
@_command
def status(schedule: Schedule, watch: bool, every: timedelta, as_json: bool) -> None:
    """Show who leads, what waits and what is wrong. Exits with 1 when nobody leads.

    Example: celery -A proj redlock status --watch
    """
    found = schedule.status()
    if not watch:
        _show_status(found, as_json)
        if found.leader is None:
            click.get_current_context().exit(1)
        return
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            if sys.stdout.isatty() and not as_json:
                click.clear()
            _show_status(found, as_json)
            time.sleep(max(0.1, every.total_seconds()))
            found = schedule.status()


def _show_status(found: Status, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(found.json()))
        return
    leader = f"{found.leader}, term {found.epoch}, lease for {found.lease_left:.1f} s" if found.leader else "NOBODY"
    click.secho(f"leader      {leader}", fg="green" if found.leader else "red")
    click.echo(f"entries     {found.entries}")
    late = f", the oldest for {span(found.oldest_due)}" if found.overdue and found.oldest_due else ""
    click.echo(f"due now     {found.overdue}{late}")
    if found.lateness_p50 is not None and found.lateness_p99 is not None:
        click.echo(f"lateness    p50 {span(max(0, found.lateness_p50))}, p99 {span(max(0, found.lateness_p99))}")
    click.echo(f"outbox      {found.outbox}")
    for one in found.replicas:
        if one.role == "leader" and one.rendered:
            click.echo(f"one by one  {sum(one.rendered.values())} rendered so, which is slower, of {one.sent} sent")
            for why, many in one.rendered.items():
                click.echo(f"            {many}: {clean(why)}")
    click.secho(f"quarantine  {len(found.quarantine)}", fg="red" if found.quarantine else None)
    for name, why in found.quarantine.items():
        click.echo(f"            {clean(name)}: {clean(why)}")
    _say_left_out(found)
    if found.replicas:
        click.echo()
        rows = [
            (f"{one.host}:{one.pid}", one.role, one.version, one.delivery, span(one.age), f"{one.skew:+.3f} s")
            for one in found.replicas
        ]
        table(("REPLICA", "ROLE", "VERSION", "DELIVERY", "LOOP AGE", "CLOCK SKEW"), rows)


@redlock.command()
@click.option(
    "--this", "only_this", is_flag=True, help="Does the loop of the beat on this machine turn? Never asks Redis."
)
@click.option("--max-lag", default=30.0, show_default=True, help="Seconds something may be due.")
@_JSON
@_command
def health(schedule: Schedule, only_this: bool, max_lag: float, as_json: bool) -> None:
    """Say whether all is well, in one line; exits with 1 when it is not.

    Probes should use `python -m redlock_beat health`, which does not import the app and is quicker.

    Example: celery -A proj redlock health --max-lag 30
    """
    verdict = this(schedule.settings.heartbeat_file or None) if only_this else schedule.health(max_lag)
    click.echo(json.dumps(asdict(verdict)) if as_json else verdict.why)
    if not verdict.ok:
        click.get_current_context().exit(1)


@redlock.command()
@_JSON
@_command
def doctor(schedule: Schedule, as_json: bool) -> None:
    """Look for what could go wrong: server, permissions, clocks, entries, workers, settings.

    Exits with 1 when something is wrong; warnings are no reason to.

    Example: celery -A proj redlock doctor
    """
    from .doctor import as_json as in_json
    from .doctor import examine

    found = []
    colours = {"ok": "green", "warning": "yellow", "error": "red", "unknown": "cyan"}
    for one in examine(schedule, schedule.app):
        found.append(one)
        if not as_json:
            click.secho(f"{one.level:<8}", fg=colours[one.level], nl=False)
            click.echo(f"{one.what}: {clean(one.why)}")
            if one.advice:
                click.echo(f"        {clean(one.advice)}")
    if as_json:
        click.echo(in_json(found))
    if any(one.level == "error" for one in found):
        click.get_current_context().exit(1)


# --- editing ---------------------------------------------------------------------------------------


def _policies(function: Callable[..., Any]) -> Callable[..., Any]:
    options = [
        click.option("--tz", "timezone", help="Time zone (IANA name).  [default: the app's]"),
        click.option("--missed", type=click.Choice(["once", "skip", "all"]), help="What an outage leaves to be sent."),
        click.option("--grace", type=_SPAN, help="How late is still on time."),
        click.option("--jitter", type=_SPAN, help="Up to so long after each slot."),
        click.option("--starts", type=_INSTANT, help="Nothing before."),
        click.option("--ends", type=_INSTANT, help="Nothing after."),
        click.option("--max-runs", type=click.IntRange(1), help="So often, and no more."),
        click.option("--expires", type=_SPAN, help="Workers discard the message after so long."),
        click.option("--delivery", type=click.Choice(["at_least_once", "at_most_once"]), help="For a foreign broker."),
        click.option("--dst-gap", type=click.Choice(["after", "skip"]), help="A slot the clock jumps over."),
        click.option("--dst-fold", type=click.Choice(["auto", "first", "both"]), help="A slot that comes twice."),
        click.option("--keep/--no-keep", default=None, help="Whether it stays to be looked at when it is finished."),
        click.option("--note", help="A word about it."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


@redlock.command()
@click.argument("name")
@click.argument("task")
@click.option("--every", type=_SPAN, help="An interval: 30s, 5m, 1h30m, 2d.")
@click.option("--cron", help="Five fields: minute, hour, day of month, month, day of week.")
@click.option("--at", type=_INSTANT, help="One shot: 2027-01-01T07:00, in --tz unless it has an offset.")
@click.option("--rrule", help="A recurrence rule; begins now, or where its DTSTART says.")
@click.option("--solar", help="event,latitude,longitude, as in sunset,52.5,13.4.")
@click.option("--args", "args", type=_LIST, default="[]", help="Arguments, a JSON list.")
@click.option("--kwargs", "kwargs", type=_OBJECT, default="{}", help="Keyword arguments, a JSON object.")
@click.option("--options", "options", type=_OBJECT, default="{}", help="What apply_async takes, a JSON object.")
@click.option("--queue", help="The queue it goes to.")
@click.option("--priority", type=int, help="Its priority.")
@click.option("--replace", is_flag=True, help="Replace an entry of that name.")
@click.option("--run-now", is_flag=True, help="Send it at once, too.")
@click.option("--paused", is_flag=True, help="Do not begin yet.")
@_policies
@_JSON
@_command
def add(
    schedule: Schedule, name: str, task: str, every: timedelta | None, cron: str | None, at: datetime | None,
    rrule: str | None, solar: str | None, args: list[Any], kwargs: dict[str, Any], options: dict[str, Any],
    queue: str | None, priority: int | None, replace: bool, run_now: bool, paused: bool, as_json: bool,
    **policies: Any,
) -> None:  # fmt: skip
    """Add an entry: NAME sends TASK by one of --every, --cron, --at, --rrule, --solar.

    Example: celery -A proj redlock add nightly tasks.report --cron "0 7 * * 1-5" --tz Europe/Berlin
    """
    given = {"every": every, "cron": cron, "at": at, "rrule": rrule, "solar": solar}
    said = [key for key, value in given.items() if value is not None]
    if len(said) != 1:
        both = f", not both of --{' and --'.join(said)}" if said else ""
        raise click.UsageError(f"say when: one of --every, --cron, --at, --rrule, --solar{both}.")
    when: Any = every if every is not None else at
    if cron is not None:
        when = Crontab.parse(cron)
    elif rrule is not None:
        when = RRule.parse(rrule, None if "DTSTART" in rrule.upper() else moment(schedule._store.now()))
    elif solar is not None:
        when = _solar(solar)
    if queue is not None:
        options["queue"] = queue
    if priority is not None:
        options["priority"] = priority
    chosen = {key: value for key, value in policies.items() if value is not None}
    if "expires" in chosen:
        chosen["expires"] = chosen["expires"].total_seconds()
    entry = schedule.add(
        name, task, when, args, kwargs, options=options, replace=replace, run_now=run_now, enabled=not paused, **chosen
    )
    click.echo(json.dumps(document(entry)) if as_json else f"{clean(name)}: {entry.schedule}, next {_when(entry)}.")


def _solar(text: str) -> Solar:
    try:
        event, latitude, longitude = text.split(",")
        return Solar(event.strip(), float(latitude), float(longitude))
    except InvalidSchedule:
        raise
    except ValueError:
        raise InvalidSchedule(f"{text!r} is not event,latitude,longitude, as in sunset,52.5,13.4.") from None


@redlock.command()
@_NAME
@click.option("--set", "assignments", multiple=True, metavar="PATH=VALUE",
              help="Change one part, without an editor: kwargs.to=7, args.0=3, when.cron='0 8 * * *'. Repeatable.",
             )  # fmt: skip
@_JSON
@_command
def edit(schedule: Schedule, name: str, assignments: tuple[str, ...], as_json: bool) -> None:
    """Edit an entry in $EDITOR, or with --set. Refused when somebody else has edited it meanwhile.

    Example: celery -A proj redlock edit mail --set kwargs.to=7 --set missed=skip
    """
    entry = schedule[name]
    data = json.loads(json.dumps(editable(entry), default=str))
    if assignments:
        for one in assignments:
            assigned(data, one)
        changed = changes_of(entry, data)
    else:
        changed = _in_editor(entry, data)
    if not changed:
        click.echo("Nothing was changed." if not as_json else json.dumps(document(entry)))
        return
    after = schedule.update(name, revision=entry.revision, **changed)
    said = f"{clean(name)} is at revision {after.revision}; next {_when(after)}."
    click.echo(json.dumps(document(after)) if as_json else said)


def _in_editor(entry: Entry, data: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(data, indent=2, ensure_ascii=False) + "\n"
    while True:
        edited = click.edit(text, extension=".json")
        if edited is None or not edited.strip():
            return {}
        try:
            return changes_of(entry, json.loads(edited))
        except (ValueError, RedlockBeatError) as exc:
            click.secho(f"That cannot be used: {clean(exc)}", fg="red", err=True)
            if not sys.stdin.isatty() or not click.confirm("Edit it again?", default=True):
                raise InvalidSchedule("nothing was changed.") from None
            text = edited


@redlock.command()
@_NAME
@click.option("--note", help="Why; kept and shown until it is resumed.")
@_command
def pause(schedule: Schedule, name: str, note: str | None) -> None:
    """Pause an entry until it is resumed.

    Example: celery -A proj redlock pause mail --note "provider is down"
    """
    schedule.pause(name, note)
    click.echo(f"{clean(name)} is paused.")


@redlock.command()
@_NAME
@click.option("--catch-up", is_flag=True, help="What it missed while paused falls under its policy.")
@_command
def resume(schedule: Schedule, name: str, catch_up: bool) -> None:
    """Resume a paused entry, from now.

    Example: celery -A proj redlock resume mail
    """
    entry = schedule.resume(name, catch_up=catch_up)
    click.echo(f"{clean(name)} is resumed; next {_when(entry)}.")


@redlock.command()
@_NAME
@_command
def run(schedule: Schedule, name: str) -> None:
    """Send an entry once, now, without moving its next slot. Prints the id of the task.

    Example: celery -A proj redlock run nightly-report
    """
    click.echo(schedule.trigger(name))


@redlock.command()
@_NAME
@_YES
@_command
def remove(schedule: Schedule, name: str, yes: bool) -> None:
    """Remove an entry for good.

    Example: celery -A proj redlock remove mail --yes
    """
    if not yes:
        entry = schedule[name]
        click.confirm(f"Remove {clean(name)!r} ({clean(entry.task)}, {entry.schedule})?", abort=True)
    schedule.remove(name)
    click.echo(f"{clean(name)} is removed.")


@redlock.command()
@_NAME
@click.argument("start", type=_INSTANT)
@click.argument("end", type=_INSTANT)
@click.option("--rate", default=100.0, show_default=True, help="Slots a second.")
@_DRY
@_YES
@_command
def backfill(
    schedule: Schedule, name: str, start: datetime, end: datetime, rate: float, dry_run: bool, yes: bool
) -> None:
    """Send the slots of an entry from START to END again, each with its nominal time (local time).

    Example: celery -A proj redlock backfill mail 2026-11-01T00:00 2026-11-02T00:00 --rate 10
    """
    start, end = (when if when.tzinfo else when.astimezone() for when in (start, end))
    count = _slots_between(schedule[name], start, end)
    if dry_run or not count:
        click.echo(f"{count} slots of {clean(name)} lie between {local(start)} and {local(end)}.")
        return
    if not yes:
        click.confirm(f"Send {count} slots of {clean(name)!r}, {rate:g} a second?", abort=True)
    with _progress(count, "Queueing") as advance:
        sent = schedule.backfill(name, start, end, rate=rate, progress=advance)
    click.echo(f"{sent} slots of {clean(name)} are on their way.")


def _slots_between(entry: Entry, start: datetime, end: datetime) -> int:
    from .operations import BACKFILL_LIMIT, reaching_back

    entry, count = reaching_back(entry, micros(start)), 0
    at = next_slot(entry, micros(start) - 1)
    while at is not None and at <= micros(end) and count <= BACKFILL_LIMIT:
        count += 1
        at = next_slot(entry, at)
    return count


# --- moving ----------------------------------------------------------------------------------------


@redlock.command("export")
@click.argument("file", type=click.File("w", encoding="utf-8", lazy=True), default="-")
@_command
def export_(schedule: Schedule, file: IO[str]) -> None:
    """Write the whole schedule with its state, as JSON lines, to FILE or standard output.

    Example: celery -A proj redlock export schedule.jsonl
    """
    to_terminal = getattr(file, "name", "-") in ("-", "<stdout>")
    with _progress(schedule.count() + 2, "Exporting", hidden=to_terminal) as advance:
        for line in export(schedule):
            file.write(line + "\n")
            advance(1)


@redlock.command("import")
@click.argument("file", type=click.File("r", encoding="utf-8"))
@_DRY
@_YES
@_JSON
@_command
def import_(schedule: Schedule, file: IO[str], dry_run: bool, yes: bool, as_json: bool) -> None:
    """Bring in what `export` wrote ("-": standard input). Nothing is removed; half a file is refused whole.

    Example: celery -A proj redlock import schedule.jsonl --dry-run
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8") as kept:
        total = check(_kept(file, kept))  # read to its end before anything is written
        if not yes and not dry_run and not as_json:
            click.confirm(f"Bring in {total} entries?", abort=True)
        kept.seek(0)
        with _progress(total, "Importing", hidden=dry_run or as_json) as advance:
            counts = _counted(load(schedule, kept, dry_run=dry_run, progress=advance), dry_run and not as_json)
    _report(counts, dry_run, as_json)


def _kept(file: IO[str], copy: IO[str]) -> Iterator[str]:
    for line in file:
        copy.write(line)
        yield line


@redlock.command("import-redbeat")
@click.option("--url", help="Where RedBeat's keys are.  [default: redbeat_redis_url, or the broker's]")
@click.option("--key-prefix", help="RedBeat's redbeat_key_prefix.  [default: the app's, or redbeat:]")
@_DRY
@_YES
@_JSON
@_command
def import_redbeat(
    schedule: Schedule, url: str | None, key_prefix: str | None, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Bring in the schedule of a RedBeat, in phase. Stop RedBeat, import, start this beat.

    Example: celery -A proj redlock import-redbeat --dry-run
    """
    from .migrate import RedBeat
    from .sync import read_configuration

    conf = schedule.app.conf
    where = url or conf.get("redbeat_redis_url") or schedule.settings.url
    settings = Settings(url=where) if where != schedule.settings.url else schedule.settings
    prefix = key_prefix or conf.get("redbeat_key_prefix") or "redbeat:"
    theirs = RedBeat(Target(settings), prefix, schedule.app, read_configuration(schedule.app))
    total = theirs.count()
    if not total:
        raise InvalidSchedule(f"there is no schedule of a RedBeat under {prefix}:schedule at {Target(settings)}.")
    _bring_in(schedule, theirs.entries(schedule._store.now()), total, dry_run, yes, as_json)


@redlock.command("import-django-celery-beat")
@click.argument("file", type=click.File("r", encoding="utf-8"))
@_DRY
@_YES
@_JSON
@_command
def import_django_celery_beat(schedule: Schedule, file: IO[str], dry_run: bool, yes: bool, as_json: bool) -> None:
    """Bring in what `manage.py dumpdata django_celery_beat` wrote ("-": standard input), in phase.

    Example: python manage.py dumpdata django_celery_beat | celery -A proj redlock import-django-celery-beat - --yes
    """
    from .migrate import django_entries

    found = list(django_entries(file.read(), schedule.app, schedule._store.now()))
    _bring_in(schedule, iter(found), len(found), dry_run, yes, as_json)


def _bring_in(schedule: Schedule, found: Iterator[Any], total: int, dry_run: bool, yes: bool, as_json: bool) -> None:
    if not yes and not dry_run and not as_json:
        click.confirm(f"Bring in up to {total} entries? The other beat must not run any more.", abort=True)
    unfit = []

    def arriving(advance: Callable[[int], None]) -> Iterator[Difference]:
        page: list[Arrival] = []
        for one in found:
            if isinstance(one, Arrival):
                page.append(one)
            else:
                unfit.append(one)
            advance(1)
            if len(page) >= PAGE:
                yield from take(schedule, page, dry_run=dry_run)
                page = []
        if page:
            yield from take(schedule, page, dry_run=dry_run)

    with _progress(total, "Importing", hidden=dry_run or as_json) as advance:
        counts = _counted(arriving(advance), dry_run and not as_json)
    _report(counts, dry_run, as_json)
    for one in unfit:
        click.secho(f"left out: {clean(one.name)}: {clean(one.why)}", fg="yellow", err=True)
    if unfit:
        click.get_current_context().exit(1)


def _counted(found: Iterator[Difference], shown: bool) -> dict[str, int]:
    """How many were added, changed and so on; each of those is shown, too, if it is to be."""
    counts = dict.fromkeys(_WHAT, 0)
    for one in found:
        counts[one.what] += 1
        if shown and one.what in ("added", "changed"):
            added = one.what == "added"
            click.secho(f"{'+' if added else '~'} {clean(one.name)}", fg="green" if added else "yellow")
            for field, *values in one.fields:
                before, after = (clean(json.dumps(value, default=str)) for value in values)
                click.echo(f"    {field}: {before} -> {after}")
    return counts


def _report(counts: dict[str, int], dry_run: bool, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"dry_run": dry_run, **counts}))
        return
    said = ", ".join(f"{counts[what]} {words}" for what, words in _WHAT.items() if counts[what])
    click.echo(f"{'Would be: ' if dry_run else ''}{said or 'nothing'}.")


_WHAT = {"added": "added", "changed": "changed", "unchanged": "unchanged", "kept": "already here and left alone"}


@contextlib.contextmanager
def _progress(total: int, label: str, hidden: bool = False) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error, when that is a terminal and it takes longer than a second."""
    began, waiting = time.monotonic(), 0
    bar: Any = None

    def advance(by: int) -> None:
        nonlocal bar, waiting
        waiting += by
        if hidden or not sys.stderr.isatty():
            return
        if bar is None and time.monotonic() - began > 1:
            bar = click.progressbar(length=total, label=label, file=sys.stderr)
            bar.__enter__()
        if bar is not None:
            bar.update(waiting)
            waiting = 0

    try:
        yield advance
    finally:
        if bar is not None:
            bar.__exit__(None, None, None)


# --- words -----------------------------------------------------------------------------------------


def _when(entry: Entry) -> str:
    if not entry.enabled:
        return "paused" + (f": {entry.note}" if entry.note else "")
    return "finished" if entry.next_due is None else relative(entry.next_due)


def _zone(entry: Entry) -> str:
    return entry.timezone if entry.schedule.kind in ("crontab", "rrule") else ""


def _iso(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value)
