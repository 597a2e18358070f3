"""The base class of tasks: calls that run once, cooldowns, pauses between retries, and a life to listen to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import cached_property, wraps
from typing import Any

import celery
from celery.exceptions import TimeoutError as CeleryTimeout

from ..messages.headers import HEADER_LOCK
from ..settings import is_redis_url
from . import held, watch
from .countdowns import install
from .invocation import Invocation
from .life import Life, hears
from .looking import RUN, Looking
from .occurrence import TaskOccurrence
from .options import Options
from .retries import delays_of, pause
from .rules import rules_of, seconds
from .run import Run
from .spans import wait_of


def _guarded(call: Callable[..., Any]) -> Callable[..., Any]:
    """A ``__call__`` that is a run, where a worker calls it: the first of a class and its bases takes the lock."""

    @wraps(call)
    def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        request = self.request_stack.top
        if request is None or request.called_directly or getattr(request, RUN, None) is not None:
            return call(self, *args, **kwargs)
        run = Run(self, request)
        setattr(request, RUN, run)
        return run.through(lambda *a, **k: call(self, *a, **k), args, kwargs)

    return guarded


class TaskMixin(Options, Looking, Life):
    """What :class:`Task` adds to Celery's, for a base class of your own.

    >>> from celery import Task as CeleryTask
    >>> class ProjectTask(TaskMixin, CeleryTask):
    ...     abstract = True
    """

    # What Celery gives it.
    name: str
    app: Any
    request: Any
    request_stack: Any
    max_retries: int | None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__call__" in vars(cls):  # one of your own runs under the lock, whether it calls this one or not
            cls.__call__ = _guarded(vars(cls)["__call__"])  # type: ignore[method-assign]

    @classmethod
    def on_bound(cls, app: Any) -> None:
        """Called by Celery when the task belongs to an app: what its options say is checked here."""
        super().on_bound(app)  # type: ignore[misc]
        asks = rules_of(cls).asks
        delays_of(cls)
        if asks or app.conf.get("redlock_beat_url") or is_redis_url(app.conf.broker_write_url):
            watch(app)
            install(app)
        held.connect()

    @cached_property
    def sends_as_celery(self) -> bool:
        """Whether a call does nothing but what Celery's own does: then a beat may fill its messages in."""
        own = self.rules.asks or hears(self, "on_invocation_apply") or hears(self, "on_invocation_trigger")
        return not own and type(self).apply_async is TaskMixin.apply_async and self._mixes_only_celery

    @property
    def _mixes_only_celery(self) -> bool:
        below = super().apply_async  # type: ignore[misc]
        return getattr(below, "__func__", None) is celery.Task.apply_async

    # --- a call ---

    def apply_async(
        self,
        args: Any = None,
        kwargs: Any = None,
        task_id: str | None = None,
        producer: Any = None,
        link: Any = None,
        link_error: Any = None,
        shadow: str | None = None,
        **options: Any,
    ) -> Any:
        """Send a call, as Celery does, unless one like it waits, runs or has succeeded lately."""
        given = {"task_id": task_id, "producer": producer, "link": link, "link_error": link_error, "shadow": shadow}
        options.update((name, value) for name, value in given.items() if value is not None)
        if options.get("retries"):
            return self._send_again(args, kwargs, options)
        return Invocation(self, args, kwargs, options).send()

    def publish(self, args: Any, kwargs: Any, **options: Any) -> Any:
        """Send a message as Celery does, whatever is locked."""
        return super().apply_async(args, kwargs, **options)  # type: ignore[misc]

    def apply_async_and_get_result(
        self, args: Any = None, kwargs: Any = None, timeout: float | None = None, propagate: bool = True, **options: Any
    ) -> Any:
        """Send a call and wait for what it returns, so many seconds at most: then Celery's ``TimeoutError`` is raised.

        Not in a task: it would wait for a worker that waits for it.
        """
        invocation = Invocation(self, args, kwargs, options)
        result = invocation.send()
        try:
            if timeout is not None and timeout <= 0 and not result.ready():
                raise CeleryTimeout("The operation timed out.")
            return result.get(timeout=timeout, propagate=propagate)
        except CeleryTimeout as exc:
            self.on_invocation_timeout(invocation.id, args, kwargs, result.id, exc, invocation.options, result)
            raise

    def _send_again(self, args: Any, kwargs: Any, options: dict[str, Any]) -> Any:
        """Send a retry: its lock waits with it, and it is never dropped."""
        headers = dict(options.get("headers") or {})
        run = getattr(self.request_stack.top, RUN, None)
        if self.rules.unique and not self.app.conf.task_always_eager:
            wait = wait_of(options, self.rules.wait)
            if run is not None and run.who is not None and run.has_arguments(args, kwargs):
                run.wait_again(wait)
                headers[HEADER_LOCK] = run.who.digest
            else:
                who = self.locks.who(options["task_id"], args, kwargs)
                self.locks.retry(who, "", wait)
                headers[HEADER_LOCK] = who.digest
        try:
            return self.publish(args, kwargs, **{**options, "headers": headers})
        except BaseException:
            if run is not None:
                run.gone_wrong()
            raise

    def retry(
        self,
        args: Any = None,
        kwargs: Any = None,
        exc: Any = None,
        throw: bool = True,
        eta: Any = None,
        countdown: float | None = None,
        max_retries: int | None = None,
        default_retry_delays: Sequence[float | timedelta] | None = None,
        **options: Any,
    ) -> Any:
        """Celery's, with the pauses of ``default_retry_delays`` where neither *eta* nor *countdown* is given."""
        delays = delays_of(self)
        if default_retry_delays is not None:
            delays = tuple(seconds(self.name, "default_retry_delays", one) for one in default_retry_delays)
        if delays and eta is None and countdown is None:
            max_retries = len(delays) if max_retries is None else max_retries
            countdown = pause(delays, self.request.retries, self.default_retry_jitter)
        return super().retry(  # type: ignore[misc]
            args=args,
            kwargs=kwargs,
            exc=exc,
            throw=throw,
            eta=eta,
            countdown=countdown,
            max_retries=max_retries,
            **options,
        )

    # --- a run ---

    @_guarded
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run it: under its lock where a worker does, as a plain function elsewhere."""
        request = self.request_stack.top
        following = super().__call__  # type: ignore[misc]
        if request is None or request.called_directly or request._protected:
            return following(*args, **kwargs)
        if getattr(following, "__func__", None) is not celery.Task.__call__:
            return following(*args, **kwargs)  # that of another base class
        request._protected = 1  # a call of the task in its own body is a plain call
        return self.run(*args, **kwargs)  # type: ignore[attr-defined]

    @property
    def invocation_id(self) -> str | None:
        """In a run: the id that the methods of a call's life were given."""
        found: str | None = self.request.id
        return found

    @property
    def occurrence(self) -> TaskOccurrence | None:
        """In a run of an entry: which of its occurrences it is."""
        return TaskOccurrence.of(self.request, self.app)

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        """Celery's, which tells :meth:`on_task_success`."""
        super().on_success(retval, task_id, args, kwargs)  # type: ignore[misc]
        self.on_task_success(task_id, args, kwargs, retval)

    def on_failure(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Celery's, which tells :meth:`on_task_failure`."""
        super().on_failure(exc, task_id, args, kwargs, einfo)  # type: ignore[misc]
        self.on_task_failure(task_id, args, kwargs, exc, einfo)


class Task(TaskMixin, celery.Task):  # type: ignore[misc]
    """Celery's task with more options: use it with ``base=``, or for all tasks with ``Celery(task_cls=...)``.

    ::

        @app.task(base=redlock_beat.tasks.Task, unique=True, unique_on=("user",), cooldown=60)
        def refresh(user: int, why: str = "") -> None: ...
    """

    abstract = True
