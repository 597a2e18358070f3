"""Which entries somebody means: by task, name, labels, queue, and whether they are active, paused or configured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Literal, TypedDict

from ..entries.entry import Entry
from ..entries.labels import bears, labels_of
from ..errors import InvalidSchedule
from .given import as_text

#: What an entry may be; one that is in quarantine may be any other, too.
STATES = ("active", "paused", "finished", "quarantined")


class Which(TypedDict, total=False):
    """Which entries are meant, as keywords of :meth:`Schedule.entries` and :meth:`Schedule.select`."""

    #: The task it sends; ``*`` and ``?`` are wildcards, here and in values of labels and in *queue*.
    task: str | None
    #: What its name begins with.
    prefix: str | None
    #: Whether it is not paused.
    enabled: bool | None
    #: Whether it comes from ``beat_schedule``, or was made at runtime.
    origin: Literal["config", "api"] | str | None
    #: Labels it bears, all of them.
    labels: Mapping[str, str] | None
    #: The queue that its options name.
    queue: str | None
    state: Literal["active", "paused", "finished", "quarantined"] | str | None
    #: What is somewhere in its name; case does not count.
    contains: str | None


@dataclass(frozen=True, slots=True)
class Filter:
    """What an entry must be to be meant; None stands for any. :class:`Which` says what each part means.

    >>> from ..recurrence import Interval
    >>> Filter(task="mail.*").fits(Entry("a", "mail.send", Interval.of(30)))
    True
    """

    task: str | None = None
    prefix: str | None = None
    enabled: bool | None = None
    origin: str | None = None
    labels: Mapping[str, str] | None = None
    queue: str | None = None
    state: str | None = None
    contains: str | None = None

    def __post_init__(self) -> None:
        for part in ("task", "prefix", "origin", "queue", "contains"):
            as_text(getattr(self, part), part)
        if self.labels is not None and len(labels_of(self.labels, "labels")) < len(self.labels):
            raise InvalidSchedule("labels holds None, but entries are chosen by a text; '*' stands for any.")
        if self.state is not None and self.state not in STATES:
            raise InvalidSchedule(f"state is {self.state!r}, but must be one of {', '.join(STATES)}.")

    @property
    def by_name_alone(self) -> bool:
        """Whether the beginning of a name tells whether an entry is meant."""
        return replace(self, prefix=None, labels=self.labels or None) == ALL

    @property
    def quarantined(self) -> bool:
        """Whether it must be in quarantine."""
        return self.state == "quarantined"

    def names(self, name: str) -> bool:
        """Whether an entry of this name may be meant."""
        fits = self.prefix is None or name.startswith(self.prefix)
        return fits and (self.contains is None or self.contains.casefold() in name.casefold())

    def fits(self, entry: Entry) -> bool:
        """Whether an entry is meant; whether it is in quarantine, if it must be, is another question."""
        queue = entry.options.get("queue")
        return (
            self.names(entry.name)
            and (self.task is None or fnmatchcase(entry.task, self.task))
            and (self.enabled is None or entry.paused != self.enabled)
            and (self.origin is None or entry.origin == self.origin)
            and (not self.labels or bears(entry.labels, self.labels))
            and (self.queue is None or (isinstance(queue, str) and fnmatchcase(queue, self.queue)))
            and (self.state in (None, "quarantined") or entry.standing == self.state)
        )

    def fits_unread(self, name: str) -> bool:
        """Whether an entry that cannot be read is meant: only its name, and that it is in quarantine, are known."""
        return self.names(name) and replace(self, prefix=None, contains=None, state=None) == ALL


#: Every entry.
ALL = Filter()


def labelled(labels: Mapping[str, str] | None) -> Filter:
    """The entries that bear these labels; all when there are none.

    >>> labelled(None) is ALL, labelled({"team": "billing"}).labels
    (True, {'team': 'billing'})
    """
    return Filter(labels=labels) if labels else ALL
