"""RedisScheduler: Celery's face of a :mod:`~redlock_beat.beat.replica`.

``tick()`` waits inside itself and returns 0 at least each third of the TTL, so that Celery's own staleness check stays
true. It never raises because of Redis or the broker. Nothing connects before the first tick: Celery builds a second
scheduler only to show a banner.
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

from ..adapters import install
from ..errors import InvalidSetting, RedlockBeatError, UnsupportedServer, mask
from ..liveness import HeartbeatFile
from ..log import log, logger
from ..settings import Settings, check_broker, settings_of
from ..store.client import Target
from .metrics import MetricsServer
from .replica import Replica
from .troubles import Troubles


class RedisScheduler(Scheduler):
    """The scheduler for ``celery -A proj beat -S redlock_beat.RedisScheduler``.

    Any number of replicas may run; one of them, the leader, sends. See :mod:`redlock_beat.beat.lease`.

    >>> # celery -A proj beat -S redlock_beat.RedisScheduler
    """

    #: RedBeat connects a receiver to ``beat_init`` wherever its package is imported, and takes each scheduler for its
    #: own; without a lock to acquire it does nothing.
    lock_key = None

    def __init__(self, app: Any, *args: Any, lazy: bool = False, **kwargs: Any) -> None:
        #: Whether Celery's service runs it: then nobody catches its errors.
        self._serving = "schedule_filename" in kwargs
        self._failed = False
        try:
            self.settings: Settings = settings_of(app)
            check_broker(app)
            install.check(self.settings)
            self.target = Target(self.settings)
            self.target.check()
        except InvalidSetting as exc:
            self._give_up(exc)
            raise
        #: This beat; None until the first tick builds it.
        self.replica: Replica | None = None
        #: The worker that embeds this beat (``worker -B``), which ends with it; None for a beat of its own.
        self.parent = _embedding_process()
        self.heartbeat = HeartbeatFile(self.settings.heartbeat_file, self.settings.silence)
        self._troubles = Troubles(self.target)
        self._metrics: MetricsServer | None = None
        self._adapted = self._closed = False
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
        """Does nothing: only the leader writes the configuration, once it leads."""

    def get_schedule(self) -> Any:
        """The schedule, as a mapping of name to :class:`~redlock_beat.Entry`, read from Redis when used."""
        from ..schedule.schedule import Schedule

        return Schedule(self.app)

    def set_schedule(self, schedule: Any) -> None:
        """Does nothing: Celery assigns an empty schedule as it starts."""

    schedule = property(get_schedule, set_schedule)

    def should_sync(self) -> bool:
        """Never: every change is in Redis as soon as it is made."""
        return False

    def sync(self) -> None:
        """Does nothing: see :meth:`should_sync`."""

    # --- the loop ---

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """One turn: lead or stand by, send what is due, wait. Returns 0, so that Celery itself never sleeps."""
        if self._closed:
            # The SystemExit of the signal handler was lost (it rose inside a destructor, say): end now.
            raise SystemExit(0)
        self._end_if_orphaned()
        self.heartbeat.touch(self.replica is not None and self.replica.ready)
        self._ticking = True
        try:
            self.build().turn()
        except (UnsupportedServer, InvalidSetting) as exc:  # what no waiting can mend
            self._ticking, self._failed = False, True
            self._give_up(exc)
            raise
        except Exception as exc:  # noqa: BLE001 - building failed, and a beat that dies sends nothing at all
            self._troubles.pause(exc, None)
        self._ticking = False
        return 0

    def build(self) -> Replica:
        """This beat, built at the first call; Celery never ticks the second scheduler, for the banner."""
        if self.replica is None:
            self._adopt_signals()
            self._adapt()
            if self.settings.metrics_port is not None and self._metrics is None:
                self._metrics = MetricsServer(
                    self.settings.metrics_port, self.settings.metrics_host, self.settings.metrics_label
                )
            self.replica = Replica(self.app, self.settings, self.target, self._troubles)
        return self.replica

    # --- the end ---

    def close(self) -> None:
        """Release the term and tell the others. Called in a signal handler, and again afterwards.

        It may interrupt the loop in the middle of a reply, so it uses a connection of its own, waits no longer than
        about a second, and does its work once.
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
            # Celery's service takes the SystemExit of a tick for a normal end; what its last call raises becomes the
            # exit code.
            self._failed = False
            raise SystemExit(1)

    def _give_up(self, exc: RedlockBeatError) -> None:
        """End a beat that cannot work, with one line that says what to do, and without a traceback."""
        if not self._serving:
            return
        if _heard(logger):
            log.critical("beat.cannot_run", "Beat cannot run: %(why)s", why=mask(exc))
        else:  # Celery sets up logging after the banner, and the banner is the first to read the settings
            print(f"CRITICAL: Beat cannot run: {mask(exc)}", file=sys.stderr)
        raise SystemExit(1) from None

    def _adapt(self) -> None:
        """Add the hooks that the settings ask for."""
        if not self._adapted:
            self._adapted = True
            install.begin(self.settings)

    def _dispose(self) -> None:
        try:
            if self._metrics is not None:
                self._metrics.close()
            if self.replica is not None:
                self.replica.close()
        finally:
            if self._adapted:
                self._adapted = False
                install.end(self.settings)

    def _end_if_orphaned(self) -> None:
        """Under ``worker -B``: when the worker is gone, end. An orphan must not lead."""
        if self.parent is not None and os.getppid() != self.parent:
            log.warning("beat.orphaned", "The worker that this beat is embedded in is gone. Beat ends.")
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
    """Whether any handler gets what this logger logs."""
    while not any(not isinstance(one, logging.NullHandler) for one in log.handlers):
        if not log.propagate or log.parent is None:
            return False
        log = log.parent
    return True


def _embedding_process() -> int | None:
    from billiard.process import current_process

    parent = getattr(current_process(), "_parent_pid", None)
    return parent if isinstance(parent, int) else None
