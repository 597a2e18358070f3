"""Verbs that say how beats and schedule are: status, health, doctor."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import timedelta

import click

from ..schedule.health import machine_health
from ..schedule.status import Status
from ..words import many
from .terminal import Clock, Column, clean, say, span, table
from .times import SPAN, zone_of_app
from .verbs import JSON, Verb, VerbSchedule


@click.command(cls=Verb)
@click.option("--watch", is_flag=True, help="Show it again and again, until Ctrl-C.")
@click.option("--every", default="2s", show_default=True, type=SPAN, help="How often, with --watch.")
@JSON
def status(schedule: VerbSchedule, watch: bool, every: timedelta, as_json: bool) -> None:
    """Show who leads, what waits and what is wrong.

    Exits with 1 when nobody leads.

    \b
    Example:
      celery -A proj redlock status --watch
    """
    found, zone = schedule.status(), zone_of_app(schedule.app)
    if not watch:
        _show_status(found, as_json, zone)
        if found.leader is None:
            click.get_current_context().exit(1)
        return
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            if sys.stdout.isatty() and not as_json:
                click.clear()
            _show_status(found, as_json, zone)
            time.sleep(max(0.1, every.total_seconds()))
            found = schedule.status()


def _show_status(found: Status, as_json: bool, zone: str) -> None:
    if as_json:
        click.echo(json.dumps(found.json()))
        return
    leader = f"{found.leader}, term {found.epoch}, lease for {found.lease_left:.1f} s" if found.leader else "NOBODY"
    click.secho(f"leader      {leader}", fg="green" if found.leader else "red")
    if found.hold:
        said = Clock(zone).hold(found.hold) + ("" if found.hold.confirmed else " (the leader has not confirmed it)")
        say(f"held        {said}", 12, "red")
    if found.loss:
        say(f"loss        {clean(found.loss)} (`redlock health --ack` acknowledges it)", 12, "red")
    click.echo(f"entries     {found.entries}")
    late = f", the oldest for {span(found.oldest_due)}" if found.overdue and found.oldest_due else ""
    click.echo(f"due now     {found.overdue}{late}")
    if found.waiting:
        click.echo(f"manual      {many(found.waiting, 'item', 'waits', 'wait')} to be sent (see backfill --list)")
    if found.countdowns:
        due = f", {found.countdowns_due} due, the first for {span(found.countdowns_late)}"
        said = f"{found.countdowns} kept{due if found.countdowns_due else ''} (countdowns shows them)"
        click.secho(f"countdowns  {said}", fg="red" if found.countdowns_due and not found.leader else None)
    if found.lateness_p50 is not None and found.lateness_p99 is not None:
        click.echo(f"lateness    p50 {span(max(0, found.lateness_p50))}, p99 {span(max(0, found.lateness_p99))}")
    _show_runs(found)
    _show_outbox(found)
    _show_rendered(found)
    click.secho(f"quarantine  {found.quarantined}", fg="red" if found.quarantined else None)
    for line in _some(found.quarantine, found.quarantined):
        _detail(line)
    if found.left_out_total:
        click.secho(f"left out    {found.left_out_total} of beat_schedule", fg="red")
    for line in _some(found.left_out, found.left_out_total):
        _detail(line)
    if found.replicas:
        click.echo()
        rows = [
            (f"{one.host}:{one.pid}", one.role, one.version, one.delivery, span(one.age), _skew(one.skew))
            for one in found.replicas
        ]
        table(_REPLICAS, rows, [_ROLES.get(one.role) for one in found.replicas])


_REPLICAS = (
    Column("REPLICA", least=16),
    Column("ROLE"),
    Column("VERSION", 1),
    Column("DELIVERY", 2),
    Column("LOOP AGE"),
    Column("CLOCK SKEW", 3),
)
_ROLES = {"leader": "green", "gone": "red"}


def _skew(seconds: float) -> str:
    return f"{round(seconds, 3) + 0.0:+.3f} s"  # never -0.000


def _show_runs(found: Status) -> None:
    if found.workers or found.running or found.outcomes:
        ended = ", ".join(f"{count} {what}" for what, count in sorted(found.outcomes.items()))
        said = f"{found.running} under way on {many(found.workers, 'worker')}; of late: {ended or 'none'}"
        click.echo(f"runs        {said}")
    if found.failing_total:
        click.secho(f"failing     {many(found.failing_total, 'entry')}", fg="red")
    in_words = {name: f"its last {many(count, 'run', 'has', 'have')} failed" for name, count in found.failing.items()}
    for line in _some(in_words, found.failing_total):
        _detail(line)


def _show_outbox(found: Status) -> None:
    refused = [one.broker for one in found.replicas if one.role == "leader" and one.broker]
    click.secho(f"outbox      {found.outbox}", fg="red" if refused else None)
    for why in refused:
        _detail(f"the broker refuses: {clean(why)}")
    for one in found.replicas:
        for name, why in one.refused.items() if one.role == "leader" else ():
            _detail(f"the broker refuses {clean(name)}: {clean(why)}")


def _show_rendered(found: Status) -> None:
    for one in found.replicas:
        if one.role == "leader" and one.rendered:
            total = sum(one.rendered.values())  # counted before they are sent
            click.echo(f"one by one  {total} of {max(total, one.sent)} sent were rendered so, which is slower")
            for why, count in one.rendered.items():
                _detail(f"{count}: {clean(why)}")


def _detail(text: str) -> None:
    say(" " * 12 + text, 14)


#: Names in a list of what is wrong.
_NAMED = 20


def show_problems(found: Status) -> None:
    """Print what of the schedule is not sent, and why, one a line."""
    if found.loss:
        say(found.loss, 4, "red")
    for what, reasons, total in (
        ("in quarantine", found.quarantine, found.quarantined),
        ("left out of beat_schedule", found.left_out, found.left_out_total),
    ):
        for line in _some(reasons, total):
            say(f"{what}: {line}", 4, "red")


def _some(reasons: Mapping[str, str], total: int) -> Iterator[str]:
    """Some names with their reasons, and how many more there are."""
    shown = list(reasons.items())[:_NAMED]
    yield from (f"{clean(name)}: {clean(why)}" for name, why in shown)
    if total > len(shown):
        yield f"and {total - len(shown)} more"


@click.command(cls=Verb)
@click.option("--this", "only_this", is_flag=True, help="Ask about the beat on this machine alone, without Redis.")
@click.option("--ready", is_flag=True, help="With --this: ask also whether that beat leads, or could.")
@click.option("--max-lag", default="30s", show_default=True, type=SPAN, help="How long something may be due.")
@click.option("--ack", is_flag=True, help="Acknowledge what Redis has lost; health is not red for it any more.")
@JSON
def health(schedule: VerbSchedule, only_this: bool, ready: bool, max_lag: timedelta, ack: bool, as_json: bool) -> None:
    """Print in one line whether all is well.

    Exits with 1 when it is not. Probes should use `python -m redlock_beat health`, which does not import
    the app and is quicker.

    \b
    Example:
      celery -A proj redlock health --max-lag 1m
    """
    if ready and not only_this:
        raise click.UsageError("--ready asks about the beat of this machine: add --this.")
    known = schedule.acknowledge() if ack and not only_this else None
    if known and not as_json:
        click.echo(f"Acknowledged: {known}")
    file = schedule.settings.heartbeat_file or None
    found = machine_health(file, ready) if only_this else schedule.health(max_lag.total_seconds())
    click.echo(json.dumps(asdict(found)) if as_json else found.why)
    if not found.ok:
        click.get_current_context().exit(1)


@click.command(cls=Verb)
@JSON
def doctor(schedule: VerbSchedule, as_json: bool) -> None:
    """Check for problems, and say what to do about each.

    It checks the server, permissions, clocks, entries, workers and settings. Exits with 1 when it finds an error; a
    warning does not count.

    \b
    Example:
      celery -A proj redlock doctor
    """
    from .doctor import as_json as in_json
    from .doctor import examine

    found = []
    colours = {"ok": "green", "warning": "yellow", "error": "red", "unknown": "cyan"}
    for one in examine(schedule, schedule.app):
        found.append(one)
        if not as_json:
            say(f"{one.what}: {clean(one.why)}", 8, colours[one.level], lead=f"{one.level:<8}")
            if one.advice:
                say(" " * 8 + clean(one.advice), 8)
    if as_json:
        click.echo(in_json(found))
    if any(one.level == "error" for one in found):
        click.get_current_context().exit(1)
