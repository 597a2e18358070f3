"""Moves to this schedule, within a Django project that is set up, and its database: ``main(rows)``.

django-celery-beat fills its tables with so many rows and is asked what it would send in 48 hours, with its clock moved along;
then they are imported, compared while it goes on, and written back. A RedBeat of the project is imported, too. What
came of all that is printed as JSON: one process of the project shows it all.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import time
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

from celery.beat import PersistentScheduler
from celery.schedules import crontab, maybe_schedule
from django.core.management import call_command
from django.db import transaction
from redis import Redis

from redlock_beat import RedisScheduler
from redlock_beat.clock import micros
from redlock_beat.django import Schedule, celery_app
from redlock_beat.django import tables as their_tables
from redlock_beat.django.verbs import redlock
from redlock_beat.schedule.compare import Comparison

HOURS = timedelta(hours=48)
#: The import happens some seconds after the tables were filled: what comes until then is not compared.
MARGIN = timedelta(minutes=3)
ZONES = ("UTC", "Europe/Berlin", "Asia/Tokyo", "America/New_York", "Asia/Kathmandu")
CRONTABS = (
    ("0", "*", "*", "*", "*"),
    ("*/30", "8-17", "*", "*", "*"),
    ("15", "3", "*", "*", "*"),
    ("0", "7,19", "*", "*", "mon-fri"),
    ("5", "*/4", "1-28", "*", "*"),
    ("0", "0", "1", "1,4,7,10", "*"),
    ("30", "2", "*", "*", "sun"),
)
INTERVALS = (
    (45, "minutes"),
    (90, "minutes"),
    (7, "hours"),
    (1, "days"),
    (5400, "seconds"),
    (2_100_000_000, "microseconds"),
)


class Clock:
    """The time, moved by hand."""

    now = datetime.now(UTC)


def fill(start: datetime, rows: int) -> None:
    """Rows of every kind, the same each time but for the time itself."""
    from django_celery_beat import models

    chance = random.Random(14)
    for number in range(rows):
        period, parts = period_of(models, chance, number, start)
        row = models.PeriodicTask(
            name=f"entry {number:03d}",
            task=f"tasks.t{number % 7}",
            args=json.dumps([number, "x"][: number % 3]),
            kwargs=json.dumps({"to": number} if number % 2 else {}),
            queue=chance.choice([None, "slow"]),
            priority=chance.choice([None, 3]),
            headers=json.dumps({"tenant": "4"} if number % 5 == 0 else {}),
            description="moved",
            **parts,
        )
        if number % 11 == 0:
            row.enabled = False
        if number % 13 == 0:
            row.expires = start + chance.choice([timedelta(hours=20), timedelta(hours=60)])
        elif number % 17 == 0:
            row.expire_seconds = 120
        if number % 19 == 0:
            row.one_off, row.last_run_at, row.total_run_count = True, None, number % 2
        if number % 23 == 0 and row.interval is not None:
            row.start_time = start + timedelta(hours=5)
            row.last_run_at = None
        row.save()
        if row.last_run_at is None and period is not None:
            models.PeriodicTask.objects.filter(pk=row.pk).update(date_changed=start - period / 3)


def period_of(
    models: Any, chance: random.Random, number: int, start: datetime
) -> tuple[timedelta | None, dict[str, Any]]:
    """A schedule, and when it was last sent: less than a slot ago."""
    kind = number % 10
    if kind < 4:
        every, unit = chance.choice(INTERVALS)
        span = timedelta(**{unit: every})
        one, _ = models.IntervalSchedule.objects.get_or_create(every=every, period=unit)
        last = start - span * chance.uniform(0.01, 0.9)
        return span, {"interval": one, "last_run_at": last, "total_run_count": 9}
    if kind == 4:
        at = start + timedelta(hours=chance.choice([-2, 3, 40, 90]))
        one, _ = models.ClockedSchedule.objects.get_or_create(clocked_time=at)
        return None, {"clocked": one, "one_off": True}
    if kind == 5 and number % 4 == 1:
        one, _ = models.SolarSchedule.objects.get_or_create(event="sunset", latitude=52.5, longitude=13.4)
        return None, {"solar": one, "last_run_at": start - timedelta(minutes=1), "total_run_count": 1}
    fields = dict(
        zip(("minute", "hour", "day_of_month", "month_of_year", "day_of_week"), chance.choice(CRONTABS), strict=True)
    )
    one, _ = models.CrontabSchedule.objects.get_or_create(**fields, timezone=chance.choice(ZONES))
    return timedelta(minutes=1), {"crontab": one, "last_run_at": start - timedelta(seconds=30), "total_run_count": 2}


def entry_class() -> Any:
    """django-celery-beat's own entry, but for its clock, which is moved by hand."""
    from django_celery_beat.schedulers import ModelEntry

    class Entry(ModelEntry):
        def __init__(self, model: Any, app: Any = None) -> None:
            super().__init__(model, app)
            self.schedule.nowfun = lambda: Clock.now

        def _default_now(self) -> datetime:
            return Clock.now

    return Entry


