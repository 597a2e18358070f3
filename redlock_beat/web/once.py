"""A form takes effect once: its request id is remembered for five minutes, whoever sends it again.

An error that says that nothing was changed frees the id. After any other error the change may be in force: then the id
stays, since the same form again might do twice what was to be done once, and whoever sends it again is told so.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Callable, Iterator
from typing import Any

from ..errors import RedisUnavailable, RedlockBeatError
from ..schedule.schedule import Schedule
from ..store import requests
from .guard import Refused

#: Whose claim it is when the page failed after it.
_UNCLEAR = "unclear"
_ID = re.compile(r"[0-9a-f]{24}")


def new_id() -> str:
    """A request id for a form."""
    return secrets.token_hex(12)


@contextlib.contextmanager
def once(schedule: Schedule, request_id: str) -> Iterator[Callable[[], None]]:
    """Carry out the block for the first request of this id; :class:`Refused` for every other.

    Where the block changes nothing and raises no error, it calls what it is given.
    """
    if not _ID.fullmatch(request_id):
        raise Refused(422, "The form has no request id: load the page again.")
    token = secrets.token_hex(8)
    whose = schedule.ask(requests.form_claim(schedule.keys, request_id, token))
    if whose != token:
        raise Refused(409, _FAILED if whose == _UNCLEAR else _SENT)

    def free() -> None:
        _try(schedule, requests.form_free(schedule.keys, request_id))

    try:
        yield free
    except Exception as exc:
        if isinstance(exc, (Refused, RedlockBeatError)) and not getattr(exc, "unknown", False):
            free()
        else:
            _try(schedule, requests.form_unclear(schedule.keys, request_id, _UNCLEAR))
        raise


_SENT = "This form was sent before. Nothing was done this time."
_FAILED = (
    "This form was sent before, and the page failed then: whether the change took effect is unknown. Nothing was done "
    "this time. Look at the log of edits; to repeat the change, load the page with the form again."
)


def _try(schedule: Schedule, request: requests.Request[Any]) -> None:
    """Ask Redis; while it is away, the claim stays as it is."""
    with contextlib.suppress(RedisUnavailable):
        schedule.ask(request)
