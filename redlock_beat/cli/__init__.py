"""``celery -A proj redlock ...``: the schedule from the command line.

Tables for people, ``--json`` for programs. Exit codes: 0 fine, 1 not found or not well, 2 wrong usage.

==========  ============================================================================
terminal    how things look: tables that fit, spans and times, signs of life
times       the times that people write, by one rule for all verbs
verbs       what all verbs have in common: the schedule, options, errors, exit codes
checking    whether the app knows an entry's task and its arguments fit
watching    status, health, doctor
looking     list, show, next, history
editing     add, edit, copy, rename, pause, resume, remove, run, backfill
moving      export and the imports
embedded    a word to a worker whose ``-S redlock`` is ``--statedb``
==========  ============================================================================
"""

from __future__ import annotations

import click

from .. import __version__

# Modules, not their verbs: a verb and a module may have one name.
from . import editing, looking, moving, verbs, watching
from . import embedded as embedded

_VERBS = (
    looking.list_,
    looking.show,
    looking.next_,
    looking.history,
    editing.add,
    editing.edit,
    editing.copy,
    editing.rename,
    editing.pause,
    editing.resume,
    editing.remove,
    editing.run,
    editing.backfill,
    watching.status,
    watching.health,
    watching.doctor,
    moving.export_,
    moving.import_,
    moving.import_redbeat,
    moving.import_django_celery_beat,
)


@click.group(cls=verbs.Verbs)
@click.option("--no-color", is_flag=True, help="Print no colours; the same as NO_COLOR=1.")
@click.version_option(__version__, prog_name="redlock_beat", message="%(prog)s %(version)s")
def redlock() -> None:
    """Look at the schedule of redlock_beat, and edit it while beats run.

    Exit codes: 0 fine, 1 not found or not well, 2 wrong usage.

    \b
    Examples:
      celery -A proj redlock list
      celery -A proj redlock add nightly tasks.report --cron "0 7 * * 1-5"
    """


for _verb in _VERBS:
    redlock.add_command(_verb)