def sent_there(start: datetime) -> dict[str, Any]:
    """What each row sends, by django-celery-beat's own code; and those that it never sends again."""
    from django_celery_beat.models import PeriodicTask

    theirs = entry_class()
    entries, unfit = {}, []
    for row in PeriodicTask.objects.select_related("interval", "crontab", "solar", "clocked"):
        gone = row.clocked is not None and (not row.enabled or row.total_run_count)
        if row.clocked is not None and row.expires is not None and row.expires <= max(row.clocked.clocked_time, start):
            gone = True
        if gone:
            unfit.append(row.name)
            continue
        Clock.now, slots = start, []
        entry = theirs(row)
        row.save = lambda *args, **kwargs: None  # what it would note is not to be there for the move
        sent = {
            "task": entry.task,
            "args": entry.args,
            "kwargs": entry.kwargs,
            "queue": entry.options.get("queue"),
            "priority": entry.options.get("priority"),
            "tenant": entry.options["headers"].get("tenant"),
        }
        while row.enabled and Clock.now < start + HOURS:
            due, pause = entry.is_due()
            if due:
                slots.append(Clock.now)
                entry = next(entry)
            else:
                Clock.now += timedelta(seconds=max(pause, 0.000001))
        entries[row.name] = {**sent, "slots": compared(slots, start)}
    return {"start": start.timestamp(), "entries": entries, "unfit": sorted(unfit)}


def ours(start: datetime) -> dict[str, Any]:
    """The same of the schedule."""
    found = {}
    schedule = Schedule()
    for entry in schedule:
        slots = [] if entry.next_due is None else [entry.next_due]
        if slots and entry.max_runs != 1:
            slots += [slot.nominal for slot in schedule.preview(entry.name, 90)]
        found[entry.name] = {
            "task": entry.task,
            "args": list(entry.args),
            "kwargs": dict(entry.kwargs),
            "queue": entry.options.get("queue"),
            "priority": entry.options.get("priority"),
            "tenant": (entry.options.get("headers") or {}).get("tenant"),
            "slots": compared(slots, start),
        }
    return found


