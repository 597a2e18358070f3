"""Verbs that change the schedule or send something: add, edit, pause, resume, remove, run, backfill."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from copy import deepcopy
from datetime import datetime
from itertools import islice
from typing import Any

import click

from ..clock import micros
from ..entries.document import all_assigned, changes_of, document, editable
from ..entries.entry import Entry
from ..errors import InvalidSchedule, RedlockBeatError
from ..recurrence import Crontab, RRule, Solar, as_spec
from ..schedule.answers import Waiting
from ..schedule.operations import BACKFILL_LIMIT, slots_between
from .checking import misfit
from .looking import iso, when
from .terminal import Clock, Column, clean, progress, table
from .times import COMING, PAST, SPAN, ZONE, Written, zone_of_app
from .verbs import (
    DRY,
    JSON,
    LIST,
    MAYBE_NAME,
    NAME,
    OBJECT,
    TZ,
    YES,
    Patient,
    Verb,
    clock_of,
    hint,
    hint_if_nobody_leads,
    printed,
    read,
    usage,
)

#: The options that say when, of which an entry has one.
_WHENS = ("every", "cron", "at", "rrule", "solar")
#: Policies that are instants, and those that are seconds.
_INSTANTS, _SPANS = ("starts", "ends"), ("grace", "jitter", "expires")


def _entry_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What an entry consists of: the options of `add` and `edit`."""
    options = [
        click.option("--every", type=SPAN, help="An interval: 30s, 5m, 1h30m, 2d."),
        click.option("--cron", help="Five fields: minute, hour, day of month, month, day of week."),
        click.option("--at", type=COMING, help="One shot: 2027-01-01T07:00, 'tomorrow 07:00', 'in 5 min'."),
        click.option("--rrule", help="A recurrence rule; begins now, or where its DTSTART says."),
        click.option("--solar", help="event,latitude,longitude, as in sunset,52.5,13.4."),
        click.option("--args", "args", type=LIST, help="Arguments, a JSON list."),
        click.option("--kwargs", "kwargs", type=OBJECT, help="Keyword arguments, a JSON object."),
        click.option("--options", "options", type=OBJECT, help="What apply_async takes, a JSON object."),
        click.option("--queue", help="The queue it goes to."),
        click.option("--priority", type=int, help="Its priority."),
        click.option("--tz", "timezone", type=ZONE,
                     help="Zone of the entry, in which times here are read, too.  [default: the app's]"),
        click.option("--missed", type=click.Choice(["once", "skip", "all"]), help="What an outage leaves to be sent."),
        click.option("--grace", type=SPAN, help="How late is still on time."),
        click.option("--jitter", type=SPAN, help="Send each slot up to this long after its time."),
        click.option("--starts", type=COMING, help="No slot before this time."),
        click.option("--ends", type=COMING, help="No slot after this time."),
        click.option("--max-runs", type=click.IntRange(1), help="Finish after so many sends."),
        click.option("--expires", type=SPAN, help="Workers discard the message after this long."),
        click.option("--delivery", type=click.Choice(["at_least_once", "at_most_once"]),
                     help="For a broker other than this Redis."),
        click.option("--dst-gap", type=click.Choice(["after", "skip"]), help="A slot that the clock jumps over."),
        click.option("--dst-fold", type=click.Choice(["auto", "first", "both"]), help="A slot that comes twice."),
        click.option("--keep/--no-keep", default=None, help="Whether it stays to be looked at once it is finished."),
        click.option("--note", help="A word about it."),
        click.option("--strict", is_flag=True, help="Refuse unknown tasks and arguments that do not fit."),
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


def _when(schedule: Patient, given: Mapping[str, Any], zone: str) -> Any:
    """The schedule that the options say, or None; they are taken out of *given*."""
    said = {key: given[key] for key in _WHENS if given[key] is not None}
    if len(said) > 1:
        raise click.UsageError(f"say when once: --{' and --'.join(said)} contradict each other.")
    for kind, value in said.items():
        if kind == "at":
            return read(schedule, value, zone)
        with usage():
            if kind == "cron":
                return Crontab.parse(value)
            if kind == "rrule":
                return RRule.parse(value, None if "DTSTART" in value.upper() else schedule.now())
            if kind == "solar":
                return _solar(value)
            return value
    return None


def _solar(text: str) -> Solar:
    try:
        event, latitude, longitude = text.split(",")
        return Solar(event.strip(), float(latitude), float(longitude))
    except InvalidSchedule:
        raise
    except ValueError:
        raise InvalidSchedule(f"{text!r} is not event,latitude,longitude, as in sunset,52.5,13.4.") from None


def _policies(schedule: Patient, given: Mapping[str, Any], zone: str) -> dict[str, Any]:
    """The policies that the options say."""
    others = (*_WHENS, "args", "kwargs", "options", "queue", "priority", "strict")
    chosen = {key: value for key, value in given.items() if value is not None and key not in others}
    for key in _INSTANTS:
        if key in chosen:
            chosen[key] = read(schedule, chosen[key], zone)
    for key in _SPANS:
        if key in chosen:
            chosen[key] = chosen[key].total_seconds()
    return chosen


def _check_task(schedule: Patient, strict: bool, task: str, args: Any, kwargs: Any) -> None:
    wrong = misfit(schedule.app, task, args, kwargs)
    if wrong is None:
        return
    if strict:
        raise click.UsageError(clean(wrong))
    hint(f"Warning: {clean(wrong)}")


# --- add and edit ----------------------------------------------------------------------------------


@click.command(cls=Verb)
@click.argument("name")
@click.argument("task")
@_entry_options
@click.option("--replace", is_flag=True, help="Replace an entry of that name.")
@click.option("--run-now", is_flag=True, help="Send it at once, too.")
@click.option("--paused", is_flag=True, help="Do not begin yet.")
@JSON
def add(
    schedule: Patient, name: str, task: str, replace: bool, run_now: bool, paused: bool, as_json: bool, **given: Any
) -> None:
    """Add an entry that sends TASK.

    Say when by one of --every, --cron, --at, --rrule, --solar.

    \b
    Examples:
      celery -A proj redlock add nightly tasks.report --cron "0 7 * * 1-5" --tz Europe/Berlin
      celery -A proj redlock add welcome tasks.mail --at "in 5 min" --kwargs '{"to": 7}'
    """
    zone = given["timezone"] or zone_of_app(schedule.app)
    what = _when(schedule, given, zone)
    if what is None:
        raise click.UsageError(f"say when: one of --{', --'.join(_WHENS)}.")
    args, kwargs = given["args"] or [], given["kwargs"] or {}
    options = _sent_with(given, {})
    policies = _policies(schedule, given, zone)
    _check_task(schedule, given["strict"], task, args, kwargs)
    with usage():
        entry = schedule.add(
            name, task, what, args, kwargs, options=options, replace=replace, run_now=run_now, enabled=not paused,
            **policies,
        )  # fmt: skip
    if as_json:
        click.echo(printed(document(entry)))
    else:
        clock = clock_of(schedule, zone)
        at = f" ({clock.time(entry.next_due)})" if entry.next_due is not None else ""
        click.echo(f"{clean(name)}: {clock.schedule(entry.schedule)}, next {when(entry)}{at}.")
    hint_if_nobody_leads(schedule)


def _sent_with(given: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """The options of apply_async: all of them by --options, or some of them by their own options."""
    options = dict(before if given["options"] is None else given["options"])
    for key in ("queue", "priority"):
        if given[key] is not None:
            options[key] = given[key]
    return options


@click.command(cls=Verb)
@NAME
@click.option("--task", help="The task it sends.")
@_entry_options
@click.option("--set", "assignments", multiple=True, metavar="PATH=VALUE",
              help="Change one part: kwargs.to=7, args.0=3, when='0 8 * * *', grace=10m; null takes it away. "
              "Repeatable.",
             )  # fmt: skip
@JSON
def edit(
    schedule: Patient, name: str, task: str | None, assignments: tuple[str, ...], as_json: bool, **given: Any
) -> None:
    """Edit an entry, by options or in $EDITOR.

    It is refused when somebody else has edited the entry meanwhile. Times are read in the entry's zone.

    \b
    Examples:
      celery -A proj redlock edit nightly --cron "0 8 * * *" --grace 10m
      celery -A proj redlock edit mail --set kwargs.to=7 --set missed=skip
      celery -A proj redlock edit mail
    """
    entry = schedule[name]
    zone = given["timezone"] or entry.timezone
    by_option = _changes(schedule, entry, task, given, zone)
    if assignments:
        with usage():
            data = deepcopy(editable(entry))
            all_assigned(data, assignments)
            changed = changes_of(entry, data)
    elif by_option is None:
        changed = _in_editor(entry)
    else:
        changed = {}
    twice = sorted(set(changed) & set(by_option or {}))
    if twice:
        raise click.UsageError(f"{', '.join(twice)} is changed by --set and by an option of its own: give it once.")
    changed |= _different(entry, by_option or {})
    after = entry
    if changed:
        _check_changed(schedule, entry, changed, given["strict"])
        with usage():
            after = schedule.update(name, revision=entry.revision, **changed)
    if as_json:
        click.echo(printed(document(after)))
    elif changed:
        words = clock_of(schedule, zone).schedule(after.schedule)
        click.echo(f"{clean(name)} is at revision {after.revision}: {words}, next {when(after)}.")
    else:
        click.echo("Nothing was changed.")


def _changes(
    schedule: Patient, entry: Entry, task: str | None, given: Mapping[str, Any], zone: str
) -> dict[str, Any] | None:
    """What the options change; None when none was given."""
    changed = _policies(schedule, given, zone)
    what = _when(schedule, given, zone)
    if what is not None:
        changed["when"] = what
    if task is not None:
        changed["task"] = task
    for key in ("args", "kwargs"):
        if given[key] is not None:
            changed[key] = given[key]
    if any(given[key] is not None for key in ("options", "queue", "priority")):
        changed["options"] = _sent_with(given, entry.options)
    return changed or None


def _different(entry: Entry, changes: dict[str, Any]) -> dict[str, Any]:
    """Those that say something else than the entry says already."""

    def now(key: str) -> Any:
        if key == "when":
            return entry.schedule
        if key == "expires":
            return entry.options.get("expires")
        value = getattr(entry, key)
        return list(value) if key == "args" else value

    def then(key: str, value: Any) -> Any:
        if key == "when":
            return as_spec(value)
        return micros(value) if key in _INSTANTS else value

    with usage():
        return {key: value for key, value in changes.items() if then(key, value) != now(key)}


def _check_changed(schedule: Patient, entry: Entry, changed: Mapping[str, Any], strict: bool) -> None:
    task = changed.get("task", entry.task)
    if entry.canvas is None and isinstance(task, str) and {"task", "args", "kwargs"} & set(changed):
        _check_task(schedule, strict, task, changed.get("args", entry.args), changed.get("kwargs", entry.kwargs))


def _in_editor(entry: Entry) -> dict[str, Any]:
    text = json.dumps(editable(entry), indent=2, ensure_ascii=False) + "\n"
    while True:
        edited = click.edit(text, extension=".json")
        if edited is None or not edited.strip():
            return {}
        try:
            return changes_of(entry, json.loads(edited))
        except (ValueError, RedlockBeatError) as exc:
            click.secho(f"That cannot be used: {clean(exc)}", fg="red", err=True)
            if not sys.stdin.isatty() or not click.confirm("Edit it again?", default=True):
                raise click.UsageError("nothing was changed.") from None
            text = edited


# --- copy, rename ----------------------------------------------------------------------------------


@click.command(cls=Verb)
@NAME
@click.argument("new")
def copy(schedule: Patient, name: str, new: str) -> None:
    """Add an entry that says what another says. It counts from now.

    \b
    Example:
      celery -A proj redlock copy mail mail-late && celery -A proj redlock edit mail-late --cron "0 22 * * *"
    """
    entry = schedule.copy(name, new)
    click.echo(f"{clean(new)} is a copy of {clean(name)}; next {when(entry)}.")


@click.command(cls=Verb)
@NAME
@click.argument("new")
def rename(schedule: Patient, name: str, new: str) -> None:
    """Give an entry another name; its next slot stays as it is.

    \b
    Example:
      celery -A proj redlock rename mail mail-hourly
    """
    entry = schedule.rename(name, new)
    click.echo(f"{clean(name)} is {clean(new)} now; next {when(entry)}.")


# --- pause, resume, remove -------------------------------------------------------------------------


@click.command(cls=Verb)
@NAME
@click.option("--note", help="Why; kept and shown until it is resumed.")
def pause(schedule: Patient, name: str, note: str | None) -> None:
    """Pause an entry until it is resumed.

    \b
    Example:
      celery -A proj redlock pause mail --note "provider is down"
    """
    schedule.pause(name, note)
    click.echo(f"{clean(name)} is paused.")


@click.command(cls=Verb)
@NAME
@click.option("--catch-up", is_flag=True, help="What it missed while paused falls under its policy.")
def resume(schedule: Patient, name: str, catch_up: bool) -> None:
    """Resume a paused entry, from now.

    \b
    Example:
      celery -A proj redlock resume mail
    """
    entry = schedule.resume(name, catch_up=catch_up)
    click.echo(f"{clean(name)} is resumed; next {when(entry)}.")


@click.command(cls=Verb)
@NAME
@YES
def remove(schedule: Patient, name: str, yes: bool) -> None:
    """Remove an entry for good.

    \b
    Example:
      celery -A proj redlock remove mail --yes
    """
    if not yes:
        entry = schedule[name]
        click.confirm(f"Remove {clean(name)!r} ({clean(entry.task)}, {entry.schedule})?", abort=True)
    schedule.remove(name)
    click.echo(f"{clean(name)} is removed.")


# --- run and backfill ------------------------------------------------------------------------------


@click.command(cls=Verb)
@NAME
def run(schedule: Patient, name: str) -> None:
    """Send an entry once, now, beside its schedule.

    Its next slot does not move. Prints the id of the task.

    \b
    Example:
      celery -A proj redlock run nightly-report
    """
    click.echo(schedule.trigger(name))
    hint_if_nobody_leads(schedule)


@click.command(cls=Verb)
@MAYBE_NAME
@click.argument("start", type=PAST, required=False)
@click.argument("end", type=PAST, required=False)
@click.option("--list", "listing", is_flag=True, help="Instead: show what waits to be sent by hand.")
@click.option("--cancel", is_flag=True, help="Instead: cancel what waits to be sent by hand of NAME.")
@click.option("--rate", default=100.0, show_default=True, help="Slots a second.",
              type=click.FloatRange(0, 100_000, min_open=True))  # fmt: skip
@TZ
@DRY
@YES
@JSON
def backfill(
    schedule: Patient, name: str | None, start: Written | None, end: Written | None, listing: bool, cancel: bool,
    rate: float, zone: str | None, dry_run: bool, yes: bool, as_json: bool,
) -> None:  # fmt: skip
    """Send the slots from START to END again.

    Each carries its nominal time.

    \b
    Examples:
      celery -A proj redlock backfill mail 2026-11-01 2026-11-02 --rate 10
      celery -A proj redlock backfill mail 6h now --dry-run
      celery -A proj redlock backfill --list
      celery -A proj redlock backfill mail --cancel
    """
    clock = clock_of(schedule, zone)
    if listing:
        _show_waiting(schedule.waiting(name), clock, as_json)
        return
    if name is None:
        raise click.UsageError("Missing argument 'NAME'.")
    if cancel:
        _cancel(schedule, name, dry_run, yes)
        return
    if start is None or end is None:
        raise click.UsageError("START and END are needed: from when to when slots are sent again.")
    first, last = (read(schedule, at, clock.zone) for at in (start, end))
    if last < first:
        raise click.UsageError(f"START ({clock.time(first)}) is after END ({clock.time(last)}).")
    count = _slots_between(schedule[name], first, last)
    if dry_run or not count:
        click.echo(f"{count} slots of {clean(name)} lie between {clock.time(first)} and {clock.time(last)}.")
        return
    if not yes:
        click.confirm(
            f"Send {count} slots of {clean(name)!r} ({clock.time(first)} to {clock.time(last)}), {rate:g} a second?",
            abort=True,
        )
    with progress(count, "Queueing") as advance, usage():
        sent = schedule.backfill(name, first, last, rate=rate, progress=advance)
    click.echo(f"{sent} slots of {clean(name)} are on their way.")
    hint_if_nobody_leads(schedule)


_WAITING = (
    Column("NAME", least=16),
    Column("HOW"),
    Column("COUNT"),
    Column("FROM", 2),
    Column("TO", 2),
    Column("NEXT", 1),
)


def _show_waiting(found: list[Waiting], clock: Clock, as_json: bool) -> None:
    if as_json:
        click.echo(printed([{key: iso(getattr(one, key)) for key in Waiting.__slots__} for one in found]))
        return
    table(_WAITING, [
        (one.entry, one.how, str(one.count), clock.time(one.first), clock.time(one.last), clock.time(one.at))
        for one in found
    ])  # fmt: skip


def _cancel(schedule: Patient, name: str, dry_run: bool, yes: bool) -> None:
    count = sum(one.count for one in schedule.waiting(name) if one.how != "settled")
    if dry_run or not count:
        click.echo(f"{count} slots and triggers of {clean(name)} wait to be sent.")
        return
    if not yes:
        click.confirm(f"Cancel {count} slots and triggers of {clean(name)!r} that wait to be sent?", abort=True)
    click.echo(f"{schedule.cancel(name)} slots and triggers of {clean(name)} are cancelled.")


def _slots_between(entry: Entry, start: datetime, end: datetime) -> int:
    return sum(1 for _ in islice(slots_between(entry, micros(start), micros(end)), BACKFILL_LIMIT + 1))
