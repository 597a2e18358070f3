"""A run of a task in a worker: it takes its lock when it begins, and gives it back when it ends.

A message that may not run now is put off: it is sent again as it is, a little later, and this copy of it is done with.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from celery.backends.base import DisabledBackend
from celery.exceptions import Ignore, Reject, Retry
from celery.states import FAILURE, REVOKED, SUCCESS
from celery.utils import uuid

from ..errors import RedisUnavailable, mask
from ..log import log
from ..messages.headers import HEADER_IGNORED, HEADER_JOINS, HEADER_LOCK, HEADER_WAITED
from .client import PAUSE, store_of
from .life import hears
from .start import PutOff

#: How often the result of a call is looked for after its lock is free: it is stored a little later.
LOOKS = 3


class Done(Exception):
    """A run has its outcome without beginning: that of the call it joins."""

    def __init__(self, value: Any) -> None:
        super().__init__(value)
        self.value = value


class Run:
    """One run of a task in a worker."""

    def __init__(self, task: Any, request: Any) -> None:
        self.task, self.request = task, request
        self.rules = task.rules
        self.headers = request.headers or {}
        self.token = uuid()
        takes = self.rules.unique and not request.is_eager
        self.who = task.locks.who_runs(request) if takes or self.rules.cooldown else None
        #: Whether it holds a lock that has to be given back.
        self.holds = False
        #: Seconds for which calls like it are ignored when it succeeds; 0 once the run itself has set them.
        self.cooldown: float = self.rules.cooldown

    def through(self, call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Run it, under its lock if it has one."""
        if self.headers.get(HEADER_IGNORED):
            return None
        try:
            self._begin()
        except Done as done:
            return done.value
        try:
            self.task.on_task_start(self.request.id, args, kwargs)
            value = call(*args, **kwargs)
        except Retry as exc:
            self._end()
            self._retried(exc, args, kwargs)
            raise
        except Reject as exc:
            if exc.requeue:
                self.wait_again(self.rules.wait)
            self._end()
            raise
        except BaseException:
            self._end()
            raise
        self._end(self.cooldown)
        return value

    def wait_again(self, wait: float) -> bool:
        """Its message is about to be with the broker once more; False when another holds the lock."""
        if self.who is None or not self.rules.unique or self.request.is_eager:
            return True
        self.holds = False
        return bool(self.task.locks.retry(self.who, self.token, wait))

    def has_arguments(self, args: Any, kwargs: Any) -> bool:
        """Whether a retry is of the very call: then it keeps its lock, whatever makes the key."""
        request = self.request
        return list(args or ()) == list(request.args or ()) and dict(kwargs or {}) == dict(request.kwargs or {})

    def gone_wrong(self) -> None:
        """Its message is not with the broker after all."""
        self.holds = self.who is not None

    # --- the lock ---

    def _begin(self) -> None:
        if self.who is None or not self.rules.unique or self.request.is_eager:
            return
        joins = self.headers.get(HEADER_JOINS)
        answer = self._start(looks=bool(joins))
        if answer == "free":
            self._join(str(joins))
            answer = self._start(looks=False)
        if answer in ("held", "again"):
            self._put_off("another call holds its lock" if answer == "held" else "another copy of its message runs")
        if answer == "superseded":
            self._revoke()
        if answer == "ran":
            raise Ignore("it has run while this copy of its message waited")
        self.holds = not self.rules.ends_at_start

    def _start(self, *, looks: bool) -> str:
        assert self.who is not None
        try:
            return str(self.task.locks.start(self.who, self.token, looks=looks).word)
        except RedisUnavailable as exc:
            self._put_off(f"it may not run without its lock: {exc}", PAUSE)

    def _end(self, cooldown: float = 0.0) -> None:
        if self.who is not None and (self.holds or cooldown):
            self.task.locks.end(self.who, self.token, cooldown)
            self.holds = False

    # --- runs that do not begin ---

    def _join(self, holder: str) -> None:
        """Have the outcome of the call this one joins; return when it has none, so that this one runs."""
        backend = self.task.backend
        if isinstance(backend, DisabledBackend) or self.task.ignore_result:
            return
        try:
            meta = backend.get_task_meta(holder)
        except Exception as exc:  # noqa: BLE001 - a backend raises what it likes; then this call runs itself
            words = "The result of %(task)s[%(task_id)s] cannot be read, so a call that shares it runs itself: %(why)s"
            log.warning("lock.no_result", words, task=self.task.name, task_id=holder, why=mask(exc))
            return
        if meta.get("status") == SUCCESS:
            raise Done(meta.get("result"))
        if meta.get("status") in (FAILURE, REVOKED) and isinstance(meta.get("result"), BaseException):
            raise meta["result"]
        if self._waited < LOOKS:
            self._put_off("the result of the call it joins is not there yet")

    @property
    def _waited(self) -> int:
        said = self.headers.get(HEADER_WAITED)
        return said if isinstance(said, int) else 0

    def _put_off(self, why: str, pause: float | None = None) -> NoReturn:
        """Send the message again as it is, a little later; each time twice as late, up to a third of a lease."""
        request, task = self.request, self.task
        waited = self._waited
        if pause is None:
            pause = min(0.25 * 2 ** min(waited, 20), store_of(task.app).settings.worker_ttl / 3)
        if task.app.connection_for_write().transport.driver_type == "amqp":
            pause = math.ceil(pause)  # where RabbitMQ itself delays it, Celery takes whole seconds only
        assert self.who is not None
        headers = {**self.headers, HEADER_LOCK: self.who.digest, HEADER_WAITED: waited + 1}
        again = task.signature_from_request(request, countdown=pause, headers=headers)
        try:
            task.publish(again.args, again.kwargs, add_to_parent=False, **again.options)
        except Exception as exc:
            raise Reject(exc, requeue=True) from exc  # this is no outcome of the call, which may well run elsewhere
        words = "%(task)s[%(task_id)s] is put off for %(pause).3g s: %(why)s"
        log.debug("run.put_off", words, task=task.name, task_id=request.id, pause=pause, why=why)
        raise PutOff(f"put off for {pause:.3g} s: {why}", pause)

    def _revoke(self) -> NoReturn:
        request, task = self.request, self.task
        task.backend.mark_as_revoked(
            request.id, "a later call has replaced it", request=request, store_result=not task.ignore_result
        )
        raise Ignore("a later call has replaced it")

    def _retried(self, exc: Retry, args: Any, kwargs: Any) -> None:
        if hears(self.task, "on_task_retry"):
            when = exc.when
            eta = datetime.now(UTC) + timedelta(seconds=when or 0) if not isinstance(when, datetime) else when
            self.task.on_task_retry(self.request.id, args, kwargs, exc.exc, eta)
