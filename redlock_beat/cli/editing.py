"""Verbs that edit entries, or send their slots again: add, edit, copy, rename, backfill."""

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
from ..recurrence import SHIFTS, Crontab, RRule, Solar, as_spec
from ..schedule.answers import Waiting
from ..schedule.operations import BACKFILL_LIMIT, slots_between
from ..words import many
from .checking import misfit
from .looking import iso, when
from .terminal import Clock, Column, clean, progress, table
from .times import COMING, DAYS, PAST, SPAN, ZONE, Written, zone_of_app
from .verbs import (
    DRY,
    JSON,
    LIST,
    MAYBE_NAME,
    NAME,
    OBJECT,
    TZ,
    WHY,
    YES,
    Labels,
    Verb,
    VerbSchedule,
    clock_of,
    hint,
    hint_if_nothing_is_sent,
    printed,
    read,
    usage,
)

#: The options that say when; an entry has one of them.
_WHENS = ("every", "cron", "at", "rrule", "solar")
_SET = "Change one part: kwargs.to=7, args.0=3, when='0 8 * * *', grace=10m; null removes it. Repeatable."
#: Policies that are instants, and those that are seconds.
_INSTANTS, _SPANS = ("starts", "ends"), ("grace", "jitter", "expires", "queue_limit")


def _entry_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that `add` and `edit` share: the parts of an entry."""
    choice = click.Choice
    options = [
        click.option("--every", type=SPAN, help="An interval: 30s, 5m, 1h30m, 2d."),
        click.option("--cron", help="Five fields: minute, hour, day of month, month, day of week. Six: seconds first."),
        click.option("--at", type=COMING, help="One shot: 2027-01-01T07:00, 'tomorrow 07:00', 'in 5 min'."),
        click.option("--rrule", help="A recurrence rule. It begins now, or at its DTSTART."),
        click.option("--solar", help="Event, latitude, longitude: sunset,52.5,13.4."),
        click.option("--args", "args", type=LIST, help="Arguments, a JSON list."),
        click.option("--kwargs", "kwargs", type=OBJECT, help="Keyword arguments, a JSON object."),
        click.option("--options", "options", type=OBJECT, help="What apply_async takes, a JSON object."),
        click.option("--queue", help="The queue its messages go to."),
        click.option("--priority", type=int, help="The priority of its messages."),
        click.option("--tz", "timezone", type=ZONE, help="Zone of the entry and of times here.  [default: the app's]"),
        click.option("--missed", type=choice(["once", "skip", "all"]), help="What is sent after an outage."),
        click.option("--grace", type=SPAN, help="How late a slot may be sent; a later one is missed."),
        click.option("--jitter", type=SPAN, help="Send each slot up to this long after its time."),
        click.option("--starts", type=COMING, help="No slot before this time."),
        click.option("--ends", type=COMING, help="No slot after this time."),
        click.option("--max-runs", type=click.IntRange(1), help="Finish after this many sends."),
        click.option("--expires", type=SPAN, help="Workers discard the message after this long."),
        click.option(
            "--delivery", type=choice(["at_least_once", "at_most_once"]), help="What a crash may do, on another broker."
        ),
        click.option(
            "--overlap",
            type=choice(["allow", "skip", "buffer_one", "buffer_all", "cancel_previous"]),
            help="What becomes of a slot while a run is under way.",
        ),
        click.option("--queue-limit", type=SPAN, help="How long a run that no worker has begun counts as under way."),
        click.option("--buffer-limit", type=click.IntRange(1), help="How many slots --overlap buffer_all keeps."),
        click.option("--terminate/--no-terminate", default=None, help="With cancel_previous: end a run in progress."),
        click.option("--pause-on-failure", type=click.IntRange(1), help="Pause after so many failed runs in a row."),
        click.option("--dst-gap", type=choice(["after", "skip"]), help="A slot that the clock jumps over."),
        click.option("--dst-fold", type=choice(["auto", "first", "both"]), help="A slot that comes twice."),
        click.option(
            "--exclude", type=DAYS, help="Days on which it is not sent: sat,sun,2026-12-24..2027-01-06,12-25,holidays."
        ),
        click.option("--only", type=DAYS, help="Send it on these days alone."),
        click.option("--shift", type=choice(SHIFTS), help="What becomes of a slot on a closed day."),
        click.option("--keep/--no-keep", default=None, help="Keep the entry in the schedule once it is finished."),
        click.option("--note", help="A text for people."),
        click.option(
            "--label",
            "labels",
            multiple=True,
            type=Labels(None),
            metavar="NAME=VALUE",
            help="A label, as in team=billing; without a value it is taken away. Repeatable.",
        ),
        WHY,
        click.option("--strict", is_flag=True, help="Refuse unknown tasks and arguments that do not fit."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def _when(schedule: VerbSchedule, given: Mapping[str, Any], zone: str) -> Any:
    """The schedule that the options describe; None without one."""
    said = {key: given[key] for key in _WHENS if given[key] is not None}
    if len(said) > 1:
        raise click.UsageError(f"give one schedule: --{' and --'.join(said)} contradict each other.")
    for kind, value in said.items():
        if kind == "at":
            return read(schedule, value, zone)
        with usage():
            if kind == "cron":
                return Crontab.parse(value)
            if kind == "rrule":
                return RRule.parse(value, None if "DTSTART" in value.upper() else schedule.now())
            if kind == "solar":
                return solar_of(value)
            return value
    return None


def solar_of(text: str) -> Solar:
    """The schedule of ``sunset,52.5,13.4``."""
    try:
        event, latitude, longitude = text.split(",")
        return Solar(event.strip(), float(latitude), float(longitude))
    except InvalidSchedule:
        raise
    except ValueError:
        raise InvalidSchedule(f"{text!r} is not event,latitude,longitude, as in sunset,52.5,13.4.") from None


def _policies(
    schedule: VerbSchedule, given: Mapping[str, Any], zone: str, before: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The policies that the options set; labels join those there were *before*."""
    others = (*_WHENS, "args", "kwargs", "options", "queue", "priority", "strict", "why")
    chosen = {key: value for key, value in given.items() if value is not None and key not in others}
    labels = chosen.pop("labels", None)
    if labels:
        chosen["labels"] = {name: text for name, text in {**(before or {}), **dict(labels)}.items() if text is not None}
    for key in _INSTANTS:
        if key in chosen:
            chosen[key] = read(schedule, chosen[key], zone)
    for key in _SPANS:
        if key in chosen:
            chosen[key] = chosen[key].total_seconds()
    return chosen


