"""Verbs that move schedules: export, import, import-redbeat, import-django-celery-beat."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from typing import IO, Any

import click

from ..clock import micros
from ..errors import InvalidSchedule
from ..schedule.filters import labelled
from ..schedule.transfer import Arrival, Difference, bring_in, check, export, load
from ..settings import Settings
from ..store.client import Target
from ..store.requests import PAGE
from ..words import many
from .terminal import clean, progress
from .verbs import DRY, JSON, LABEL, YES, Verb, VerbSchedule, printed

#: Bytes of an import kept in memory; beyond, a temporary file is used.
_IN_MEMORY = 64 * 1024 * 1024


@click.command("export", cls=Verb)
@click.argument("file", type=click.File("w", encoding="utf-8", lazy=True), default="-")
@LABEL
def export_(schedule: VerbSchedule, file: IO[str], labels: dict[str, str]) -> None:
    """Write the whole schedule, with its state.

    JSON lines go to FILE, or to standard output.

    \b
    Examples:
      celery -A proj redlock export schedule.jsonl
      celery -A proj redlock export --label team=billing billing.jsonl
    """
    to_terminal = getattr(file, "name", "-") in ("-", "<stdout>")
    with progress(schedule.count() + 2, "Exporting", hidden=to_terminal) as advance:
        for line in export(schedule, labelled(labels)):
            file.write(line + "\n")
            advance(1)


@click.command("import", cls=Verb)
@click.argument("file", type=click.File("r", encoding="utf-8"))
@DRY
@YES
@JSON
def import_(schedule: VerbSchedule, file: IO[str], dry_run: bool, yes: bool, as_json: bool) -> None:
    """Import what `export` has written.

    FILE may be "-" for standard input. Nothing is removed. A file that is cut off is refused.

    \b
    Example:
      celery -A proj redlock import schedule.jsonl --dry-run
    """
    with tempfile.SpooledTemporaryFile(_IN_MEMORY, "w+", encoding="utf-8") as kept:
        total = check(_kept(file, kept))  # read to its end before anything is written
        if not yes and not dry_run and not as_json:
            click.confirm(f"Import {many(total, 'entry')}?", abort=True)
        kept.seek(0)
        with progress(total, "Importing", hidden=dry_run or as_json) as advance:
            counts = _counted(load(schedule, kept, dry_run=dry_run, progress=advance), dry_run and not as_json)
    _report(counts, dry_run, as_json)


def _kept(file: IO[str], copy: IO[str]) -> Iterator[str]:
    for line in file:
        copy.write(line)
        yield line


@click.command("import-redbeat", cls=Verb)
@click.option("--url", help="Where RedBeat's keys are.  [default: redbeat_redis_url, or the broker's]")
@click.option("--key-prefix", help="RedBeat's redbeat_key_prefix.  [default: the app's, or redbeat:]")
@DRY
@YES
@JSON
def import_redbeat(
    schedule: VerbSchedule, url: str | None, key_prefix: str | None, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Import the schedule of RedBeat; each entry keeps its phase.

    Stop RedBeat, import, then start this beat.

    \b
    Example:
      celery -A proj redlock import-redbeat --dry-run
    """
    from ..schedule.configuration import read_configuration
    from ..schedule.migrate import RedBeat

    conf = schedule.app.conf
    where = url or conf.get("redbeat_redis_url") or schedule.settings.url
    settings = Settings(url=where) if where != schedule.settings.url else schedule.settings
    prefix = key_prefix or conf.get("redbeat_key_prefix") or "redbeat:"
    theirs = RedBeat(Target(settings), prefix, schedule.app, read_configuration(schedule.app))
    total = theirs.count()
    if not total:
        raise InvalidSchedule(f"there is no schedule of RedBeat under {prefix}:schedule at {Target(settings)}.")
    bring_in_entries(schedule, theirs.entries(micros(schedule.now())), total, dry_run, yes, as_json)


@click.command("import-django-celery-beat", cls=Verb)
@click.argument("file", type=click.File("r", encoding="utf-8"))
@DRY
@YES
@JSON
def import_django_celery_beat(schedule: VerbSchedule, file: IO[str], dry_run: bool, yes: bool, as_json: bool) -> None:
    """Import a schedule of django-celery-beat.

    FILE is what `manage.py dumpdata django_celery_beat` wrote, or "-" for standard input. Entries keep their phase.

    \b
    Example:
      python manage.py dumpdata django_celery_beat > dump.json
      celery -A proj redlock import-django-celery-beat dump.json --dry-run
    """
    from ..schedule.migrate import django_entries

    found = list(django_entries(file.read(), schedule.app, micros(schedule.now())))
    bring_in_entries(schedule, iter(found), len(found), dry_run, yes, as_json)


def bring_in_entries(
    schedule: VerbSchedule, found: Iterator[Any], total: int, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Bring in what another scheduler has, say what became of it, and name what is left out."""
    if not yes and not dry_run and not as_json:
        click.confirm(f"Import up to {many(total, 'entry')}? The other beat must not run any more.", abort=True)
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
                yield from bring_in(schedule, page, dry_run=dry_run)
                page = []
        if page:
            yield from bring_in(schedule, page, dry_run=dry_run)

    with progress(total, "Importing", hidden=dry_run or as_json) as advance:
        counts = _counted(arriving(advance), dry_run and not as_json)
    _report(counts, dry_run, as_json)
    for one in unfit:
        click.secho(f"left out: {clean(one.name)}: {clean(one.why)}", fg="yellow", err=True)
    if unfit:
        click.get_current_context().exit(1)


def _counted(found: Iterator[Difference], shown: bool) -> dict[str, int]:
    """How many entries were added, changed and so on; prints each of those where *shown*."""
    counts = dict.fromkeys(_WHAT, 0)
    for one in found:
        counts[one.what] += 1
        if shown and one.what in ("added", "changed"):
            added = one.what == "added"
            click.secho(f"{'+' if added else '~'} {clean(one.name)}", fg="green" if added else "yellow")
            for field, *values in one.fields:
                before, after = (clean(printed(value)) for value in values)
                click.echo(f"    {field}: {before} -> {after}")
    return counts


def _report(counts: dict[str, int], dry_run: bool, as_json: bool) -> None:
    if as_json:
        click.echo(printed({"dry_run": dry_run, **counts}))
        return
    said = ", ".join(f"{counts[what]} {words}" for what, words in _WHAT.items() if counts[what])
    click.echo(f"{'Would be: ' if dry_run else ''}{said or 'nothing'}.")


_WHAT = {"added": "added", "changed": "changed", "unchanged": "unchanged", "kept": "already here and left alone"}
