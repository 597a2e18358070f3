"""What verbs share that are about one entry or about many: how many are chosen, asked about, edited and counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from ..schedule.filters import STATES
from ..schedule.schedule import Selection
from ..words import many
from .terminal import clean, progress, say
from .verbs import JSON, LABEL, MAYBE_NAME, YES, VerbSchedule, printed, usage


@dataclass(frozen=True, slots=True)
class Words:
    """How such a verb says what it does, and which entries it is about unless --state says it."""

    verb: str
    done: str
    state: str | None = None


def choosing(function: Callable[..., Any]) -> Callable[..., Any]:
    """The NAME of one entry, or options that choose many."""
    options = [
        MAYBE_NAME,
        LABEL,
        click.option("--task", help="Instead of NAME: all entries that send this task; * and ? are wildcards."),
        click.option("--prefix", help="Instead of NAME: all whose name begins with this."),
        click.option("--state", type=click.Choice(STATES), help="Instead of NAME: all in this state."),
        YES,
        JSON,
    ]
    for option in reversed(options):
        function = option(function)
    return function


@dataclass(frozen=True, slots=True)
class Choice:
    """What somebody has chosen: one entry by its name, or many."""

    name: str | None
    which: dict[str, Any]
    yes: bool
    as_json: bool

    @property
    def one(self) -> str:
        """The name of the one entry."""
        assert self.name is not None
        return self.name

    @property
    def words(self) -> str:
        """What was chosen, as the options say it."""
        parts = dict(self.which)
        labels = [f"label {name}={text}" for name, text in (parts.pop("labels", None) or {}).items()]
        return clean(", ".join([*labels, *(f"{part} {text}" for part, text in parts.items())]))


def chosen(given: dict[str, Any]) -> Choice:
    """Take the choice out of a verb's options; one of both must be given."""
    name, yes, as_json = given.pop("name"), given.pop("yes"), given.pop("as_json")
    parts = {part: given.pop(part) for part in ("labels", "task", "prefix", "state")}
    for part in ("task", "prefix"):
        if parts[part] == "":  # of a variable of the shell that is not set: less would be chosen than is said
            raise click.UsageError(f"--{part} is empty, so it chooses nothing: leave it out, or say what it is.")
    which = {part: value for part, value in parts.items() if value}
    if name is not None and which:
        raise click.UsageError("a NAME and --label, --task, --prefix or --state are two ways to choose: use one.")
    if name is None and not which:
        raise click.UsageError("give a NAME, or choose entries by --label, --task, --prefix or --state.")
    return Choice(name, which, yes, as_json)


def together(
    schedule: VerbSchedule,
    choice: Choice,
    words: Words,
    edit: Callable[[Selection, Callable[[int], None]], int],
) -> None:
    """Edit all that were chosen: say how many, ask, and say how many were edited; exit 1 where there are none.

    With --json the question is on standard error, and the answer ``{"count": ...}``.
    """
    which = {"state": words.state, **choice.which}
    selection = schedule.select(**which)
    if not choice.yes:
        count = selection.count()
        if not count:
            _nothing(which, choice)
        click.confirm(f"{words.verb} {many(count, 'entry')} ({choice.words})?", abort=True, err=choice.as_json)
    try:
        with progress(schedule.count(), words.verb) as advance, usage():
            done = edit(selection, advance)
    except KeyboardInterrupt:
        say("Stopped. What was edited before stays so: `redlock log` shows it.", colour="yellow", err=True)
        raise
    if not done:
        _nothing(which, choice)
    if choice.as_json:
        click.echo(printed({"count": done}))
        return
    click.echo(f"{many(done, 'entry', 'is', 'are')} {words.done}.")


def _nothing(which: dict[str, Any], choice: Choice) -> None:
    state = f"{which['state']} " if which["state"] and "state" not in choice.which else ""
    if choice.as_json:
        click.echo(printed({"count": 0}))
    say(f"No {state}entry fits ({choice.words}); nothing was changed.", colour="yellow", err=True)
    click.get_current_context().exit(1)
