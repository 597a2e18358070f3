"""The atomic steps, one a file, each headed by its KEYS, ARGV and what it returns.

A line ``-- include: name`` is replaced by that file when a script is loaded.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def source(name: str) -> str:
    """The text of a script, includes resolved.

    >>> "PEXPIRE" in source("renew")
    True
    """
    text = files(__package__).joinpath(f"{name}.lua").read_text("utf-8")
    lines = []
    for line in text.splitlines():
        if line.startswith("-- include: "):
            lines.append(source(line.removeprefix("-- include: ").strip()))
        else:
            lines.append(line)
    return "\n".join(lines)
