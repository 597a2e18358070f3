"""The schedulers that are compared, each put to work on the same server in the same way.

A peer fills its own store with *many* entries that are all due, and is ticked until their messages are
in the queue. Nothing is installed here: a peer that is missing is named, with what to install.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from celery import Celery
from celery.schedules import schedule

from redlock_beat import Schedule
from redlock_beat.store.keys import Keys
from tests.beats import Beat, make_app
from tests.servers import Server

K = Keys("redlock-beat")
QUEUE = "celery"
#: Further settings of every app that is made here.
CONF: dict[str, Any] = {}


class Peer:
    """One scheduler: how it is filled, and how it is made to send."""

    name = ""
    needs = ""
    #: The most entries it is measured with: some would take an hour.
    most = 100_000

    def missing(self) -> bool:
        """Whether the package is not installed."""
        if not self.needs:
            return False
        from importlib.util import find_spec

        return find_spec(self.needs.split(">")[0].replace("-", "_").replace("celery_redbeat", "redbeat")) is None

    @contextlib.contextmanager
    def ready(self, server: Server, many: int, broker: str) -> Iterator[Callable[[], Any]]:
        """Filled, with everything due; gives what takes one turn."""
        raise NotImplementedError
        yield


def _app(server: Server, broker: str, name: str, **conf: Any) -> Celery:
    app = Celery(name, broker=broker, set_as_current=False)
    app.conf.update(result_expires=None, **CONF, **conf)

    @app.task(name="tasks.add", shared=False)
    def add(x: int = 0, y: int = 0) -> int:
        return x + y

    app.finalize()
    return app


def _lead(replica: Any) -> None:
    """Up to where it would send: the others have no election, and what a start takes is measured by itself."""
    replica.prepare()
    while (won := replica.standby.turn()) is None:
        pass
    replica.lead(won.term)
    replica.leader.begin()
    while not replica.leader.pages.written:
        replica.leader.pages.write_next()


class Ours(Peer):
    name = "redlock_beat"
    #: What its entries are given.
    policies: Mapping[str, Any] = MappingProxyType({})

    @contextlib.contextmanager
    def ready(self, server: Server, many: int, broker: str) -> Iterator[Callable[[], Any]]:
        app = make_app(
            broker,
            redlock_beat_url=server.url(),
            redlock_beat_lease_ttl=60.0,
            redlock_beat_render_limit=60.0,
            **CONF,
        )
        filler = Schedule(app)
        with filler.batch() as batch:
            for i in range(many):
                batch.add(f"entry-{i}", "tasks.add", 86_400, args=(i, 1), run_now=True, **self.policies)
        beat = Beat(app)
        beat.scheduler.build()
        _lead(beat.replica)
        wait = beat.parts.listener.wait
        # When all is claimed the loop sleeps, and the publisher goes on: come back to see when it is done.
        beat.parts.listener.wait = lambda seconds: wait(min(seconds, 0.01))  # type: ignore[method-assign]
        try:
            yield beat.scheduler.tick
        finally:
            beat.close()


class OursOneAtATime(Ours):
    name = "redlock_beat, overlap=skip"
    policies = MappingProxyType({"overlap": "skip"})


class OursRendered(Ours):
    name = "redlock_beat, each rendered"
    most = 20_000

    @contextlib.contextmanager
    def ready(self, server: Server, many: int, broker: str) -> Iterator[Callable[[], Any]]:
        # A router that is code is what makes each message be rendered by itself.
        before = CONF.get("task_routes")
        CONF["task_routes"] = [lambda *args, **kwargs: None]
        try:
            with super().ready(server, many, broker) as turn:
                yield turn
        finally:
            CONF["task_routes"] = before


class RedBeat(Peer):
    name, needs = "celery-redbeat", "celery-redbeat"
    most = 20_000

    @contextlib.contextmanager
    def ready(self, server: Server, many: int, broker: str) -> Iterator[Callable[[], Any]]:
        warnings.simplefilter("ignore")
        from redbeat import RedBeatScheduler, RedBeatSchedulerEntry

        app = _app(server, broker, "redbeat", redbeat_redis_url=server.url(1), redbeat_lock_key=None)
        past = datetime.now(UTC) - timedelta(hours=25)
        for i in range(many):
            RedBeatSchedulerEntry(
                f"entry-{i}", "tasks.add", schedule(86_400), args=[i, 1], app=app, last_run_at=past
            ).save()
        scheduler = RedBeatScheduler(app=app)
        scheduler.lock_key = None
        yield scheduler.tick


class Django(Peer):
    name, needs = "django-celery-beat", "django_celery_beat"
    most = 2_000

    @contextlib.contextmanager
    def ready(self, server: Server, many: int, broker: str) -> Iterator[Callable[[], Any]]:
        import django
        from django.conf import settings

        if not settings.configured:
            where = tempfile.mkdtemp()
            atexit.register(shutil.rmtree, where, ignore_errors=True)
            settings.configure(
                INSTALLED_APPS=["django_celery_beat"],
                USE_TZ=True,
                SECRET_KEY="benchmark",
                DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{where}/db.sqlite3"}},
            )
            django.setup()
        from django.core.management import call_command
        from django_celery_beat.models import IntervalSchedule, PeriodicTask
        from django_celery_beat.schedulers import DatabaseScheduler

        call_command("migrate", verbosity=0)
        PeriodicTask.objects.all().delete()
        every, _ = IntervalSchedule.objects.get_or_create(every=86_400, period="seconds")
        past = datetime.now(UTC) - timedelta(hours=25)
        PeriodicTask.objects.bulk_create(
            PeriodicTask(name=f"entry-{i}", task="tasks.add", interval=every, args=f"[{i}, 1]", last_run_at=past)
            for i in range(many)
        )
        yield DatabaseScheduler(app=_app(server, broker, "django")).tick


class Persistent(Peer):
    name = "Celery's PersistentScheduler"
    most = 2_000

    @contextlib.contextmanager
    def ready(self, server: Server, many: int, broker: str) -> Iterator[Callable[[], Any]]:
        from celery.beat import PersistentScheduler

        where = tempfile.mkdtemp()
        app = _app(server, broker, "persistent")
        past = datetime.now(UTC) - timedelta(hours=25)
        app.conf.beat_schedule = {
            f"entry-{i}": {"task": "tasks.add", "schedule": 86_400.0, "args": (i, 1)} for i in range(many)
        }
        scheduler = PersistentScheduler(app=app, schedule_filename=os.path.join(where, "schedule"))
        for entry in scheduler.schedule.values():
            entry.last_run_at = past
        try:
            yield scheduler.tick
        finally:
            scheduler.close()
            shutil.rmtree(where, ignore_errors=True)


PEERS: tuple[Peer, ...] = (Ours(), OursOneAtATime(), OursRendered(), RedBeat(), Django(), Persistent())


def seconds(peer: Peer, server: Server, many: int, broker: str = "", length: Callable[[], int] | None = None) -> float:
    """How long a peer takes until the messages of *many* due entries are in the queue."""
    return spent(peer, server, many, broker, length)[0]


def spent(
    peer: Peer, server: Server, many: int, broker: str = "", length: Callable[[], int] | None = None
) -> tuple[float, float]:
    """The same, and how much of a processor it takes this process: that is fair on a machine that does more."""
    logging.disable(logging.WARNING)
    client = server.client()
    length = length or (lambda: int(client.llen(QUEUE)))
    try:
        with peer.ready(server, many, broker or server.url()) as turn:
            began, used = time.perf_counter(), time.process_time()
            while length() < many:
                turn()
            return time.perf_counter() - began, time.process_time() - used
    finally:
        logging.disable(logging.NOTSET)
