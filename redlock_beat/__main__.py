"""``python -m redlock_beat health``: the probes, without importing the app or Celery."""

from __future__ import annotations

import argparse
import json
import os
import sys

URL = "REDLOCK_BEAT_URL"


def main(argv: list[str] | None = None) -> int:
    """Answer a probe; 0 well, 1 not well, 2 wrongly asked."""
    parser = argparse.ArgumentParser(
        prog="python -m redlock_beat",
        description="Probes for redlock_beat. Everything else is in `celery -A proj redlock --help`.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    health = verbs.add_parser(
        "health",
        help="is it well? exit code 0 or 1, and one line why",
        description="Without --this: is the whole well (a leader exists, nothing due is older than the limit, outbox "
        "and quarantine are empty)? For alerts and readiness. With --this: does the loop of the beat on this machine "
        "turn? For liveness; it asks a local file and never Redis.",
        epilog="Examples: python -m redlock_beat health --this;  "
        f"{URL}=redis://host:6379/0 python -m redlock_beat health --max-lag 30",
    )
    health.add_argument("--this", action="store_true", help="ask about the beat on this machine, without Redis")
    health.add_argument("--file", help="with --this: its redlock_beat_heartbeat_file, if that is set")
    health.add_argument("--url", default=os.environ.get(URL, ""), help=f"where the schedule lives (default: ${URL})")
    health.add_argument("--prefix", default="redlock-beat", help="redlock_beat_prefix (default: %(default)s)")
    health.add_argument("--max-lag", type=float, default=30.0, help="seconds something may be due (default: 30)")
    health.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args(argv)
    if not given.this and not given.url:
        health.error(f"--url or ${URL} is needed to ask about the whole; --this asks about this machine's beat alone")
    ok, why = _this(given.file) if given.this else _whole(given.url, given.prefix, given.max_lag)
    print(json.dumps({"ok": ok, "why": why}) if given.json else why)
    return 0 if ok else 1


def _this(file: str | None) -> tuple[bool, str]:
    from .health import this

    verdict = this(file)
    return verdict.ok, verdict.why


def _whole(url: str, prefix: str, max_lag: float) -> tuple[bool, str]:
    from .config import Settings
    from .connection import TROUBLE, Target
    from .errors import RedlockBeatError, mask
    from .health import whole
    from .store import Store

    try:
        store = Store(Target(Settings(url=url, prefix=prefix, socket_timeout=2.0)))
        verdict = store.take(whole(store.keys, max_lag))
    except RedlockBeatError as exc:
        return False, str(exc)
    except TROUBLE as exc:
        return False, f"Redis at {mask(url)} does not answer: {mask(exc)}"
    return verdict.ok, verdict.why


if __name__ == "__main__":
    sys.exit(main())
