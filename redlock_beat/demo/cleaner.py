"""Ends what the demo has started, once the demo is gone: also when it was killed and could end nothing itself.

It reads process ids from its standard input, which the demo holds open. At the end of it, it kills every one that is
left, frozen ones too, and removes the folder it was given.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys


def main(folder: str) -> None:
    """Wait for the end of the demo, and clean up."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)  # a terminal sends them to the whole group
    alive: set[int] = set()
    for line in sys.stdin:
        sign, pid = line[0], int(line[1:])
        (alive.add if sign == "+" else alive.discard)(pid)
    for pid in alive:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1])
