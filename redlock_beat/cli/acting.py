"""Verbs about one entry, or about all that fit: pause, resume, skip, remove, run."""

from __future__ import annotations

from typing import Any

import click

from ..entries.document import document
from ..schedule.changes import MOST_SKIPPED
from .choosing import Choice, Words, choosing, chosen, together
from .editing import check_changed, sent_with
from .looking import skipped_slots, when
from .terminal import clean, relative
from .times import COMING, Written
from .verbs import (
    LIST,
    OBJECT,
    TZ,
    WHY,
    Verb,
    VerbSchedule,
    clock_of,
    hint_if_nothing_is_sent,
    printed,
    read,
    usage,
)


@click.command(cls=Verb)
@choosing
@click.option("--until", type=COMING, help="When it goes on by itself: 'tomorrow 07:00', 'in 2h', 2027-01-01T07:00.")
@click.option("--note", help="Why. It is shown until the pause ends.")
@TZ
def pause(schedule: VerbSchedule, until: Written | None, note: str | None, zone: str | None, **given: Any) -> None:
    """Pause an entry until it is resumed, or until a time.

    Slots during the pause are not sent. The entry goes on with its first slot after the pause. If you choose many
    entries, those that are already paused keep their pause.

    \b
    Examples:
      celery -A proj redlock pause mail --note "provider is down"
      celery -A proj redlock pause mail --until 'tomorrow 07:00'
      celery -A proj redlock pause --label team=billing --until 'in 2h'
    """
    choice, clock = chosen(given), clock_of(schedule, zone)
    end = None if until is None else read(schedule, until, clock.zone)
    words = "paused" if end is None else f"paused until {clock.time(end)}"
    if choice.name is None:
        told = Words("Pause", words, "active")
        together(schedule, choice, told, lambda them, advance: them.pause(note, until=end, progress=advance))
        return
    with usage():
        entry = schedule.pause(choice.one, note, until=end)
    if choice.as_json:
        click.echo(printed(document(entry)))
        return
    if end is None:
        click.echo(f"{clean(entry.name)} is paused.")
        return
    due = entry.next_due
    then = "has no slot after that" if due is None else f"is next sent {clock.time(due)} ({relative(due)})"
    click.echo(f"{clean(entry.name)} is {words}; it {then}.")


@click.command(cls=Verb)
@choosing
@click.option("--catch-up", is_flag=True, help="Treat the slots of the pause as its policy `missed` says.")
@WHY
def resume(schedule: VerbSchedule, catch_up: bool, why: str | None, **given: Any) -> None:
    """Resume a paused entry, from now.

    \b
    Examples:
      celery -A proj redlock resume mail
      celery -A proj redlock resume --label team=billing
    """
    choice = chosen(given)
    if choice.name is None:
        told = Words("Resume", "resumed", "paused")
        together(
            schedule, choice, told, lambda them, advance: them.resume(catch_up=catch_up, why=why, progress=advance)
        )
        return
    paused = schedule[choice.one].paused
    entry = schedule.resume(choice.one, catch_up=catch_up, why=why)
    if choice.as_json:
        click.echo(printed(document(entry)))
        return
    done = "is resumed" if paused else "is not paused, so nothing was changed"
    click.echo(f"{clean(entry.name)} {done}; next {when(entry)}.")


