"""The locks of unique tasks: to list and to free them."""

from __future__ import annotations

import fnmatch
import secrets

from ..clock import MICROS, moment
from ..store import locks, requests
from ..store.locks import Lock, Who
from ..store.requests import Operation
from .answers import TaskLock
from .countdowns import Countdowns


class TaskLocks(Countdowns):
    """What users do with locks."""

    def lock_page(self, cursor: str, task: str | None) -> Operation[tuple[str | None, list[TaskLock]]]:
        """Some locks, and where to go on; None: those were all. One may come twice if others go meanwhile."""
        now = yield requests.now(self.keys)
        after, found = yield requests.pairs(self.keys.locks, cursor, 500)
        read = [Lock.parse(digest, text, now // 1000) for digest, text in found.items()]
        shown = [_shown(one) for one in read if one is not None]
        wanted = [one for one in shown if task is None or fnmatch.fnmatchcase(one.task, task)]
        return None if after == "0" else after, wanted

    def unlock(self, lock: TaskLock) -> Operation[bool]:
        """Free a lock, if it still has this holder."""
        freed: bool = yield locks.end(
            self.keys, Who(lock.digest, lock.holder, lock.task), "*", request=secrets.token_hex(12)
        )
        return freed


def _shown(lock: Lock) -> TaskLock:
    return TaskLock(
        digest=lock.digest,
        task=lock.task,
        key=lock.shown,
        holder=lock.holder,
        phase=lock.phase,
        since=moment(round(lock.since * MICROS)),
        ends=moment(round(lock.ends * MICROS)),
        worker=lock.worker or None,
        next=lock.next or None,
    )
