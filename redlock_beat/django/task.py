"""DjangoTask: the base class of a project's tasks."""

from __future__ import annotations

from functools import partial
from typing import Any

from celery.contrib.django.task import DjangoTask as CelerysDjangoTask

from ..tasks.task import TaskMixin
from .committed import on_commit


class DjangoTask(TaskMixin, CelerysDjangoTask):
    """Celery's task for Django with the options of :class:`redlock_beat.tasks.Task`, and calls that wait for a commit.

    Use it with ``base=``, or for all tasks of a project::

        app = Celery("proj", task_cls="redlock_beat.django:DjangoTask")
    """

    abstract = True

    def delay_on_commit(self, *args: Any, **kwargs: Any) -> None:
        """Call :meth:`delay` when the open transactions have committed, and never when one is rolled back.

        >>> confirm.delay_on_commit(order.pk)   # doctest: +SKIP
        """
        on_commit(partial(self.delay, *args, **kwargs))

    def apply_async_on_commit(self, *args: Any, using: str | None = None, robust: bool = False, **options: Any) -> None:
        """Call :meth:`apply_async` when the open transactions have committed, and never when one is rolled back.

        *using* is the database whose transaction counts; by default all that are open. With *robust*, what goes wrong
        with the send is logged by Django, and does not reach whoever committed.

        >>> confirm.apply_async_on_commit((order.pk,), queue="mail")   # doctest: +SKIP
        """
        on_commit(partial(self.apply_async, *args, **options), using, robust)
