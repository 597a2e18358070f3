"""A process's way to the schedule's Redis, for tasks: never a long wait, and no wait at all while Redis is away."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any

from redis.exceptions import ReadOnlyError, ResponseError

from ..clock import monotonic
from ..errors import RedisUnavailable, mask
from ..settings import Settings, settings_of
from ..store.client import TROUBLE, Target, drop_connections
from ..store.requests import Request, T
from ..store.store import Store

#: Seconds that one answer may take where a task waits for it.
TIMEOUT = 0.5
#: Seconds without another attempt after Redis did not answer.
PAUSE = 5.0


class TaskStore(Store):
    """A store that gives up soon, and then does not try for some seconds.

    Whatever goes wrong is a :class:`~redlock_beat.RedisUnavailable`; its ``unknown`` says whether a change may be
    in force although nobody said so.
    """

    def __init__(self, settings: Settings, timeout: float | None = None, pause: float = PAUSE) -> None:
        target = Target(settings)
        super().__init__(target)
        self._not_before = 0.0
        self._pause = pause
        timeout = min(TIMEOUT if timeout is None else timeout, settings.socket_timeout)
        if not target.cluster:  # one of a cluster connects as it is made
            self.client = target.client(timeout)
        self._timeout = timeout

    def run(self, request: Request[T]) -> T:
        """Send one request; :class:`~redlock_beat.RedisUnavailable` when it is not answered, or was not lately."""
        if monotonic() < self._not_before:
            raise RedisUnavailable(
                f"Redis at {self.target} did not answer some seconds ago; it is tried again every {self._pause:g} s."
            )
        try:
            if "client" not in self.__dict__:
                self.client = self.target.client(self._timeout)
            return super().run(request)
        except ResponseError as exc:
            if isinstance(exc, ReadOnlyError):
                drop_connections(self.client)  # a replica now: the next connection goes to the new master
            raise RedisUnavailable(f"Redis at {self.target} refuses: {mask(exc)}") from exc
        except TROUBLE as exc:
            self._not_before = monotonic() + self._pause
            away = RedisUnavailable(f"Redis at {self.target} does not answer: {mask(exc)}")
            away.unknown = request.writes or bool(request.script)
            raise away from exc

    def again(self, request: Request[T]) -> T:
        """Send a request at once that may be repeated, though the last one was not answered."""
        self._not_before = 0.0
        return self.run(request)


_lock = threading.Lock()
_stores: weakref.WeakKeyDictionary[Any, tuple[int, TaskStore]] = weakref.WeakKeyDictionary()


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()  # its holder may not be in this process


os.register_at_fork(after_in_child=_after_fork)


def store_of(app: Any) -> TaskStore:
    """The store of an app's schedule in this process; connected when it is first used, and anew after a fork.

    >>> from celery import Celery
    >>> store_of(Celery(broker="redis://localhost/3")).target.db
    3
    """
    pid = os.getpid()
    with _lock:
        made = _stores.get(app)
        if made is None or made[0] != pid:
            made = _stores[app] = (pid, TaskStore(settings_of(app)))
    return made[1]
