"""The edits of one batch, recorded; Batch or AsyncBatch applies them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Unpack

from ..entries.entry import Changes, Policies
from ..errors import InvalidSchedule
from ..store.requests import Operation
from .changes import Change, Transfer
from .operations import BATCH_LIMIT, Operations

#: Called with the number of edits that were applied since the last call.
Progress = Callable[[int], None]


class BatchBase:
    """The edits of a batch in their order, each checked as far as that needs no Redis."""

    def __init__(self, operations: Operations, progress: Progress | None) -> None:
        self._operations = operations
        self._progress = progress
        self._changes: list[Change | Transfer] = []
        #: What each edit returns, in order; empty until the batch is applied.
        self.results: list[Any] = []

    def __len__(self) -> int:
        return len(self._changes)

    def _record(self, change: Change | Transfer, actor: str | None = None, why: str | None = None) -> None:
        if len(self._changes) >= BATCH_LIMIT:
            raise InvalidSchedule(f"a batch takes at most {BATCH_LIMIT} edits; use several batches.")
        self._changes.append(self._operations.signed(change, actor, why))

    def add_periodic_task(
        self, when: Any, sig: Any, args: Any = (), kwargs: Any = None, name: str | None = None, **opts: Any
    ) -> None:
        """As :meth:`Schedule.add_periodic_task`."""
        self._record(self._operations.as_celery_spells_it(when, sig, args, kwargs, name, opts))

    def add(
        self,
        name: str,
        task: Any,
        when: Any,
        args: Any = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        options: Mapping[str, Any] | None = None,
        replace: bool = False,
        run_now: bool = False,
        relative: bool = False,
        actor: str | None = None,
        why: str | None = None,
        **policies: Unpack[Policies],
    ) -> None:
        """As :meth:`Schedule.add`."""
        entry = self._operations.making(name, task, when, args, kwargs, options, dict(policies), relative)
        self._record(self._operations.adding(entry, replace_existing=replace, run_now=run_now), actor, why)

    def update(
        self,
        name: str,
        *,
        revision: int | None = None,
        actor: str | None = None,
        why: str | None = None,
        **changes: Unpack[Changes],
    ) -> None:
        """As :meth:`Schedule.update`."""
        self._record(self._operations.updating(name, revision, dict(changes)), actor, why)

    def copy(
        self, name: str, new: str, *, actor: str | None = None, why: str | None = None, **changes: Unpack[Changes]
    ) -> None:
        """As :meth:`Schedule.copy`."""
        self._record(self._operations.copying(name, new, dict(changes)), actor, why)

    def rename(
        self, name: str, new: str, *, revision: int | None = None, actor: str | None = None, why: str | None = None
    ) -> None:
        """As :meth:`Schedule.rename`."""
        self._record(self._operations.renaming(name, new, revision), actor, why)

    def remove(
        self, name: str, *, revision: int | None = None, actor: str | None = None, why: str | None = None
    ) -> None:
        """As :meth:`Schedule.remove`."""
        self._record(self._operations.removing(name, revision), actor, why)

    def pause(
        self,
        name: str,
        note: str | None = None,
        *,
        until: datetime | None = None,
        actor: str | None = None,
        why: str | None = None,
        revision: int | None = None,
    ) -> None:
        """As :meth:`Schedule.pause`."""
        self._record(self._operations.pausing(name, note, actor, revision, until), actor, why)

    def resume(
        self,
        name: str,
        *,
        catch_up: bool = False,
        revision: int | None = None,
        actor: str | None = None,
        why: str | None = None,
    ) -> None:
        """As :meth:`Schedule.resume`."""
        self._record(self._operations.resuming(name, catch_up, revision), actor, why)

    def skip(
        self,
        name: str,
        n: int = 1,
        *,
        actor: str | None = None,
        why: str | None = None,
        revision: int | None = None,
    ) -> None:
        """As :meth:`Schedule.skip`."""
        self._record(self._operations.skipping(name, n, actor, why, revision))

    def trigger(
        self,
        name: str,
        args: Any = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        options: Mapping[str, Any] | None = None,
        actor: str | None = None,
        why: str | None = None,
    ) -> None:
        """As :meth:`Schedule.trigger`."""
        self._record(self._operations.triggering(name, args, kwargs, options), actor, why)

    def record(self, change: Change) -> None:
        """Add a change that another module has made (an import, say)."""
        self._record(change)

    def _apply(self) -> Operation[list[Any]]:
        changes, self._changes = self._changes, []
        return self._operations.many(changes, self._progress)
