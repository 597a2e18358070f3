"""Schedule: the schedule as users edit it while it runs.

Every edit is one atomic script. It compares what it was made from, so nobody's edit is lost without
:class:`~redlock_beat.StaleRevision`; it carries a request id, so repeating it after a lost reply is
harmless; and it wakes the leader, so it is in force within milliseconds.
"""

from __future__ import annotations

import getpass
import os
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

import tenacity
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from .clock import MICROS, micros, moment, score
from .codec import decode
from .config import Settings, settings_of
from .connection import Target
from .edits import created, manual_item, paused, readable, removed, resumed, updated
from .entry import POLICIES, Entry, State
from .errors import (
    EntryExists,
    InvalidSchedule,
    InvalidSetting,
    NoSuchEntry,
    RedisUnavailable,
    StaleRevision,
    mask,
)
from .make import make_entry
from .policies import next_slot, simulate
from .schedules import Interval, Spec, as_spec
from .store import ABSENT, PRESENT, Conflict, Edit, Store, parse_state

#: Slots in one call of `backfill`.
BACKFILL_LIMIT = 100_000
_PAGE = 250
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Slot:
    """A coming slot of an entry, as :meth:`Schedule.preview` shows it."""

    name: str
    nominal: datetime


@dataclass(frozen=True, slots=True)
class Foreseen:
    """A row of :meth:`Schedule.simulate`: what would be sent, or missed (from *nominal* on, *count* slots)."""

    name: str
    what: str
    nominal: datetime
    at: datetime
    count: int = 1
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Happened:
    """A row of the ledger: what became of an occurrence, or of a run of missed ones."""

    what: str
    entry: str
    at: datetime
    nominal: datetime | None
    task_id: str | None
    epoch: int | None
    by: str | None
    why: str | None
    how: str | None
    first: datetime | None = None
    last: datetime | None = None
    count: int = 1

    @property
    def lateness(self) -> float | None:
        """Seconds from nominal to this row."""
        return None if self.nominal is None else (self.at - self.nominal).total_seconds()


