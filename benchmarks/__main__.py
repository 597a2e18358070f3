"""Run the benchmarks, one after the other, on embedded servers.

python -m benchmarks                # all of them
python -m benchmarks failover       # one
python -m benchmarks --quick        # each once, short: that they work, not how fast
"""

from __future__ import annotations

import argparse
import importlib
import platform
from datetime import UTC, datetime

NAMES = ("next_due", "rate", "edits", "size", "failover")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *NAMES], help="which; all when none is named")
    parser.add_argument("--quick", action="store_true", help="each once, short")
    given = parser.parse_args()
    print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, Python {platform.python_version()}")
    for name in given.names or NAMES:
        print(f"\n== {name}", flush=True)
        importlib.import_module(f"benchmarks.{name}").main(quick=given.quick)


if __name__ == "__main__":
    main()
