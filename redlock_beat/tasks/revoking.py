"""A revoked task that the schedule still keeps is removed there; its state is REVOKED, as if a worker had said so."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from celery import signals
from celery.app.control import Control
from celery.app.task import Context

from ..errors import RedisUnavailable, mask
from ..log import log
from ..messages.calls import read_call
from ..messages.headers import HEADER_ETA
from ..schedule.countdowns import Countdowns
from ..schedule.given import is_text
from ..settings import settings_of
from ..store import requests
from ..store.countdown import KeptCall
from ..store.keys import Keys
from ..store.requests import PAGE, Request
from .client import store_of
from .countdowns import is_wanted


def cancel(app: Any, ids: Sequence[str], run: Callable[[Request[Any]], Any], keys: Keys) -> list[str]:
    """Cancel calls that are kept and give their tasks the state REVOKED; the ids of those that were kept.

    *run* sends a request to the schedule's Redis.
    """
    gone: list[str] = []
    ids = [one for one in ids if is_text(one)]  # no call has an id that is no text
    for i in range(0, len(ids), PAGE):
        page = ids[i : i + PAGE]
        items = dict(zip(page, run(requests.some(keys.countdown_items, page)), strict=True))
        kept = [id_ for id_ in page if items[id_] is not None]
        if not kept:
            continue
        operation = Countdowns(app, settings_of(app), keys).cancel_countdowns(kept)
        try:
            request = next(operation)
            while True:
                request = operation.send(run(request))
        except StopIteration as done:
            cancelled = done.value
        for id_ in cancelled:
            _mark_revoked(app, id_, str(items[id_]))
        gone += cancelled
    return gone


def _mark_revoked(app: Any, id_: str, item: str) -> None:
    """What a worker does with a revoked task: its state, its part of a chord, and the signal."""
    try:
        call = KeptCall.parse(id_, item)
        task = app.tasks.get(call.task)
        headers, embedded = _parts(call)
        request = Context({**headers, "id": id_}, chord=embedded.get("chord"), errbacks=embedded.get("errbacks"))
        backend = app.backend if task is None else task.backend
        backend.mark_as_revoked(id_, "revoked", request=request, store_result=not headers.get("ignore_result"))
        if task is not None:  # the lock of a unique task is freed by it
            signals.task_revoked.send(sender=task, request=request, terminated=False, signum=None, expired=False)
    except Exception as exc:  # noqa: BLE001 - a result backend may raise anything; the call is cancelled all the same
        words = "The task %(task_id)s is cancelled, but its state could not be set: %(why)s"
        log.warning("countdown.stateless", words, task_id=id_, why=mask(repr(exc)))


def _parts(call: KeptCall) -> tuple[dict[str, Any], dict[str, Any]]:
    """The headers of a message, and what is embedded in its body; nothing is unpickled."""
    message = read_call(call.calls[0])
    body = message["body"]
    embedded = json.loads(body)[2] if message["content_type"] == "application/json" and isinstance(body, str) else {}
    return dict(message["headers"]), embedded if isinstance(embedded, dict) else {}


class Revoking:
    """Mixed into a class of Celery's control: a revoke removes what the schedule keeps of a task, too.

    Workers are told as well: perhaps it was sent just now.
    """

    app: Any

    def broadcast(self, command: Any, arguments: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Celery's, of which ``revoke`` is one; so is that of its command line."""
        error = _removed(self.app, arguments) if command == "revoke" else None
        answer = super().broadcast(command, arguments, *args, **kwargs)  # type: ignore[misc]
        if error is not None:
            raise error
        return answer


class RevokingControl(Revoking, Control):  # type: ignore[misc]
    """Celery's own control, so that an app can still be pickled."""


def _removed(app: Any, arguments: Any) -> RedisUnavailable | None:
    """Remove the tasks that a revoke is about from the schedule; the error, where one is to be raised."""
    said = (arguments or {}).get("task_id") or []
    ids = [said] if isinstance(said, str) else [str(one) for one in said]
    if not is_wanted(app) or not ids:
        return None
    store = store_of(app)
    try:
        cancel(app, ids, store.run, store.keys)
    except RedisUnavailable as exc:
        if store.settings.eta_fallback == "error":
            return exc
        log.error(
            "countdown.revoke_unknown",
            "Whether the schedule keeps a revoked task is unknown, so it may still send it (workers that know of the "
            "revoke will not run it): %(why)s Revoke it again.",
            why=mask(exc),
        )
    return None


def remove_when_revoked(app: Any) -> None:
    """Have ``app.control.revoke``, ``AsyncResult.revoke`` and ``celery control revoke`` remove what is kept."""
    from kombu.utils.imports import symbol_by_name

    real = symbol_by_name(app.control_cls)
    app.control_cls = RevokingControl if real is Control else type("RevokingControl", (Revoking, real), {})
    vars(app).pop("control", None)  # it is made when it is used


def show_eta() -> None:
    """In a run of a kept call, ``self.request.eta`` says when it was to run, as with Celery's own."""
    signals.task_prerun.connect(_show_eta, weak=False, dispatch_uid="redlock_beat eta")


def _show_eta(task: Any = None, **_: Any) -> None:
    request = task.request
    eta = (request.headers or {}).get(HEADER_ETA)
    if eta and not request.eta:
        request.eta = eta
