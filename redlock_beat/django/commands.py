"""Management commands as tasks: ``CELERY_REDLOCK_BEAT_COMMANDS``.

Each command of the setting is a task named ``command.APP.COMMAND``, and, with a schedule, a configured entry named
after the command. The setting of django-celery-extensions is read, too, and the names of the tasks are the same.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from celery._state import _get_active_apps, connect_on_app_finalize
from django.conf import settings
from django.core.management import CommandError, call_command, get_commands
from django.utils.module_loading import import_string

from ..entries.entry import POLICIES
from ..errors import InvalidSetting, mask
from ..log import log
from .project import celery_app, is_fallback
from .task import DjangoTask

#: The setting, as Celery's configuration and as Django's settings spell it.
CONF, SETTING = "redlock_beat_commands", "CELERY_REDLOCK_BEAT_COMMANDS"
#: The same of django-celery-extensions.
THEIR_SETTING = "DJANGO_CELERY_EXTENSIONS_AUTO_GENERATE_TASKS_DJANGO_COMMANDS"
#: The parts of an entry; every other key of a command is an option of its task.
ENTRY_PARTS = ("schedule", "args", "kwargs", "options", "relative", *POLICIES)
#: Characters of one line of output that go into the log.
MAX_LINE = 10_000


class CommandTask(DjangoTask):
    """The task of a management command: its arguments are those of the command line, its keywords those of Python.

    Its output goes into the log. A ``CommandError``, or an exit with another code than 0, is a failure.
    """

    abstract = True
    ignore_result = True
    #: The name of the command.
    command = ""

    def run(self, *args: Any, command_args: Any = None, **options: Any) -> Any:
        """Run the command; *command_args* is django-celery-extensions' way to give arguments."""
        out, err = LogStream(self.command, logging.INFO), LogStream(self.command, logging.WARNING)
        try:
            return call_command(self.command, *args, *(command_args or ()), stdout=out, stderr=err, **options)
        except SystemExit as exc:  # it would end the worker
            if exc.code not in (None, 0):
                raise CommandError(f"{self.command} exited with {exc.code!r}.") from None
            return None
        finally:
            out.close()
            err.close()


class LogStream:
    """A stream whose lines are records of the log."""

    def __init__(self, command: str, level: int) -> None:
        self._command, self._level = command, level
        self._line = ""

    def write(self, text: str) -> int:
        """Write some text; each whole line is a record."""
        *lines, self._line = (self._line + str(text)).split("\n")
        for line in lines:
            self._record(line)
        if len(self._line) > MAX_LINE:
            self.close()
        return len(text)

    def flush(self) -> None:
        """Nothing: a line that is not whole waits for its end."""

    def isatty(self) -> bool:
        """It is no terminal: commands print no colours and show no progress."""
        return False

    def close(self) -> None:
        """Write what is left."""
        line, self._line = self._line, ""
        self._record(line)

    def _record(self, line: str) -> None:
        if line.strip():
            text = mask(line.rstrip())[:MAX_LINE]
            log.at(self._level, "command.output", "%(command)s: %(output)s", command=self._command, output=text)


@dataclass(frozen=True, slots=True)
class Command:
    """A command that is a task."""

    name: str
    #: The name of the task.
    task: str
    #: Its entry, as ``beat_schedule`` has it; none without a schedule.
    entry: Mapping[str, Any] | None = None
    #: Options of the task.
    options: Mapping[str, Any] = field(default_factory=dict)


def command_task_name(name: str) -> str:
    """The name of a command's task; :class:`~redlock_beat.InvalidSetting` when there is no such command.

    >>> command_task_name("clearsessions")   # doctest: +SKIP
    'command.django.contrib.sessions.clearsessions'
    """
    known = get_commands()
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise InvalidSetting(f"{name!r} is no management command of this project.{hint}")
    home = known[name]
    return f"command.{home if isinstance(home, str) else type(home).__module__}.{name}"


def get_command_task(name: str) -> Any:
    """The task of a management command that ``CELERY_REDLOCK_BEAT_COMMANDS`` names.

    >>> get_command_task("clearsessions").delay_on_commit("--verbosity", 2)   # doctest: +SKIP
    """
    found = celery_app().tasks.get(command_task_name(name))
    if found is None:
        raise InvalidSetting(
            f"{name!r} is not in {SETTING}, so no worker knows its task. Add it: "
            f"{SETTING} = {{{name!r}: {{}}}}, and restart the workers."
        )
    return found


