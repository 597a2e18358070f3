"""``python -m redlock_beat health``: the probes, without importing the app or Celery.

What they need to know comes from options or from the environment: ``REDLOCK_BEAT_URL``,
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

_MARK = "REDLOCK_BEAT_"
#: Seconds one answer of Redis may take unless --timeout says otherwise.
_TIMEOUT = 2.0


def main(argv: list[str] | None = None) -> int:
    """Answer a probe; 0 well, 1 not well, 2 wrongly asked."""
    given = _parser().parse_args(argv)
    if not given.this and not given.url:
        given.refuse(
            f"--url or ${_MARK}URL is needed to ask about the whole; --this asks about this machine's beat alone"
        )
    try:
        ok, why = _this(given.file) if given.this else _whole(given)
    except ValueError as exc:  # a setting that cannot be used
        given.refuse(str(exc))
    print(json.dumps({"ok": ok, "why": why}) if given.json else why)
    return 0 if ok else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m redlock_beat",
        description="Probes for redlock_beat. Everything else is in `celery -A proj redlock --help`.",
    )
    parser.add_argument("--version", action="version", version=f"redlock_beat {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True)
    health = verbs.add_parser(
        "health",
        help="is it well? exit code 0 or 1, and one line why",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="With --this: does the loop of the beat on this machine turn? It asks a local file and never\n"
        "Redis: for the liveness and the readiness of a pod. A standby is as well as a leader.\n\n"
        "Without --this: is the whole well? A leader exists, nothing due is older than the limit, outbox\n"
        "and quarantine are empty. It is for alerts, and not for a pod's readiness: it would take all\n"
        "replicas out of service at once, for what none of them can mend.",
        epilog="Examples:\n  python -m redlock_beat health --this\n"
        f"  {_MARK}URL=redis://host:6379/0 python -m redlock_beat health --max-lag 30",
    )
    add = health.add_argument
    add("--this", action="store_true", help="ask about the beat on this machine, without Redis")
    add("--file", default=_env("HEARTBEAT_FILE"),
        help="with --this: its redlock_beat_heartbeat_file, if that is set")  # fmt: skip
    add("--url", default=_env("URL"), help=f"where the schedule lives (default: ${_MARK}URL)")
    add("--prefix", default=_env("PREFIX") or "redlock-beat", help="redlock_beat_prefix (default: redlock-beat)")
    add("--master-name", default=_env("MASTER_NAME"), help="the name of the master, where the URL is a Sentinel's")
    add("--max-lag", type=float, default=30.0, help="seconds something may be due (default: 30)")
    add("--timeout", type=float, default=_TIMEOUT, help="seconds one answer of Redis may take (default: %(default)s)")
    add("--json", action="store_true", help="print JSON")
    health.set_defaults(refuse=health.error)
    return parser


def _env(name: str) -> str:
    return os.environ.get(_MARK + name, "")


def _this(file: str) -> tuple[bool, str]:
    from .schedule.health import this

    verdict = this(file or None)
    return verdict.ok, verdict.why


def _whole(given: argparse.Namespace) -> tuple[bool, str]:
    from .errors import InvalidSetting, RedlockBeatError, mask
    from .schedule.health import whole
    from .settings import Settings
    from .store.client import TROUBLE, Target
    from .store.store import Store

    options = _redis_options()
    if given.master_name:
        options["master_name"] = given.master_name
    try:
        settings = Settings(
            url=given.url, prefix=given.prefix, socket_timeout=given.timeout, redis_options=options
        )  # fmt: skip
        store = Store(Target(settings))
        verdict = store.ask(whole(store.keys, given.max_lag))
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
