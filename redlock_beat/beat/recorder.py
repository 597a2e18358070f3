"""What became of each occurrence, for the log, the hooks and the counters."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping

from .. import hooks
from ..clock import MICROS
from ..entries.occurrence import Occurrence
from ..entries.policies import Missed
from ..errors import mask
from ..log import log, logger
from ..store.item import Item
from ..store.values import CommitItem
from .failures import Failure, FailureLog

#: How a call with a countdown or eta is sent, in rows of the ledger and events.
HOW_COUNTDOWN = "countdown"


class Recorder:
    """The one place that logs, counts and tells hooks of outcomes. The commit itself writes the ledger."""

    def __init__(self, now: Callable[[], int]) -> None:
        self.now = now
        #: Occurrences sent or claimed since the process began, and in this turn.
        self.sent_total = self.sent = 0
        self.failures: list[Failure] = []
        self._failure_log = FailureLog()
        self._silent: set[str] = set()

    def begin(self) -> None:
        """Begin a term: log tracebacks again."""
        self._failure_log.begin()

    def turn(self) -> None:
        """A new turn."""
        self.sent = 0

    # --- what a commit has done ---

    def committed(self, items: list[CommitItem], epoch: int) -> None:
        """Record what was committed."""
        heard = logger.isEnabledFor(logging.INFO) or hooks.listening()
        number = 0
        for item in items:
            if item.missed is not None:
                self._missed(item.occurrence, item.missed)
            if item.occurrence.id:
                number += 1
                if item.afterwards:
                    for tell in item.afterwards:
                        tell(True)
                if item.message is None and not item.pushes and not item.claimed:
                    self._published_nothing(item.occurrence.name, item.nothing)
                elif heard and not item.claimed:  # else it is sent when the broker has accepted it
                    one = item.occurrence
                    sent = (one.nominal, item.act, epoch, one.source or None, _labels(one))
                    self._sent(one.name, one.definition["task"], one.id, *sent)
        self.count(number)

    def count(self, number: int = 1) -> None:
        """One more is sent or claimed."""
        self.sent += number
        self.sent_total += number

    def countdown(self, task: str, id_: str, due: int, epoch: int) -> None:
        """A call with a countdown or eta is in the queue."""
        now = self.now()
        log.info(
            "countdown.sent",
            "Sending task %(task)s id=%(task_id)s, whose time has come, %(lateness_ms).1f ms late",
            task=task,
            task_id=id_,
            lateness_ms=(now - due) / 1000,
            epoch=epoch,
        )
        if hooks.listening():
            hooks.emit(hooks.Sent(now / MICROS, "", task, due / MICROS, id_, epoch, HOW_COUNTDOWN))

    def accepted(self, item: Item) -> None:
        """Record a message of the outbox that the broker has accepted; called by the publisher."""
        if not logger.isEnabledFor(logging.INFO) and not hooks.listening():
            return
        task = item.task or str(json.loads(item.call)["headers"].get("task", ""))
        row = dict(zip(item.row[::2], item.row[1::2], strict=False))
        if row.get("how") == HOW_COUNTDOWN:
            self.countdown(task, item.task_id, item.nominal, int(row.get("epoch", 0)))
            return
        due = item.due or item.nominal
        sent = (item.nominal, due, int(row.get("epoch", 0)), row.get("how"), item.labels)
        self._sent(item.name, task, item.task_id, *sent)

    def _sent(
        self,
        name: str,
        task: str,
        id_: str,
        nominal: int,
        act: int,
        epoch: int,
        source: str | None,
        labels: Mapping[str, str],
    ) -> None:
        if logger.isEnabledFor(logging.INFO):
            late = (self.now() - act) / 1000
            log.info(
                "occurrence.sent",
                "Scheduler: Sending due task %(entry)s (%(task)s) id=%(task_id)s %(lateness_ms).1f ms late",
                entry=name,
                task=task,
                task_id=id_,
                lateness_ms=late,
                epoch=epoch,
                source=source,
            )
        if hooks.listening():
            hooks.emit(hooks.Sent(self.now() / MICROS, name, task, nominal / MICROS, id_, epoch, source, labels))

    def _missed(self, one: Occurrence, missed: Missed) -> None:
        if missed.what == "skipped":
            words = "Entry %(entry)r: %(count)d of its slots skipped, %(why)s."
            log.info("occurrence.skipped", words, entry=one.name, count=missed.count, why=mask(missed.why))
            for _ in range(missed.count):
                self._skipped(one.name, "skip")
            return
        if hooks.listening():
            at, first, last = self.now() / MICROS, missed.first / MICROS, missed.last / MICROS
            hooks.emit(hooks.Missed(at, one.name, first, last, missed.count, missed.why, _labels(one)))

    def _published_nothing(self, name: str, why: str) -> None:
        if why:
            log.debug("occurrence.not_sent", "Entry %(entry)r published nothing: %(why)s.", entry=name, why=why)
        elif name not in self._silent:
            self._silent.add(name)
            log.warning(
                "occurrence.published_nothing",
                "Entry %(entry)r published nothing: its task decided not to send, or used a producer of its own. "
                "The ledger has each such occurrence; the log has one record.",
                entry=name,
            )
        self._skipped(name, "published nothing")

    # --- what is not sent ---

    def dropped(self, name: str, source: str, why: str, reason: str) -> None:
        """Record a manual item that is never sent."""
        words = "Entry %(entry)r: beat drops a manual item (%(source)s): %(why)s."
        log.warning("manual.dropped", words, entry=name, source=source, why=mask(why))
        self._skipped(name, reason)

    def overlapped(self, item: CommitItem, what: str, why: str) -> None:
        """An item is skipped, or waits, while a run of its entry is under way."""
        name = item.occurrence.name
        for tell in item.afterwards:
            tell(False)
        stays = what == "waits" and (item.waits or not item.state_after)
        if item.missed is not None and not stays:
            self._missed(item.occurrence, item.missed)
        if what == "skipped":
            words = "Entry %(entry)r: %(task_id)s is skipped, since %(why)s is under way."
            log.info("occurrence.skipped", words, entry=name, task_id=item.occurrence.id, why=why)
            self._skipped(name, "overlap")
        else:
            words = "Entry %(entry)r: %(task_id)s waits for %(why)s."
            log.debug("occurrence.waits", words, entry=name, task_id=item.occurrence.id, why=why)

    def _skipped(self, name: str, reason: str) -> None:
        if hooks.listening():
            hooks.emit(hooks.Skipped(self.now() / MICROS, name, reason))

    def failed(self, failure: Failure) -> None:
        """Record an attempt that failed: hooks hear of it now, the log at the end of the turn."""
        self.failures.append(failure)
        self._tell_failed(failure.name, failure.step, mask(failure.why))

    def refused(self, item: Item, why: str) -> None:
        """Record a message of the outbox that the broker has not accepted; called by the publisher."""
        self._tell_failed(item.name, "publish", why)

    def _tell_failed(self, name: str, step: str, why: str) -> None:
        if hooks.listening():
            hooks.emit(hooks.Failed(self.now() / MICROS, name, step, why))

    def say_failures(self) -> None:
        """Log what failed in this turn: one traceback for each reason."""
        failures, self.failures = self.failures, []
        self._failure_log.say(failures)


def _labels(one: Occurrence) -> Mapping[str, str]:
    """The labels of its entry."""
    labels: Mapping[str, str] = one.definition.get("labels") or {}
    return labels
