"""``redlock-beat``, or ``python -m redlock_beat``: probes without importing the app or Celery, and the demo.

Probes read options, or the environment: ``REDLOCK_BEAT_URL``,
``REDLOCK_BEAT_PREFIX``, ``REDLOCK_BEAT_MASTER_NAME`` (of a Sentinel), ``REDLOCK_BEAT_REDIS_OPTIONS``
(JSON) and ``REDLOCK_BEAT_HEARTBEAT_FILE``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

from . import __version__
from .demo.command import add_parsers as add_demo

_MARK = "REDLOCK_BEAT_"
#: Seconds one answer of Redis may take unless --timeout says otherwise.
_TIMEOUT = 2.0


def main(argv: list[str] | None = None) -> int:
    """Answer a probe: 0 for well, 1 for not well, 2 for wrong usage; or run the demo."""
    given = _parser().parse_args(argv)
    if given.run is not None:
        try:
            code: int = given.run(given)
        except BrokenPipeError:  # nobody reads on, as after `| head`: what is left unwritten goes nowhere
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        return code
    if given.ready and not given.this:
        given.refuse("--ready asks about the beat of this machine: add --this")
    if not given.this and not given.url:
        given.refuse(
            f"say where the schedule is: --url or ${_MARK}URL. Or ask about the beat of this machine alone: --this"
        )
    try:
        ok, why = _this(given.file, given.ready) if given.this else _whole(given)
    except ValueError as exc:  # a setting that cannot be used
        given.refuse(str(exc))
    print(json.dumps({"ok": ok, "why": why}) if given.json else why)
    return 0 if ok else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="redlock-beat",
        description="Probes for redlock_beat, and a demo. Everything else is in `celery -A proj redlock --help`.",
    )
    parser.add_argument("--version", action="version", version=f"redlock_beat {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True)
    health = verbs.add_parser(
        "health",
        help="print one line, and exit with 0 when all is well, with 1 when it is not",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="With --this: does the loop of the beat on this machine turn? It reads a local file and never\n"
        "asks Redis. Use it for the liveness of a pod: a standby is as healthy as a leader. With --this --ready:\n"
        "and does it lead, or could it? Use that for the readiness.\n\n"
        "Without --this: is the schedule well? A beat leads, nothing due is older than the limit, outbox and\n"
        "quarantine are empty. Use it for alerts, and not for a pod's readiness: it would take all replicas\n"
        "out of service at once, for what none of them can mend.",
        epilog="Examples:\n  python -m redlock_beat health --this\n"
        f"  {_MARK}URL=redis://host:6379/0 python -m redlock_beat health --max-lag 30",
    )
    add = health.add_argument
    add("--this", action="store_true", help="ask about the beat on this machine, without Redis")
    add("--ready", action="store_true", help="with --this: ask also whether that beat leads, or could")
    add(
        "--file",
        default=_env("HEARTBEAT_FILE"),
        help="with --this: redlock_beat_heartbeat_file, if it is set",
    )
    add("--url", default=_env("URL"), help=f"where the schedule lives (default: ${_MARK}URL)")
    add("--prefix", default=_env("PREFIX") or "redlock-beat", help="redlock_beat_prefix (default: redlock-beat)")
    add("--master-name", default=_env("MASTER_NAME"), help="the name of the master, where the URL is a Sentinel's")
    add("--max-lag", type=float, default=30.0, help="seconds something may be due (default: 30)")
    add("--timeout", type=float, default=_TIMEOUT, help="seconds one answer of Redis may take (default: %(default)s)")
    add("--json", action="store_true", help="print JSON")
    health.set_defaults(refuse=health.error, run=None)
    add_demo(verbs)
    return parser


def _env(name: str) -> str:
    return os.environ.get(_MARK + name, "")


def _this(file: str, ready: bool) -> tuple[bool, str]:
    from .schedule.health import machine_health

    verdict = machine_health(file or None, ready)
    return verdict.ok, verdict.why


def _whole(given: argparse.Namespace) -> tuple[bool, str]:
    from .errors import InvalidSetting, RedlockBeatError, mask
    from .schedule.health import schedule_health
    from .settings import Settings
    from .store.client import TROUBLE, Target
    from .store.store import Store

    options = _redis_options()
    if given.master_name:
        options["master_name"] = given.master_name
    try:
        settings = Settings(url=given.url, prefix=given.prefix, socket_timeout=given.timeout, redis_options=options)
        store = Store(Target(settings))
        verdict = store.ask(schedule_health(store.keys, given.max_lag))
    except InvalidSetting:
        raise
    except RedlockBeatError as exc:
        return False, str(exc)
    except TROUBLE as exc:
        return False, f"Redis at {mask(given.url)} does not answer: {mask(exc)}"
    return verdict.ok, verdict.why


def _redis_options() -> dict[str, Any]:
    text = _env("REDIS_OPTIONS")
    try:
        found = json.loads(text or "{}")
    except ValueError:
        found = None
    if not isinstance(found, dict):
        from .errors import InvalidSetting

        raise InvalidSetting(f'${_MARK}REDIS_OPTIONS must be a JSON object, such as {{"master_name": "mymaster"}}')
    return found


if __name__ == "__main__":
    sys.exit(main())
