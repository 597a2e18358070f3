"""The options of a task, as attributes of its class, each with its default."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any


class Options:
    """What :class:`~redlock_beat.tasks.TaskMixin` may be told; ``rules`` checks it, and says what it comes to."""

    #: Whether calls with the same key run once: while one waits or runs, others get its result.
    unique: bool = False
    #: ``"done"``: until it has run (its retries included). ``"start"``: until it begins.
    unique_until: str = "done"
    #: How long a call may wait for a worker (seconds or a timedelta) before others like it are sent; an hour.
    unique_for: float | timedelta | None = None
    #: The names of the arguments that count; all of them by default, as bound to the signature, with defaults.
    unique_on: Sequence[str] | None = None
    #: A function of the call's arguments that returns the key (text, or anything that JSON can say).
    unique_key: Callable[..., Any] | None = None
    #: What a duplicate does. ``"return"``: it gets the result of the one that holds the lock. ``"raise"``: it raises
    #: :class:`~redlock_beat.DuplicateCall`. ``"replace"``: it takes the place of one that waits, and waits for one
    #: that runs.
    unique_duplicate: str = "return"
    #: While Redis is away: ``"send"`` a call without its lock, and run it; or ``"raise"``, and wait with the run.
    unique_without_redis: str = "send"
    #: How long (seconds or a timedelta) after a success calls with the same key are ignored. 0: as long as
    #: :meth:`set_cooldown` says, and no longer.
    cooldown: float | timedelta | None = None
    #: Pauses before the first, second, ... retry (seconds or timedeltas); there are as many retries.
    default_retry_delays: Sequence[float | timedelta] | None = None
    #: How much longer a pause may be by chance, as a part of it: 0.1 is up to a tenth.
    default_retry_jitter: float = 0.0
    #: Whether the schedule keeps a countdown or eta from ``redlock_beat_eta_threshold`` on, see docs/countdowns.md.
    keeps_countdowns: bool = True

    #: Names of django-celery-extensions for the same.
    stale_time_limit: float | timedelta | None = None
    max_queue_waiting_time: float | timedelta | None = None
    unique_key_generator: Callable[..., str] | None = None
    ignore_task_after_success: bool = False
    ignore_task_timedelta: timedelta | None = None
