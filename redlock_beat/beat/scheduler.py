"""RedisScheduler: Celery's face of a :mod:`~redlock_beat.beat.replica`.

``tick()`` waits inside itself and returns 0 at least each third of the TTL, so that Celery's own
staleness check stays truthful, and it never raises for anything the world outside did. Nothing is
connected before the first tick: Celery builds a second scheduler only to show a banner.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from typing import Any

from celery.beat import Scheduler
from celery.utils.log import get_logger

from ..errors import InvalidSetting, RedlockBeatError, UnsupportedServer, mask
from ..liveness import Heartbeat
from ..settings import Settings, check_broker, settings_of
from ..store.client import Target
from .metrics import Served
from .replica import Replica
from .troubles import Troubles

logger = get_logger("redlock_beat")


class RedisScheduler(Scheduler):
    """The scheduler for ``celery -A proj beat -S redlock_beat.RedisScheduler``.

    Any number of replicas may run; one of them, the leader, sends. See :mod:`redlock_beat.beat.lease`.

    >>> # celery -A proj beat -S redlock_beat.RedisScheduler
    """

    #: RedBeat's receiver of ``beat_init`` is connected wherever its package is imported, and takes each
    #: scheduler for its own; it goes away where there is no lock to acquire.
    lock_key = None

    def __init__(self, app: Any, *args: Any, lazy: bool = False, **kwargs: Any) -> None:
        #: Started by Celery's service, above which nobody catches an error; not by somebody who could.
        self._serving = "schedule_filename" in kwargs
        self._failed = False
        try:
            self.settings: Settings = settings_of(app)
            check_broker(app)
            self.target = Target(self.settings)
            self.target.check()
        except InvalidSetting as exc:
            self._give_up(exc)
            raise
        #: This beat, once it is built by the first tick.
        self.replica: Replica | None = None
        #: The process that this beat is embedded in (``worker -B``), whose end is its own; None where there is none.
        self.parent = _embedding_process()
        self.heartbeat = Heartbeat(self.settings.heartbeat_file, self.settings.silence)
        self._troubles = Troubles(self.target, self.settings.retry_pause)
        self._metrics: Served | None = None
        self._closed = False
        self._ticking = False
        super().__init__(app, *args, lazy=True, **kwargs)

    # --- Celery's face ---

    @property
    def info(self) -> str:
        """Where the schedule lives, for Celery's banner."""
        return (
            f"    . redis -> {self.target}\n    . lease -> {self.settings.lease_ttl:g} s, prefix {self.settings.prefix}"
        )

    def setup_schedule(self) -> None:
        """Nothing: the configuration is the leader's to write, and only once it leads."""

    def get_schedule(self) -> Any:
        """The schedule, as a mapping of name to :class:`~redlock_beat.Entry`, read from Redis when used."""
        from ..schedule.schedule import Schedule

        return Schedule(self.app)

    def set_schedule(self, schedule: Any) -> None:
        """Celery assigns an empty one at start; there is nothing to keep."""

    schedule = property(get_schedule, set_schedule)

    def should_sync(self) -> bool:
        """Never: every change is in Redis the moment it is made."""
        return False

    def sync(self) -> None:
        """Nothing: see :meth:`should_sync`."""

    # --- the loop ---

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """One turn: lead or stand by, send what is due, wait. Returns 0, so that Celery never sleeps deaf."""
        if self._closed:
            # The SystemExit of the signal handler was lost (raised inside a destructor, say): end now.
            raise SystemExit(0)
        self._end_if_orphaned()
        self.heartbeat.touch()
        self._ticking = True
        try:
            self.build().turn()
        except (UnsupportedServer, InvalidSetting) as exc:  # what no waiting can mend
            self._ticking, self._failed = False, True
            self._give_up(exc)
            raise
        except Exception as exc:  # noqa: BLE001 - it could not be built: a beat that dies sends nothing at all
            self._troubles.pause(exc, None)
        self._ticking = False
        return 0

    def build(self) -> Replica:
        """This beat, built when it is first asked for: a second scheduler, for the banner, never is."""
        if self.replica is None:
            self._adopt_signals()
            if self.settings.metrics_port is not None and self._metrics is None:
                self._metrics = Served(self.settings.metrics_port, self.settings.metrics_host)
            self.replica = Replica(self.app, self.settings, self.target, self._troubles)
        return self.replica

    # --- the end ---

    def close(self) -> None:
        """Give the term back and let the others know. Called in a signal handler, and again afterwards.

        It may interrupt the loop in the middle of a reply, so it uses a connection of its own, waits
        for nothing longer than a second or so, and does its work once.
        """
        if not self._closed:
            self._closed = True
            with contextlib.suppress(Exception):
                if self.replica is not None:
                    self.replica.hand_over()
            self.heartbeat.close()
        if not self._ticking:
            # Not inside the loop: nothing is in use any more.
            with contextlib.suppress(Exception):
                self._dispose()
        super().close()
        if self._failed and self._serving:
            # Celery's service takes the SystemExit of a tick for an end as it should be; what its last call raises
            # becomes the exit code.
            self._failed = False
            raise SystemExit(1)

    def _give_up(self, exc: RedlockBeatError) -> None:
        """End a beat that can never work: with one line that says what to do, and without a traceback."""
        if not self._serving:
            return
        if _heard(logger):
            logger.critical("Beat cannot run: %s", mask(exc))
        else:  # Celery sets up logging after the banner, which is where a setting is first looked at
            print(f"CRITICAL: Beat cannot run: {mask(exc)}", file=sys.stderr)
        raise SystemExit(1) from None

    def _dispose(self) -> None:
        if self._metrics is not None:
            self._metrics.close()
        if self.replica is not None:
            self.replica.close()

    def _end_if_orphaned(self) -> None:
        """Under ``worker -B``: when the worker is gone, end. An orphan must not lead."""
        if self.parent is not None and os.getppid() != self.parent:
            logger.warning("The worker this beat was embedded in is gone; beat ends.")
            self.close()
            raise SystemExit(0)

    def _terminated(self, *args: object) -> None:
        self.close()
        sys.exit(0)

    def _adopt_signals(self) -> None:
        # An embedded beat gets SIGTERM's default action, which would leave the lease to its TTL.
        if self.parent is None or threading.current_thread() is not threading.main_thread():
            return
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._terminated)


def _heard(log: logging.Logger) -> bool:
    """Whether what is logged here reaches anybody."""
    while not any(not isinstance(one, logging.NullHandler) for one in log.handlers):
        if not log.propagate or log.parent is None:
            return False
        log = log.parent
    return True


def _embedding_process() -> int | None:
    from billiard.process import current_process

    parent = getattr(current_process(), "_parent_pid", None)
    return parent if isinstance(parent, int) else None
