"""What verbs share that end something by task ids, or all of it of a task: cancel, unlock."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import click

from ..words import many
from .terminal import clean
from .verbs import printed


@dataclass(frozen=True)
class Words:
    """How such a verb says what it does."""

    #: What it ends, such as "lock"; the verb, such as "Free"; and what each is then, such as "free".
    noun: str
    verb: str
    done: str
    #: What --dry-run says of them, and what is said of an id that is not there.
    would: str
    unknown: str
    #: The key of the ids in JSON.
    key: str


def check(ids: Sequence[str], task: str | None) -> None:
    """Refuse ids and --task together, or none of both."""
    if bool(ids) == (task is not None):
        raise click.UsageError("Give the ids of tasks, or --task.")


def end(
    words: Words,
    ids: Collection[str],
    task: str | None,
    count: int,
    act: Callable[[], Sequence[str]],
    *,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Ask where that is wanted, act, and report; exits with 1 when one of *ids* is not there."""
    what = many(count, words.noun) + (f" of {clean(task)}" if task is not None else "")
    if dry_run:
        click.echo(f"{what} {words.would}.")
        return
    if count and not yes and task is not None:
        click.confirm(f"{words.verb} {what}?", abort=True)
    ended = act()
    unknown = sorted(set(ids) - set(ended))
    if as_json:
        click.echo(printed({words.key: ended, "unknown": unknown}))
    else:
        click.echo(f"{many(len(ended), words.noun, 'is', 'are')} {words.done}.")
        for one in unknown:
            click.secho(f"{clean(one)} {words.unknown}.", fg="yellow", err=True)
    if unknown:
        click.get_current_context().exit(1)
