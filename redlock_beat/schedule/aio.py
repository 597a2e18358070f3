"""AsyncSchedule: everything Schedule does, to be awaited.

Made from schedule.py by ``python scripts/make_async.py``. Change that file, then run the script.
"""

from __future__ import annotations

from collections.abc import Iterable, AsyncIterator, Mapping
from datetime import datetime
from typing import Any, Self, TypeVar, Unpack

import tenacity

from ..clock import moment, monotonic
from ..entries.entry import Changes, Entry, Policies
from ..errors import NoSuchEntry, RedisUnavailable, RedlockBeatError
from ..settings import Settings
from ..store import requests
from ..store.requests import Operation, Request
from ..store.store import AsyncStore
from .answers import Countdown, Hold, LedgerRow, SimulatedRow, Slot, TaskLock, Waiting
from .base import TROUBLE, Base, as_operation
from .batch import BatchBase, Progress
from .changes import Change, Transfer
from .countdowns import FIRST, Place
from .edit_log import EditRow
from .filters import Filter, Which, labelled
from .given import is_text
from .health import Health
from .status import Status
from .turns import AsyncTurns, async_heard, async_nap

T = TypeVar("T")

#: Milliseconds that one read of the ledger waits for new rows.
NEWS_WAIT = 500


class Connected(Base):
    """A schedule that can ask Redis: the one way there, also for the command line and the imports."""

    def __init__(
        self,
        app: Any = None,
        *,
        settings: Settings | None = None,
        retry_for: float = 10.0,
        timezone: str = "UTC",
        actor: str | None = None,
    ) -> None:
        super().__init__(app, settings=settings, retry_for=retry_for, timezone=timezone, actor=actor)
        self._store = AsyncStore(self.target)
        self._turns = AsyncTurns(self._places)

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        prefix: str = "redlock-beat",
        timezone: str = "UTC",
        retry_for: float = 10.0,
        actor: str | None = None,
        **settings: Any,
    ) -> Self:
        """A schedule without a Celery app. You give tasks by name.

        *timezone* is the zone of entries that name none. Give the zone of the app. A call waits for Redis for up to
        *retry_for* seconds. *actor* signs edits that have no actor of their own; the default is user@host.

        >>> AsyncSchedule.from_url("redis://localhost:6379/0").settings.prefix
        'redlock-beat'
        """
        made = Settings(url=url, prefix=prefix, **settings)
        return cls(settings=made, timezone=timezone, retry_for=retry_for, actor=actor)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def ask(self, operation: Operation[T] | Request[T]) -> T:
        """Carry out one of ``schedule.operations``, or a single request; every other method does it by this one.

        >>> await schedule.ask(schedule.operations.size())   # doctest: +SKIP
        """
        going = as_operation(operation)
        try:
            request = next(going)
            while True:
                try:
                    answer = await self.round_trip(request)
                except RedisUnavailable as exc:
                    request = going.throw(exc)
                else:
                    request = going.send(answer)
        except StopIteration as done:
            result: T = done.value
            return result

    async def round_trip(self, request: Request[Any]) -> Any:
        """Send one request, and try again while Redis is away; :class:`RedisUnavailable` in the end.

        >>> await schedule.round_trip(schedule.operations.size())   # doctest: +SKIP
        """
        retrying = tenacity.AsyncRetrying(**self._patience(request))
        try:
            async with self._turns.turn(self.retry_for):
                answer: Any = await retrying(self._store.run, request)
        except TROUBLE as exc:
            raise self._error_for(exc, request) from None
        self._turns.answered = monotonic()
        return answer

    async def now(self) -> datetime:
        """The time of Redis, which decides what is due.

        >>> await schedule.now()   # doctest: +SKIP
        """
        return moment(await self.ask(requests.now(self.keys)))

    async def close(self) -> None:
        """Close the connections. The next call opens them again.

        >>> await schedule.close()   # doctest: +SKIP
        """
        await self._store.close()