class Beside:
    """django-celery-beat goes on and writes its tables as it does, a little late at each send; readings in between."""

    def __init__(self, start: datetime) -> None:
        from django_celery_beat.models import PeriodicTask

        Clock.now = start
        self.start = start
        self.entries = {row.name: entry_class()(row) for row in PeriodicTask.objects.filter(enabled=True)}
        self.comparison = Comparison(tolerance=5)
        self.go_on(start + timedelta(minutes=2))  # what was due at the start is late
        self.found = self.read()

    def read(self) -> list[dict[str, Any]]:
        now = micros(Clock.now)
        rows = their_tables.entries("default", celery_app(), now)
        return [one.json() for one in self.comparison.read(rows, now)]

    def go_on(self, until: datetime, without: str = "") -> None:
        """Send what is due, then write what was sent last."""
        begun = Clock.now
        with transaction.atomic():
            for name, entry in self.entries.items():
                Clock.now, sent, goes_on = begun, 0, entry
                while Clock.now < until and entry.model.enabled and name != without:
                    due, pause = goes_on.is_due()
                    if due:
                        Clock.now += timedelta(milliseconds=300)
                        goes_on, sent = next(goes_on), sent + 1
                    else:
                        Clock.now += timedelta(seconds=max(pause, 0.000001))
                if sent and entry.model.enabled:
                    goes_on.save()
                self.entries[name] = goes_on
        Clock.now = until

    def answer(self) -> dict[str, Any]:
        """What is found in six hours in which all is well, and in one more in which something is not."""
        for hours in (2, 4, 6):
            self.go_on(self.start + timedelta(hours=hours))
            self.found += self.read()
        well, self.found = self.found, []
        rows = [one.model for one in self.entries.values() if not (one.model.expires or one.model.one_off)]
        hourly = next(row.name for row in rows if row.crontab and (row.crontab.minute, row.crontab.hour) == ("0", "*"))
        self.go_on(self.start + timedelta(hours=7, minutes=10), without=hourly)
        self.found += self.read()
        unsent = [one.json() for one in self.comparison.unsent(micros(Clock.now))]
        # One that is not to be sent within the next minute.
        twice = next(row.name for row in rows if row.interval and self.entries[row.name].is_due().next > 60)
        for name in (hourly, twice):
            self.entries[name] = next(self.entries[name])
            self.entries[name].save()
        self.found += self.read()
        return {
            "well": well,
            "ill": {one["name"]: one for one in self.found if not one["same"]},
            "unsent": unsent,
            "expected": {"hourly": hourly, "twice": twice},
            "edited": sorted(self.comparison.edited),
        }


def compared(slots: list[datetime], start: datetime) -> list[float]:
    """The slots of the window, to a tenth of a second."""
    within = {round(at.timestamp(), 1) for at in slots if start + MARGIN < at < start + HOURS}
    return sorted(within)


def verb(*args: str) -> dict[str, Any]:
    """What ``manage.py redlock`` prints, and its exit code."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = redlock.main(
            list(args), prog_name="redlock", obj=SimpleNamespace(app=celery_app()), standalone_mode=False
        )
    return {"out": out.getvalue(), "err": err.getvalue(), "code": code or 0}


def plain(entry: Any) -> list[Any]:
    """What two entries have in common that are the same."""
    return [
        str(entry.schedule),
        list(entry.args),
        entry.kwargs,
        entry.options,
        entry.enabled,
        entry.timezone,
        entry.note,
    ]


def there_and_back(folder: str) -> dict[str, Any]:
    """What dump writes, loaddata of django-celery-beat reads, and an import brings back."""
    from django_celery_beat.models import PeriodicTask

    schedule = Schedule()
    PeriodicTask.objects.all().delete()
    schedule.add("a", "t", 90, args=(1,), kwargs={"to": 7}, options={"queue": "q", "priority": 3}, expires=30)
    schedule.add("b", "t", "0 7 * * 1-5", timezone="Asia/Tokyo", note="why")
    schedule.pause("b")
    file = f"{folder}/dump.json"
    before = {entry.name: plain(entry) for entry in schedule}
    said = verb("dump", "--format", "django-celery-beat", file)
    call_command("loaddata", file, verbosity=0)
    empty(schedule)
    verb("import-django-celery-beat", "--yes")
    return {"said": said, "before": before, "after": {entry.name: plain(entry) for entry in schedule}}


def from_redbeat() -> dict[str, Any]:
    """What RedBeat would send next, and what this schedule does after the import."""
    from redbeat import RedBeatSchedulerEntry

    app = celery_app()
    app.conf.redbeat_redis_url = app.conf.broker_url
    for name, when, args in (
        ("poll", crontab(minute="*/5"), [1]),
        ("sync", timedelta(minutes=7), []),
        ("late", 60, []),
    ):
        entry = RedBeatSchedulerEntry(name, "reminders.tasks.report", maybe_schedule(when), args=args, app=app)
        entry.last_run_at = app.now() - timedelta(seconds=10 if name != "late" else 90)
        entry.save().reschedule()
    theirs = {key: RedBeatSchedulerEntry.from_key(f"redbeat:{key}", app=app) for key in ("poll", "sync", "late")}
    schedule = Schedule()
    empty(schedule)
    said = verb("import-redbeat", "--yes")
    return {
        "said": said,
        "theirs": {key: [one.task, list(one.args), one.due_at.timestamp()] for key, one in theirs.items()},
        "ours": {one.name: [one.task, list(one.args), one.next_due.timestamp()] for one in schedule if one.next_due},
    }


class LockedPersistentScheduler(PersistentScheduler):
    """Celery's own beat with a lock around it, as projects copy it from one another."""

    def setup_schedule(self) -> None:
        self.lock = Redis.from_url(self.app.conf.broker_url).lock("celery-beat-lock", timeout=60)
        self.lock.acquire(blocking_timeout=5)
        super().setup_schedule()

    def tick(self, *args: Any, **kwargs: Any) -> float:
        self.lock.extend(60, replace_ttl=True)
        return float(super().tick(*args, **kwargs))

    def close(self) -> None:
        self.lock.release()
        super().close()


