"""``manage.py redlock compare-django-celery-beat``: what it sends, beside what this schedule would, before the move."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from datetime import timedelta

import click
from django.db import close_old_connections

from ..cli.terminal import Clock, clean, say, span
from ..cli.times import SPAN, zone_of_app
from ..cli.verbs import JSON, Verb, VerbSchedule, hint, printed
from ..clock import micros
from ..errors import RedlockBeatError, mask
from ..schedule.compare import Compared, Comparison
from ..schedule.outlines import names
from ..store import holds
from . import tables


@click.command("compare-django-celery-beat", cls=Verb)
@click.option("--database", default="default", show_default=True, help="The database with its tables.")
@click.option("--for", "long", type=SPAN, default="48h", show_default=True, help="How long; Ctrl-C ends it before.")
@click.option("--every", type=SPAN, default="1m", show_default=True, help="How often to read the tables.")
@click.option(
    "--tolerance", type=SPAN, default="5s", show_default=True, help="How late after its slot a send there may be."
)
@JSON
def compare_django_celery_beat(
    schedule: VerbSchedule, database: str, long: timedelta, every: timedelta, tolerance: timedelta, as_json: bool
) -> None:
    """Compare what django-celery-beat sends with the slots here.

    Run it while django-celery-beat sends, and before anything is imported. It reads the tables again and again, and
    computes by this scheduler's own code what it would have sent. It sends nothing and writes nothing, neither to the
    tables nor to Redis. Differences are printed as they are found, with --json every reading of an entry that was
    sent. Exits with 1 where something differs.

    \b
    Examples:
      manage.py redlock compare-django-celery-beat --for 48h
      manage.py redlock compare-django-celery-beat --json > compared.jsonl
    """
    if every.total_seconds() <= 0 or long.total_seconds() <= 0:
        raise click.UsageError("--for and --every must be above 0.")
    comparison = Comparison(tolerance.total_seconds())
    report = _Report(schedule, as_json)
    for one in _reading(schedule, database, comparison):  # none: the first reading has none before it
        report.add(one)
    _warn_of_two_beats(schedule, comparison)
    if not as_json:
        say(f"Following {len(comparison.names)} entries for {span(long.total_seconds())}. Nothing is sent from here.")
    for name, why in sorted(comparison.left_out.items()):
        hint(f"left out: {clean(name)}: {clean(why)}")
    begun = schedule.now()
    end = begun + long
    with contextlib.suppress(KeyboardInterrupt):
        while (left := end - schedule.now()) > timedelta(0):
            time.sleep(max(0.05, min(every, left).total_seconds()))
            try:
                for one in _reading(schedule, database, comparison):
                    report.add(one)
            except RedlockBeatError as exc:
                hint(f"this reading is left out, the next one has its sends, too: {clean(mask(exc))}")
    for one in comparison.unsent(micros(schedule.now())):
        report.add(one)
    report.end(comparison, (schedule.now() - begun).total_seconds())
    if report.different:
        click.get_current_context().exit(1)


def _reading(schedule: VerbSchedule, database: str, comparison: Comparison) -> Iterator[Compared]:
    """What was sent since the last reading; the rows are read whole before any of them counts."""
    close_old_connections()
    now = micros(schedule.now())
    yield from comparison.read(list(tables.entries(database, schedule.app, now)), now)


def _warn_of_two_beats(schedule: VerbSchedule, comparison: Comparison) -> None:
    """Two beats that send the same entries are no comparison: each is sent twice."""
    hold, lease = schedule.ask(holds.look(schedule.keys))
    if lease is None or hold is not None:
        return
    both = sorted(comparison.names.intersection(names(schedule)))
    if both:
        hint(
            f"A beat of redlock_beat sends now, too, and {len(both)} of these entries are in its schedule, such as "
            f"{clean(both[0])}: each is sent twice. Stop one of the beats, or `redlock hold`."
        )


class _Report:
    """Prints differences as they come, and what it came to."""

    def __init__(self, schedule: VerbSchedule, as_json: bool) -> None:
        self.as_json = as_json
        self.clock = Clock(zone_of_app(schedule.app))
        self.different = self.sends = 0
        self.names: set[str] = set()
        self.latest: Compared | None = None

    def add(self, one: Compared) -> None:
        """One entry, of one reading."""
        self.sends += one.sent
        self.names.add(one.name)
        self.different += not one.same
        if one.same and one.late is not None and (self.latest is None or one.late > (self.latest.late or 0)):
            self.latest = one
        if self.as_json:
            click.echo(printed(one.json()))
        elif not one.same:
            click.secho(f"~ {clean(one.name)}", fg="yellow")
            for what, many, at in (("sent there", one.sent, one.last_sent), ("slots here", one.slots, one.slot)):
                click.echo(f"    {what}: {many}" + (f", the last at {self.clock.time(at)}" if at else ""))

    def end(self, comparison: Comparison, seconds: float) -> None:
        """What it came to."""
        still = len(comparison.names - self.names)
        counts = {
            "entries": len(self.names),
            "sends": self.sends,
            "different": self.different,
            "not_sent": still,
            "edited": len(comparison.edited),
            "left_out": len(comparison.left_out),
        }
        if self.as_json:
            click.echo(printed({"seconds": round(seconds), **counts}))
            return
        how = (
            f"{self.different} {'differs' if self.different == 1 else 'differ'}"
            if self.different
            else "all have their slot"
        )
        say(f"{self.sends} sends of {len(self.names)} entries in {span(seconds)}: {how}.")
        if self.latest is not None:
            late = span(max(0.0, self.latest.late or 0.0))
            say(f"The latest was sent there {late} after its slot ({clean(self.latest.name)}).")
        if still:
            many = "1 entry" if still == 1 else f"{still} entries"
            say(f"{many} had no slot and no send in this time: nothing is shown of that.")
        if comparison.edited:
            say(f"{len(comparison.edited)} were edited meanwhile; they are compared again after their next send.")
