"""A task's way to its locks: what a call or a run asks, and what is done while Redis is away."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import RedisUnavailable, whole
from ..log import log
from ..messages.headers import HEADER_LOCK
from ..store import locks
from ..store.locks import Answer, Lock, Who
from ..store.requests import Request, T
from .client import store_of
from .identity import current_worker
from .rules import Rules
from .sent import sent_of

#: Seconds in which a call must have been sent: if its process dies between the lock and the queue, the lock ends then.
SENDING = 30.0


def ms(seconds: float) -> int:
    """Whole milliseconds, at least one."""
    return max(1, round(seconds * 1000))


class Locks:
    """The locks of one task."""

    def __init__(self, task: Any, rules: Rules) -> None:
        self.task, self.rules = task, rules
        self.app = task.app

    def who(self, id_: str, args: Sequence[Any] | None, kwargs: Mapping[str, Any] | None) -> Who:
        """Whose lock it is, by the arguments of a call."""
        digest, shown = self.rules.keyed.of(args or (), kwargs or {})
        return Who(digest, id_, self.task.name, shown)

    def who_runs(self, request: Any) -> Who | None:
        """Whose lock it is, as the message says that is run; else by its arguments; None when they make no key."""
        said = (request.headers or {}).get(HEADER_LOCK)
        if isinstance(said, str):
            return Who(said, request.id, self.task.name, whole(getattr(request, "argsrepr", None) or ""))
        try:
            return self.who(request.id, request.args, request.kwargs)
        except Exception:  # noqa: BLE001 - the run itself says what is wrong with its arguments
            return None

    # --- where a call is made ---

    def take(self, who: Who, call: str, wait: float, *, cools: bool, takes: bool) -> Answer:
        """Take the lock, or learn who holds it."""
        request = locks.take(
            self._keys,
            who,
            call,
            cools=cools,
            takes=takes,
            replaces=self.rules.duplicate == "replace",
            sending_ms=ms(min(SENDING, wait)),
            remember_ms=ms(wait) + locks.REMEMBER,
        )
        try:
            return self._ask(request)
        except RedisUnavailable as exc:
            if self.rules.strict:
                return self._ask_again(request, exc)
            self._away("A call of %(task)s is sent without its lock: %(why)s", exc)
            return Answer("taken")

    def sent(self, who: Who, wait: float) -> None:
        """The message is with the broker."""
        sent_of(self.app).note(who, ms(wait))

    def drop(self, who: Who) -> None:
        """Nothing was sent."""
        self._try(
            locks.end(self._keys, who, ""), "A call of %(task)s was not sent, and its lock stands a while: %(why)s"
        )

    # --- where it runs ---

    def start(self, who: Who, run: str, *, looks: bool) -> Answer:
        """A run is about to begin; :class:`~redlock_beat.RedisUnavailable` for a strict task while Redis is away."""
        worker = current_worker()
        # Outside of a worker that renews it, its lock stands for as long as it may take.
        settings_ttl = store_of(self.app).settings.worker_ttl
        ttl = settings_ttl if worker else max(settings_ttl, self.task.time_limit or 0, self.rules.wait)
        request = locks.start(
            self._keys, who, run, ends_here=self.rules.ends_at_start, looks=looks, ttl_ms=ms(ttl), worker=worker or ""
        )
        try:
            return self._ask(request)
        except RedisUnavailable as exc:
            if self.rules.strict:
                return self._ask_again(request, exc)
            self._away("A run of %(task)s begins without its lock: %(why)s", exc)
            return Answer("run")

    def retry(self, who: Who, run: str, wait: float) -> bool:
        """A run is about to send itself again; False when another holds the lock."""
        words = "A retry of %(task)s is sent without its lock: %(why)s"
        return self._try(locks.retry(self._keys, who, run, ms(wait)), words) is not False

    def end(self, who: Who, run: str, cooldown: float = 0.0) -> None:
        """A run has ended, or what waited is not going to run."""
        request = locks.end(self._keys, who, run, ms(cooldown) if cooldown else 0)
        self._try(request, "The lock of a run of %(task)s is not freed, and lapses: %(why)s")

    # --- where somebody looks ---

    def look(self, who: Who) -> Lock | None:
        """Who holds the lock."""
        return self._ask(locks.look(self._keys, who.digest))[0]

    def free(self, who: Who) -> str:
        """Free the lock, whoever holds it; the id of its holder, or ''."""
        return self._ask(locks.free(self._keys, who.digest))

    def cool(self, who: Who, cooldown: float) -> None:
        """Calls like one are ignored for so long."""
        self._ask(locks.cool(self._keys, who.digest, ms(cooldown) if cooldown else 0))

    @property
    def _keys(self) -> Any:
        return store_of(self.app).keys

    def _ask(self, request: Request[T]) -> T:
        return store_of(self.app).run(request)

    def _ask_again(self, request: Request[T], exc: RedisUnavailable) -> T:
        """Ask once more where the answer may be lost: the lock may be this very call's or run's."""
        if not exc.unknown:
            raise exc
        return store_of(self.app).again(request)

    def _try(self, request: Request[T], words: str) -> T | None:
        try:
            return self._ask(request)
        except RedisUnavailable as exc:
            self._away(words, exc)
            return None

    def _away(self, words: str, exc: RedisUnavailable) -> None:
        # Only an attempt is worth a line: while none is made, each call would say the same.
        level = logging.WARNING if exc.__cause__ is not None else logging.DEBUG
        log.at(level, "lock.away", words, task=self.task.name, why=str(exc))
