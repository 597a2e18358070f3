"""The worker's side: what workers tell of runs, and what they may hold.

``worker``  a worker's token and its lease: what it holds stands while it lives
``identity`` which worker this process is of
``request``  what happens to a run, noted in the worker's main process; ``reporter`` tells it to Redis, in batches
``start``    may a run begin? asked by the process that runs it
``task``    the base class of tasks; ``options`` its options, and ``rules`` what they come to; ``life`` its methods to
            override, ``looking`` what people ask of it, ``key`` what makes two calls the same, ``retries`` the pauses,
            ``occurrence`` which one a run is of
``invocation``  a call, until it is sent; ``run`` a run, from taking its lock to giving it back; ``locks`` the way to
            them; ``held`` the locks of a worker's runs; ``results`` and ``spans`` serve these
``countdowns`` calls with a countdown or eta that the schedule keeps; ``revoking`` takes them back
``client``  a process's way to the schedule's Redis, which costs a task no more than a moment when that is away

A worker reports when :func:`watch` was called for its app, once, where the app is made::

    app = Celery("proj", broker="redis://localhost/0")
    redlock_beat.watch(app)

The folder knows ``schedule`` and ``store``, and nothing of the beat, which knows nothing of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .task import Task, TaskMixin

__all__ = ["Task", "TaskMixin", "watch"]


def __getattr__(name: str) -> Any:
    if name not in ("Task", "TaskMixin"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import task

    return getattr(task, name)


def watch(app: Any) -> None:
    """Have the workers of an app tell the schedule what becomes of the runs of its entries.

    Call it where the app is made; more than once is harmless. It connects to nothing, and changes nothing
    outside of workers.

    >>> from celery import Celery
    >>> app = Celery(broker="redis://localhost/0", set_as_current=False)
    >>> watch(app)
    """
    from .worker import Watch

    app.steps["worker"].add(Watch)


def keep_countdowns(app: Any) -> None:
    """Have the schedule keep the countdowns and etas of all tasks of an app, from ``redlock_beat_eta_threshold`` on.

    Call it where the app is made, so that it holds in every process; more than once is harmless. It connects to
    nothing. A task opts out with ``keeps_countdowns = False``.

    >>> from celery import Celery
    >>> app = Celery(broker="redis://localhost/0", set_as_current=False)
    >>> app.conf.redlock_beat_eta_threshold = 300
    >>> keep_countdowns(app)
    """
    from .countdowns import install

    install(app).of_all_tasks = True