class Schedule:
    """The schedule of an app, to be read and edited while beats run.

    >>> from celery import Celery
    >>> app = Celery("proj", broker="redis://localhost:6379/0")
    >>> schedule = Schedule(app)                        # or Schedule.from_url("redis://localhost/0")
    >>> schedule.add("report", "tasks.report", 3600)    # doctest: +SKIP
    >>> schedule.pause("report", note="month's end")    # doctest: +SKIP
    """

    def __init__(self, app: Any = None, *, settings: Settings | None = None, retry_for: float = 10.0) -> None:
        if app is None and settings is None:
            raise InvalidSetting("Schedule needs a Celery app, or use Schedule.from_url('redis://...').")
        self.app = app
        self.settings = settings if settings is not None else settings_of(app)
        self.retry_for = retry_for
        self._store = Store(Target(self.settings))

    @classmethod
    def from_url(cls, url: str, *, prefix: str = "redlock-beat", **settings: Any) -> Schedule:
        """A schedule where no Celery app is at hand; tasks are then given by name.

        >>> Schedule.from_url("redis://localhost:6379/0").settings.prefix
        'redlock-beat'
        """
        return cls(settings=Settings(url=url, prefix=prefix, **settings))

    def __repr__(self) -> str:
        return f"<Schedule at {self._store.target}, prefix {self.settings.prefix}>"

    # --- reading ---

    def __getitem__(self, name: str) -> Entry:
        return self._get(name)[1]

    def get(self, name: str, default: Any = None) -> Any:
        """The entry of this name, or *default*."""
        try:
            return self[name]
        except NoSuchEntry:
            return default

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._read(lambda: self._store.exists(name))

    def __len__(self) -> int:
        return self._read(self._store.size)

    def __iter__(self) -> Iterator[Entry]:
        """Every entry that can be read, in pages; those that cannot are in quarantine."""
        for page in self._store.entries():
            for stored in page:
                entry = readable(stored)
                if entry is not None:
                    yield entry

    def _get(self, name: str) -> tuple[int, Entry, str]:
        """Redis's time, the entry, and the state text an edit compares with."""
        now, (stored,) = self._read(lambda: self._store.read([name]))
        if stored.definition is None:
            raise NoSuchEntry(name)
        return now, decode(name, stored.definition, parse_state(stored.state)), stored.state or ""

    # --- editing ---

    def add_periodic_task(
        self, when: Any, sig: Any, args: Any = (), kwargs: Any = None, name: str | None = None, **opts: Any
    ) -> str:
        """As Celery's ``app.add_periodic_task``: adds or replaces an entry, and returns its name.

        What is a policy of ours (``missed=``, ``jitter=``, ...) is taken as one; the rest are options.

        >>> schedule.add_periodic_task(10.0, add.s(16, 16), name="add every 10")   # doctest: +SKIP
        'add every 10'
        """
        policies = {key: opts.pop(key) for key in list(opts) if key in POLICIES and key != "expires"}
        entry = self._make(name or repr(sig), sig, when, args, kwargs, opts, policies)
        self._add(entry, replace_existing=True)
        return entry.name

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
        **policies: Any,
    ) -> Entry:
        """Add an entry. It first fires at its first slot from now, or at once with ``run_now=True``.

        *task* is a task, a signature or a name. *when* is seconds, a timedelta, a crontab, solar,
        rrule or other schedule, or an aware datetime for one shot.

        >>> schedule.add("mail", "tasks.mail", crontab(minute=0), missed="skip", grace=60)  # doctest: +SKIP
        """
        entry = self._make(name, task, when, args, kwargs, options, policies, relative)
        return self._add(entry, replace_existing=replace, run_now=run_now)

    def _make(
        self, name: str, task: Any, when: Any, args: Any, kwargs: Any, options: Any, policies: dict[str, Any],
        relative: bool = False,
    ) -> Entry:  # fmt: skip
        return make_entry(self.app, name, task, when, args, kwargs, options, relative=relative, **policies)

    def _add(self, entry: Entry, *, replace_existing: bool, run_now: bool = False) -> Entry:
        request = secrets.token_hex(12)
        if not replace_existing:
            now = self._read(self._store.now)
            edit = created(entry, now, run_now=run_now)
            self._never(entry, edit)
            if isinstance(self._edit([edit], request), Conflict):
                raise EntryExists(entry.name)
            return _after(entry.name, edit)
        while True:
            now, (stored,) = self._read(lambda: self._store.read([entry.name]))
            known = readable(stored)
            if known is None or known.state is None or run_now:
                fresh = replace(entry, revision=known.revision + 1 if known else 1)
                edit = created(
                    fresh, now, run_now=run_now, expected=stored.state or ("*" if stored.definition else ABSENT)
                )
            else:
                edit = updated(
                    known, replace(entry, origin=known.origin), now, stored.state or "", self.settings.catchup_limit
                )
            self._never(entry, edit)
            if not isinstance(self._edit([edit], request), Conflict):
                return _after(entry.name, edit)
            request = secrets.token_hex(12)

    def _never(self, entry: Entry, edit: Edit) -> None:
        if State.parse(edit.state).nominal is None and entry.enabled:
            raise InvalidSchedule(
                f"entry {entry.name!r} would never be sent: its schedule ({entry.schedule}) has no slot after now"
                + (" within its bounds." if entry.starts is not None or entry.ends is not None else ".")
            )

    def update(self, name: str, *, revision: int | None = None, **changes: Any) -> Entry:
        """Change parts of an entry: task, when, args, kwargs, options, or any policy.

        With *revision*, the edit is refused with StaleRevision when somebody else has edited the entry
        since. Changing args never moves the next slot; changing the schedule settles what is due first.

        >>> schedule.update("mail", args=(7,), revision=3)   # doctest: +SKIP
        """

        def change(old: Entry, now: int, current: str) -> Edit:
            return updated(old, self._changed(old, changes), now, current, self.settings.catchup_limit)

        return self._change(name, revision, change)

    def _changed(self, old: Entry, changes: dict[str, Any]) -> Entry:
        given = dict(changes)
        known = {"task", "when", "args", "kwargs", "options", "relative", *POLICIES}
        unknown = sorted(set(given) - known)
        if unknown:
            raise InvalidSchedule(
                f"entry {old.name!r}: {', '.join(unknown)} cannot be changed. There are {', '.join(sorted(known))}."
            )
        parts: dict[str, Any] = {
            "task": old.canvas if old.canvas is not None else old.task, "when": old.schedule, "args": old.args,
            "kwargs": old.kwargs, "options": old.options,
        }  # fmt: skip
        if old.canvas is not None and "task" not in given:
            # Its arguments are inside the signature.
            parts.update(args=(), kwargs=None, options=None)
        if "task" in given and isinstance(given["task"], Mapping):
            parts.update(args=(), kwargs=None, options=None)
        policies = {name: getattr(old, name) for name in POLICIES if name not in ("expires", "starts", "ends")}
        bounds = {name: moment(at) for name in ("starts", "ends") if (at := getattr(old, name)) is not None}
        merged = {**parts, **policies, **bounds, **given}
        merged = {k: v for k, v in merged.items() if not (k in ("starts", "ends") and v is None)}
        if given.get("expires", ...) is None:
            merged.pop("expires")
            merged["options"] = {k: v for k, v in dict(merged["options"] or {}).items() if k != "expires"}
        new = make_entry(
            self.app, old.name, merged.pop("task"), merged.pop("when"), merged.pop("args"), merged.pop("kwargs"),
            merged.pop("options"), carry=not old.reference, **merged,
        )  # fmt: skip
        return replace(new, origin=old.origin, reference=old.reference, paused_by=old.paused_by)

    def remove(self, name: str, *, revision: int | None = None) -> None:
        """Remove an entry. It wins over a tick in flight: nothing more is sent.

        >>> schedule.remove("mail")   # doctest: +SKIP
        """
        request = secrets.token_hex(12)
        while True:
            _, (stored,) = self._read(lambda: self._store.read([name]))
            if stored.definition is None and stored.state is None:
                raise NoSuchEntry(name)
            state = parse_state(stored.state)
            self._fresh(name, revision, state.revision if state else None)
            edit = removed(name, stored.state if stored.state is not None else "*")
            if not isinstance(self._edit([edit], request), Conflict):
                return
            request = secrets.token_hex(12)

    def pause(self, name: str, note: str | None = None, *, by: str | None = None, revision: int | None = None) -> Entry:
        """Pause an entry until it is resumed; the note and who paused it are kept.

        >>> schedule.pause("mail", note="provider is down")   # doctest: +SKIP
        """
        who = by or _somebody()
        return self._change(name, revision, lambda old, now, current: paused(old, note, who, current))

    def resume(self, name: str, *, catch_up: bool = False, revision: int | None = None) -> Entry:
        """Resume an entry from now; with *catch_up*, what it missed while paused falls under its policy.

        >>> schedule.resume("mail")   # doctest: +SKIP
        """
        return self._change(name, revision, lambda old, now, current: resumed(old, now, current, catch_up=catch_up))

    def trigger(self, name: str) -> str:
        """Send an entry once, now, without moving its next slot; the id of the task that will be sent.

        >>> task_id = schedule.trigger("mail")   # doctest: +SKIP
        """
        from .render import task_id

        request = secrets.token_hex(12)
        now, entry, _ = self._get(name)
        item = manual_item(entry, "trigger", now, now, request)
        edit = Edit(name, PRESENT, manual=[(item, score(now))])
        if isinstance(self._edit([edit], request), Conflict):
            raise NoSuchEntry(name)
        return task_id(self.settings.prefix, entry.uid, now, request)

    def backfill(self, name: str, start: datetime, end: datetime, *, rate: float = 100.0) -> int:
        """Send the slots from *start* to *end*, each with its nominal time, *rate* a second; how many.

        >>> schedule.backfill("mail", yesterday, today, rate=10)  # doctest: +SKIP
        """
        if start.tzinfo is None or end.tzinfo is None:
            raise InvalidSchedule("backfill needs aware datetimes: a naive one means another instant in each zone.")
        if not 0 < rate <= 100_000:
            raise InvalidSchedule(f"rate is {rate!r}, but must be slots a second, above 0 and at most 100000.")
        now, entry, _ = self._get(name)
        request = secrets.token_hex(12)
        items: list[tuple[str, str]] = []
        entry = _reaching_back(entry, micros(start))
        at = next_slot(entry, micros(start) - 1)
        while at is not None and at <= micros(end):
            if len(items) >= BACKFILL_LIMIT:
                raise InvalidSchedule(
                    f"there are more than {BACKFILL_LIMIT} slots between {start} and {end}: backfill in parts."
                )
            items.append(
                (manual_item(entry, "backfill", at, now, request), score(now + round(len(items) * MICROS / rate)))
            )
            at = next_slot(entry, at)
        for i in range(0, len(items), _PAGE):
            edit = Edit(name, PRESENT, manual=items[i : i + _PAGE])
            if isinstance(self._edit([edit], f"{request}:{i}"), Conflict):
                raise NoSuchEntry(name)
        return len(items)

    def _change(self, name: str, revision: int | None, change: Callable[[Entry, int, str], Edit]) -> Entry:
        request = secrets.token_hex(12)
        while True:
            now, old, current = self._get(name)
            self._fresh(name, revision, old.revision)
            if old.state is None:
                old = old.with_state(State(old.uid, old.revision, next_slot(old, now)))
            edit = change(old, now, current or "*")
            if edit.state != "=" and old.enabled:
                self._never(
                    decode(name, edit.definition), edit
                ) if old.state and old.state.nominal is not None else None
            if not isinstance(self._edit([edit], request), Conflict):
                return _after(name, edit)
            request = secrets.token_hex(12)  # the leader moved it meanwhile: read it again

    @staticmethod
    def _fresh(name: str, expected: int | None, found: int | None) -> None:
        if expected is not None and expected != found:
            raise StaleRevision(name, expected, found)

    # --- looking ---

    def preview(self, name: str | None = None, n: int = 10, *, after: datetime | None = None) -> list[Slot]:
        """The next *n* slots of one entry, or of the whole schedule, soonest first.

        >>> schedule.preview("mail", n=3)   # doctest: +SKIP
        """
        if not 1 <= n <= 100_000:
            raise InvalidSchedule(f"n is {n!r}, but must be from 1 to 100000.")
        entries = [self[name]] if name is not None else self
        now = micros(after) if after is not None else self._read(self._store.now)
        found: list[Slot] = []
        for entry in entries:
            found.extend(Slot(entry.name, moment(at)) for at in _coming(entry, now, n))
            if len(found) > 4 * n + 1000:
                found = sorted(found, key=lambda slot: (slot.nominal, slot.name))[:n]
        return sorted(found, key=lambda slot: (slot.nominal, slot.name))[:n]

    def simulate(self, *, outage: tuple[datetime, datetime], name: str | None = None) -> list[Foreseen]:
        """What would be sent and missed if nothing ran during *outage*, under the present policies.

        Nothing is sent. Each entry's rows end with its first slot that is on time again.

        >>> schedule.simulate(outage=(tonight, tomorrow), name="mail")   # doctest: +SKIP
        """
        start, end = outage
        if start.tzinfo is None or end.tzinfo is None or end < start:
            raise InvalidSchedule("an outage is two aware datetimes, its start and its end.")
        found: list[Foreseen] = []
        for entry in [self[name]] if name is not None else self:
            if not entry.enabled or entry.state is None or entry.state.nominal is None:
                continue
            after = max(micros(start), entry.state.nominal)
            if after > micros(end):
                continue
            for one in simulate(entry, entry.state.count, after, micros(end), self.settings.catchup_limit):
                count = 1 if one.missed is None else one.missed.count
                why = None if one.missed is None else one.missed.why
                found.append(Foreseen(entry.name, one.what, moment(one.nominal), moment(one.at), count, why))
        return sorted(found, key=lambda one: (one.at, one.name, one.nominal))

    def history(self, name: str | None = None, since: datetime | None = None, *, n: int = 1000) -> list[Happened]:
        """What became of occurrences, newest first: sent, missed, failed, skipped.

        >>> schedule.history("mail", n=5)   # doctest: +SKIP
        """
        found = []
        low = None if since is None else micros(since)
        for row in self._store.ledger(since=low):
            if name is None or row.get("entry") == name:
                found.append(_happened(row))
                if len(found) >= n:
                    break
        return found

    # --- Redis, with bounded patience ---

    def _edit(self, edits: list[Edit], request: str) -> Conflict | list[int]:
        return self._patiently(
            lambda: self._store.edit(edits, request=request), "whether the edit took effect is unknown"
        )

    def _read(self, call: Callable[[], _T]) -> _T:
        return self._patiently(call, "nothing was changed")

    def _patiently(self, call: Callable[[], _T], outcome: str) -> _T:
        """Repeat a call while Redis is away: reads change nothing, edits carry a request id."""
        try:
            for attempt in tenacity.Retrying(
                retry=tenacity.retry_if_exception(_passing),
                stop=tenacity.stop_after_delay(self.retry_for),
                wait=tenacity.wait_random_exponential(multiplier=0.02, max=0.5),
                reraise=True,
            ):
                with attempt:
                    return call()
        except OutOfMemoryError as exc:
            raise RedisUnavailable(
                f"Redis at {self._store.target} is full and refuses writes ({mask(exc)}); nothing was changed. "
                "Free memory or raise maxmemory."
            ) from None
        except ResponseError as exc:
            raise RedisUnavailable(f"Redis at {self._store.target} refused the command: {mask(exc)}") from None
        except (RedisError, OSError) as exc:
            raise RedisUnavailable(
                f"Redis at {self._store.target} did not answer for {self.retry_for:g} s ({mask(exc)}); {outcome}."
            ) from None
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Close the connections; the schedule may be used again afterwards."""
        self._store.client.close()


def _passing(exc: BaseException) -> bool:
    """Whether an error is one of those that pass: Redis away, loading, or failing over."""
    if isinstance(exc, (RedisConnectionError, RedisTimeoutError, OSError)):
        return type(exc).__name__ not in ("AuthenticationError", "AuthorizationError")
    return isinstance(exc, ResponseError) and str(exc).startswith(("READONLY", "LOADING", "MASTERDOWN", "TRYAGAIN"))


def _after(name: str, edit: Edit) -> Entry:
    return decode(name, edit.definition, State.parse(edit.state))


def _reaching_back(entry: Entry, start: int) -> Entry:
    """The entry with its slots carried on backwards in phase, to before *start*."""
    spec = entry.schedule
    if not isinstance(spec, Interval) or entry.starts is not None or entry.anchor < start:
        return entry
    turns = (entry.anchor - start) // spec.every + 1
    return replace(entry, anchor=entry.anchor - turns * spec.every)


def _coming(entry: Entry, now: int, n: int) -> Iterator[int]:
    state = entry.state
    if not entry.enabled or state is None or state.nominal is None:
        return
    left = n if entry.max_runs is None else min(n, entry.max_runs - state.count)
    at: int | None = state.nominal if state.nominal > now else next_slot(entry, max(now, state.nominal))
    while at is not None and left > 0:
        yield at
        left -= 1
        at = next_slot(entry, at)


def _happened(row: Mapping[str, str]) -> Happened:
    def instant(key: str) -> datetime | None:
        return moment(int(row[key])) if row.get(key, "-").lstrip("-").isdigit() else None

    return Happened(
        what=row.get("is", "?"),
        entry=row.get("entry", ""),
        at=instant("at") or datetime.fromtimestamp(0, UTC),
        nominal=instant("nominal"),
        task_id=row.get("id"),
        epoch=int(row["epoch"]) if row.get("epoch", "").isdigit() else None,
        by=row.get("by"),
        why=row.get("why"),
        how=row.get("how"),
        first=instant("from"),
        last=instant("to"),
        count=int(row.get("count", 1)),
    )


def _somebody() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


__all__ = ["Happened", "Schedule", "Slot", "Spec", "as_spec"]