@click.command(cls=Verb)
@choosing
@click.option("-n", "count", default=1, show_default=True, type=click.IntRange(0, MOST_SKIPPED), help="0 skips none.")
@WHY
@TZ
def skip(schedule: VerbSchedule, count: int, why: str | None, zone: str | None, **given: Any) -> None:
    """Do not send the next slot of an entry, or the next few.

    \b
    Examples:
      celery -A proj redlock skip nightly --why "audit"
      celery -A proj redlock skip nightly -n 0
      celery -A proj redlock skip --task 'mail.*'
    """
    choice = chosen(given)
    if choice.name is None:
        slots = "slot" if count == 1 else f"{count} slots"
        asked = f"Skip the next {slots} of" if count else "Skip no slot of"
        told = Words(asked, f"to skip {'no slot' if not count else f'the next {slots}'}", "active")
        together(schedule, choice, told, lambda them, advance: them.skip(count, why=why, progress=advance))
        return
    with usage():
        entry = schedule.skip(choice.one, count, why=why)
    if choice.as_json:
        click.echo(printed(document(entry)))
        return
    clock, due = clock_of(schedule, zone), entry.next_due
    then = "there is none after that" if due is None else f"it is next sent {clock.time(due)} ({relative(due)})"
    what = "no slot is skipped" if entry.skip is None else skipped_slots(entry.skip, clock)
    click.echo(f"{clean(entry.name)}: {what}; {then}.")


@click.command(cls=Verb)
@choosing
@WHY
def remove(schedule: VerbSchedule, why: str | None, **given: Any) -> None:
    """Remove an entry for good.

    \b
    Examples:
      celery -A proj redlock remove mail --yes
      celery -A proj redlock remove --state finished --prefix tmp.
    """
    choice = chosen(given)
    if choice.name is None:
        told = Words("Remove", "removed")
        together(schedule, choice, told, lambda them, advance: them.remove(why=why, progress=advance))
        return
    name = choice.name
    if not choice.yes:
        entry = schedule[name]
        click.confirm(
            f"Remove {clean(name)!r} ({clean(entry.task)}, {entry.schedule})?", abort=True, err=choice.as_json
        )
    schedule.remove(name, why=why)
    click.echo(printed({"count": 1}) if choice.as_json else f"{clean(name)} is removed.")


@click.command(cls=Verb)
@choosing
@click.option("--args", "args", type=LIST, help="Other arguments for this once, a JSON list.")
@click.option("--kwargs", "kwargs", type=OBJECT, help="Other keyword arguments for this once, all of them.")
@click.option("--options", "options", type=OBJECT, help="Other options for this once, all of them.")
@click.option("--queue", help="Another queue for this once, of one entry.")
@click.option("--priority", type=int, help="Another priority for this once, of one entry.")
@WHY
@click.option("--strict", is_flag=True, help="Refuse arguments that do not fit.")
def run(schedule: VerbSchedule, why: str | None, strict: bool, **given: Any) -> None:
    """Send an entry once, now.

    Its next slot does not move. The command prints the task id, or for many entries how many were sent.

    \b
    Examples:
      celery -A proj redlock run nightly-report
      celery -A proj redlock run mail --kwargs '{"to": 7}' --queue slow
      celery -A proj redlock run --label team=billing
    """
    choice = chosen(given)
    if choice.name is None:
        _run_together(schedule, choice, why, given)
    else:
        task_id = _run_one(schedule, choice.name, why, strict, given)
        click.echo(printed({"task_id": task_id}) if choice.as_json else task_id)
    hint_if_nothing_is_sent(schedule)


def _run_one(schedule: VerbSchedule, name: str, why: str | None, strict: bool, given: dict[str, Any]) -> str:
    args, kwargs, options = given["args"], given["kwargs"], None
    if any(one is not None for one in given.values()):
        entry = schedule[name]
        if any(given[key] is not None for key in ("options", "queue", "priority")):
            options = sent_with(given, entry.options)
        check_changed(schedule, entry, {"args": args, "kwargs": kwargs}, strict)
    with usage():
        return schedule.trigger(name, args, kwargs, options=options, why=why)


def _run_together(schedule: VerbSchedule, choice: Choice, why: str | None, given: dict[str, Any]) -> None:
    if given["queue"] is not None or given["priority"] is not None:
        raise click.UsageError("--queue and --priority change options of one NAME; of many, --options replaces all.")
    args, kwargs, options = given["args"], given["kwargs"], given["options"]
    together(
        schedule,
        choice,
        Words("Send", "on the way", "active"),
        lambda them, advance: them.trigger(args, kwargs, options=options, why=why, progress=advance),
    )
