"""What instruments cost: the same one for us and for celery-redbeat, each in a process of its own, and in rounds.

Instruments put their functions into Celery's classes, for all that a process does from then on. With ``speed``, ours
sends without any instrument, with the packages of the extra ``speed`` and as if they were not installed.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from tests.instruments import INSTRUMENTS
from tests.servers import Server

from . import peers

ROUNDS = 3
#: What each needs besides.
NEEDS = {
    "sentry": "sentry_sdk",
    "sentry-crons": "sentry_sdk",
    "opentelemetry": "opentelemetry.instrumentation.celery",
    "datadog": "ddtrace",
}
SPEED = ("hiredis", "orjson")
#: The id of the trace that a message carries.
TRACES: dict[str, Callable[[dict[str, Any]], str]] = {
    "sentry": lambda headers: headers["sentry-trace"].split("-")[0],
    "sentry-crons": lambda headers: headers["sentry-trace"].split("-")[0],
    "opentelemetry": lambda headers: headers["traceparent"].split("-")[1],
    "datadog": lambda headers: headers["headers"]["traceparent"].split("-")[1],
}


def main(quick: bool = False) -> dict[str, Any]:
    """Print and return messages a second, by instrument and scheduler; and the ratios of a round."""
    many, rounds = (200, 1) if quick else (20_000, ROUNDS)
    found: dict[str, Any] = {}
    print(f"\nmessages a second, {many} due, with the same instrument (median of {rounds}; spread)")
    for instrument in ("receiver", "events", *NEEDS):
        if not installed(NEEDS.get(instrument, "celery")):
            print(f"{instrument:<14} not installed: pip install 'redlock-beat[test-instruments]'")
            continue
        found[instrument] = _compare(instrument, many, rounds, "ours", "redbeat")
    if all(map(installed, SPEED)):
        found["speed"] = _compare("speed", many if quick else 100_000, rounds if quick else 5, "with", "without")
    else:
        print("speed          not installed: pip install 'redlock-beat[speed]'")
    return found


def installed(name: str) -> bool:
    """Whether a package is there."""
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _compare(instrument: str, many: int, rounds: int, *schedulers: str) -> dict[str, Any]:
    found: dict[str, list[list[float]]] = {scheduler: [] for scheduler in schedulers}
    for _ in range(rounds):
        for scheduler in schedulers:
            found[scheduler].append(_measured(instrument, scheduler, many))
    rates: dict[str, Any] = {}
    for i, what in enumerate(("", "a second of its processor: ")):
        of = {name: [many / one[i] for one in all_] for name, all_ in found.items()}
        ratio = statistics.median(a / b for a, b in zip(*of.values(), strict=True))
        said = "  ".join(f"{name} {statistics.median(r):.0f} ({min(r):.0f}-{max(r):.0f})" for name, r in of.items())
        print(f"{instrument if not i else '':<14} {what}{said}  {ratio:.2f} x", flush=True)
        rates["processor" if i else "rate"] = {**of, "ratio": ratio}
    return rates


def _measured(instrument: str, scheduler: str, many: int) -> list[float]:
    """The seconds that it takes, and those of its processor."""
    code = "import runpy; runpy.run_module('benchmarks.instruments', run_name='__main__', alter_sys=True)"
    if scheduler == "without":
        code = f"import sys; sys.modules.update(dict.fromkeys({SPEED})); {code}"  # as if they were not installed
    command = [sys.executable, "-c", code, instrument, scheduler, str(many)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return list(json.loads(done.stdout.splitlines()[-1]))


# --- in the process that is measured ---------------------------------------------------------------


def _install(instrument: str) -> None:
    os.environ["CRONS"] = str(int(instrument == "sentry-crons"))
    if instrument in NEEDS:
        INSTRUMENTS[instrument.removesuffix("-crons")]()
    elif instrument == "events":
        peers.CONF["task_send_sent_event"] = True
    elif instrument == "receiver":
        from celery.signals import before_task_publish

        @before_task_publish.connect(weak=False)
        def add_tenant(headers: dict[str, Any], **named: Any) -> None:
            headers["tenant"] = "a"


def _measure(instrument: str, scheduler: str, many: int) -> None:
    _install(instrument)
    server = Server("valkey").start()
    try:
        peer = peers.RedBeat() if scheduler == "redbeat" else peers.Ours()
        print(json.dumps(peers.spent(peer, server, many)))
        if scheduler == "ours" and instrument in TRACES:
            texts = server.client().lrange(peers.QUEUE, 0, -1)
            traces = {TRACES[instrument](json.loads(one)["headers"]) for one in texts}
            assert len(traces) == many, f"{many} messages have {len(traces)} traces"
    finally:
        server.close()


if __name__ == "__main__":
    _measure(sys.argv[-3], sys.argv[-2], int(sys.argv[-1]))
