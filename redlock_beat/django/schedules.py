"""Schedule for Django projects: it finds the Celery app by itself, and edits on commit."""

from __future__ import annotations

from functools import partial
from typing import Any, Self

from ..schedule import schedule as base
from ..schedule.batch import BatchBase
from ..schedule.changes import Change, Transfer
from .committed import on_commit
from .project import celery_app


class Schedule(base.Schedule):
    """The schedule of the project, with edits that a roll-back takes with it.

    >>> schedule = Schedule()   # doctest: +SKIP
    >>> schedule.on_commit().add("reminder", "tasks.remind", "0 7 * * *")   # doctest: +SKIP
    """

    def __init__(self, app: Any = None, **options: Any) -> None:
        if app is None and options.get("settings") is None:
            app = celery_app()
        super().__init__(app, **options)

    def on_commit(self, using: str | None = None, *, robust: bool = False) -> OnCommit:
        """Edits that are applied when the open transactions have committed, and never when one is rolled back.

        What is wrong with an edit itself is raised at once; what Redis says of it, by the commit (with *robust* it is
        logged instead). *using* is the database whose transaction counts; by default all that are open.

        >>> schedule.on_commit().remove("reminder")        # doctest: +SKIP
        >>> with schedule.on_commit() as batch:            # doctest: +SKIP
        ...     batch.add("a", "tasks.add", 30)
        ...     batch.add("b", "tasks.add", 60)
        """
        return OnCommit(self, using, robust)


class OnCommit(BatchBase):
    """Edits to be applied on commit, each with the methods of :class:`Schedule`; in a ``with`` block as one batch."""

    def __init__(self, schedule: Schedule, using: str | None, robust: bool) -> None:
        super().__init__(schedule.operations, None)
        self._schedule, self._using, self._robust = schedule, using, robust
        self._collects = False

    def __enter__(self) -> Self:
        self._collects = True
        return self

    def __exit__(self, kind: object, *exc: object) -> None:
        self._collects = False
        changes, self._changes = self._changes, []
        if kind is None and changes:
            on_commit(partial(self._apply_all, changes), self._using, self._robust)

    def _record(self, change: Change | Transfer, actor: str | None = None, why: str | None = None) -> None:
        if self._collects:
            super()._record(change, actor, why)
            return
        signed = self._operations.signed(change, actor, why)
        # Each for itself: a savepoint that is rolled back takes its own edits with it, and no others.
        on_commit(partial(self._schedule.ask, self._operations.one(signed)), self._using, self._robust)

    def _apply_all(self, changes: list[Change | Transfer]) -> None:
        self._schedule.ask(self._operations.many(changes))
