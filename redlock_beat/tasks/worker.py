"""A worker's lease: what a worker holds (runs, locks) stands while it lives.

Each Celery worker has a token, and renews it in the sorted set ``workers`` of the schedule's Redis from a thread of
its main process, three times in a ``redlock_beat_worker_ttl``. A worker that is killed renews no more, and after
that time what it held is free. The processes of its pool hold things in its name: on Linux they die with it.
"""

from __future__ import annotations

import threading
import uuid
from typing import Any

from celery import bootsteps, signals

from ..adapters import install
from ..errors import RedisUnavailable
from ..log import log
from ..settings import settings_of
from ..store import requests
from ..store.requests import Request
from . import held
from .client import TaskStore
from .identity import become, current_worker
from .reporter import Reporter
from .request import report_to, watch_requests
from .start import ask_before_start

__all__ = ["Lease", "Watch", "current_worker"]


class Lease:
    """The lease of one worker, renewed by a thread until the worker leaves."""

    def __init__(self, app: Any) -> None:
        self.settings = settings_of(app)
        self.token = uuid.uuid4().hex
        # It is tried again soon: a hiccup must not cost the lease.
        self.store = TaskStore(self.settings, timeout=self.settings.socket_timeout, pause=0.5)
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._away = False

    def start(self) -> None:
        """Renew it from now on."""
        self._thread = threading.Thread(target=self._run, name="redlock_beat worker lease", daemon=True)
        self._thread.start()

    def leave(self) -> None:
        """The worker goes: what it still holds is free at once."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(2.0)
            self._thread = None
            self._ask(requests.worker(self.store.keys, self.token, 0))
        self.store.close()

    def _run(self) -> None:
        while True:
            self._renew_locks()
            self._ask(requests.worker(self.store.keys, self.token, round(self.settings.worker_ttl * 1000)))
            # A first attempt that failed is made again soon, so that a hiccup costs no lease.
            pause = self.settings.worker_ttl / 3
            if self._over.wait(min(pause, 1.0) if self._away else pause):
                return

    def _renew_locks(self) -> None:
        # Before the lease itself: where Redis has forgotten that, it has forgotten the locks.
        try:
            held.renew(self.store, self.token)
        except RedisUnavailable as exc:
            log.debug("lock.not_renewed", "The locks of this worker's runs are not renewed: %(why)s", why=str(exc))

    def _ask(self, request: Request[Any]) -> None:
        try:
            self.store.run(request)
        except RedisUnavailable as exc:
            if not self._away:
                words = "The worker cannot renew its lease: %(why)s Tasks run on, and the worker tries again."
                log.warning("worker.not_renewed", words, why=str(exc))
            self._away = True
        else:
            self._away = False


class Watch(bootsteps.StartStopStep):  # type: ignore[misc]
    """The bootstep that :func:`redlock_beat.watch` adds to the workers of an app."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        self.lease = Lease(parent.app)
        settings, token = self.lease.settings, self.lease.token
        install.check(settings)
        self.reporter = Reporter(parent.app, settings, token, str(parent.hostname))
        become(token)  # before the pool forks
        report_to(self.reporter)
        for task in parent.app.tasks.values():
            watch_requests(task)
            ask_before_start(task, settings.once_per_occurrence)

    def start(self, parent: Any) -> None:
        """The pool has been started."""
        install.begin(self.lease.settings)
        self.lease.start()
        self.reporter.start()
        # The pool ends after this step: only then has the last run an outcome.
        signals.worker_shutdown.connect(self._leave, sender=parent, weak=False)

    def stop(self, parent: Any) -> None:
        """The worker is told to end; its runs may go on for a while."""

    def _leave(self, **_: Any) -> None:
        self.reporter.finish()
        self.lease.leave()
        install.end(self.lease.settings)
        report_to(None)
        become(None)
