"""What all verbs share: the schedule, options, errors, help texts and exit codes.

Exit codes: 0 all is well, 1 not found or not well, 2 wrong usage or a wrong setting.
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
from ..entries.labels import labels_of
from ..errors import EntryExists, InvalidSchedule, InvalidSetting, RedlockBeatError, StaleRevision, Uncomputable, mask
from ..schedule.schedule import Schedule
from ..settings import settings_of
from ..store import holds
from ..store.client import TROUBLE
from ..store.requests import Request
from .terminal import Clock, clean, say, waiting
from .times import SPAN, ZONE, Written, zone_of_app

#: How long a verb waits for Redis unless --timeout says otherwise.
PATIENCE = "10s"
#: A verb tries at least so often: the timeout of a socket is at most this part of --timeout.
_TRIES = 2


class VerbSchedule(Schedule):
    """The schedule of the command line: it waits for --timeout at most, and says that it waits."""

    def __init__(self, app: Any, timeout: float) -> None:
        settings = settings_of(app)
        socket = max(0.05, min(settings.socket_timeout, timeout / _TRIES))
        super().__init__(app, settings=replace(settings, socket_timeout=socket), retry_for=timeout)

    def round_trip(self, request: Request[Any]) -> Any:
        """Send one request, and print on the terminal that it waits when Redis is slow."""
        with waiting(f"Waiting for Redis at {self.target}, for {self.retry_for:g} s at most (--timeout) …"):
            return super().round_trip(request)


class Verb(click.Command):
    """A verb: its function gets the schedule, and an error becomes one line and an exit code."""

    def __init__(self, *args: Any, **attrs: Any) -> None:
        super().__init__(*args, **attrs)
        words = "How long to wait for Redis."
        self.params.append(click.Option(["--timeout"], type=SPAN, default=PATIENCE, show_default=True, help=words))

    def invoke(self, ctx: click.Context) -> Any:
        timeout = ctx.params.pop("timeout").total_seconds()
        try:
            if timeout <= 0:
                raise click.BadParameter("it must be above 0.", param_hint="'--timeout'")
            assert self.callback is not None
            return ctx.invoke(self.callback, VerbSchedule(ctx.obj.app, timeout), **ctx.params)
        except (InvalidSetting, EntryExists, StaleRevision, RedlockBeatError, *TROUBLE) as exc:
            if isinstance(exc, BrokenPipeError):  # `... | head`
                sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for the flush at exit
                ctx.exit(0)
            replaces = any(one.name == "replace" for one in self.params)
            say(f"Error: {clean(said(exc, replaces))}", colour="red", err=True)
            ctx.exit(2 if isinstance(exc, InvalidSetting) else 1)


def said(exc: BaseException, replaces: bool = False) -> str:
    """An error in the words of the command line: options and verbs, not Python's arguments."""
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
    """What the block refuses is what the user wrote: wrong usage."""
    try:
        yield
    except Uncomputable:
        raise  # the user's text is not at fault
    except InvalidSchedule as exc:
        raise click.UsageError(clean(mask(exc))) from None


