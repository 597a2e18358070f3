"""``celery -A proj redlock ...``: the schedule from the command line.

Tables for people, ``--json`` for programs. Exit codes: 0 all is well, 1 not found or not well, 2 wrong usage.

==========  ============================================================================
terminal    what the terminal shows: tables that fit, spans and times, progress
times       the times that people write, by one rule for all verbs
verbs       what all verbs share: the schedule, options, errors, exit codes
checking    whether the app knows the task of an entry, and its arguments fit
watching    status, health, doctor
config      check
looking     list, show, next, history
explaining  explain
edit_log    log
holding     hold, release
editing     add, edit, copy, rename, backfill
acting      pause, resume, skip, remove, run: one entry, or all that fit (``choosing``)
countdowns  countdowns, cancel
moving      export and the imports
web         the page for a browser
embedded    a warning to a worker whose ``-S redlock`` is ``--statedb``
==========  ============================================================================
"""

from __future__ import annotations

import click

from .. import __version__

# Modules, not their verbs: a verb and a module may have one name.
from . import (
    acting,
    config,
    countdowns,
    edit_log,
    editing,
    explaining,
    holding,
    locks,
    looking,
    moving,
    verbs,
    watching,
    web,
)
from . import embedded as embedded

_VERBS = (
    looking.list_,
    looking.show,
    looking.next_,
    looking.history,
    edit_log.log_,
    explaining.explain_,
    editing.add,
    editing.edit,
    editing.copy,
    editing.rename,
    acting.pause,
    acting.resume,
    acting.skip,
    acting.remove,
    acting.run,
    editing.backfill,
    holding.hold,
    holding.release,
    countdowns.countdowns,
    countdowns.cancel,
    locks.locks,
    locks.unlock,
    watching.status,
    watching.health,
    watching.doctor,
    config.check_,
    moving.export_,
    moving.import_,
    moving.import_redbeat,
    moving.import_django_celery_beat,
    web.web_,
)


@click.group(cls=verbs.Verbs)
@click.option("--no-color", is_flag=True, help="Print without colours, as with NO_COLOR=1.")
@click.version_option(__version__, prog_name="redlock_beat", message="%(prog)s %(version)s")
def redlock() -> None:
    """Show and edit the schedule of redlock_beat while beats run.

    Exit codes: 0 all is well, 1 not found or not well, 2 wrong usage.

    \b
    Examples:
      celery -A proj redlock list
      celery -A proj redlock add nightly tasks.report --cron "0 7 * * 1-5"
    """


for _verb in _VERBS:
    redlock.add_command(_verb)
