"""Looking at the locks and cooldowns of a task, and mending them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import cached_property
from typing import Any

from ..errors import InvalidTask
from ..store.locks import Who
from .locks import Locks
from .rules import Rules, rules_of, seconds

#: On a request: the run that it is.
RUN = "_redlock_beat_run"


class Looking:
    """What people ask a task about its calls."""

    name: str
    request: Any
    request_stack: Any
    ignore_task_timedelta: timedelta | None

    @cached_property
    def rules(self) -> Rules:
        """What the options say."""
        return rules_of(self)

    @cached_property
    def locks(self) -> Locks:
        """The way to the locks."""
        return Locks(self, self.rules)

    def is_processing(self, args: Any = None, kwargs: Any = None) -> bool:
        """Whether a call like this one waits or runs."""
        return self.holder(args, kwargs) is not None

    def holder(self, args: Any = None, kwargs: Any = None) -> str | None:
        """The task id of the call like this one that waits or runs; None for none."""
        found = self.locks.look(self._who(args, kwargs))
        return None if found is None else found.holder

    def unlock(self, args: Any = None, kwargs: Any = None) -> str | None:
        """Free the lock of calls like this one, whoever holds it; whose it was. The holder is not stopped."""
        return self.locks.free(self._who(args, kwargs)) or None

    def set_cooldown(
        self, cooldown: float | timedelta | None = None, *, args: Any = None, kwargs: Mapping[str, Any] | None = None
    ) -> None:
        """Ignore calls like this run, or with these arguments, for so long from now; 0: no longer."""
        if not self.rules.cools:
            raise InvalidTask(
                f"{self.name} has no cooldown, so none can be set here. Give the task "
                "cooldown=0 to use only those that are set here."
            )
        if cooldown is None:
            alias = self.ignore_task_timedelta
            span = self.rules.cooldown or (seconds(self.name, "ignore_task_timedelta", alias) if alias else 0.0)
        else:
            span = seconds(self.name, "cooldown", cooldown)
        if args is None and kwargs is None:
            args, kwargs = self.request.args, self.request.kwargs
            run = getattr(self.request_stack.top, RUN, None)
            if run is not None:
                run.cooldown = 0.0  # what is set here is what holds after it
        self.locks.cool(self.locks.who("", args, kwargs), span)

    def set_ignore_task(self, ignore_task_timedelta: timedelta | None = None) -> None:
        """The name of :meth:`set_cooldown` in django-celery-extensions."""
        self.set_cooldown(ignore_task_timedelta)

    def _who(self, args: Any, kwargs: Any) -> Who:
        if not self.rules.unique:
            raise InvalidTask(f"{self.name} is not unique, so its calls have no locks. Set unique=True.")
        return self.locks.who("", args, kwargs)
