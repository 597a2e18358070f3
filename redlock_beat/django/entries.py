"""The entries of the schedule, as the admin asks for rows: what it needs of a queryset, answered by Redis.

Where names are enough (no filter, in the order of names), only names are read, and the entries of one page. Else the
outlines of all are, and the entries of that page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self

from django.core.exceptions import FieldError

from ..schedule.edits import readable
from ..schedule.outlines import Outline, names, outlines
from ..store import requests
from ..store.requests import PAGE
from .project import schedule

if TYPE_CHECKING:
    from .models import PeriodicTask

#: How entries may be put in order.
ORDERS = {
    "name": lambda one: one.name,
    "task": lambda one: (one.task, one.name),
    "due": lambda one: (one.due is None, one.due or 0, one.name),
    "last": lambda one: (one.last is None, -(one.last or 0), one.name),
}


class EntrySet:
    """Some entries, not read before they are looked at; each method returns another set."""

    #: What the admin and the paginator look at.
    ordered = totally_ordered = True
    db = "default"
    _prefetch_related_lookups = ()

    def __init__(self, model: type[PeriodicTask]) -> None:
        self.model = model
        self.query = SimpleNamespace(select_related=True, order_by=("name",))
        self._only: list[str] | None = None
        self._state: str | None = None
        self._origin: str | None = None
        self._words = ""
        self._order = "name"
        self._reverse = False
        self._names: list[str] | None = None

    def _clone(self) -> Self:
        other = type(self)(self.model)
        vars(other).update(vars(self))
        return other

    all = select_related = prefetch_related = distinct = defer = _clone

    def _with(self, **parts: Any) -> Self:
        other = self._clone()
        vars(other).update(parts, _names=None)
        return other

    def using(self, alias: str | None) -> Self:
        """No database has any of them: ``dumpdata`` finds nothing, and asks no Redis."""
        return self.none()

    def none(self) -> Self:
        """No entry."""
        return self._with(_only=[])

    def filter(self, *args: Any, **which: Any) -> Self:
        """Those of some names: ``pk``, ``pk__in`` or the same of ``name``."""
        chosen = self
        for key, value in which.items():
            if args or key not in ("pk", "name", "pk__in", "name__in"):
                raise FieldError(f"the schedule cannot be asked for {key!r}: it knows names.")
            chosen = chosen._with(_only=[str(one) for one in (value if key.endswith("__in") else [value])])
        return chosen

    def in_state(self, state: str) -> Self:
        """The active, paused, finished or unreadable ones."""
        return self._with(_state=state)

    def of_origin(self, origin: str) -> Self:
        """The configured ones (``config``), or those made at runtime (``api``)."""
        return self._with(_origin=origin)

    def search(self, words: str) -> Self:
        """Those that fit all words."""
        return self._with(_words=words)

    def order_by(self, *fields: str) -> Self:
        """In the order of one field; others are not asked for."""
        first = str(fields[0]) if fields else "name"
        field = first.lstrip("-")
        return self._with(_order="name" if field not in ORDERS else field, _reverse=first.startswith("-"))

    # --- asking ---

    @property
    def _by_name(self) -> bool:
        return not (self._state or self._origin or self._words) and self._order == "name"

    def names(self) -> list[str]:
        """Their names, in order."""
        if self._names is None:
            self._names = self._read_names()
        return self._names

    def _read_names(self) -> list[str]:
        if self._only is not None and self._by_name:
            return sorted(set(self._only), reverse=self._reverse)
        if self._only is None and not (self._state or self._origin) and self._order == "name":
            found = names(schedule(), self._words)
            return found[::-1] if self._reverse else found
        only = None if self._only is None else set(self._only)
        lines = outlines(schedule(), self._words)
        fitting = [one for one in lines if self._fits(one) and (only is None or one.name in only)]
        return [one.name for one in sorted(fitting, key=ORDERS[self._order], reverse=self._reverse)]

    def _fits(self, one: Outline) -> bool:
        return (self._state is None or one.state == self._state) and (
            self._origin is None or one.origin == self._origin
        )

    def count(self) -> int:
        """How many there are."""
        if self._by_name and self._only is None and self._names is None:
            return schedule().count()
        return len(self.names())

    __len__ = count

    def exists(self) -> bool:
        """Whether there are any."""
        return self.count() > 0

    def __bool__(self) -> bool:
        return self.exists()

    def __iter__(self) -> Iterator[PeriodicTask]:
        return self.iterator()

    def iterator(self, chunk_size: int = PAGE) -> Iterator[PeriodicTask]:
        """Each of them, read in pages; one that was removed meanwhile is left out."""
        found = self.names()
        for start in range(0, len(found), PAGE):
            yield from self._rows(found[start : start + PAGE])

    def _rows(self, page: Sequence[str]) -> Iterator[PeriodicTask]:
        there = schedule()
        now, stored = there.ask(requests.read(there.keys, list(page)))
        for one in stored:
            if one.definition is not None:
                entry = readable(one, now, there.operations.calendars)
                yield self.model.of(entry) if entry is not None else self.model.unreadable(one.name)

    def __getitem__(self, which: int | slice) -> Any:
        if isinstance(which, slice):
            return self._with(_only=[])._over(self.names()[which])
        return next(self._rows([self.names()[which]]))

    def _over(self, names: list[str]) -> Self:
        other = self._clone()
        other._names = list(names)
        return other

    def get(self, *args: Any, **which: Any) -> PeriodicTask:
        """The one of a name."""
        for row in self.filter(*args, **which):
            return row
        raise self.model.DoesNotExist(f"there is no entry of {which}.")
