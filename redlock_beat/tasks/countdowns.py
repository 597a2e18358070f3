"""Calls with a countdown or eta that the schedule keeps until their time: the caller's side.

With ``redlock_beat_eta_threshold`` set, a call whose time is at least so far away becomes a message at once, in the
caller's process and by Celery's own code, and goes into the schedule's Redis instead of a queue. The leading beat
sends it at its time (:mod:`redlock_beat.beat`). It carries no ``eta``: a worker would put it into its own timer for
that, and count it against its prefetch. ``self.request.eta`` says it all the same.

All calls pass through ``app.send_task``, those of chains, groups, chords and retries as well, so this is the one
place that is taken over, and what is not kept is handed on as it came.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from ..clock import MICROS, RedisClock, micros, moment, monotonic
from ..errors import NotKept, RedisUnavailable, RedlockBeatError, Unrenderable, mask, whole
from ..log import log
from ..messages.calls import read_call
from ..messages.capturing import capture
from ..messages.headers import HEADER_ETA
from ..messages.renderer import is_rendering
from ..settings import Settings, settings_of
from ..store import requests
from ..store.countdown import KeptCall
from .client import store_of

#: How far ahead a call may be, in seconds: ten years.
FURTHEST = 3653 * 86_400
#: How large its message may be, in characters.
LARGEST = 1024 * 1024
#: Seconds for which a caller goes by what Redis last said of the time.
TRUSTED = 60.0
#: Seconds between two warnings of calls that are not kept.
QUIET = 5.0


class _TooLate(Exception):
    """Its time has come meanwhile: it is sent as any other."""


def install(app: Any) -> Keeper:
    """Take over ``app.send_task`` and ``app.control``, once: for tasks that say ``keeps_countdowns = True``."""
    there = vars(app).get("send_task")
    if getattr(there, "_redlock_beat", False):
        keeper: Keeper = there.keeper
        return keeper
    from .revoking import remove_when_revoked, show_eta

    keeper = Keeper(app)
    app.send_task = keeper.taking_over()
    remove_when_revoked(app)
    show_eta()
    return keeper


def is_wanted(app: Any) -> bool:
    """Whether the schedule is to keep countdowns at all; else what Celery does is not touched."""
    return app.conf.get("redlock_beat_eta_threshold") is not None


@dataclass(frozen=True, slots=True)
class _Asked:
    """When a call is to be sent: in so many microseconds, or at an instant."""

    span: int | None
    at: int | None

    @classmethod
    def parse(cls, countdown: Any, eta: Any) -> _Asked | None:
        """What a caller has said, as Celery reads it; None for what it would refuse, or send at once."""
        if countdown:
            if isinstance(countdown, bool) or not isinstance(countdown, (int, float)):
                return None
            return cls(round(countdown * MICROS), None) if abs(countdown) < 1e12 else None
        try:
            when = datetime.fromisoformat(eta) if isinstance(eta, str) else eta
            return cls(None, micros(when if when.tzinfo is not None else when.replace(tzinfo=UTC)))
        except (ValueError, TypeError, AttributeError):
            return None

    def due(self, now: int) -> int:
        """The instant at which it is sent."""
        return now + self.span if self.span is not None else self.at or 0


class Keeper:
    """Keeps the calls of one app."""

    def __init__(self, app: Any) -> None:
        self.app = app
        #: Whether tasks that say nothing of it are kept, too.
        self.of_all_tasks = False
        #: What somebody else had put in the place of ``app.send_task``, or None.
        self.replaced = vars(app).get("send_task")
        self._clock = RedisClock()
        self._asked_at = float("-inf")
        # The calls that were not kept since the last warning, and when that was.
        self._unsaid, self._said_at = 0, float("-inf")

    @cached_property
    def settings(self) -> Settings:
        """The settings, read at the first call with a countdown or eta."""
        return settings_of(self.app)

    def celerys(self) -> Callable[..., Any]:
        """``app.send_task`` as it is without this, also when somebody puts another into Celery's class later."""
        return self.replaced or type(self.app).send_task.__get__(self.app)  # type: ignore[no-any-return]

    def taking_over(self) -> Callable[..., Any]:
        """What stands in the place of ``app.send_task``."""

        def send_task(
            name: str,
            args: Any = None,
            kwargs: Any = None,
            countdown: Any = None,
            eta: Any = None,
            task_id: Any = None,
            producer: Any = None,
            connection: Any = None,
            *rest: Any,
            **options: Any,
        ) -> Any:
            headers = options.get("headers")
            if headers and HEADER_ETA in headers:  # of the call that this one repeats
                options["headers"] = {key: value for key, value in headers.items() if key != HEADER_ETA}
            call = _Call(name, args, kwargs, countdown, eta, task_id, producer, connection, rest, options)
            if (countdown or eta) and self._applies(call):
                return self.keep(call)
            return call.send(self.celerys())

        send_task._redlock_beat = True  # type: ignore[attr-defined]
        send_task.keeper = self  # type: ignore[attr-defined]
        return send_task

    # --- which ---

    def _applies(self, call: _Call) -> bool:
        if not is_wanted(self.app) or is_rendering():
            return False
        task = call.options.get("task_type") or self.app._tasks.get(call.name)
        wanted = getattr(task, "keeps_countdowns", None)
        if not (self.of_all_tasks if wanted is None else wanted):
            return False
        producer = call.producer or call.options.get("publisher")
        return call.connection is None and (producer is None or self._is_ours(producer))

    def _is_ours(self, producer: Any) -> bool:
        """Whether a producer goes to the app's broker, as that of a group does; the beat knows no other."""
        connection = producer.connection
        return connection is not None and connection.as_uri() == self.app.connection_for_write().as_uri()

    # --- keeping ---

    def keep(self, call: _Call) -> Any:
        """Keep a call, or have Celery send it: then it is too soon for this, or it cannot be kept and that is said."""
        try:
            asked = _Asked.parse(call.countdown, call.eta)
            if asked is None:
                return call.send(self.celerys())
            now = self._now()
            due = asked.due(now)
            if due - now < (self.settings.eta_threshold or 0) * MICROS:
                return call.send(self.celerys())
            return self._kept(call, now, due)
        except _TooLate:
            return call.send(self.celerys(), add_to_parent=False)
        except (RedisUnavailable, Unrenderable, NotKept) as exc:
            return self._fall_back(call, exc)

    def _now(self) -> int:
        """Redis's time; asked for when the last answer is a while ago."""
        asked = monotonic()
        if asked - self._asked_at > TRUSTED:
            self._told(self._store.run(requests.now(self._store.keys)), asked)
        return self._clock.now()

    def _told(self, now: int, asked: float) -> None:
        self._clock.told(now, asked)
        self._asked_at = asked

    @property
    def _store(self) -> Any:
        return store_of(self.app)

    def _kept(self, call: _Call, now: int, due: int) -> Any:
        if due - now > FURTHEST * MICROS:
            raise NotKept(f"its time is more than {FURTHEST // 86_400} days away")
        id_ = call.task_id or _uuid()
        result: list[Any] = []
        options = self._options(call, now, due)

        def send(producer: Any) -> None:
            result.append(
                self.celerys()(
                    call.name, call.args, call.kwargs, None, None, id_, producer, None, *call.rest, **options
                )
            )

        try:
            calls = capture(self.app, self.settings.socket_timeout, send)
        except (TypeError, ValueError) as exc:
            if not result:
                raise  # Celery itself refuses the call
            raise Unrenderable(f"its message cannot be written as JSON: {exc}") from exc
        if not calls:
            return result[0]  # somebody else has sent it: an app with a way of its own
        # Sent plainly after all, it says the same: then the guard knows both, should it be kept as well.
        call.task_id, call.options, call.captured = id_, options, True
        self._store_it(KeptCall(id_, due, secrets.token_hex(4), call.name, now, *_shown(calls[0]), tuple(calls)))
        return result[0]

    def _options(self, call: _Call, now: int, due: int) -> dict[str, Any]:
        options = dict(call.options)
        eta = moment(due).astimezone(self.app.timezone).isoformat()
        options["headers"] = {**(options.get("headers") or {}), HEADER_ETA: eta}
        expires = options.get("expires")
        if isinstance(expires, (int, float)) and not isinstance(expires, bool):  # from the call on, by Redis's time
            options["expires"] = moment(now + round(expires * MICROS)).astimezone(self.app.timezone)
        return options

    def _store_it(self, kept: KeptCall) -> None:
        if sum(map(len, kept.calls)) > LARGEST:
            raise NotKept(f"its message is larger than the {LARGEST} characters that are kept")
        store, settings = self._store, self.settings
        request = requests.countdown_keep(store.keys, kept, settings.eta_limit, settings.lease_ttl)
        asked = monotonic()
        try:
            now, answer = store.run(request)
        except RedisUnavailable as exc:
            if not exc.unknown:
                raise
            asked = monotonic()
            try:
                now, answer = store.again(request)  # with the same id and time: repeating it is harmless
            except RedisUnavailable as again:
                again.unknown = True
                raise
        self._told(now, asked)
        if answer == "due":
            raise _TooLate
        if answer == "full":
            raise NotKept(f"the schedule keeps {settings.eta_limit} calls already (redlock_beat_eta_limit)")

    # --- when it cannot be kept ---

    def _fall_back(self, call: _Call, exc: RedlockBeatError) -> Any:
        # An error in a retry would lose the task: Celery rejects the message then.
        if self.settings.eta_fallback == "error" and not call.options.get("retries"):
            raise self._refusal(call, exc) from exc
        self._unsaid += 1
        if monotonic() - self._said_at > QUIET:
            log.warning(
                "countdown.not_kept",
                "%(count)d calls with a countdown or eta cannot be kept by the schedule and are sent to the queue at "
                "once, as Celery does it: a worker holds each until its time. The last is of %(task)s: %(why)s",
                count=self._unsaid,
                task=call.name,
                why=mask(exc),
            )
            self._unsaid, self._said_at = 0, monotonic()
        return call.send(self.celerys(), add_to_parent=not call.captured)

    def _refusal(self, call: _Call, exc: RedlockBeatError) -> NotKept:
        unknown = bool(getattr(exc, "unknown", False))
        outcome = "Whether it is kept is unknown" if unknown else "It is not sent"
        why = mask(exc).rstrip(".")
        error = NotKept(
            f"the call of {call.name} with a countdown or eta cannot be kept: {why}. {outcome}. Call it again "
            "later, or set redlock_beat_eta_fallback to 'plain' to have Celery send it then."
        )
        error.unknown = unknown
        return error


@dataclass(slots=True)
class _Call:
    """One call of ``app.send_task``."""

    name: str
    args: Any
    kwargs: Any
    countdown: Any
    eta: Any
    task_id: Any
    producer: Any
    connection: Any
    rest: tuple[Any, ...]
    options: dict[str, Any]
    #: Whether Celery has made its message once: then its result stands among its parent's children.
    captured: bool = False

    def send(self, send: Callable[..., Any], add_to_parent: bool = True) -> Any:
        """Have Celery send it as it came."""
        options = self.options if add_to_parent else {**self.options, "add_to_parent": False}
        call = (self.name, self.args, self.kwargs, self.countdown, self.eta, self.task_id, self.producer)
        return send(*call, self.connection, *self.rest, **options)


def _uuid() -> str:
    from kombu.utils.uuid import uuid

    return str(uuid())


def _shown(call: str) -> tuple[str, str, str]:
    """How the arguments of a message look, and when it expires."""
    headers = read_call(call)["headers"]
    return tuple(whole(headers.get(key) or "") for key in ("argsrepr", "kwargsrepr", "expires"))  # type: ignore[return-value]
