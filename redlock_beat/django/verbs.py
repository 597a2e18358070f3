"""``manage.py redlock``: the verbs of ``celery redlock``, and those that only a Django project has."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import IO, Any

import click

from ..cli import redlock as celerys
from ..cli.moving import bring_in_entries
from ..cli.terminal import clean
from ..cli.verbs import DRY, JSON, LABEL, YES, Verb, Verbs, VerbSchedule, hint, printed
from ..clock import micros
from ..schedule.defaults import Default, load_defaults
from ..schedule.django_fixture import django_fixture
from ..schedule.filters import labelled
from ..schedule.migrate import NotImported, django_entries
from ..schedule.transfer import Difference
from . import defaults as found
from . import tables
from .side_by_side import compare_django_celery_beat

_WHAT = {"added": "added", "changed": "changed", "unchanged": "unchanged", "kept": "kept as they are"}


class ProjectVerbs(Verbs):
    """The verbs, with those of Django projects."""

    sections = {**Verbs.sections, "Django": ("load", "dump", "compare-django-celery-beat")}  # noqa: RUF012 - as its base has it


redlock = ProjectVerbs("redlock", params=celerys.params, help=celerys.help, callback=celerys.callback)

for _verb in celerys.commands.values():
    redlock.add_command(_verb)
redlock.add_command(compare_django_celery_beat)


@redlock.command(cls=Verb)
@click.argument("apps", nargs=-1)
@click.option("--overwrite", is_flag=True, help="Also what was edited or removed since it was loaded.")
@DRY
@JSON
def load(schedule: VerbSchedule, apps: Sequence[str], overwrite: bool, dry_run: bool, as_json: bool) -> None:
    """Load the defaults of the project.

    They are in schedule.py (a beat_schedule) and fixtures/*.json of installed apps, or of the apps that APPS names.
    Run it with each deployment: entries that were edited or removed since stay so.

    \b
    Examples:
      manage.py redlock load --dry-run
      manage.py redlock load orders --overwrite
    """
    loadable: list[Default] = []
    unfit: list[NotImported] = []
    for one in found.defaults(schedule, apps):
        if isinstance(one, Default):
            loadable.append(one)
        else:
            unfit.append(one)
    counts = dict.fromkeys(_WHAT, 0)
    for what in load_defaults(schedule, loadable, renew=overwrite, dry_run=dry_run):
        counts[what.what] += 1
        if not as_json and (what.fields or what.what == "added"):
            _show(what)
    if as_json:
        click.echo(printed({"dry_run": dry_run, **counts, "left_out": {one.name: one.why for one in unfit}}))
    else:
        said = ", ".join(f"{counts[what]} {words}" for what, words in _WHAT.items() if counts[what])
        click.echo(f"{'Would be: ' if dry_run else ''}{said or 'nothing'}.")
    _say_unfit(unfit)


def _show(what: Difference) -> None:
    """One default, and in what it differs from the entry that is there."""
    sign, colour = {"added": ("+", "green"), "changed": ("~", "yellow"), "kept": ("=", None)}[what.what]
    click.secho(f"{sign} {clean(what.name)}", fg=colour)
    arrow = "kept, the default is" if what.what == "kept" else "->"
    for field, before, after in what.fields:
        click.echo(f"    {field}: {clean(printed(before))} {arrow} {clean(printed(after))}")


@redlock.command(cls=Verb)
@click.argument("file", type=click.File("w", encoding="utf-8", lazy=True), default="-")
@click.option(
    "--format",
    "form",
    type=click.Choice(["redlock", "django-celery-beat"]),
    default="redlock",
    show_default=True,
    help="Whose fixture it is.",
)
@LABEL
def dump(schedule: VerbSchedule, file: IO[str], form: str, labels: dict[str, str]) -> None:
    """Write the entries as a fixture.

    FILE may be the fixture of an app, for `manage.py redlock load`; without it, standard output. It has the
    definitions of the entries, not their state; `export` has both.

    \b
    Examples:
      manage.py redlock dump --label team=billing billing/fixtures/schedule.json
      manage.py redlock dump --format django-celery-beat dump.json
    """
    entries = sorted(schedule.entries(labels=labelled(labels).labels), key=lambda entry: entry.name)
    unfit: list[NotImported] = []
    rows: Any = found.rows(entry for entry in entries if not entry.reference)
    if form == "django-celery-beat":
        rows, unfit, without = django_fixture(entries)
        for name, parts in without.items():
            hint(f"{clean(name)} is written without {', '.join(map(clean, parts))}, which django-celery-beat has not.")
    else:
        unfit = [NotImported(one.name, "its arguments are in beat_schedule alone") for one in entries if one.reference]
    file.write(json.dumps(list(rows), indent=2, ensure_ascii=False) + "\n")
    _say_unfit(unfit)


@redlock.command("import-django-celery-beat", cls=Verb)
@click.argument("file", type=click.File("r", encoding="utf-8"), required=False)
@click.option("--database", default="default", show_default=True, help="The database with its tables.")
@DRY
@YES
@JSON
def import_django_celery_beat(
    schedule: VerbSchedule, file: IO[str] | None, database: str, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Import the schedule of django-celery-beat; each entry keeps its phase.

    It is read from its tables; the package itself is not needed. With FILE, from what `manage.py dumpdata
    django_celery_beat` wrote. Stop the other beat, import, then start this one. Entries keep their phase.

    \b
    Examples:
      manage.py redlock import-django-celery-beat --dry-run
      manage.py redlock import-django-celery-beat --database other
    """
    now = micros(schedule.now())
    theirs = tables.entries(database, schedule.app, now)
    entries = list(theirs if file is None else django_entries(file.read(), schedule.app, now))
    bring_in_entries(schedule, iter(entries), len(entries), dry_run, yes, as_json)


def _say_unfit(unfit: Sequence[NotImported]) -> None:
    """Name what was left out, whole or in part; then the exit code is 1."""
    for one in unfit:
        hint(f"left out: {clean(one.name)}: {clean(one.why)}")
    if unfit:
        click.get_current_context().exit(1)
