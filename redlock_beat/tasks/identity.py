"""Which worker this process is, or is a pool process of."""

from __future__ import annotations

import os

#: How children that are spawned and not forked learn of it: the token, and the process whose it is.
_VARIABLE = "REDLOCK_BEAT_WORKER"
_token: str | None = None


def current_worker() -> str | None:
    """The token of the worker this process is (or is a pool process of); None outside of a worker.

    >>> current_worker()
    """
    if _token is not None:
        return _token
    token, _, pid = os.environ.get(_VARIABLE, "").partition(" ")
    return token if pid == str(os.getppid()) else None


def become(token: str | None) -> None:
    """This process is that worker, and so are those that it starts for its pool; None: no more."""
    global _token
    _token = token
    if token is None:
        os.environ.pop(_VARIABLE, None)
    else:
        os.environ[_VARIABLE] = f"{token} {os.getpid()}"
