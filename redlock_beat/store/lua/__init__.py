"""The atomic steps, one a file, each headed by its KEYS, ARGV and what it returns.

A line ``-- include: name`` is replaced by that file when a script is loaded, the first time it stands in a script;
the included files are ``words`` (the arguments, one after the other), ``time``, ``ledger``, ``sent`` (an occurrence's
row), ``alive`` (a worker's lease), ``claims`` and ``overlap`` (one run at a time), ``run``, ``lock``, ``entry``,
``place``, ``digest`` (what the configuration said), ``deliver``, ``probe``, ``presence``, ``wake``, ``term``,
``fence``, ``held`` (the hold of everything) and ``sending``.

**Conventions.** A script that writes for a leader begins with ``fence``: its first two keys are the lease and the
counter of terms, its first three arguments (``the fence`` in the headers) the lease text, the epoch and the TTL in ms.
When the term is over every one of them answers ``DEPOSED``, and no script answers that for anything else. One that
sends begins with ``sending``: its third key is the hold, and while everything is held it answers ``HELD``. Arguments
are words; a list is its length and its words. Times are answered in microseconds.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

_INCLUDE = "-- include: "


@cache
def source(name: str) -> str:
    """The text of a script, includes resolved.

    >>> "PEXPIRE" in source("renew")
    True
    """
    return "\n".join(_lines(name, set()))


def _lines(name: str, known: set[str]) -> list[str]:
    lines = []
    for line in files(__package__).joinpath(f"{name}.lua").read_text("utf-8").splitlines():
        if not line.startswith(_INCLUDE):
            lines.append(line)
        elif (included := line.removeprefix(_INCLUDE).strip()) not in known:
            known.add(included)
            lines += _lines(included, known)
    return lines
