"""Run the benchmarks, one after the other, on embedded servers.

python -m benchmarks                # all of them
python -m benchmarks failover       # one
python -m benchmarks --quick        # each once, short: that they work, not how fast

Nothing is installed: peers that are missing are named. `pip install 'redlock-beat[bench]'` brings them.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

from .plot import plot

NAMES = (
    "next_due",
    "rate",
    "lateness",
    "idle",
    "edits",
    "size",
    "unique",
    "failover",
    "countdowns",
    "worker",
    "instruments",
    "page",
)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", choices=[[], *NAMES], help="which; all when none is named")
    parser.add_argument("--quick", action="store_true", help="each once, short")
    parser.add_argument("--out", type=Path, help="a folder for the figures (JSON) and a plot of them (PNG, SVG)")
    given = parser.parse_args()
    about = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    found = {"about": about}
    for name in given.names or NAMES:
        print(f"\n== {name}", flush=True)
        found[name] = importlib.import_module(f"benchmarks.{name}").main(quick=given.quick)
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "figures.json").write_text(json.dumps(found, indent=1) + "\n")
        plot(found, given.out)


if __name__ == "__main__":
    main()