def read_commands(app: Any) -> tuple[list[Command], dict[str, str]]:
    """The commands of an app's settings, and why others of them cannot be used."""
    found: dict[str, Command] = {}
    errors: dict[str, str] = {}
    for setting, given in ((THEIR_SETTING, getattr(settings, THEIR_SETTING, None)), (SETTING, app.conf.get(CONF))):
        if not given:
            continue
        if not isinstance(given, Mapping):
            errors[setting] = f"{setting} is {str(given)[:100]!r}, but must be a dictionary of commands."
            continue
        for name, one in given.items():
            try:
                found[str(name)] = _read(setting, str(name), one, setting is SETTING)
            except InvalidSetting as exc:
                errors[str(name)] = str(exc)
    return list(found.values()), errors


def _read(setting: str, name: str, given: Any, schedules: bool) -> Command:
    where = f"{setting}[{name!r}]"
    if given is not None and not isinstance(given, Mapping):
        raise InvalidSetting(f"{where} is {str(given)[:100]!r}, but must be a dictionary.")
    try:
        task = command_task_name(name)
    except InvalidSetting as exc:
        raise InvalidSetting(f"{where}: {exc}") from None
    given = dict(given or {})
    is_part = schedules and "schedule" in given
    parts = {key: given.pop(key) for key in list(given) if is_part and key in ENTRY_PARTS}
    options = given
    for key in options:
        if _is_option(str(key)):
            continue
        if schedules and key in ENTRY_PARTS:
            raise InvalidSetting(
                f"{where}: {key!r} says how a command is scheduled, but it has no schedule. Add one, such as "
                "'schedule': crontab(hour=3, minute=0)."
            )
        near = difflib.get_close_matches(str(key), (*ENTRY_PARTS, *filter(_is_option, dir(CommandTask))), 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise InvalidSetting(f"{where}: {key!r} is neither a policy of entries nor an option of tasks.{hint}")
    if "autoretry_for" in options:
        options["autoretry_for"] = tuple(
            import_string(one) if isinstance(one, str) else one for one in options["autoretry_for"]
        )
    entry = {"task": task, **parts} if parts else None
    return Command(name, task, entry, options)


#: Options that a task may be given, and has no attribute for of its own.
_RETRIES = ("autoretry_for", "dont_autoretry_for", "retry_kwargs", "retry_backoff", "retry_backoff_max", "retry_jitter")
_TASK_OPTIONS = (*_RETRIES, "queue", "routing_key", "exchange")


#: Attributes of a task that are not for the setting to say.
_NO_OPTIONS = ("name", "command", "run", "app", "request", "abstract", "rules", "locks", "backend")


def _is_option(key: str) -> bool:
    return key in _TASK_OPTIONS or (hasattr(CommandTask, key) and not key.startswith("_") and key not in _NO_OPTIONS)


def register(app: Any) -> None:
    """Give an app the tasks of its commands, and its configuration their entries."""
    if is_fallback(app):
        return
    commands, errors = read_commands(app)
    for name, why in errors.items():
        log.error("command.unusable", "The command %(command)r is no task: %(why)s", command=name, why=why)
    for one in commands:
        if isinstance(app.tasks.get(one.task), CommandTask):
            continue
        # The class belongs to this app: options are checked when it is bound.
        kind = type("CommandTask", (CommandTask,), {**one.options, "name": one.task, "command": one.name})
        app.register_task(kind())
    _configure(app, commands)


def _configure(app: Any, commands: list[Command]) -> None:
    there = dict(app.conf.beat_schedule or {})
    added = {}
    for one in commands:
        if one.entry is None or there.get(one.name) == one.entry:
            continue
        if one.name in there:
            words = "The command %(command)r is not scheduled: %(why)s"
            log.error("command.unusable", words, command=one.name, why="beat_schedule has an entry of its name.")
            continue
        added[one.name] = dict(one.entry)
    if not added:
        return
    if there:
        app.conf.beat_schedule.update(added)  # as Celery's add_periodic_task: assigning has no effect in 5.5
    else:
        app.conf.beat_schedule = added


def install() -> None:
    """Have each app that is finalized, or was already, know the commands."""
    connect_on_app_finalize(register)
    for app in list(_get_active_apps()):
        if app.finalized:
            register(app)
