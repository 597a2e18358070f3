"""Edits recorded for one batch; what applies them is Batch or AsyncBatch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Unpack

from ..entries.entry import Changes, Policies
from ..errors import InvalidSchedule
from ..store.requests import Asking
from .changes import Change, Transfer
from .operations import BATCH_LIMIT, Operations

#: Told how many more edits have been applied.
Progress = Callable[[int], None]


class Recorder:
    """Edits of a batch, recorded in their order; each is checked as far as it can be without Redis."""

    def __init__(self, operations: Operations, progress: Progress | None) -> None:
        self._operations = operations
        self._progress = progress
        self._changes: list[Change | Transfer] = []
        #: What each edit would have returned, in order; filled when the batch is applied.
        self.results: list[Any] = []

    def __len__(self) -> int:
        return len(self._changes)

    def _record(self, change: Change | Transfer) -> None:
        if len(self._changes) >= BATCH_LIMIT:
            raise InvalidSchedule(f"a batch takes at most {BATCH_LIMIT} changes; use more than one.")
        self._changes.append(change)

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
        **policies: Unpack[Policies],
    ) -> None:
        """As :meth:`Schedule.add`."""
        entry = self._operations.making(name, task, when, args, kwargs, options, dict(policies), relative)
        self._record(self._operations.adding(entry, replace_existing=replace, run_now=run_now))

    def update(self, name: str, *, revision: int | None = None, **changes: Unpack[Changes]) -> None:
        """As :meth:`Schedule.update`."""
        self._record(self._operations.updating(name, revision, dict(changes)))

    def copy(self, name: str, new: str, **changes: Unpack[Changes]) -> None:
        """As :meth:`Schedule.copy`."""
        self._record(self._operations.copying(name, new, dict(changes)))

    def rename(self, name: str, new: str, *, revision: int | None = None) -> None:
        """As :meth:`Schedule.rename`."""
        self._record(self._operations.renaming(name, new, revision))

    def remove(self, name: str, *, revision: int | None = None) -> None:
        """As :meth:`Schedule.remove`."""
        self._record(self._operations.removing(name, revision))

    def pause(self, name: str, note: str | None = None, *, by: str | None = None, revision: int | None = None) -> None:
        """As :meth:`Schedule.pause`."""
        self._record(self._operations.pausing(name, note, by, revision))

    def resume(self, name: str, *, catch_up: bool = False, revision: int | None = None) -> None:
        """As :meth:`Schedule.resume`."""
        self._record(self._operations.resuming(name, catch_up, revision))

    def trigger(self, name: str) -> None:
        """As :meth:`Schedule.trigger`."""
        self._record(self._operations.triggering(name))

    def record(self, change: Change) -> None:
        """A change made elsewhere in this package (an import, say)."""
        self._record(change)

    def _apply(self) -> Asking[list[Any]]:
        changes, self._changes = self._changes, []
        return self._operations.many(changes, self._progress)