def _check_task(schedule: VerbSchedule, strict: bool, task: str, args: Any, kwargs: Any) -> None:
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
@click.option("--replace", is_flag=True, help="Replace the entry of that name.")
@click.option("--run-now", is_flag=True, help="Send it at once as well.")
@click.option("--paused", is_flag=True, help="Add it paused.")
@JSON
def add(
    schedule: VerbSchedule,
    name: str,
    task: str,
    replace: bool,
    run_now: bool,
    paused: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Add an entry that sends TASK.

    Give a schedule with one of --every, --cron, --at, --rrule, --solar.

    \b
    Examples:
      celery -A proj redlock add nightly tasks.report --cron "0 7 * * 1-5" --tz Europe/Berlin
      celery -A proj redlock add welcome tasks.mail --at "in 5 min" --kwargs '{"to": 7}'
    """
    zone = given["timezone"] or zone_of_app(schedule.app)
    what = _when(schedule, given, zone)
    if what is None:
        raise click.UsageError(f"give a schedule with one of --{', --'.join(_WHENS)}.")
    args, kwargs = given["args"] or [], given["kwargs"] or {}
    options = sent_with(given, {})
    policies = _policies(schedule, given, zone)
    _check_task(schedule, given["strict"], task, args, kwargs)
    with usage():
        policies = {**policies, "enabled": not paused, "why": given["why"]}
        entry = schedule.add(
            name, task, what, args, kwargs, options=options, replace=replace, run_now=run_now, **policies
        )
    if as_json:
        click.echo(printed(document(entry)))
    else:
        clock = clock_of(schedule, zone)
        at = f" ({clock.time(entry.next_due)})" if entry.next_due is not None else ""
        click.echo(f"{clean(name)}: {clock.schedule(entry.schedule)}, next {when(entry)}{at}.")
    hint_if_nothing_is_sent(schedule)


def sent_with(given: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """The options for apply_async: --options sets all of them, --queue and --priority one each."""
    options = dict(before if given["options"] is None else given["options"])
    for key in ("queue", "priority"):
        if given[key] is not None:
            options[key] = given[key]
    return options


@click.command(cls=Verb)
@NAME
@click.option("--task", help="The task it sends.")
@_entry_options
@click.option("--set", "assignments", multiple=True, metavar="PATH=VALUE", help=_SET)
@JSON
def edit(
    schedule: VerbSchedule, name: str, task: str | None, assignments: tuple[str, ...], as_json: bool, **given: Any
) -> None:
    """Edit an entry, by options or in $EDITOR.

    The edit is refused when somebody else has edited the entry meanwhile. Times are read in the entry's zone.

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
        check_changed(schedule, entry, changed, given["strict"])
        with usage():
            after = schedule.update(name, revision=entry.revision, why=given["why"], **changed)
    if as_json:
        click.echo(printed(document(after)))
    elif changed:
        words = clock_of(schedule, zone).schedule(after.schedule)
        click.echo(f"{clean(name)} is at revision {after.revision}: {words}, next {when(after)}.")
    else:
        click.echo("Nothing was changed.")


def _changes(
    schedule: VerbSchedule, entry: Entry, task: str | None, given: Mapping[str, Any], zone: str
) -> dict[str, Any] | None:
    """What the options change; None without options."""
    changed = _policies(schedule, given, zone, entry.labels)
    what = _when(schedule, given, zone)
    if what is not None:
        changed["when"] = what
    if task is not None:
        changed["task"] = task
    for key in ("args", "kwargs"):
        if given[key] is not None:
            changed[key] = given[key]
    if any(given[key] is not None for key in ("options", "queue", "priority")):
        changed["options"] = sent_with(given, entry.options)
    return changed or None


def _different(entry: Entry, changes: dict[str, Any]) -> dict[str, Any]:
    """The changes that are not in force already."""

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


def check_changed(schedule: VerbSchedule, entry: Entry, changed: Mapping[str, Any], strict: bool) -> None:
    """Say, or refuse with *strict*, that arguments do not fit the task."""
    said = {key: changed[key] for key in ("task", "args", "kwargs") if changed.get(key) is not None}
    task = said.get("task", entry.task)
    if said and entry.canvas is None and isinstance(task, str):
        _check_task(schedule, strict, task, said.get("args", entry.args), said.get("kwargs", entry.kwargs))


def _in_editor(entry: Entry) -> dict[str, Any]:
    text = json.dumps(editable(entry), indent=2, ensure_ascii=False) + "\n"
    while True:
        edited = click.edit(text, extension=".json")
        if edited is None or not edited.strip():
            return {}
        try:
            return changes_of(entry, json.loads(edited))
        except (ValueError, RecursionError, RedlockBeatError) as exc:
            click.secho(f"This cannot be used: {clean(exc)}", fg="red", err=True)
            if not sys.stdin.isatty() or not click.confirm("Edit it again?", default=True):
                raise click.UsageError("nothing was changed.") from None
            text = edited


# --- copy, rename ----------------------------------------------------------------------------------


@click.command(cls=Verb)
@NAME
@click.argument("new")
@WHY
@JSON
def copy(schedule: VerbSchedule, name: str, new: str, why: str | None, as_json: bool) -> None:
    """Add a copy of an entry. Its slots count from now.

    \b
    Example:
      celery -A proj redlock copy mail mail-late && celery -A proj redlock edit mail-late --cron "0 22 * * *"
    """
    entry = schedule.copy(name, new, why=why)
    click.echo(printed(document(entry)) if as_json else f"{clean(new)} is a copy of {clean(name)}; next {when(entry)}.")


@click.command(cls=Verb)
@NAME
@click.argument("new")
@WHY
@JSON
def rename(schedule: VerbSchedule, name: str, new: str, why: str | None, as_json: bool) -> None:
    """Give an entry another name; its next slot stays as it is.

    \b
    Example:
      celery -A proj redlock rename mail mail-hourly
    """
    entry = schedule.rename(name, new, why=why)
    click.echo(printed(document(entry)) if as_json else f"{clean(name)} is {clean(new)} now; next {when(entry)}.")


# --- backfill --------------------------------------------------------------------------------------


_RATE = click.FloatRange(0, 100_000, min_open=True)


@click.command(cls=Verb)
@MAYBE_NAME
@click.argument("start", type=PAST, required=False)
@click.argument("end", type=PAST, required=False)
@click.option("--list", "listing", is_flag=True, help="Instead: show the triggers and slots that wait to be sent.")
@click.option("--cancel", is_flag=True, help="Instead: cancel the triggers and slots of NAME that wait to be sent.")
@click.option("--rate", default=100.0, show_default=True, type=_RATE, help="Slots a second.")
@TZ
@WHY
@DRY
@YES
@JSON
def backfill(
    schedule: VerbSchedule,
    name: str | None,
    start: Written | None,
    end: Written | None,
    listing: bool,
    cancel: bool,
    rate: float,
    why: str | None,
    zone: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Send the slots from START to END again.

    Each message carries the nominal time of its slot.

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
        _cancel(schedule, name, dry_run, yes, why)
        return
    if start is None or end is None:
        raise click.UsageError("START and END are missing: they say which slots are sent again.")
    first, last = (read(schedule, at, clock.zone) for at in (start, end))
    if last < first:
        raise click.UsageError(f"START ({clock.time(first)}) is after END ({clock.time(last)}).")
    count = _slots_between(schedule[name], first, last)
    if dry_run or not count:
        click.echo(f"{clean(name)} has {many(count, 'slot')} between {clock.time(first)} and {clock.time(last)}.")
        return
    if not yes:
        click.confirm(
            f"Send {many(count, 'slot')} of {clean(name)!r} ({clock.time(first)} to {clock.time(last)}), "
            f"{rate:g} a second?",
            abort=True,
        )
    with progress(count, "Queueing") as advance, usage():
        sent = schedule.backfill(name, first, last, rate=rate, progress=advance, why=why)
    click.echo(f"{clean(name)}: {many(sent, 'slot', 'is', 'are')} on the way.")
    hint_if_nothing_is_sent(schedule)


_WAITING = (
    Column("NAME", least=16),
    Column("SOURCE"),
    Column("COUNT"),
    Column("FROM", 2),
    Column("TO", 2),
    Column("NEXT", 1),
)


def _show_waiting(found: list[Waiting], clock: Clock, as_json: bool) -> None:
    if as_json:
        click.echo(printed([{key: iso(getattr(one, key)) for key in Waiting.__slots__} for one in found]))
        return
    rows: list[tuple[object, ...]] = []
    for one in found:
        times = [clock.time(at) for at in (one.first, one.last, one.at)]
        rows.append((one.entry, one.source, one.count, *times))
    table(_WAITING, rows)


def _cancel(schedule: VerbSchedule, name: str, dry_run: bool, yes: bool, why: str | None) -> None:
    count = sum(one.count for one in schedule.waiting(name) if one.source != "settled")
    if dry_run or not count:
        click.echo(f"Slots and triggers of {clean(name)} that wait to be sent: {count}.")
        return
    if not yes:
        click.confirm(f"Cancel all slots and triggers of {clean(name)!r} that wait to be sent ({count})?", abort=True)
    click.echo(f"Slots and triggers of {clean(name)} that are cancelled: {schedule.cancel(name, why=why)}.")


def _slots_between(entry: Entry, start: datetime, end: datetime) -> int:
    return sum(1 for _ in islice(slots_between(entry, micros(start), micros(end)), BACKFILL_LIMIT + 1))
