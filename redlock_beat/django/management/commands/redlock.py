"""``manage.py redlock ...``: the whole command line of the schedule, for the project's Celery app."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import click
from django.core.management.base import BaseCommand, CommandError

from ...project import celery_app
from ...verbs import redlock

#: Options of every command of Django, which ``manage.py`` has read already.
_DJANGOS = ("--settings", "--pythonpath")


class Command(BaseCommand):
    """Shows and edits the schedule; ``manage.py redlock`` alone lists the verbs."""

    help = "Show and edit the schedule of redlock_beat while beats run: all verbs of `celery redlock`, load and dump."
    requires_system_checks: Sequence[str] = []

    def run_from_argv(self, argv: list[str]) -> None:
        """Hand everything after the command's name to the verbs: their options are not Django's."""
        redlock.main(_without_djangos(argv[2:]), prog_name=f"{argv[0]} {argv[1]}", obj=_context())

    def add_arguments(self, parser: Any) -> None:
        """For ``call_command``."""
        parser.add_argument("verb", nargs="*", help="a verb and its arguments")

    def handle(self, *args: Any, verb: Sequence[str] = (), **options: Any) -> None:
        """``call_command("redlock", "load", "--", "--dry-run")``: CommandError for every exit code but 0."""
        try:
            code = redlock.main(list(verb), prog_name="redlock", obj=_context(), standalone_mode=False)
        except click.ClickException as exc:
            raise CommandError(exc.format_message(), returncode=exc.exit_code) from None
        except click.exceptions.Abort:
            raise CommandError("it was ended by an answer or a signal.", returncode=1) from None
        if code:
            raise CommandError(f"`redlock {' '.join(verb)}` ended with exit code {code}.", returncode=int(code))


def _context() -> SimpleNamespace:
    """What Celery's command line hands to its commands."""
    return SimpleNamespace(app=celery_app(), no_color=False)


def _without_djangos(args: list[str]) -> list[str]:
    """The arguments without ``--settings=...`` and ``--pythonpath ...``."""
    kept: list[str] = []
    left = iter(args)
    for one in left:
        if one in _DJANGOS:
            next(left, None)
        elif not one.startswith(tuple(f"{option}=" for option in _DJANGOS)):
            kept.append(one)
    return kept
