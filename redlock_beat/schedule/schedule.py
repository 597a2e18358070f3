"""Schedule: the schedule as users edit it while it runs.

Every edit is one atomic script. It compares what it was made from, so nobody's edit is lost without
:class:`~redlock_beat.StaleRevision`; it carries a request id, so repeating it after a lost reply is
harmless; and it wakes the leader, so it is in force within milliseconds. What is done stands in
:mod:`redlock_beat.schedule.operations`; here it meets sockets and bounded patience.

``aio.py`` is made from this file: run ``python scripts/make_async.py`` after every change here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Self, TypeVar, Unpack

import tenacity

from ..clock import moment, monotonic
from ..entries.entry import Changes, Entry, Policies
from ..errors import NoSuchEntry, RedisUnavailable, RedlockBeatError
from ..settings import Settings
from ..store import requests
from ..store.requests import Asking, Request
from ..store.store import Store
from .answers import Foreseen, Happened, Slot, Waiting
from .base import TROUBLE, Base, asking
from .batch import Progress, Recorder
from .changes import Change, Transfer
from .health import Verdict
from .status import Status
from .turns import Turns, heard

T = TypeVar("T")

#: Milliseconds one look for news of the ledger waits.
NEWS_WAIT = 500


class Connected(Base):
    """It asks Redis: the seam that everything else goes through, the command line and the imports, too."""

    def __init__(
        self, app: Any = None, *, settings: Settings | None = None, retry_for: float = 10.0, timezone: str = "UTC"
    ) -> None:
        super().__init__(app, settings=settings, retry_for=retry_for, timezone=timezone)
        self._store = Store(self.target)
        self._turns = Turns(self._places)

    @classmethod
    def from_url(
        cls, url: str, *, prefix: str = "redlock-beat", timezone: str = "UTC", retry_for: float = 10.0, **settings: Any
    ) -> Self:
        """A schedule where no Celery app is at hand; tasks are then given by name.

        *timezone* is that of entries that name none; it should be the app's. A call waits for Redis for
        *retry_for* seconds at most.

        >>> Schedule.from_url("redis://localhost:6379/0").settings.prefix
        'redlock-beat'
        """
        return cls(settings=Settings(url=url, prefix=prefix, **settings), timezone=timezone, retry_for=retry_for)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def ask(self, operation: Asking[T] | Request[T]) -> T:
        """Do one of ``schedule.operations``, or send a single request; every other method is made of this one.

        >>> schedule.ask(schedule.operations.size())   # doctest: +SKIP
        """
        going = asking(operation)
        try:
            request = next(going)
            while True:
                try:
                    answer = self.round_trip(request)
                except RedisUnavailable as exc:
                    request = going.throw(exc)
                else:
                    request = going.send(answer)
        except StopIteration as done:
            result: T = done.value
            return result

    def round_trip(self, request: Request[Any]) -> Any:
        """Send one request of an operation, and try again while Redis is away: :class:`RedisUnavailable` in the end.

        >>> schedule.round_trip(schedule.operations.size())   # doctest: +SKIP
        """
        retrying = tenacity.Retrying(**self._patience())
        try:
            with self._turns.turn(self.retry_for):
                answer: Any = retrying(self._store.run, request)
        except TROUBLE as exc:
            raise self._said_clearly(exc, request) from None
        self._turns.answered = monotonic()
        return answer

    def now(self) -> datetime:
        """Redis's time, by which the schedule goes.

        >>> schedule.now()   # doctest: +SKIP
        """
        return moment(self.ask(requests.now(self.keys)))

    def close(self) -> None:
        """Close the connections; the schedule may be used again afterwards.

        >>> schedule.close()   # doctest: +SKIP
        """
        self._store.close()


class Reading(Connected):
    """It says what stands in the schedule, what will happen and what has."""

    def __getitem__(self, name: str) -> Entry:
        return self.entry(name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.has(name)

    def __len__(self) -> int:
        return self.count()

    def __iter__(self) -> Iterator[Entry]:
        return self.entries()

    def entry(self, name: str) -> Entry:
        """The entry of this name; :class:`NoSuchEntry` when there is none.

        >>> schedule.entry("mail").next_due   # doctest: +SKIP
        """
        _, entry = self.ask(self.operations.entry(name))
        return entry

    def get(self, name: str, default: Any = None) -> Any:
        """The entry of this name, or *default*.

        >>> schedule.get("mail")   # doctest: +SKIP
        """
        try:
            return self.entry(name)
        except NoSuchEntry:
            return default

    def has(self, name: str) -> bool:
        """Whether there is an entry of this name.

        >>> schedule.has("mail")   # doctest: +SKIP
        """
        return self.ask(self.operations.exists(name))

    def count(self) -> int:
        """How many entries there are.

        >>> schedule.count()   # doctest: +SKIP
        """
        return self.ask(self.operations.size())

    def entries(
        self,
        *,
        task: str | None = None,
        prefix: str | None = None,
        enabled: bool | None = None,
        origin: str | None = None,
    ) -> Iterator[Entry]:
        """Entries that fit, read in pages: a million of them are never held at once.

        *task* may have wildcards. Those that cannot be read are in quarantine and not here. Entries
        that come or go meanwhile may be missed, or, when very many go, come twice.

        >>> for entry in schedule.entries(task="billing.*", enabled=True): ...   # doctest: +SKIP
        """
        cursor = "0"
        while True:
            page = self.operations.page(cursor, task=task, prefix=prefix, enabled=enabled, origin=origin)
            cursor, found = self.ask(page)
            yield from found
            if cursor == "0":
                return

    def preview(self, name: str | None = None, n: int = 10, *, after: datetime | None = None) -> list[Slot]:
        """The next *n* slots of one entry, or of the whole schedule, soonest first.

        >>> schedule.preview("mail", n=3)   # doctest: +SKIP
        """
        return self.ask(self.operations.preview(name, n, after))

    def simulate(self, *, outage: tuple[datetime, datetime], name: str | None = None) -> list[Foreseen]:
        """What would be sent and missed if nothing ran during *outage*, under the present policies.

        Nothing is sent. Each entry's rows end with its first slot that is on time again.

        >>> schedule.simulate(outage=(tonight, tomorrow), name="mail")   # doctest: +SKIP
        """
        return self.ask(self.operations.simulate(outage, name))

    def history(self, name: str | None = None, since: datetime | None = None, *, n: int = 1000) -> list[Happened]:
        """What became of occurrences, newest first: sent, missed, failed, skipped.

        >>> schedule.history("mail", n=5)   # doctest: +SKIP
        """
        return self.ask(self.operations.history(name, since, n))

    def follow(self, name: str | None = None, *, last: int = 0) -> Iterator[Happened]:
        """What becomes of occurrences from now on, as it happens; begins with the *last* rows there are.

        It ends only when you stop asking.

        >>> for row in schedule.follow("mail"): ...   # doctest: +SKIP
        """
        row_id, found = self.ask(self.operations.last_news(name, last))
        while True:
            yield from (row for row in found if name is None or row.entry == name)
            row_id, found = self._later(row_id)

    def _later(self, row_id: str) -> tuple[str, list[Happened]]:
        """Rows after one, once there are any: whoever finds nobody reading reads for all who follow."""
        while True:
            kept, start, reading = self._news.look(row_id)
            if kept is None:  # it is too far behind the others
                kept = self.ask(self.operations.news(row_id, 0))
                row_id = row_id if kept else str(self._news.since)
            if kept:
                return kept[-1][0], [row for _, row in kept]
            if start is not None:
                self._read_for_all(start)
            elif reading is not None:
                heard(reading)

    def _read_for_all(self, start: str) -> None:
        error: RedlockBeatError | None = None
        rows: list[tuple[str, Happened]] = []
        try:
            rows = self.ask(self.operations.news(start, NEWS_WAIT))
        except RedlockBeatError as exc:
            error = exc
            raise
        finally:
            self._news.tell(rows, error)

    def status(self) -> Status:
        """Who leads, what waits, what is wrong.

        >>> schedule.status().leader   # doctest: +SKIP
        """
        return self.ask(self.operations.status())

    def health(self, max_lag: float = 30.0) -> Verdict:
        """Whether the whole is well: a leader, nothing due for longer than *max_lag* seconds, nothing set aside.

        >>> schedule.health(max_lag=30).ok   # doctest: +SKIP
        """
        return self.ask(self.operations.health(max_lag))

    def acknowledge(self) -> str | None:
        """Acknowledge what Redis has lost, so that :meth:`health` reports it no more. What that was, or None.

        >>> schedule.acknowledge()   # doctest: +SKIP
        """
        return self.ask(self.operations.acknowledge())

    def waiting(self, name: str | None = None) -> list[Waiting]:
        """What waits to be sent by hand (triggers, backfills, slots settled by an edit), soonest first.

        >>> [(one.entry, one.how, one.count) for one in schedule.waiting()]   # doctest: +SKIP
        [('mail', 'backfill', 1440)]
        """
        return self.ask(self.operations.waiting(name))


class Schedule(Reading):
    """The schedule of an app, to be read and edited while beats run.

    It is a mapping, too: ``schedule[name]``, ``name in schedule``, ``len(schedule)``, ``del schedule[name]``.

    >>> from celery import Celery
    >>> app = Celery("proj", broker="redis://localhost:6379/0")
    >>> schedule = Schedule(app)                        # or Schedule.from_url("redis://localhost/0")
    >>> schedule.add("report", "tasks.report", 3600)    # doctest: +SKIP
    >>> schedule.pause("report", note="month's end")    # doctest: +SKIP
    """

    def __delitem__(self, name: str) -> None:
        self.remove(name)

    def add_periodic_task(
        self, when: Any, sig: Any, args: Any = (), kwargs: Any = None, name: str | None = None, **opts: Any
    ) -> str:
        """As Celery's ``app.add_periodic_task``: adds or replaces an entry, and returns its name.

        What is a policy of ours (``missed=``, ``jitter=``, ...) is taken as one; the rest are options.

        >>> schedule.add_periodic_task(10.0, add.s(16, 16), name="add every 10")   # doctest: +SKIP
        'add every 10'
        """
        change = self.operations.as_celery_spells_it(when, sig, args, kwargs, name, opts)
        self.ask(self.operations.one(change))
        return change.name

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
    ) -> Entry:
        """Add an entry. It first fires at its first slot from now, or at once with ``run_now=True``.

        *task* is a task, a signature or a name. *when* is seconds, a timedelta, a crontab, solar,
        rrule or other schedule, a text (``"0 7 * * 1-5"``, ``"10m"``), or an aware datetime for one shot.

        >>> schedule.add("mail", "tasks.mail", crontab(minute=0), missed="skip", grace=60)  # doctest: +SKIP
        """
        entry = self.operations.making(name, task, when, args, kwargs, options, dict(policies), relative)
        change = self.operations.adding(entry, replace_existing=replace, run_now=run_now)
        return self._one(change)

    def update(self, name: str, *, revision: int | None = None, **changes: Unpack[Changes]) -> Entry:
        """Change parts of an entry: task, when, args, kwargs, options, or any policy.

        With *revision*, the edit is refused with StaleRevision when somebody else has edited the entry
        since. Changing args never moves the next slot; changing the schedule settles what is due first.

        >>> schedule.update("mail", args=(7,), revision=3)   # doctest: +SKIP
        """
        return self._one(self.operations.updating(name, revision, dict(changes)))

    def copy(self, name: str, new: str, **changes: Unpack[Changes]) -> Entry:
        """Add an entry that says what another says, perhaps with some changes. It counts from now.

        >>> schedule.copy("mail", "mail-late", when="0 22 * * *")   # doctest: +SKIP
        """
        return self._one(self.operations.copying(name, new, dict(changes)))

    def rename(self, name: str, new: str, *, revision: int | None = None) -> Entry:
        """Give an entry another name, at one stroke: its next slot, its state and its task ids stay as they are.

        Rows of the ledger keep the name that was sent. A configured entry is renamed in ``beat_schedule``.

        >>> schedule.rename("mail", "mail-hourly")   # doctest: +SKIP
        """
        return self._one(self.operations.renaming(name, new, revision))

    def remove(self, name: str, *, revision: int | None = None) -> None:
        """Remove an entry. It wins over a tick in flight: nothing more is sent.

        >>> schedule.remove("mail")   # doctest: +SKIP
        """
        self.ask(self.operations.one(self.operations.removing(name, revision)))

    def pause(
        self,
        name: str,
        note: str | None = None,
        *,
        by: str | None = None,
        revision: int | None = None,
    ) -> Entry:
        """Pause an entry until it is resumed; the note and who paused it are kept.

        >>> schedule.pause("mail", note="provider is down")   # doctest: +SKIP
        """
        return self._one(self.operations.pausing(name, note, by, revision))

    def resume(self, name: str, *, catch_up: bool = False, revision: int | None = None) -> Entry:
        """Resume an entry from now; with *catch_up*, what it missed while paused falls under its policy.

        >>> schedule.resume("mail")   # doctest: +SKIP
        """
        return self._one(self.operations.resuming(name, catch_up, revision))

    def trigger(self, name: str) -> str:
        """Send an entry once, now, without moving its next slot; the id of the task that will be sent.

        >>> task_id = schedule.trigger("mail")   # doctest: +SKIP
        """
        return str(self.ask(self.operations.one(self.operations.triggering(name))))

    def backfill(
        self, name: str, start: datetime, end: datetime, *, rate: float = 100.0, progress: Progress | None = None
    ) -> int:
        """Send the slots from *start* to *end*, each with its nominal time, *rate* a second; how many.

        >>> schedule.backfill("mail", yesterday, today, rate=10)  # doctest: +SKIP
        """
        return self.ask(self.operations.backfill(name, start, end, rate, progress))

    def cancel(self, name: str) -> int:
        """Cancel the triggers and backfilled slots of an entry that wait to be sent; how many.

        >>> schedule.cancel("mail")   # doctest: +SKIP
        1440
        """
        return self.ask(self.operations.cancel(name))

    def batch(self, *, progress: Progress | None = None) -> Batch:
        """Many edits in few round trips, applied when the block ends.

        Up to 500 are applied all or none; more in pages of 500, of which each is all or none. When one
        cannot be, :class:`BatchFailed` says exactly what is in force. An exception inside the block
        applies nothing.

        >>> with schedule.batch() as batch:                       # doctest: +SKIP
        ...     batch.add("a", "tasks.add", 30, args=(1, 2))
        ...     batch.remove("b")
        """
        return Batch(self, progress)

    def _one(self, change: Change | Transfer) -> Entry:
        entry: Entry = self.ask(self.operations.one(change))
        return entry


class Batch(Recorder):
    """Many edits in few round trips; see :meth:`Schedule.batch`.

    >>> with schedule.batch() as batch:   # doctest: +SKIP
    ...     batch.add("a", "tasks.add", 30)
    """

    def __init__(self, schedule: Schedule, progress: Progress | None) -> None:
        super().__init__(schedule.operations, progress)
        self._schedule = schedule

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *exc: object) -> None:
        if kind is None:
            self.results = self._schedule.ask(self._apply())
