"""``python -m redlock_beat.demo``: the same as ``redlock-beat demo``."""

from __future__ import annotations

import sys

from ..__main__ import main

if __name__ == "__main__":
    sys.exit(main(["demo", *sys.argv[1:]]))
