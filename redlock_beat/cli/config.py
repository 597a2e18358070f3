"""The verb that checks ``beat_schedule`` before it is deployed: for CI, where no server is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import click

from ..clock import MICROS, micros, moment
from ..entries.entry import Entry
from ..entries.policies import next_slot
from ..errors import mask
from ..log import logger
from ..schedule.configuration import Configuration, read_configuration
from ..words import many
from .checking import misfit, unknown
from .terminal import Clock, clean, say
from .times import zone_of_app
from .verbs import JSON, Verb, VerbSchedule, printed

_MINUTE, _DAY = 60 * MICROS, 86_400 * MICROS
#: Entries at one minute that are a herd, unless --herd says otherwise, and names of them that are shown.
HERD, SHOWN = 50, 3


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong with the configuration."""

    #: ``error``: it will not work; ``warning``: it may not be what is meant.
    level: str
    #: The entry; '' when it is about several.
    entry: str
    #: ``unusable``, ``task``, ``policies``, ``never``, ``start`` or ``herd``.
    what: str
    why: str


_MANY = click.IntRange(2)


@click.command("check", cls=Verb)
@click.option("--herd", type=_MANY, default=HERD, show_default=True, help="Warn when so many are due at one minute.")
@click.option("--strict", is_flag=True, help="Warnings end with exit code 1, too.")
@JSON
def check_(schedule: VerbSchedule, herd: int, strict: bool, as_json: bool) -> None:
    """Check beat_schedule, for CI. It asks no server.

    Errors: entries that cannot be used, tasks that the app does not know, arguments that do not fit. Warnings:
    entries without a slot from now on, rrules without a fixed start, herds at one minute.

    \b
    Examples:
      celery -A proj redlock check
      celery -A proj redlock check --strict --herd 20
    """
    count, problems = checked(schedule.app, datetime.now(UTC), herd)
    if as_json:
        click.echo(printed([asdict(one) for one in problems]))
    for one in problems if not as_json else ():
        colour = "red" if one.level == "error" else "yellow"
        where = f"{clean(one.entry)}: " if one.entry else ""
        say(f"{where}{clean(one.why)}", colour=colour, lead=f"{one.level}  ", indent=9)
    errors = sum(one.level == "error" for one in problems)
    if not as_json:
        warnings = len(problems) - errors
        say(f"{many(count, 'entry')}, {many(errors, 'error')}, {many(warnings, 'warning')}.")
    if errors or (strict and problems):
        click.get_current_context().exit(1)


def checked(app: Any, now: datetime, herd: int = HERD) -> tuple[int, list[Problem]]:
    """How many entries ``beat_schedule`` has, and what is wrong with them."""
    with _in_silence():
        with contextlib.suppress(Exception):  # what it raises, `misfit` says of each entry
            app.loader.import_default_modules()
        app.finalize()
        configuration = read_configuration(app)
    problems = [Problem("error", name, "unusable", mask(why)) for name, why in configuration.errors.items()]
    problems += _policies_of_nobody(app, configuration)
    entries = {}
    for name, one in configuration.entries.items():
        entries[name] = replace(one.entry, anchor=micros(now))
        problems += _one(app, entries[name], micros(now))
        if one.floating:
            why = "its rrule has no dtstart of its own, so it counts from the first start of beat: give it a fixed one"
            problems.append(Problem("warning", name, "start", why))
    problems += _herd(entries, micros(now), herd, Clock(zone_of_app(app)))
    return len(entries) + len(configuration.errors), problems


@contextlib.contextmanager
def _in_silence() -> Iterator[None]:
    """What the log would say is said as a problem here."""
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _policies_of_nobody(app: Any, configuration: Configuration) -> Iterator[Problem]:
    given: Mapping[str, Any] = app.conf.get("redlock_beat_policies") or {}
    for name in sorted(set(given) - set(configuration.entries) - set(configuration.errors)):
        yield Problem(
            "error", name, "policies", "redlock_beat_policies has policies for it, but there is no such entry"
        )


def _one(app: Any, entry: Entry, now: int) -> Iterator[Problem]:
    if entry.canvas is None:
        found = [misfit(app, entry.task, entry.args, entry.kwargs)]
    else:
        found = [unknown(app, task) for task in dict.fromkeys(_tasks_in(entry.canvas))]
    for wrong in found:
        if wrong is not None:
            yield Problem("error", entry.name, "task", wrong)
    try:
        never = next_slot(entry, now) is None
    except Exception as exc:  # noqa: BLE001 - a schedule class may raise anything, or a calendar not be known
        yield Problem("error", entry.name, "unusable", f"its next slot cannot be computed: {mask(exc)}")
        return
    if never and entry.enabled:
        yield Problem("warning", entry.name, "never", f"it has no slot from now on ({entry.words})")


def _tasks_in(part: Any) -> Iterator[str]:
    """The tasks that a chain, group or chord consists of."""
    if isinstance(part, Mapping):
        task = part.get("task")
        if isinstance(task, str) and "args" in part and not task.startswith("celery."):
            yield task
        part = list(part.values())
    if isinstance(part, (list, tuple)):
        for one in part:
            yield from _tasks_in(one)


def _herd(entries: Mapping[str, Entry], now: int, herd: int, clock: Clock) -> Iterator[Problem]:
    """The busiest minute of the next day, if too many entries are due at it."""
    due: dict[int, list[str]] = {}
    for name, entry in entries.items():
        if entry.enabled and not entry.jitter:
            for minute in _minutes(entry, now):
                due.setdefault(minute, []).append(name)
    busiest = max(due.items(), key=lambda one: (len(one[1]), -one[0]), default=(0, []))
    minute, names = busiest
    if len(names) >= herd:
        some = ", ".join(names[:SHOWN])
        at = clock.time(moment(minute * _MINUTE))
        many_are = many(len(names), "entry", "is", "are")
        why = f"{many_are} due at one minute, {at} for example ({some}, ...): give them jitter"
        yield Problem("warning", "", "herd", why)


def _minutes(entry: Entry, now: int) -> Iterator[int]:
    """The minutes of the next day in which an entry is due."""
    with contextlib.suppress(Exception):  # that it cannot be computed is a problem of its own
        at = next_slot(entry, now)
        while at is not None and at < now + _DAY:
            yield at // _MINUTE
            at = next_slot(entry, (at // _MINUTE + 1) * _MINUTE - 1)