def from_locked(folder: str) -> dict[str, Any]:
    """What both beats send, one after the other, of a beat_schedule."""
    app = celery_app()
    client = Redis.from_url(app.conf.broker_url, decode_responses=True)
    client.delete("celery")
    empty(Schedule())
    app.conf.beat_schedule = {
        "poll": {"task": "reminders.tasks.report", "schedule": timedelta(seconds=1), "args": ["paid"]},
        "nightly": {"task": "reminders.tasks.report", "schedule": crontab(hour=3, minute=30)},
    }
    for beat in (
        LockedPersistentScheduler(app, schedule_filename=f"{folder}/celerybeat-schedule"),
        RedisScheduler(app),
    ):
        before, until = client.llen("celery"), time.monotonic() + 60
        while client.llen("celery") < before + 2 and time.monotonic() < until:
            time.sleep(min(0.2, max(0.0, beat.tick())))  # as Celery does between two turns: a turn says for how long
        beat.close()
    sent = [json.loads(one)["headers"] for one in client.lrange("celery", 0, -1)]
    return {
        "sent": [[one["argsrepr"], one.get("redlock_beat_due")] for one in reversed(sent)],
        "nightly": Schedule()["nightly"].words,
        "lock": client.exists("celery-beat-lock"),
    }


def empty(schedule: Any) -> None:
    """Remove all entries."""
    for entry in list(schedule):
        schedule.remove(entry.name)


def main(rows: int) -> None:
    """Print all of it."""
    folder = os.environ["DJANGO_TEST_DIRECTORY"]
    call_command("migrate", "django_celery_beat", verbosity=0)
    start = datetime.now(UTC).replace(microsecond=0)
    with transaction.atomic():
        fill(start, rows)
    answer: dict[str, Any] = {"theirs": sent_there(start)}
    importing = ("import-django-celery-beat", "--yes")
    answer["dry"] = verb(*importing, "--dry-run", "--json")
    answer["dry"]["entries"] = len(Schedule())
    answer["done"] = verb(*importing)
    answer["ours"] = ours(start)
    answer["again"] = verb(*importing)
    answer["beside"] = Beside(start).answer()
    empty(Schedule())
    answer["back"] = there_and_back(folder)
    if find_spec("redbeat"):
        answer["redbeat"] = from_redbeat()
    answer["locked"] = from_locked(folder)
    print(json.dumps(answer, default=str))