class Verbs(click.Group):
    """The verbs, listed by purpose, each with its summary."""

    #: Heading -> verbs under it.
    sections: Mapping[str, Sequence[str]] = {
        "Look": ("list", "show", "next", "history", "log", "explain"),
        "Edit": ("add", "edit", "copy", "rename", "pause", "resume", "skip", "remove"),
        "Send": ("run", "backfill"),
        "Maintenance": ("hold", "release"),
        "Countdowns": ("countdowns", "cancel"),
        "Unique tasks": ("locks", "unlock"),
        "Watch": ("status", "health", "doctor", "check", "web"),
        "Move": ("export", "import", "import-redbeat", "import-django-celery-beat"),
    }

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs under their headings."""
        others = sorted(set(self.commands) - {name for names in self.sections.values() for name in names})
        longest = max(map(len, self.commands))
        for heading, names in (*self.sections.items(), ("More", others)):
            found = [name for name in names if name in self.commands]
            if found:
                with formatter.section(heading):
                    formatter.write_dl(
                        [(name.ljust(longest), self.commands[name].get_short_help_str(200)) for name in found]
                    )

    def invoke(self, ctx: click.Context) -> Any:
        """Run a verb, without colours under NO_COLOR or --no-color."""
        if ctx.params.pop("no_color", False) or getattr(ctx.obj, "no_color", False) or os.environ.get("NO_COLOR"):
            ctx.color = False
        return super().invoke(ctx)


# --- options that several verbs have ---------------------------------------------------------------

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
WHY = click.option("--why", help="Why; the edit log keeps it.")
YES = click.option("--yes", "-y", is_flag=True, help="Do not ask.")
DRY = click.option("--dry-run", is_flag=True, help="Change nothing; say what would be changed.")
TZ = click.option("--tz", "zone", type=ZONE, help="Zone in which times are read and shown.  [default: the app's]")


def printed(data: Any) -> str:
    """JSON on one line; what JSON has no type for (datetimes, decimals, UUIDs) as Celery writes it."""
    return str(kombu_dumps(data))


def clock_of(schedule: Schedule, zone: str | None) -> Clock:
    """A clock of the zone that --tz names, or the app's."""
    return Clock(zone or zone_of_app(schedule.app))


def read(schedule: VerbSchedule, written: Written, zone: str) -> datetime:
    """The instant of what somebody wrote."""
    with usage():
        return written(zone, schedule.now)


def hint(text: str) -> None:
    """Print something on standard error: standard output is for what was asked."""
    say(text, colour="yellow", err=True)


def hint_if_nothing_is_sent(schedule: VerbSchedule) -> None:
    """Print that everything is held, or that no beat leads, so that nothing is sent now."""
    hold, lease = schedule.ask(holds.look(schedule.keys))
    if hold is not None:
        hint("Everything is held at present, so nothing is sent before `redlock release`, or until its time has come.")
    if lease is None:
        hint("Nobody leads at present, so nothing is sent until a beat runs: celery -A proj beat -S redlock")


def _names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of an entry; never raises, and waits a second at most."""
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
        except (ValueError, RecursionError) as exc:
            self.fail(f"{value!r} is not JSON ({exc}); write {self.words}.", param, ctx)
        if not isinstance(found, self.kind):
            self.fail(f"{value!r} must be {self.words}.", param, ctx)
        try:
            return typed(found, "this")
        except InvalidSchedule as exc:
            self.fail(str(exc), param, ctx)


class Labels(click.ParamType):  # type: ignore[type-arg] # generic in newer releases alone
    """``team=billing``; what is *bare* is a name alone, and means any value."""

    name = "label"

    def __init__(self, bare: str | None) -> None:
        self.bare = bare

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str | None]:
        """The name and the value of a text; no value for an empty one."""
        if isinstance(value, tuple):
            return value[0], value[1]
        name, sign, text = value.partition("=")
        if not name or (not sign and self.bare is None):
            self.fail(f"{value!r} is not of the form name=value, as in team=billing.", param, ctx)
        if sign and not text and self.bare is not None:
            self.fail(f"{value!r} has no value: write {name}=billing, or {name} alone for any value.", param, ctx)
        return name, (text or None) if sign else self.bare


def _as_filter(ctx: click.Context, param: click.Parameter, value: Any) -> dict[str, str]:
    """The labels that entries must bear."""
    try:
        return labels_of(dict(value), "--label")
    except InvalidSchedule as exc:
        raise click.BadParameter(clean(exc), ctx, param) from None


LABEL = click.option(
    "--label",
    "labels",
    multiple=True,
    type=Labels("*"),
    callback=_as_filter,
    metavar="NAME[=VALUE]",
    help="Only entries with this label; * and ? are wildcards. Repeatable.",
)
LIST = Json(list, "a list, such as '[1, 2]'")
OBJECT = Json(dict, "an object, such as '{\"to\": 7}'")