class Reading(Connected):
    """The methods that read: what is in the schedule, what is to come and what has been."""

    def __aiter__(self) -> AsyncIterator[Entry]:
        return self.entries()

    async def entry(self, name: str) -> Entry:
        """The entry of this name; :class:`NoSuchEntry` when there is none.

        >>> (await schedule.entry("mail")).next_due   # doctest: +SKIP
        """
        _, entry = await self.ask(self.operations.entry(name))
        return entry

    async def get(self, name: str, default: Any = None) -> Any:
        """The entry of this name, or *default*.

        >>> await schedule.get("mail")   # doctest: +SKIP
        """
        try:
            return await self.entry(name)
        except NoSuchEntry:
            return default

    async def has(self, name: str) -> bool:
        """Whether there is an entry of this name.

        >>> await schedule.has("mail")   # doctest: +SKIP
        """
        return is_text(name) and await self.ask(self.operations.exists(name))

    async def count(self) -> int:
        """How many entries there are.

        >>> await schedule.count()   # doctest: +SKIP
        """
        return await self.ask(self.operations.size())

    async def entries(self, **which: Unpack[Which]) -> AsyncIterator[Entry]:
        """The entries that match. They are read in pages, so a million of them are never in memory at once.

        They are chosen by *task*, *labels*, *queue* (all with wildcards), *prefix*, *contains* (part of the name),
        *origin*, *enabled*, and *state*: ``active``, ``paused``, ``finished`` or ``quarantined``. Entries that cannot
        be read are in quarantine, and not here. An entry that is added or removed meanwhile may be missing. If very
        many are removed, one may come twice.

        >>> async for entry in schedule.entries(task="mail.*", labels={"team": "billing"}): ...   # doctest: +SKIP
        """
        chosen = Filter(**which)
        cursor = "0"
        while True:
            cursor, found = await self.ask(self.operations.page(cursor, chosen))
            for one in found:
                yield one
            if cursor == "0":
                return

    async def preview(
        self,
        name: str | None = None,
        n: int = 10,
        *,
        after: datetime | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> list[Slot]:
        """The next *n* slots of one entry, of those with *labels*, or of the whole schedule, soonest first.

        >>> await schedule.preview("mail", n=3)   # doctest: +SKIP
        """
        return await self.ask(self.operations.preview(name, n, after, labelled(labels)))

    async def simulate(
        self,
        *,
        outage: tuple[datetime, datetime],
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> list[SimulatedRow]:
        """What would be sent and missed if no beat ran during *outage*, with today's policies.

        Nothing is sent. The rows of an entry end with its first slot that is on time again.

        >>> await schedule.simulate(outage=(tonight, tomorrow), name="mail")   # doctest: +SKIP
        """
        return await self.ask(self.operations.simulate(outage, name, labelled(labels)))

    async def history(
        self,
        name: str | None = None,
        since: datetime | None = None,
        *,
        n: int = 1000,
        outcome: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> list[LedgerRow]:
        """What became of occurrences, newest first: sent, missed, failed, skipped; and runs (``ran``).

        With an *outcome* (succeeded, failed, lost, ...) only runs with this outcome, as workers report it
        (:func:`redlock_beat.watch`).

        >>> await schedule.history("mail", n=5)   # doctest: +SKIP
        >>> await schedule.history(outcome="failed")   # doctest: +SKIP
        """
        return await self.ask(self.operations.history(name, since, n, outcome, labelled(labels)))

    async def log(
        self, name: str | None = None, since: datetime | None = None, *, n: int = 1000, actor: str | None = None
    ) -> list[EditRow]:
        """Who edited what, when and why, newest first. *actor* may have wildcards.

        >>> await schedule.log("mail", n=5)   # doctest: +SKIP
        >>> await schedule.log(actor="ann@*")   # doctest: +SKIP
        """
        return await self.ask(self.operations.log(name, since, n, actor))

    async def follow(
        self, name: str | None = None, *, last: int = 0, labels: Mapping[str, str] | None = None
    ) -> AsyncIterator[LedgerRow]:
        """What becomes of occurrences from now on, as it happens; begins with the *last* rows that are there.

        It does not end by itself. With *labels*, it follows the entries that have these labels when it begins.

        >>> async for row in schedule.follow("mail"): ...   # doctest: +SKIP
        """
        names = await self.ask(self.operations.names(labelled(labels)))
        row_id, found = await self.ask(self.operations.last_news(name, last, names))
        while True:
            for row in found:
                if name in (None, row.entry) and (names is None or row.entry in names):
                    yield row
            row_id, found = await self._later(row_id)

    async def _later(self, row_id: str) -> tuple[str, list[LedgerRow]]:
        """Rows after one, once there are any: who finds nobody reading reads for all who follow."""
        while True:
            kept, start, reading = self._news.next(row_id)
            if kept is None:  # it is too far behind the others
                kept = await self.ask(self.operations.news(row_id, 0))
                row_id = row_id if kept else str(self._news.since)
            if kept:
                return kept[-1][0], [row for _, row in kept]
            if start is not None:
                await self._read_for_all(start)
            elif reading is not None:
                await async_heard(reading)

    async def _read_for_all(self, start: str) -> None:
        error: RedlockBeatError | None = None
        rows: list[tuple[str, LedgerRow]] = []
        try:
            rows = await self.ask(self.operations.news(start, NEWS_WAIT))
        except RedlockBeatError as exc:
            error = exc
            raise
        finally:
            self._news.tell(rows, error)

    async def status(self) -> Status:
        """Who leads, what waits, what is wrong.

        >>> (await schedule.status()).leader   # doctest: +SKIP
        """
        return await self.ask(self.operations.status())

    async def held(self) -> Hold | None:
        """What holds everything now, or None.

        >>> await schedule.held()   # doctest: +SKIP
        """
        return await self.ask(self.operations.held())

    async def health(self, max_lag: float = 30.0) -> Health:
        """Whether the schedule is well: a beat leads, nothing is due for longer than *max_lag* seconds, and so on.

        >>> (await schedule.health(max_lag=30)).ok   # doctest: +SKIP
        """
        return await self.ask(self.operations.health(max_lag))

    async def acknowledge(self, *, actor: str | None = None, why: str | None = None) -> str | None:
        """Acknowledge what Redis has lost, so :meth:`health` does not report it any more. Returns what it was, or
        None.

        >>> await schedule.acknowledge(why="restored from the export of Monday")   # doctest: +SKIP
        """
        return await self.ask(self.operations.acknowledge(actor, why))

    async def waiting(self, name: str | None = None) -> list[Waiting]:
        """Manual items that wait to be sent (triggers, backfilled and settled slots), soonest first.

        >>> [(one.entry, one.source, one.count) for one in await schedule.waiting()]   # doctest: +SKIP
        [('mail', 'backfill', 1440)]
        """
        return await self.ask(self.operations.waiting(name))

    async def countdowns(self, *, task: str | None = None) -> AsyncIterator[Countdown]:
        """Calls with a countdown or eta that the schedule keeps, soonest first, read in pages.

        *task* may have wildcards. How many there are in all is ``schedule.status().countdowns``.

        >>> async for call in schedule.countdowns(task="mail.*"): print(call.id, call.at)   # doctest: +SKIP
        """
        place: Place | None = FIRST
        while place is not None:
            place, found = await self.ask(self.operations.countdown_page(place, task))
            for one in found:
                yield one

    async def locks(self, *, task: str | None = None) -> AsyncIterator[TaskLock]:
        """The locks of unique tasks, read in pages; *task* may have wildcards.

        >>> async for lock in schedule.locks(task="mail.*"): print(lock.key, lock.holder, lock.phase)   # doctest: +SKIP
        """
        cursor: str | None = "0"
        while cursor is not None:
            cursor, locks = await self.ask(self.operations.lock_page(cursor, task))
            for one in locks:
                yield one


class Holding(Reading):
    """The methods that hold everything, and release it."""

    async def hold(
        self,
        until: datetime | None = None,
        note: str | None = None,
        *,
        actor: str | None = None,
        why: str | None = None,
    ) -> Hold:
        """Send nothing until *until* by Redis's time, or until :meth:`release`. Everything stays due.

        When it returns, the leader has said that it sends nothing more to any broker. If the leader does not answer,
        the call waits until the leader's lease has ended; then `confirmed` is False. A second hold replaces the
        first, with its *until* and its note.

        >>> (await schedule.hold(until=tonight, note="new database")).confirmed   # doctest: +SKIP
        True
        """
        hold, patience = await self.ask(self.operations.holding(until, note, actor, why))
        began, pause = monotonic(), 0.002
        try:
            while not hold.confirmed and monotonic() - began < patience:
                await async_nap(pause)
                pause = min(2 * pause, 0.05)
                hold = await self.ask(self.operations.confirmed(hold))
        except RedisUnavailable:
            return hold  # it holds all the same
        return hold

    async def release(self, *, actor: str | None = None, why: str | None = None) -> Hold | None:
        """Release the hold. Returns the hold, or None if nothing was held.

        The policies decide what of the slots meanwhile is sent, as after an outage.

        >>> await schedule.release()   # doctest: +SKIP
        """
        return await self.ask(self.operations.releasing(actor, why))


class Together(Holding):
    """Edits of many entries at once."""

    def batch(self, *, progress: Progress | None = None) -> AsyncBatch:
        """Many edits in few round trips, applied when the block ends.

        Up to 500 edits are applied all or none. More are applied in pages of 500, each all or none. If one fails,
        :class:`BatchFailed` says exactly what is in force. After an exception inside the block nothing is applied.

        >>> async with schedule.batch() as batch:                       # doctest: +SKIP
        ...     batch.add("a", "tasks.add", 30, args=(1, 2))
        ...     batch.remove("b")
        """
        return AsyncBatch(self, progress)

    def select(self, **which: Unpack[Which]) -> AsyncSelection:
        """Choose entries as in :meth:`entries`, to edit them together. Nothing happens until you call a method of the
        result.

        >>> await schedule.select(labels={"team": "billing"}).pause(note="audit")   # doctest: +SKIP
        12
        >>> await schedule.select(task="mail.*", state="finished").remove()   # doctest: +SKIP
        3
        """
        return AsyncSelection(self, Filter(**which))


class AsyncSchedule(Together):
    """The schedule of an app, to be read and edited while beats run.

    It speaks to Redis through ``redis.asyncio``. Use one an event loop, and close it at the end.

    >>> from celery import Celery
    >>> app = Celery("proj", broker="redis://localhost:6379/0")
    >>> schedule = AsyncSchedule(app)                        # or AsyncSchedule.from_url("redis://localhost/0")
    >>> await schedule.add("report", "tasks.report", 3600)    # doctest: +SKIP
    >>> await schedule.pause("report", note="month's end")    # doctest: +SKIP
    """

    async def add_periodic_task(
        self, when: Any, sig: Any, args: Any = (), kwargs: Any = None, name: str | None = None, **opts: Any
    ) -> str:
        """As Celery's ``app.add_periodic_task``: adds or replaces an entry, and returns its name.

        Keywords that are policies (``missed=``, ``jitter=``, ...) are policies of the entry; the others are options.

        >>> await schedule.add_periodic_task(10.0, add.s(16, 16), name="add every 10")   # doctest: +SKIP
        'add every 10'
        """
        change = self.operations.as_celery_spells_it(when, sig, args, kwargs, name, opts)
        await self.ask(self.operations.one(change))
        return change.name

    async def add(
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
    ) -> Entry:
        """Add an entry. It is first sent at its first slot from now, or at once with ``run_now=True``.

        *task* is a task, a signature or a name. *when* is seconds, a timedelta, a crontab, solar,
        rrule or other schedule, a text (``"0 7 * * 1-5"``, ``"10m"``), or an aware datetime for one shot.

        >>> await schedule.add("mail", "tasks.mail", crontab(minute=0), missed="skip", grace=60)  # doctest: +SKIP
        """
        entry = self.operations.making(name, task, when, args, kwargs, options, dict(policies), relative)
        change = self.operations.adding(entry, replace_existing=replace, run_now=run_now)
        return await self._one(change, actor, why)

    async def update(
        self,
        name: str,
        *,
        revision: int | None = None,
        actor: str | None = None,
        why: str | None = None,
        **changes: Unpack[Changes],
    ) -> Entry:
        """Change parts of an entry: task, when, args, kwargs, options, or any policy.

        With *revision*, StaleRevision refuses the edit if somebody else has edited the entry since. New arguments do
        not move the next slot. With a new schedule, what is due under the old schedule is sent first.

        >>> await schedule.update("mail", args=(7,), revision=3)   # doctest: +SKIP
        """
        return await self._one(self.operations.updating(name, revision, dict(changes)), actor, why)

    async def copy(
        self, name: str, new: str, *, actor: str | None = None, why: str | None = None, **changes: Unpack[Changes]
    ) -> Entry:
        """Add a copy of an entry, perhaps with some changes. Its slots count from now.

        >>> await schedule.copy("mail", "mail-late", when="0 22 * * *")   # doctest: +SKIP
        """
        return await self._one(self.operations.copying(name, new, dict(changes)), actor, why)

    async def rename(
        self,
        name: str,
        new: str,
        *,
        revision: int | None = None,
        actor: str | None = None,
        why: str | None = None,
    ) -> Entry:
        """Give an entry another name in one step: its next slot, its state and its task ids stay as they are.

        Rows of the ledger keep the old name. Rename a configured entry in ``beat_schedule``.

        >>> await schedule.rename("mail", "mail-hourly")   # doctest: +SKIP
        """
        return await self._one(self.operations.renaming(name, new, revision), actor, why)

    async def remove(
        self, name: str, *, revision: int | None = None, actor: str | None = None, why: str | None = None
    ) -> None:
        """Remove an entry. Nothing more of it is sent, even if a beat was about to send it.

        >>> await schedule.remove("mail")   # doctest: +SKIP
        """
        change = self.operations.removing(name, revision)
        await self.ask(self.operations.one(self.operations.signed(change, actor, why)))

    async def pause(
        self,
        name: str,
        note: str | None = None,
        *,
        until: datetime | None = None,
        actor: str | None = None,
        why: str | None = None,
        revision: int | None = None,
    ) -> Entry:
        """Pause an entry until it is resumed, or *until* a time. It keeps the note, and who paused it.

        At *until* (by Redis's clock) it goes on by itself, with its first slot from then on. Slots during the pause
        are not sent. No process needs to run at that time. If none runs, the policy `missed` decides.

        >>> await schedule.pause("mail", note="provider is down")   # doctest: +SKIP
        >>> await schedule.pause("mail", until=tomorrow, note="migration")   # doctest: +SKIP
        """
        return await self._one(self.operations.pausing(name, note, actor, revision, until), actor, why)

    async def resume(
        self,
        name: str,
        *,
        catch_up: bool = False,
        revision: int | None = None,
        actor: str | None = None,
        why: str | None = None,
    ) -> Entry:
        """Resume an entry from now; with *catch_up*, its policy `missed` decides about the slots of the pause.

        An entry that is not paused stays as it is.

        >>> await schedule.resume("mail")   # doctest: +SKIP
        """
        return await self._one(self.operations.resuming(name, catch_up, revision), actor, why)

    async def skip(
        self,
        name: str,
        n: int = 1,
        *,
        actor: str | None = None,
        why: str | None = None,
        revision: int | None = None,
    ) -> Entry:
        """Do not send the next *n* slots of an entry, up to 1,000. With 0, end the skip.

        The ledger has each slot as skipped when its time comes, with who asked for it and why. A skipped slot does
        not count for `max_runs`.
        An edit that moves the slots of the entry ends the skip.

        >>> (await schedule.skip("nightly", why="audit")).next_due   # doctest: +SKIP
        """
        return await self._one(self.operations.skipping(name, n, actor, why, revision), None, None)

    async def trigger(
        self,
        name: str,
        args: Any = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        options: Mapping[str, Any] | None = None,
        actor: str | None = None,
        why: str | None = None,
    ) -> str:
        """Send an entry once, now. Its next slot does not move. Returns the task id.

        *args*, *kwargs* and *options* replace those of the entry for this one send, each as a whole, as in
        :meth:`update`.

        >>> task_id = await schedule.trigger("mail")   # doctest: +SKIP
        >>> task_id = await schedule.trigger("mail", kwargs={"to": 7}, options={"queue": "slow"})   # doctest: +SKIP
        """
        change = self.operations.triggering(name, args, kwargs, options)
        return str(await self.ask(self.operations.one(self.operations.signed(change, actor, why))))

    async def backfill(
        self,
        name: str,
        start: datetime,
        end: datetime,
        *,
        rate: float = 100.0,
        progress: Progress | None = None,
        actor: str | None = None,
        why: str | None = None,
    ) -> int:
        """Send the slots from *start* to *end* again, *rate* a second, each with its nominal time. Returns how many.

        >>> await schedule.backfill("mail", yesterday, today, rate=10)  # doctest: +SKIP
        """
        signature = self.operations.signature(actor, why)
        return await self.ask(self.operations.backfill(name, start, end, rate, progress, signature))

    async def cancel(self, name: str, *, actor: str | None = None, why: str | None = None) -> int:
        """Cancel the triggers and backfilled slots of an entry that wait to be sent. Returns how many.

        *name* may also be a task id. Then its call with a countdown or eta is cancelled, if the schedule still keeps
        it, and its state stays PENDING. ``app.control.revoke`` cancels it, too, and gives it the state REVOKED.

        >>> await schedule.cancel("mail")   # doctest: +SKIP
        1440
        """
        return await self.ask(self.operations.cancel(name, self.operations.signature(actor, why)))

    async def cancel_countdowns(self, ids: Iterable[str]) -> list[str]:
        """Cancel calls with a countdown or eta by their task ids. Returns the ids of those that were still kept.

        >>> await schedule.cancel_countdowns([result.id for result in results])   # doctest: +SKIP
        """
        return await self.ask(self.operations.cancel_countdowns(ids))

    async def unlock(self, lock: TaskLock) -> bool:
        """Free the lock of a unique task, if it still has this holder. A call that waits or runs is not stopped.

        >>> async for lock in schedule.locks(task="mail.send"): await schedule.unlock(lock)   # doctest: +SKIP
        """
        return await self.ask(self.operations.unlock(lock))

    async def _one(self, change: Change | Transfer, actor: str | None, why: str | None) -> Entry:
        entry: Entry = await self.ask(self.operations.one(self.operations.signed(change, actor, why)))
        return entry


class AsyncBatch(BatchBase):
    """Many edits in few round trips; see :meth:`AsyncSchedule.batch`.

    >>> async with schedule.batch() as batch:   # doctest: +SKIP
    ...     batch.add("a", "tasks.add", 30)
    """

    def __init__(self, schedule: Connected, progress: Progress | None) -> None:
        super().__init__(schedule.operations, progress)
        self._schedule = schedule

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, *exc: object) -> None:
        if kind is None:
            self.results = await self._schedule.ask(self._apply())


class AsyncSelection:
    """Entries that are edited together, page by page; see :meth:`AsyncSchedule.select`.

    Each method edits the entries that fit as it runs, in pages of 500, each all or none, and returns how many there
    were. When one page fails, :class:`BatchFailed` says what is in force. ``progress`` is called with how many entries
    were looked at since the last call.

    Unless a *state* was chosen, ``pause``, ``skip`` and ``trigger`` are about active entries alone, ``resume`` about
    paused ones, so that nobody's pause becomes another one.
    """

    def __init__(self, schedule: Connected, which: Filter) -> None:
        self._schedule = schedule
        self._operations = schedule.operations
        #: Which entries are meant.
        self.which = which

    async def count(self) -> int:
        """How many entries match now.

        >>> await schedule.select(queue="slow").count()   # doctest: +SKIP
        """
        return await self._schedule.ask(self._operations.counted(self.which))

    async def pause(
        self,
        note: str | None = None,
        *,
        until: datetime | None = None,
        actor: str | None = None,
        why: str | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Pause them, as :meth:`AsyncSchedule.pause` does.

        >>> await schedule.select(prefix="tenant-42.").pause("unpaid")   # doctest: +SKIP
        """

        def change(name: str) -> Change:
            return self._operations.pausing(name, note, actor, None, until)

        return await self._schedule.ask(self._operations.bulk(self.which, change, actor, why, progress))

    async def resume(
        self,
        *,
        catch_up: bool = False,
        actor: str | None = None,
        why: str | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Resume them, as :meth:`AsyncSchedule.resume` does.

        >>> await schedule.select(labels={"team": "billing"}).resume()   # doctest: +SKIP
        """

        def change(name: str) -> Change:
            return self._operations.resuming(name, catch_up, None)

        return await self._schedule.ask(self._operations.bulk(self.which, change, actor, why, progress))

    async def skip(
        self, n: int = 1, *, actor: str | None = None, why: str | None = None, progress: Progress | None = None
    ) -> int:
        """Skip the next *n* slots of each, as :meth:`AsyncSchedule.skip` does.

        >>> await schedule.select(queue="slow").skip()   # doctest: +SKIP
        """

        def change(name: str) -> Change:
            return self._operations.skipping(name, n, actor, why, None)

        return await self._schedule.ask(self._operations.bulk(self.which, change, None, None, progress))

    async def trigger(
        self,
        args: Any = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        options: Mapping[str, Any] | None = None,
        actor: str | None = None,
        why: str | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Send each once, now, as :meth:`AsyncSchedule.trigger` does.

        >>> await schedule.select(task="cache.*").trigger()   # doctest: +SKIP
        """

        def change(name: str) -> Change:
            return self._operations.triggering(name, args, kwargs, options)

        return await self._schedule.ask(self._operations.bulk(self.which, change, actor, why, progress))

    async def remove(
        self,
        *,
        actor: str | None = None,
        why: str | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Remove them, as :meth:`AsyncSchedule.remove` does; also those that cannot be read.

        >>> await schedule.select(state="finished").remove(why="tidy")   # doctest: +SKIP
        """

        def change(name: str) -> Change:
            return self._operations.removing(name, None)

        return await self._schedule.ask(self._operations.bulk(self.which, change, actor, why, progress))
