"""What all verbs have in common: the schedule they are handed, options, errors, help texts and exit codes.

Exit codes: 0 fine, 1 not found or not well, 2 wrong usage or a wrong setting.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import click
from kombu.utils.json import dumps as kombu_dumps

from ..entries.codec import typed
from ..errors import EntryExists, InvalidSchedule, InvalidSetting, RedlockBeatError, StaleRevision, Uncomputable, mask
from ..schedule.schedule import Schedule
from ..settings import settings_of
from ..store import requests
from ..store.client import TROUBLE
from ..store.requests import Request
from .terminal import Clock, clean, say, waiting
from .times import SPAN, ZONE, Written, zone_of_app

#: How long a verb waits for Redis unless --timeout says otherwise.
PATIENCE = 10.0
#: A socket's own time-out is never longer than this part of what the verb waits in all.
_TRIES = 2


class Patient(Schedule):
    """The schedule as the command line reads it: it waits so long at most, and says that it waits."""

    def __init__(self, app: Any, timeout: float) -> None:
        settings = settings_of(app)
        socket = max(0.05, min(settings.socket_timeout, timeout / _TRIES))
        super().__init__(app, settings=replace(settings, socket_timeout=socket), retry_for=timeout)

    def round_trip(self, request: Request[Any]) -> Any:
        """Send one request, and say at the terminal when Redis lets it wait."""
        with waiting(f"Waiting for Redis at {self.target}, for {self.retry_for:g} s at most (--timeout) …"):
            return super().round_trip(request)

    def led(self) -> bool:
        """Whether a beat leads."""
        return self.ask(requests.led(self.keys))


class Verb(click.Command):
    """A verb: it is handed the schedule, and errors become one line and an exit code."""

    def __init__(self, *args: Any, **attrs: Any) -> None:
        super().__init__(*args, **attrs)
        self.params.append(
            click.Option(
                ["--timeout"], type=SPAN, default=f"{PATIENCE:g}s", show_default=True,
                help="How long to wait for Redis.",
            )
        )  # fmt: skip

    def invoke(self, ctx: click.Context) -> Any:
        timeout = ctx.params.pop("timeout").total_seconds()
        try:
            if timeout <= 0:
                raise click.BadParameter("it must be above 0.", param_hint="'--timeout'")
            assert self.callback is not None
            return ctx.invoke(self.callback, Patient(ctx.obj.app, timeout), **ctx.params)
        except (InvalidSetting, EntryExists, StaleRevision, RedlockBeatError, *TROUBLE) as exc:
            if isinstance(exc, BrokenPipeError):  # `... | head`
                sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for the flush at exit
                ctx.exit(0)
            replaces = any(one.name == "replace" for one in self.params)
            say(f"Error: {clean(said(exc, replaces))}", colour="red", err=True)
            ctx.exit(2 if isinstance(exc, InvalidSetting) else 1)


def said(exc: BaseException, replaces: bool = False) -> str:
    """An error in the words of the command line: of options and verbs, not of Python's arguments."""
    if isinstance(exc, EntryExists):
        advice = "Give --replace to replace it, or change" if replaces else "Choose another name, or change"
        start = f"an entry named {exc.name!r} exists already; nothing was changed."
        return f"{start} {advice} parts of it with `redlock edit`."
    if isinstance(exc, StaleRevision):
        return f"{str(exc).split(' Read it again')[0]} Look at it again and repeat the edit."
    if isinstance(exc, OSError) and not isinstance(exc, RedlockBeatError):
        return f"{mask(exc)}"
    return mask(exc)


@contextlib.contextmanager
def usage() -> Iterator[None]:
    """What is refused inside is what the user wrote: wrong usage."""
    try:
        yield
    except Uncomputable:
        raise  # that is no fault of what was written
    except InvalidSchedule as exc:
        raise click.UsageError(clean(mask(exc))) from None


class Verbs(click.Group):
    """The verbs, listed by what they are for, each with its whole summary."""

    #: Heading -> verbs under it.
    sections: Mapping[str, Sequence[str]] = {
        "Look": ("list", "show", "next", "history"),
        "Edit": ("add", "edit", "copy", "rename", "pause", "resume", "remove"),
        "Send": ("run", "backfill"),
        "Watch": ("status", "health", "doctor"),
        "Move": ("export", "import", "import-redbeat", "import-django-celery-beat"),
    }

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs under their headings."""
        others = sorted(set(self.commands) - {name for names in self.sections.values() for name in names})
        longest = max(map(len, self.commands))
        for heading, names in (*self.sections.items(), ("More", others)):
            rows = [
                (name.ljust(longest), self.commands[name].get_short_help_str(200))
                for name in names if name in self.commands
            ]  # fmt: skip
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        """Without colours where they are not wanted: NO_COLOR, or --no-color here or before the verb."""
        if ctx.params.pop("no_color", False) or getattr(ctx.obj, "no_color", False) or os.environ.get("NO_COLOR"):
            ctx.color = False
        return super().invoke(ctx)


# --- options that several verbs have ---------------------------------------------------------------

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
YES = click.option("--yes", "-y", is_flag=True, help="Do not ask.")
DRY = click.option("--dry-run", is_flag=True, help="Change nothing; say what would be changed.")
TZ = click.option("--tz", "zone", type=ZONE, help="Zone in which times are read and shown.  [default: the app's]")


def printed(data: Any) -> str:
    """JSON on one line; what JSON cannot say (datetimes, decimals, UUIDs) as Celery's own JSON says it."""
    return str(kombu_dumps(data))


def clock_of(schedule: Schedule, zone: str | None) -> Clock:
    """Shows times in the zone that was asked for, or the app's."""
    return Clock(zone or zone_of_app(schedule.app))


def read(schedule: Patient, written: Written, zone: str) -> datetime:
    """The instant of what somebody wrote."""
    with usage():
        return written(zone, schedule.now)


def hint(text: str) -> None:
    """A word to the person at the terminal; standard output stays for what was asked."""
    say(text, colour="yellow", err=True)


def hint_if_nobody_leads(schedule: Patient) -> None:
    """Say so when nothing is sent at present, for want of a beat."""
    if not schedule.led():
        hint("Nobody leads at present, so nothing is sent until a beat runs: celery -A proj beat -S redlock")


def _names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Shell completion of an entry's name; it never raises, and waits a second at most."""
    with contextlib.suppress(Exception):
        from celery.app.utils import find_app

        app = ctx.find_root().params["app"]
        schedule = Schedule(find_app(app) if isinstance(app, str) else app, retry_for=1.0)
        found = []
        for entry in schedule.entries(prefix=incomplete or None):
            found.append(entry.name)
            if len(found) >= 50:
                break
        return sorted(found)
    return []


NAME = click.argument("name", shell_complete=_names)
MAYBE_NAME = click.argument("name", required=False, shell_complete=_names)


class Json(click.ParamType):  # type: ignore[type-arg] # generic in newer releases alone
    """JSON of one type."""

    def __init__(self, kind: type, words: str) -> None:
        self.kind, self.words, self.name = kind, words, "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value of a text."""
        if isinstance(value, self.kind):
            return value
        try:
            found = json.loads(value)
        except ValueError as exc:
            self.fail(f"{value!r} is not JSON ({exc}); write {self.words}.", param, ctx)
        if not isinstance(found, self.kind):
            self.fail(f"{value!r} must be {self.words}.", param, ctx)
        try:
            return typed(found, "this")
        except InvalidSchedule as exc:
            self.fail(str(exc), param, ctx)


LIST = Json(list, "a list, such as '[1, 2]'")
OBJECT = Json(dict, "an object, such as '{\"to\": 7}'")
