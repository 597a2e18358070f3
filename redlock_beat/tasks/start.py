"""May a run begin? Asked by the process that is about to run it, in one atomic step, where it matters:

- its entry has one run at a time: then a message that comes late (redelivered, or long in the queue) does not begin
  beside the run that has the claim now, and one whose worker may still live waits until that is known;
- an occurrence, or a call that the schedule has kept until its time, may begin once (``once_per_occurrence``): then a
  repeated message is dropped.

While Redis is away runs begin: a schedule that cannot be asked stops nobody's work.
"""

from __future__ import annotations

import time
from typing import Any

from celery.exceptions import Ignore

from ..clock import MICROS
from ..errors import RedisUnavailable
from ..log import log
from ..messages.headers import HEADER_CLAIM, HEADER_DUE, HEADER_ENTRY, HEADER_ETA, HEADER_ONCE, HEADER_WAITED
from ..store import requests
from ..store.values import Run
from .client import store_of
from .identity import current_worker

#: Seconds that the last word of a worker may take to arrive, after its lease.
GRACE = 5.0


class Dropped(Ignore):  # type: ignore[misc]
    """A run that does not begin: Celery acknowledges its message and keeps no result."""


class PutOff(Ignore):  # type: ignore[misc]
    """A run that does not begin now: its message was sent again, for so many seconds later."""

    def __init__(self, why: str, pause: float = 0.0) -> None:
        super().__init__(why)
        self.pause = pause


def ask_before_start(task: Any, once: bool) -> None:
    """Have a task ask, before each run of an entry; *once*: whether an occurrence may begin once, unless it says so."""
    base = type(task)
    if not issubclass(base, Asking):
        said = {"__module__": base.__module__, "__doc__": base.__doc__, "redlock_beat_once_by_default": once}
        task.__class__ = type(base.__name__, (Asking, base), said)


class Asking:
    """Mixed into the class of a task."""

    #: What ``redlock_beat_once_per_occurrence`` says.
    redlock_beat_once_by_default = False

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Called by Celery before it calls the task."""
        begin(self)
        super().before_start(task_id, args, kwargs)  # type: ignore[misc]


def begin(task: Any) -> None:
    """Ask whether the run of a task may begin; :class:`Dropped` when it may not."""
    request = task.request
    run = _run_of(task, request)
    token = current_worker()
    if run is None or token is None:
        return
    try:
        store = store_of(task.app)
        deadline = time.monotonic() + store.settings.worker_ttl + GRACE
        pause = 0.05
        while True:
            worker = str(request.hostname or "").replace(" ", "_") or "-"
            said, other = store.run(requests.begin(store.keys, token, worker, run, store.settings.ledger_size))
            if said == "go":
                return
            if said != "wait" or time.monotonic() > deadline:
                break
            time.sleep(pause)  # its worker has to end its lease, or to tell of its end
            pause = min(1.0, pause * 2)
    except RedisUnavailable as exc:
        words = "Run %(task_id)s of entry %(entry)r begins unasked: %(why)s"
        log.warning("run.unasked", words, task_id=run.id, entry=run.entry, why=str(exc))
        return
    why = {
        "repeat": "this occurrence has begun before",
        "wait": "the same run is under way on another worker",
    }.get(said, f"run {other} of this entry is under way")
    words = "Run %(task_id)s of entry %(entry)r does not begin: %(why)s."
    log.warning("run.dropped", words, task_id=run.id, entry=run.entry, why=why)
    raise Dropped(why)


def _run_of(task: Any, request: Any) -> Run | None:
    """The run that a request is, where it has to ask; else None."""
    entry = getattr(request, HEADER_ENTRY, None)
    if entry is None and getattr(request, HEADER_ETA, None):
        entry = ""
    if entry is None or request.called_directly or request.is_eager:
        return None
    limit = _whole(getattr(request, HEADER_CLAIM, None))
    begins_once = once(task, getattr(request, HEADER_ONCE, None))
    if not limit and not begins_once:
        return None
    nominal = _whole(getattr(request, HEADER_DUE, None), MICROS)
    # A message that was put off for another call's lock is another one, although the task was not tried.
    tries = f"{request.retries or 0}.{_whole(getattr(request, HEADER_WAITED, None))}" if begins_once else ""
    return Run(request.id, str(entry), nominal, str(entry) if limit else "", limit, tries)


def _whole(value: Any, unit: int = 1) -> int:
    """A number out of a header, in smaller units; 0 for none, or rubbish."""
    try:
        return round(float(value or 0) * unit)
    except (TypeError, ValueError, OverflowError):
        return 0


def once(task: Any, header: Any) -> bool:
    """Whether an occurrence may begin once: as its message says in its header, or its task, or the app."""
    for said in (header, getattr(task, "once_per_occurrence", None)):
        if said is not None:
            return bool(said)
    return bool(getattr(task, "redlock_beat_once_by_default", False))
