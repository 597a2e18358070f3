"""What is done when the open transactions have committed.

Django's ``on_commit`` watches one database. A call made while transactions are open on two belongs to both: it is
done when the last of them has committed, and never when one of them is rolled back, or a savepoint in which it was
made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from django.db import connections, transaction


def on_commit(call: Callable[[], Any], using: str | None = None, robust: bool = False) -> None:
    """Do something when what is open now has committed: at once, if nothing is.

    With *using*, only the transaction of that database counts. With *robust*, an error of the call is logged by Django,
    and does not reach whoever committed.

    >>> on_commit(lambda: print("done"), using="default")   # doctest: +SKIP
    """
    aliases = [using] if using is not None else _open()
    if not any(connections[alias].in_atomic_block for alias in aliases) and _on_an_event_loop():
        call()  # Django does not ask a database from an event loop, and no transaction can be open there
        return
    step = _last(call, len(aliases))
    for alias in aliases:
        transaction.on_commit(step, using=alias, robust=robust)


def _last(call: Callable[[], Any], left: int) -> Callable[[], None]:
    """A function that is called once for each database, and makes the call with the last."""

    # A function, since Django asks for the name of one that raises.
    def committed() -> None:
        nonlocal left
        left -= 1
        if not left:
            call()

    return committed


def _open() -> list[str]:
    """The databases with an open transaction; the default one where there is none."""
    found = [one.alias for one in connections.all(initialized_only=True) if one.in_atomic_block]
    # A TestCase wraps each test in transactions that are no transactions of the project.
    own = [alias for alias in found if not _of_a_test(connections[alias])]
    return own or ["default"]


def _of_a_test(connection: Any) -> bool:
    return all(getattr(block, "_from_testcase", False) for block in connection.atomic_blocks)


def _on_an_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
