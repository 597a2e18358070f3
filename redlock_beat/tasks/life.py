"""The life of a call, as methods to override: each does nothing of its own."""

from __future__ import annotations

from typing import Any


class Life:
    """What becomes of a call of a task, from ``apply_async`` to its end.

    The first five are called where the call is made, the others where it runs. ``invocation_id`` is the id that the
    call has as a task, or would have had: a duplicate and a call that is ignored have one, too, and in a run it is
    ``self.invocation_id``. What one of these raises, the call raises (in a run: it fails).

    >>> class Audited(Life):
    ...     def on_invocation_unique(self, invocation_id, args, kwargs, task_id, options, result):
    ...         print(f"{invocation_id} is answered by {task_id}")
    >>> Audited().on_invocation_unique("1", (), {}, "0", {}, None)
    1 is answered by 0
    """

    def on_invocation_apply(self, invocation_id: str, args: Any, kwargs: Any, options: Any, result: Any) -> None:
        """A call is made; nothing is decided yet."""

    def on_invocation_trigger(
        self, invocation_id: str, args: Any, kwargs: Any, task_id: str, options: Any, result: Any
    ) -> None:
        """It is about to be sent."""

    def on_invocation_unique(
        self, invocation_id: str, args: Any, kwargs: Any, task_id: str, options: Any, result: Any
    ) -> None:
        """One like it waits or runs, as *task_id*, whose *result* the caller gets."""

    def on_invocation_ignored(
        self, invocation_id: str, args: Any, kwargs: Any, task_id: str, options: Any, result: Any
    ) -> None:
        """One like it succeeded lately: it is not sent, and its state is IGNORED."""

    def on_invocation_timeout(
        self, invocation_id: str, args: Any, kwargs: Any, task_id: str, ex: BaseException, options: Any, result: Any
    ) -> None:
        """:meth:`~redlock_beat.tasks.TaskMixin.apply_async_and_get_result` has waited for as long as it was told."""

    def on_task_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """A run begins, and holds its lock."""

    def on_task_retry(self, task_id: str, args: Any, kwargs: Any, exc: BaseException | None, eta: Any) -> None:
        """A run has failed and is repeated at *eta*."""

    def on_task_failure(self, task_id: str, args: Any, kwargs: Any, exc: BaseException, einfo: Any) -> None:
        """A run has failed for good."""

    def on_task_success(self, task_id: str, args: Any, kwargs: Any, retval: Any) -> None:
        """A run has succeeded."""


def hears(task: Any, name: str) -> bool:
    """Whether a task has a method of its own for a moment of a call's life: else nothing is made for it.

    >>> hears(Life(), "on_task_start")
    False
    """
    return getattr(type(task), name) is not getattr(Life, name)
