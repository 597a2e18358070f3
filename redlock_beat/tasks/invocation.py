"""A call of a task, from ``apply_async`` until it is sent or is known not to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from celery.utils import uuid

from ..errors import DuplicateCall
from ..messages.headers import HEADER_IGNORED, HEADER_JOINS, HEADER_LOCK
from ..messages.renderer import is_rendering, nothing_to_send, once_decided
from ..store.locks import Answer, Who
from .life import hears
from .results import IgnoredResult
from .rules import seconds
from .spans import wait_of

#: Options that say that others wait for this very id: a chain that goes on, a group, a chord, a callback.
_CANVAS = ("chain", "chord", "group_id", "link", "link_error", "replaced_task_nesting")
#: In an occurrence, which is not sent as a whole where its first task is a duplicate.
_CANVAS_OF_BEAT = ("chord", "group_id")


class Invocation:
    """One call."""

    def __init__(
        self, task: Any, args: Sequence[Any] | None, kwargs: Mapping[str, Any] | None, options: dict[str, Any]
    ) -> None:
        self.task, self.args, self.kwargs, self.options = task, args, kwargs, options
        given = options.pop("task_id", None)
        self.id: str = given or uuid()
        self.rendering = is_rendering()
        # Tells this call from another that is given the same id. A beat renders an occurrence until it is committed.
        self.call = uuid() if given and not self.rendering else self.id
        self.rules = task.rules
        self.wait = self.rules.wait
        self.cools = self.rules.cools
        self._own_options()

    def _own_options(self) -> None:
        for option in ("unique_for", "stale_time_limit"):
            value = self.options.pop(option, None)
            if value is not None:
                self.wait = seconds(self.task.name, option, value)
        if self.options.pop("ignore_task_after_success", None) is False:
            self.cools = False

    def send(self) -> Any:
        """Send it, unless one like it waits, runs, or has succeeded lately; the result that the caller gets."""
        self._tell("on_invocation_apply")
        eager = self.task.app.conf.task_always_eager
        takes = self.rules.unique and not eager
        if not takes and not self.cools:
            return self._sent()
        locks = self.task.locks
        who = locks.who(self.id, self.args, self.kwargs)
        expires = self.options.get("expires", self.task.expires)
        wait = wait_of({**self.options, "expires": expires}, self.wait)
        answer = locks.take(who, self.call, wait, cools=self.cools, takes=takes)
        if answer.word == "cooling":
            return self._ignored(answer)
        if answer.word == "held":
            return self._duplicate(who, answer.about)
        if not takes:
            return self._sent()
        try:
            result = self._sent({HEADER_LOCK: who.digest})
        except BaseException:
            locks.drop(who)
            raise
        if self.rendering:  # the commit comes later
            once_decided(lambda sent: locks.sent(who, wait) if sent else locks.drop(who))
        else:
            locks.sent(who, wait)
        return result

    def _sent(self, headers: Mapping[str, Any] | None = None) -> Any:
        self._tell("on_invocation_trigger", self.id)
        options = self.options
        if headers:
            options = {**options, "headers": {**(options.get("headers") or {}), **headers}}
        return self.task.publish(self.args, self.kwargs, task_id=self.id, **options)

    def _ignored(self, answer: Answer) -> Any:
        result = IgnoredResult(self.id, int(answer.about) / 1000, self.task.name)
        self._tell("on_invocation_ignored", self.id, result=result)
        if self._in_canvas():  # what comes after it waits for its word
            return self._sent({HEADER_IGNORED: True})
        if self.rendering:
            nothing_to_send(f"one like it has succeeded less than its cooldown ago; {result.left:.3g} s are left")
        return result

    def _duplicate(self, who: Who, holder: str) -> Any:
        result = self.task.AsyncResult(holder)
        self._tell("on_invocation_unique", holder, result=result)
        if self._in_canvas():
            return self._sent({HEADER_LOCK: who.digest, HEADER_JOINS: holder})
        if self.rendering:
            nothing_to_send(f"duplicate of {holder}")
        elif self.rules.duplicate == "raise":
            raise DuplicateCall(self.task.name, holder)
        return result

    def _in_canvas(self) -> bool:
        names = _CANVAS_OF_BEAT if self.rendering else _CANVAS
        return any(self.options.get(name) is not None for name in names)

    def _tell(self, name: str, *task_id: str, result: Any = None) -> None:
        if hears(self.task, name):
            result = self.task.AsyncResult(self.id) if result is None else result
            getattr(self.task, name)(self.id, self.args, self.kwargs, *task_id, self.options, result)
