"""Schedule and AsyncSchedule: the schedule as users edit it while it runs.

Every edit is one atomic script. It compares what it was made from, so nobody's edit is lost without
:class:`~redlock_beat.StaleRevision`; it carries a request id, so repeating it after a lost reply is
harmless; and it wakes the leader, so it is in force within milliseconds. What is done stands in
:mod:`redlock_beat.schedule.operations`; here it meets sockets, event loops and bounded patience.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, TypeVar, Unpack

import tenacity
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    NoPermissionError,
    OutOfMemoryError,
    RedisClusterException,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ..clock import monotonic
from ..entries.entry import Changes, Entry, Policies
from ..errors import (
    AccessDenied,
    InvalidSchedule,
    InvalidSetting,
    NoSuchEntry,
    RedisUnavailable,
    RedlockBeatError,
    mask,
)
from ..recurrence.zones import zone
from ..settings import Settings, settings_of
from ..store.client import Target
from ..store.requests import Asking, Step
from ..store.store import AsyncStore, Store
from .health import Verdict
from .operations import BATCH_LIMIT, Change, Foreseen, Happened, Operations, Slot, Transfer, Waiting
from .status import Status
from .turns import PLACES, AsyncTurns, News, NoTurn, Turns

T = TypeVar("T")
Progress = Callable[[int], None]

#: Milliseconds one look for news of the ledger waits.
NEWS_WAIT = 500


class _Common:
    """What both kinds of schedule are made of."""

    def __init__(
        self, app: Any = None, *, settings: Settings | None = None, retry_for: float = 10.0, timezone: str = "UTC"
    ) -> None:
        if app is None and settings is None:
            raise InvalidSetting(
                f"{type(self).__name__} needs a Celery app, or use {type(self).__name__}.from_url('redis://...')."
            )
        self.app = app
        self.settings = settings if settings is not None else settings_of(app)
        self.retry_for = retry_for
        zone(timezone)
        self._target = Target(self.settings)
        self._operations = Operations(app, self.settings, self._target.keys, timezone)
        self._news = News()
        # No more callers at a time than there are connections.
        self._places = max(1, min(PLACES, int(self.settings.redis_options.get("max_connections") or PLACES)))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self._target}, prefix {self.settings.prefix}>"

    def _patience(self) -> dict[str, Any]:
        """Reads change nothing and edits carry a request id: both are repeated while Redis is away."""
        return {
            "retry": tenacity.retry_if_exception(_passing),
            "stop": tenacity.stop_after_delay(self.retry_for),
            "wait": tenacity.wait_random_exponential(multiplier=0.02, max=0.5),
            "reraise": True,
        }

    def _said_clearly(self, exc: Exception, step: Step[Any]) -> RedisUnavailable:
        if isinstance(exc, NoTurn):
            return RedisUnavailable(
                f"Redis at {self._target} answered nobody for {self.retry_for:g} s; this call waited for its turn "
                f"behind {self._places} others and was not made."
            )
        if isinstance(exc, OutOfMemoryError):
            return RedisUnavailable(
                f"Redis at {self._target} is full and refuses writes ({mask(exc)}); nothing was changed. "
                "Free memory or raise maxmemory."
            )
        if _denied(exc):
            return AccessDenied(
                f"Redis at {self._target} refuses access ({mask(exc)}); nothing was changed. Check user and password "
                "in redlock_beat_url and the user's ACL rule; `celery redlock doctor` prints the smallest that will do."
            )
        if isinstance(exc, ResponseError):
            return RedisUnavailable(f"Redis at {self._target} refused the command: {mask(exc)}")
        outcome = "whether the edit took effect is unknown" if step.writes else "nothing was changed"
        error = RedisUnavailable(
            f"Redis at {self._target} did not answer for {self.retry_for:g} s ({mask(exc)}); {outcome}."
        )
        error.unknown = step.writes
        return error


class Schedule(_Common):
    """The schedule of an app, to be read and edited while beats run.

    >>> from celery import Celery
    >>> app = Celery("proj", broker="redis://localhost:6379/0")
    >>> schedule = Schedule(app)                        # or Schedule.from_url("redis://localhost/0")
    >>> schedule.add("report", "tasks.report", 3600)    # doctest: +SKIP
    >>> schedule.pause("report", note="month's end")    # doctest: +SKIP
    """

    def __init__(
        self, app: Any = None, *, settings: Settings | None = None, retry_for: float = 10.0, timezone: str = "UTC"
    ) -> None:
        super().__init__(app, settings=settings, retry_for=retry_for, timezone=timezone)
        self._store = Store(self._target)
        self._turns = Turns(self._places)
        self._lock = threading.Lock()

    @classmethod
    def from_url(
        cls, url: str, *, prefix: str = "redlock-beat", timezone: str = "UTC", retry_for: float = 10.0, **settings: Any
    ) -> Schedule:
        """A schedule where no Celery app is at hand; tasks are then given by name.

        *timezone* is that of entries that name none; it should be the app's. A call waits for Redis for
        *retry_for* seconds at most.

        >>> Schedule.from_url("redis://localhost:6379/0").settings.prefix
        'redlock-beat'
        """
        return cls(settings=Settings(url=url, prefix=prefix, **settings), timezone=timezone, retry_for=retry_for)

    def _do(self, asking: Asking[T]) -> T:
        """Take the steps an operation asks for."""
        try:
            step = next(asking)
            while True:
                try:
                    answer = self._patiently(step)
                except RedisUnavailable as exc:
                    step = asking.throw(exc)
                else:
                    step = asking.send(answer)
        except StopIteration as done:
            result: T = done.value
            return result

    def _patiently(self, step: Step[Any]) -> Any:
        try:
            with self._turns.turn(self.retry_for):
                answer = tenacity.Retrying(**self._patience())(self._store.run, step)
        except _TROUBLE as exc:
            raise self._said_clearly(exc, step) from None
        self._turns.answered = monotonic()
        return answer

    # --- reading ---

    def __getitem__(self, name: str) -> Entry:
        return self.entry(name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.has(name)

    def __len__(self) -> int:
        return self.count()

    def __delitem__(self, name: str) -> None:
        self.remove(name)

    def __iter__(self) -> Iterator[Entry]:
        return self.entries()

    def __enter__(self) -> Schedule:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def entry(self, name: str) -> Entry:
        """The entry of this name; :class:`NoSuchEntry` when there is none. The same as ``schedule[name]``.

        >>> schedule.entry("mail").next_due   # doctest: +SKIP
        """
        return self._do(self._operations.entry(name))[1]

    def get(self, name: str, default: Any = None) -> Any:
        """The entry of this name, or *default*.

        >>> schedule.get("mail")   # doctest: +SKIP
        """
        try:
            return self.entry(name)
        except NoSuchEntry:
            return default

    def has(self, name: str) -> bool:
        """Whether there is an entry of this name. The same as ``name in schedule``.

        >>> schedule.has("mail")   # doctest: +SKIP
        """
        return self._do(_once(self._operations.exists(name)))

    def count(self) -> int:
        """How many entries there are. The same as ``len(schedule)``.

        >>> schedule.count()   # doctest: +SKIP
        """
        return self._do(_once(self._operations.size()))

    def entries(
        self, *, task: str | None = None, prefix: str | None = None, enabled: bool | None = None,
        origin: str | None = None,
    ) -> Iterator[Entry]:  # fmt: skip
        """Entries that fit, read in pages: a million of them are never held at once.

        *task* may have wildcards. Those that cannot be read are in quarantine and not here. Entries
        that come or go meanwhile may be missed, or, when very many go, come twice.

        >>> for entry in schedule.entries(task="billing.*", enabled=True): ...   # doctest: +SKIP
        """
        cursor = "0"
        while True:
            asking = self._operations.page(cursor, task=task, prefix=prefix, enabled=enabled, origin=origin)
            cursor, page = self._do(asking)
            yield from page
            if cursor == "0":
                return

    # --- editing ---

    def add_periodic_task(
        self, when: Any, sig: Any, args: Any = (), kwargs: Any = None, name: str | None = None, **opts: Any
    ) -> str:
        """As Celery's ``app.add_periodic_task``: adds or replaces an entry, and returns its name.

        What is a policy of ours (``missed=``, ``jitter=``, ...) is taken as one; the rest are options.

        >>> schedule.add_periodic_task(10.0, add.s(16, 16), name="add every 10")   # doctest: +SKIP
        'add every 10'
        """
        change = self._operations.as_celery_spells_it(when, sig, args, kwargs, name, opts)
        self._do(self._operations.one(change))
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
        entry = self._operations.making(name, task, when, args, kwargs, options, dict(policies), relative)
        change = self._operations.adding(entry, replace_existing=replace, run_now=run_now)
        return self._one(change)

    def update(self, name: str, *, revision: int | None = None, **changes: Unpack[Changes]) -> Entry:
        """Change parts of an entry: task, when, args, kwargs, options, or any policy.

        With *revision*, the edit is refused with StaleRevision when somebody else has edited the entry
        since. Changing args never moves the next slot; changing the schedule settles what is due first.

        >>> schedule.update("mail", args=(7,), revision=3)   # doctest: +SKIP
        """
        return self._one(self._operations.updating(name, revision, dict(changes)))

    def copy(self, name: str, new: str, **changes: Unpack[Changes]) -> Entry:
        """Add an entry that says what another says, perhaps with some changes. It counts from now.

        >>> schedule.copy("mail", "mail-late", when="0 22 * * *")   # doctest: +SKIP
        """
        return self._one(self._operations.copying(name, new, dict(changes)))

    def rename(self, name: str, new: str, *, revision: int | None = None) -> Entry:
        """Give an entry another name, at one stroke: its next slot, its state and its task ids stay as they are.

        Rows of the ledger keep the name that was sent. A configured entry is renamed in ``beat_schedule``.

        >>> schedule.rename("mail", "mail-hourly")   # doctest: +SKIP
        """
        return self._one(self._operations.renaming(name, new, revision))

    def remove(self, name: str, *, revision: int | None = None) -> None:
        """Remove an entry, as ``del schedule[name]`` does. It wins over a tick in flight: nothing more is sent.

        >>> schedule.remove("mail")   # doctest: +SKIP
        """
        self._do(self._operations.one(self._operations.removing(name, revision)))

    def pause(self, name: str, note: str | None = None, *, by: str | None = None, revision: int | None = None) -> Entry:
        """Pause an entry until it is resumed; the note and who paused it are kept.

        >>> schedule.pause("mail", note="provider is down")   # doctest: +SKIP
        """
        return self._one(self._operations.pausing(name, note, by, revision))

    def resume(self, name: str, *, catch_up: bool = False, revision: int | None = None) -> Entry:
        """Resume an entry from now; with *catch_up*, what it missed while paused falls under its policy.

        >>> schedule.resume("mail")   # doctest: +SKIP
        """
        return self._one(self._operations.resuming(name, catch_up, revision))

    def trigger(self, name: str) -> str:
        """Send an entry once, now, without moving its next slot; the id of the task that will be sent.

        >>> task_id = schedule.trigger("mail")   # doctest: +SKIP
        """
        return str(self._do(self._operations.one(self._operations.triggering(name))))

    def backfill(
        self, name: str, start: datetime, end: datetime, *, rate: float = 100.0, progress: Progress | None = None
    ) -> int:
        """Send the slots from *start* to *end*, each with its nominal time, *rate* a second; how many.

        >>> schedule.backfill("mail", yesterday, today, rate=10)  # doctest: +SKIP
        """
        return self._do(self._operations.backfill(name, start, end, rate, progress))

    def waiting(self, name: str | None = None) -> list[Waiting]:
        """What waits to be sent by hand (triggers, backfills, slots settled by an edit), soonest first.

        >>> [(one.entry, one.how, one.count) for one in schedule.waiting()]   # doctest: +SKIP
        [('mail', 'backfill', 1440)]
        """
        return self._do(self._operations.waiting(name))

    def cancel(self, name: str) -> int:
        """Cancel the triggers and backfilled slots of an entry that wait to be sent; how many.

        >>> schedule.cancel("mail")   # doctest: +SKIP
        1440
        """
        return self._do(self._operations.cancel(name))

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
        entry: Entry = self._do(self._operations.one(change))
        return entry

    # --- looking ---

    def preview(self, name: str | None = None, n: int = 10, *, after: datetime | None = None) -> list[Slot]:
        """The next *n* slots of one entry, or of the whole schedule, soonest first.

        >>> schedule.preview("mail", n=3)   # doctest: +SKIP
        """
        return self._do(self._operations.preview(name, n, after))

    def simulate(self, *, outage: tuple[datetime, datetime], name: str | None = None) -> list[Foreseen]:
        """What would be sent and missed if nothing ran during *outage*, under the present policies.

        Nothing is sent. Each entry's rows end with its first slot that is on time again.

        >>> schedule.simulate(outage=(tonight, tomorrow), name="mail")   # doctest: +SKIP
        """
        return self._do(self._operations.simulate(outage, name))

    def history(self, name: str | None = None, since: datetime | None = None, *, n: int = 1000) -> list[Happened]:
        """What became of occurrences, newest first: sent, missed, failed, skipped.

        >>> schedule.history("mail", n=5)   # doctest: +SKIP
        """
        return self._do(self._operations.history(name, since, n))

    def follow(self, name: str | None = None, *, last: int = 0) -> Iterator[Happened]:
        """What becomes of occurrences from now on, as it happens; begins with the *last* rows there are.

        It ends only when you stop asking.

        >>> for row in schedule.follow("mail"): ...   # doctest: +SKIP
        """
        row_id, found = self._do(self._operations.last_news(name, last))
        while True:
            yield from (row for row in found if name is None or row.entry == name)
            row_id, found = self._later(row_id)

    def _later(self, row_id: str) -> tuple[str, list[Happened]]:
        """Rows after one, once there are any: whoever finds nobody reading reads for all who follow."""
        while True:
            with self._lock:
                kept = self._news.after(row_id)
                reading = self._news.reading
                if kept == [] and reading is None:
                    mine = self._news.reading = concurrent.futures.Future[None]()
                    start = self._news.start(row_id)
                else:
                    mine = None
            if kept is None:  # it is too far behind the others
                kept = self._do(self._operations.news(row_id, 0))
                row_id = row_id if kept else str(self._news.since)
            if kept:
                return kept[-1][0], [row for _, row in kept]
            if mine is not None:
                self._read_for_all(mine, start)
            elif reading is not None:
                reading.result()

    def _read_for_all(self, mine: concurrent.futures.Future[None], start: str) -> None:
        error: BaseException | None = None
        rows: list[tuple[str, Happened]] = []
        try:
            rows = self._do(self._operations.news(start, NEWS_WAIT))
        except BaseException as exc:
            error = exc if isinstance(exc, RedlockBeatError) else None
            raise
        finally:
            with self._lock:
                self._news.add(rows)
                self._news.reading = None
            mine.set_result(None) if error is None else mine.set_exception(error)

    def status(self) -> Status:
        """Who leads, what waits, what is wrong.

        >>> schedule.status().leader   # doctest: +SKIP
        """
        return self._do(self._operations.status())

    def health(self, max_lag: float = 30.0) -> Verdict:
        """Whether the whole is well: a leader, nothing due for longer than *max_lag* seconds, nothing set aside.

        >>> schedule.health(max_lag=30).ok   # doctest: +SKIP
        """
        return self._do(self._operations.health(max_lag))

    def acknowledge(self) -> str | None:
        """You know what Redis has lost: :meth:`health` need not say it any more. What that was, or None.

        >>> schedule.acknowledge()   # doctest: +SKIP
        """
        return self._do(self._operations.acknowledge())

    def close(self) -> None:
        """Close the connections; the schedule may be used again afterwards.

        >>> schedule.close()   # doctest: +SKIP
        """
        self._store.client.close()


class AsyncSchedule(_Common):
    """The schedule of an app on ``redis.asyncio``: everything :class:`Schedule` does, to be awaited.

    Use one an event loop, and close it at the end:

    >>> async def report_hourly(app):
    ...     async with AsyncSchedule(app) as schedule:       # or AsyncSchedule.from_url("redis://...")
    ...         await schedule.add("report", "tasks.report", 3600)
    ...         async for entry in schedule.entries(prefix="rep"):
    ...             print(entry.name, entry.next_due)
    """

    def __init__(
        self, app: Any = None, *, settings: Settings | None = None, retry_for: float = 10.0, timezone: str = "UTC"
    ) -> None:
        super().__init__(app, settings=settings, retry_for=retry_for, timezone=timezone)
        self._store = AsyncStore(self._target)
        self._turns = AsyncTurns(self._places)

    @classmethod
    def from_url(
        cls, url: str, *, prefix: str = "redlock-beat", timezone: str = "UTC", retry_for: float = 10.0, **settings: Any
    ) -> AsyncSchedule:
        """A schedule where no Celery app is at hand; tasks are then given by name.

        *timezone* is that of entries that name none; it should be the app's. A call waits for Redis for
        *retry_for* seconds at most.

        >>> AsyncSchedule.from_url("redis://localhost:6379/0").settings.prefix
        'redlock-beat'
        """
        return cls(settings=Settings(url=url, prefix=prefix, **settings), timezone=timezone, retry_for=retry_for)

    async def __aenter__(self) -> AsyncSchedule:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def _do(self, asking: Asking[T]) -> T:
        """Take the steps an operation asks for."""
        try:
            step = next(asking)
            while True:
                try:
                    answer = await self._patiently(step)
                except RedisUnavailable as exc:
                    step = asking.throw(exc)
                else:
                    step = asking.send(answer)
        except StopIteration as done:
            result: T = done.value
            return result

    async def _patiently(self, step: Step[Any]) -> Any:
        try:
            async with self._turns.turn(self.retry_for):
                answer: Any = await tenacity.AsyncRetrying(**self._patience())(self._store.run, step)
        except _TROUBLE as exc:
            raise self._said_clearly(exc, step) from None
        self._turns.answered = monotonic()
        return answer

    # --- reading ---

    def __aiter__(self) -> AsyncIterator[Entry]:
        return self.entries()

    async def entry(self, name: str) -> Entry:
        """As :meth:`Schedule.entry`.

        >>> (await schedule.entry("mail")).next_due   # doctest: +SKIP
        """
        return (await self._do(self._operations.entry(name)))[1]

    async def get(self, name: str, default: Any = None) -> Any:
        """As :meth:`Schedule.get`.

        >>> await schedule.get("mail")   # doctest: +SKIP
        """
        try:
            return await self.entry(name)
        except NoSuchEntry:
            return default

    async def has(self, name: str) -> bool:
        """As :meth:`Schedule.has`.

        >>> await schedule.has("mail")   # doctest: +SKIP
        """
        return await self._do(_once(self._operations.exists(name)))

    async def count(self) -> int:
        """As :meth:`Schedule.count`.

        >>> await schedule.count()   # doctest: +SKIP
        """
        return await self._do(_once(self._operations.size()))

    async def entries(
        self, *, task: str | None = None, prefix: str | None = None, enabled: bool | None = None,
        origin: str | None = None,
    ) -> AsyncIterator[Entry]:  # fmt: skip
        """As :meth:`Schedule.entries`.

        >>> async for entry in schedule.entries(enabled=False): ...   # doctest: +SKIP
        """
        cursor = "0"
        while True:
            asking = self._operations.page(cursor, task=task, prefix=prefix, enabled=enabled, origin=origin)
            cursor, page = await self._do(asking)
            for entry in page:
                yield entry
            if cursor == "0":
                return

    # --- editing ---

    async def add_periodic_task(
        self, when: Any, sig: Any, args: Any = (), kwargs: Any = None, name: str | None = None, **opts: Any
    ) -> str:
        """As :meth:`Schedule.add_periodic_task`.

        >>> await schedule.add_periodic_task(10.0, add.s(16, 16), name="add every 10")   # doctest: +SKIP
        """
        change = self._operations.as_celery_spells_it(when, sig, args, kwargs, name, opts)
        await self._do(self._operations.one(change))
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
        **policies: Unpack[Policies],
    ) -> Entry:
        """As :meth:`Schedule.add`.

        >>> await schedule.add("mail", "tasks.mail", crontab(minute=0))   # doctest: +SKIP
        """
        entry = self._operations.making(name, task, when, args, kwargs, options, dict(policies), relative)
        return await self._one(self._operations.adding(entry, replace_existing=replace, run_now=run_now))

    async def update(self, name: str, *, revision: int | None = None, **changes: Unpack[Changes]) -> Entry:
        """As :meth:`Schedule.update`.

        >>> await schedule.update("mail", args=(7,))   # doctest: +SKIP
        """
        return await self._one(self._operations.updating(name, revision, dict(changes)))

    async def copy(self, name: str, new: str, **changes: Unpack[Changes]) -> Entry:
        """As :meth:`Schedule.copy`.

        >>> await schedule.copy("mail", "mail-late", when="0 22 * * *")   # doctest: +SKIP
        """
        return await self._one(self._operations.copying(name, new, dict(changes)))

    async def rename(self, name: str, new: str, *, revision: int | None = None) -> Entry:
        """As :meth:`Schedule.rename`.

        >>> await schedule.rename("mail", "mail-hourly")   # doctest: +SKIP
        """
        return await self._one(self._operations.renaming(name, new, revision))

    async def remove(self, name: str, *, revision: int | None = None) -> None:
        """As :meth:`Schedule.remove`.

        >>> await schedule.remove("mail")   # doctest: +SKIP
        """
        await self._do(self._operations.one(self._operations.removing(name, revision)))

    async def pause(
        self, name: str, note: str | None = None, *, by: str | None = None, revision: int | None = None
    ) -> Entry:
        """As :meth:`Schedule.pause`.

        >>> await schedule.pause("mail", note="provider is down")   # doctest: +SKIP
        """
        return await self._one(self._operations.pausing(name, note, by, revision))

    async def resume(self, name: str, *, catch_up: bool = False, revision: int | None = None) -> Entry:
        """As :meth:`Schedule.resume`.

        >>> await schedule.resume("mail")   # doctest: +SKIP
        """
        return await self._one(self._operations.resuming(name, catch_up, revision))

    async def trigger(self, name: str) -> str:
        """As :meth:`Schedule.trigger`.

        >>> task_id = await schedule.trigger("mail")   # doctest: +SKIP
        """
        return str(await self._do(self._operations.one(self._operations.triggering(name))))

    async def backfill(
        self, name: str, start: datetime, end: datetime, *, rate: float = 100.0, progress: Progress | None = None
    ) -> int:
        """As :meth:`Schedule.backfill`.

        >>> await schedule.backfill("mail", yesterday, today, rate=10)   # doctest: +SKIP
        """
        return await self._do(self._operations.backfill(name, start, end, rate, progress))

    async def waiting(self, name: str | None = None) -> list[Waiting]:
        """As :meth:`Schedule.waiting`.

        >>> await schedule.waiting("mail")   # doctest: +SKIP
        """
        return await self._do(self._operations.waiting(name))

    async def cancel(self, name: str) -> int:
        """As :meth:`Schedule.cancel`.

        >>> await schedule.cancel("mail")   # doctest: +SKIP
        """
        return await self._do(self._operations.cancel(name))

    def batch(self, *, progress: Progress | None = None) -> AsyncBatch:
        """As :meth:`Schedule.batch`; the edits are recorded without awaiting, and applied when the block ends.

        >>> async with schedule.batch() as batch:   # doctest: +SKIP
        ...     batch.add("a", "tasks.add", 30)
        """
        return AsyncBatch(self, progress)

    async def _one(self, change: Change | Transfer) -> Entry:
        entry: Entry = await self._do(self._operations.one(change))
        return entry

    # --- looking ---

    async def preview(self, name: str | None = None, n: int = 10, *, after: datetime | None = None) -> list[Slot]:
        """As :meth:`Schedule.preview`.

        >>> await schedule.preview("mail", n=3)   # doctest: +SKIP
        """
        return await self._do(self._operations.preview(name, n, after))

    async def simulate(self, *, outage: tuple[datetime, datetime], name: str | None = None) -> list[Foreseen]:
        """As :meth:`Schedule.simulate`.

        >>> await schedule.simulate(outage=(tonight, tomorrow))   # doctest: +SKIP
        """
        return await self._do(self._operations.simulate(outage, name))

    async def history(self, name: str | None = None, since: datetime | None = None, *, n: int = 1000) -> list[Happened]:
        """As :meth:`Schedule.history`.

        >>> await schedule.history("mail", n=5)   # doctest: +SKIP
        """
        return await self._do(self._operations.history(name, since, n))

    async def follow(self, name: str | None = None, *, last: int = 0) -> AsyncIterator[Happened]:
        """As :meth:`Schedule.follow`.

        >>> async for row in schedule.follow("mail"): ...   # doctest: +SKIP
        """
        row_id, found = await self._do(self._operations.last_news(name, last))
        while True:
            for row in found:
                if name is None or row.entry == name:
                    yield row
            row_id, found = await self._later(row_id)

    async def _later(self, row_id: str) -> tuple[str, list[Happened]]:
        """Rows after one, once there are any: whoever finds nobody reading reads for all who follow."""
        while True:
            kept = self._news.after(row_id)
            if kept is None:  # it is too far behind the others
                kept = await self._do(self._operations.news(row_id, 0))
                row_id = row_id if kept else str(self._news.since)
            if kept:
                return kept[-1][0], [row for _, row in kept]
            reading = self._news.reading
            if reading is not None:
                await asyncio.shield(reading)
            else:
                await self._read_for_all(row_id)

    async def _read_for_all(self, row_id: str) -> None:
        mine = self._news.reading = asyncio.get_running_loop().create_future()
        error: BaseException | None = None
        try:
            self._news.add(await self._do(self._operations.news(self._news.start(row_id), NEWS_WAIT)))
        except BaseException as exc:
            error = exc if isinstance(exc, RedlockBeatError) else None
            raise
        finally:
            self._news.reading = None
            if error is None:
                mine.set_result(None)
            else:
                mine.set_exception(error)
                mine.exception()  # told here already, whether or not others wait

    async def status(self) -> Status:
        """As :meth:`Schedule.status`.

        >>> (await schedule.status()).leader   # doctest: +SKIP
        """
        return await self._do(self._operations.status())

    async def health(self, max_lag: float = 30.0) -> Verdict:
        """As :meth:`Schedule.health`.

        >>> (await schedule.health()).ok   # doctest: +SKIP
        """
        return await self._do(self._operations.health(max_lag))

    async def acknowledge(self) -> str | None:
        """As :meth:`Schedule.acknowledge`.

        >>> await schedule.acknowledge()   # doctest: +SKIP
        """
        return await self._do(self._operations.acknowledge())

    async def close(self) -> None:
        """Close the connections.

        >>> await schedule.close()   # doctest: +SKIP
        """
        await self._store.client.aclose()


class _Recorder:
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


class Batch(_Recorder):
    """Many edits in few round trips; see :meth:`Schedule.batch`.

    >>> with schedule.batch() as batch:   # doctest: +SKIP
    ...     batch.add("a", "tasks.add", 30)
    """

    def __init__(self, schedule: Schedule, progress: Progress | None) -> None:
        super().__init__(schedule._operations, progress)
        self._schedule = schedule

    def __enter__(self) -> Batch:
        return self

    def __exit__(self, kind: object, *exc: object) -> None:
        if kind is None:
            self.results = self._schedule._do(self._apply())


class AsyncBatch(_Recorder):
    """Many edits in few round trips; see :meth:`AsyncSchedule.batch`.

    >>> async with schedule.batch() as batch:   # doctest: +SKIP
    ...     batch.add("a", "tasks.add", 30)
    """

    def __init__(self, schedule: AsyncSchedule, progress: Progress | None) -> None:
        super().__init__(schedule._operations, progress)
        self._schedule = schedule

    async def __aenter__(self) -> AsyncBatch:
        return self

    async def __aexit__(self, kind: object, *exc: object) -> None:
        if kind is None:
            self.results = await self._schedule._do(self._apply())


def _once(step: Step[T]) -> Asking[T]:
    answer: T = yield step
    return answer


#: What a step may meet: Redis and the network, a cluster that cannot be reached, no turn.
_TROUBLE = (RedisError, OSError, RedisClusterException, NoTurn)


_REFUSALS = (
    "AuthenticationError", "WRONGPASS", "NOAUTH", "username-password", "ACL failure", "The user executing the script",
)  # fmt: skip


def _denied(exc: BaseException) -> bool:
    """Whether Redis refuses access, also where redis-py tells it in the words of a Sentinel or a cluster."""
    if isinstance(exc, (AuthenticationError, AuthorizationError, NoPermissionError)):
        return True
    return any(word in str(exc) for word in _REFUSALS)


def _passing(exc: BaseException) -> bool:
    """Whether an error is one of those that pass: Redis away, loading, or failing over."""
    if isinstance(exc, RedlockBeatError) or _denied(exc):
        return False
    if isinstance(exc, (RedisConnectionError, RedisTimeoutError, OSError, RedisClusterException)):
        return True
    return isinstance(exc, ResponseError) and str(exc).startswith(("READONLY", "LOADING", "MASTERDOWN", "TRYAGAIN"))
