"""What a worker tells of runs: collected where it happens, sent in batches by a thread of its own.

Nothing here waits or fails where a task runs. While Redis is away reports wait, so many at most; what is dropped or
lost on the way is made good by looking, three times in a ``redlock_beat_worker_ttl``, at what is said to run here.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from redis.exceptions import ResponseError

from .. import hooks
from ..clock import MICROS
from ..errors import RedisUnavailable, RedlockBeatError, mask, traceback_of
from ..log import log
from ..schedule.schedule import Schedule
from ..settings import Settings
from ..store import requests
from ..store.values import FailedRuns, OwnRun, RunReport
from .client import TaskStore

#: Reports that wait to be sent, and that are sent at a time.
WAITING, BATCH = 10_000, 200
#: Seconds between two batches, and after one that could not be sent.
PAUSE, AWAY = 0.05, 1.0
#: How often a batch is tried that Redis answers and refuses.
REFUSALS = 10
#: With these Redis refuses any write, for a while.
PASSING = ("OOM", "READONLY", "NOREPLICAS", "MISCONF", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "NOPERM", "NOAUTH")
#: Runs and claims looked at in one turn.
PAGE = 500


@dataclass(slots=True)
class Noted:
    """Something that happened to a run of this worker."""

    what: str
    id: str
    task: str
    entry: str
    nominal: int
    claim: str
    #: When it began (``time.monotonic``); None when it has not.
    began: float | None = None
    took: float | None = None
    #: Seconds after which its message may come again; None when it is over.
    again: float | None = None
    why: str = ""

    def report(self, now: float) -> RunReport:
        """As it is told to Redis."""
        ago = 0 if self.began is None else max(0, round((now - self.began) * MICROS))
        again = None if self.again is None else max(0, round(self.again * MICROS))
        return RunReport(self.what, self.id, self.entry, self.nominal, self.claim, ago, self.took, again, self.why)


class Reporter:
    """The reports of one worker."""

    def __init__(self, app: Any, settings: Settings, token: str, worker: str) -> None:
        self.settings = settings
        self.token = token
        self.worker = worker.replace(" ", "_")
        self.store = TaskStore(settings, timeout=settings.socket_timeout, pause=AWAY)
        self._app = app
        self._waiting: deque[Noted] = deque()
        self._wake = threading.Event()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._dropped = 0
        self._batch: list[Noted] = []
        self._request = ""
        self._refusals = 0
        self._away = False
        self._look_at = 0.0
        self._cursors = ("0", "0")
        self._looking = uuid.uuid4().hex
        #: Runs that are said to be here and are not: since when.
        self._suspects: dict[tuple[str, str], float] = {}

    def note(self, noted: Noted) -> None:
        """Take note of something, to be told soon."""
        if len(self._waiting) >= WAITING:
            self._dropped += 1
            return
        self._waiting.append(noted)
        if not self._wake.is_set():
            self._wake.set()

    # --- the thread ---

    def start(self) -> None:
        """Tell from now on."""
        self._look_at = time.monotonic() + self.settings.worker_ttl / 3
        self._thread = threading.Thread(target=self._run, name="redlock_beat reports", daemon=True)
        self._thread.start()

    def finish(self, seconds: float = 2.0) -> None:
        """Tell what is left, for so long at most."""
        self._over.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(seconds)
        self.store.close()

    def _run(self) -> None:
        while not self._over.is_set():
            self._wake.wait(max(0.0, self._look_at - time.monotonic()))
            self._wake.clear()
            sent = self._turn()
            self._over.wait(PAUSE if sent else AWAY)
        self._send()

    def _turn(self) -> bool:
        """Send what there is, and look around when it is time; False when Redis cannot be reached."""
        try:
            sent = self._send()
            if sent and time.monotonic() >= self._look_at:
                self._look_at = time.monotonic() + self.settings.worker_ttl / 3
                sent = self._ask(self._look_around)
            return sent
        except Exception as exc:  # noqa: BLE001 - a bug here must not end the reports of a worker
            log.error("runs.fault", "A report of runs failed, which is a bug: %(why)s", why=traceback_of(exc))
            self._batch = []
            return False

    def _ask(self, call: Any) -> bool:
        try:
            call()
        except RedisUnavailable as exc:
            if not self._away:
                words = "Runs cannot be reported: %(why)s Tasks run on, and the worker tries again."
                log.warning("runs.not_reported", words, why=str(exc))
            self._away = True
            if _is_refusal(exc):
                self._refused(str(exc))
            self._wake.set()
            return False
        self._away, self._refusals = False, 0
        return True

    def _refused(self, why: str) -> None:
        """Redis cannot read a report: find it, so that the others are heard, and give it up."""
        if len(self._batch) > 1:
            half = len(self._batch) // 2
            self._waiting.extendleft(reversed(self._batch[half:]))
            self._batch, self._request = self._batch[:half], uuid.uuid4().hex
            return
        self._refusals += 1
        if self._refusals >= REFUSALS:
            for one in self._batch:
                log.warning("runs.refused", "A report of run %(task_id)s is given up: %(why)s", task_id=one.id, why=why)
            self._batch, self._refusals = [], 0

    # --- reports ---

    def _send(self) -> bool:
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            words = "%(count)d reports of runs were dropped: Redis has been away for long."
            log.warning("runs.dropped", words, count=dropped)
        while self._batch or self._waiting:
            if not self._batch:
                taken = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
                self._batch, self._request = list(_shortened(taken)), uuid.uuid4().hex
            if not self._ask(self._send_batch):
                return False
        return True

    def _send_batch(self) -> None:
        now = time.monotonic()
        for one in self._batch:
            if one.what == "dropped" and _is_here(one.id):
                one.again = 0.0  # the same worker runs it
        reports = [one.report(now) for one in self._batch]
        size = self.settings.ledger_size
        at, failed = self.store.run(
            requests.report(self.store.keys, self.token, self.worker, reports, size, self._request)
        )
        batch, self._batch = self._batch, []
        if hooks.listening():
            for one in batch:
                _tell(one, at / MICROS, self.worker)
        for each in failed:
            self._pause(each)

    def _pause(self, failed: FailedRuns) -> None:
        """Pause an entry of which as many runs have failed in a row as it allows."""
        schedule = Schedule(self._app, settings=self.settings, retry_for=AWAY)
        try:
            entry = schedule[failed.entry]
            limit = entry.pause_on_failure
            if limit is None or failed.count < limit or not entry.enabled:
                return
            note = f"paused after {failed.count} failed runs in a row; the last, {failed.id}: {failed.why}"
            schedule.pause(entry.name, note[:1000], actor="pause_on_failure", revision=entry.revision)
        except RedlockBeatError as exc:  # it was edited or removed meanwhile; the next failure pauses it
            words = "Entry %(entry)r could not be paused after failed runs: %(why)s"
            log.warning("entry.not_paused", words, entry=failed.entry, why=mask(exc))
        else:
            log.warning("entry.paused", "Entry %(entry)r is paused: %(why)s", entry=failed.entry, why=note)
            hooks.emit(hooks.EntryPaused(time.time(), failed.entry, note))
        finally:
            schedule.close()

    # --- looking around ---

    def _look_around(self) -> None:
        runs, claims = self._cursors
        swept = self.store.run(
            requests.sweep(self.store.keys, self.token, runs, claims, PAGE, self.settings.ledger_size, self._looking)
        )
        self._cursors, self._looking = (swept.runs, swept.claims), uuid.uuid4().hex
        self._doubt(swept.own)
        for id_, entry, nominal, worker in swept.lost:
            words = "Run %(task_id)s of entry %(entry)r was lost: its worker %(holder)s is gone."
            log.warning("run.lost", words, task_id=id_, entry=entry, holder=worker)
            lost = Noted("lost", id_, "", entry, int(nominal), "", why="its worker is gone")
            _tell(lost, time.time(), worker)
        for each in swept.failed:
            self._pause(each)

    def _doubt(self, own: Iterable[OwnRun]) -> None:
        """Free what is said to be here and was not for a while: its report was dropped, or Redis has lost it."""
        now, patience = time.monotonic(), self.settings.worker_ttl / 4
        for one in own:
            key = (one.id, one.claim)
            if _is_here(one.id):
                self._suspects.pop(key, None)
            elif now - self._suspects.setdefault(key, now) > patience:
                del self._suspects[key]
                nominal = int(one.nominal) if one.nominal else 0
                self.note(Noted("lost", one.id, "", one.entry, nominal, one.claim, why="no outcome was reported"))
        self._suspects = {key: since for key, since in self._suspects.items() if now - since < 20 * patience}


def _is_refusal(exc: RedisUnavailable) -> bool:
    """Whether Redis refuses what it was told; else it refuses anything now, which passes."""
    cause = exc.__cause__
    return type(cause) is ResponseError and not any(word in str(cause) for word in PASSING)


def _is_here(id_: str) -> bool:
    """Whether this worker has a message of that id, waiting or under way."""
    from celery.worker import state

    try:
        # By id Celery keeps one message, and forgets it as soon as one of several is done.
        return id_ in state.requests or any(request.id == id_ for request in state.active_requests)
    except RuntimeError:  # the set changed while it was read; it is looked at again
        return True


def _shortened(noted: list[Noted]) -> Iterable[Noted]:
    """Without the begin of runs that have ended as well."""
    ended: set[str] = set()
    kept = []
    for one in reversed(noted):
        if one.what != "started":
            ended.add(one.id)
        elif one.id in ended:
            ended.discard(one.id)  # what began before that has another end
            continue
        kept.append(one)
    return kept[::-1]


def _tell(one: Noted, at: float, worker: str) -> None:
    """Tell the hooks of this process."""
    run = (at, one.entry, one.task, one.nominal / MICROS, one.id, worker)
    if one.what == "started":
        hooks.emit(hooks.RunStarted(*run))
    elif one.what == "succeeded":
        hooks.emit(hooks.RunSucceeded(*run, one.took or 0.0))
    elif one.what in ("failed", "lost"):
        hooks.emit(hooks.RunFailed(*run, one.took, one.what, one.why))
    else:
        hooks.emit(hooks.RunEnded(*run, one.took, one.what, one.why))
