"""The locks of what a worker runs, seen from its main process: renewed while it runs, freed when it will not.

A pool process that is killed takes nothing along: the request of its run is over, and nobody renews its lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery import signals

from ..messages.headers import HEADER_LOCK
from ..store import locks
from ..store.locks import PAGE, Who
from ..store.store import Store
from .identity import current_worker


def held() -> list[Who]:
    """The locks of the runs that are under way in this worker."""
    from celery.worker import state

    found = []
    for request in _copy(state.active_requests):
        task = request.task
        if _is_unique(task) and not task.rules.ends_at_start:
            who = _who(task, request)
            if who is not None:
                found.append(who)
    return found


def renew(store: Store, token: str) -> None:
    """Renew the locks of what this worker runs; called before its lease is renewed."""
    whose = held()
    ttl_ms = round(store.settings.worker_ttl * 1000)
    for i in range(0, len(whose), PAGE):
        store.run(locks.renew(store.keys, whose[i : i + PAGE], ttl_ms=ttl_ms, worker=token))


def connect() -> None:
    """Free the locks of what a worker revokes, and of runs whose process is gone."""
    signals.task_revoked.connect(_revoked, weak=False, dispatch_uid="redlock_beat.locks")
    signals.task_failure.connect(_failed, weak=False, dispatch_uid="redlock_beat.locks")


def _revoked(sender: Any = None, request: Any = None, terminated: bool = False, **_: Any) -> None:
    if _is_unique(sender):
        who = sender.locks.who_runs(request)
        if who is not None:
            sender.locks.end(who, _any_here() if terminated else "")


def _failed(
    sender: Any = None, task_id: str = "", exception: Any = None, args: Any = None, kwargs: Any = None, **_: Any
) -> None:
    # Where a run fails in its process, that has freed its lock; here it is about those whose process cannot.
    if isinstance(exception, (WorkerLostError, TimeLimitExceeded)) and _is_unique(sender):
        request = sender.request_stack.top
        said = (getattr(request, "headers", None) or {}).get(HEADER_LOCK) if request else None
        who = Who(said, task_id, sender.name) if isinstance(said, str) else _by_arguments(sender, task_id, args, kwargs)
        if who is not None:
            sender.locks.end(who, _any_here())


def _any_here() -> str:
    """Whichever run of this worker it was: its message may have come again, and run on another by now."""
    token = current_worker()
    return "*" if token is None else f"@{token}"


def _is_unique(task: Any) -> bool:
    rules = getattr(task, "rules", None)
    return rules is not None and bool(getattr(rules, "unique", False))


def _who(task: Any, request: Any) -> Who | None:
    said = request.request_dict.get(HEADER_LOCK)
    if isinstance(said, str):
        return Who(said, request.id, task.name)
    return _by_arguments(task, request.id, request.args, request.kwargs)


def _by_arguments(task: Any, id_: str, args: Any, kwargs: Any) -> Who | None:
    try:
        who: Who = task.locks.who(id_, args, kwargs)
    except Exception:  # noqa: BLE001 - arguments that make no key have no lock
        return None
    return who


def _copy(requests: Any) -> Sequence[Any]:
    """The requests of this moment; a pool of threads may begin one meanwhile."""
    for _ in range(10):
        try:
            return list(requests)
        except RuntimeError:
            continue
    return []
