"""Calls with a countdown or eta that the schedule keeps: to list and to cancel them."""

from __future__ import annotations

import fnmatch
import secrets
from collections.abc import Iterable, Sequence

from ..clock import from_score, moment
from ..errors import InvalidSchedule
from ..messages.calls import read_call
from ..messages.headers import HEADER_LOCK
from ..store import locks, requests
from ..store.countdown import KeptCall
from ..store.locks import Who
from ..store.requests import PAGE, Operation
from .answers import Countdown
from .changes import ChangeMaker
from .describing import current_user
from .given import is_text

#: A place in the listing: the score to read on from, and how many with that very score are known already.
Place = tuple[str, int]
#: Before the first.
FIRST: Place = ("-inf", 0)


class Countdowns(ChangeMaker):
    """What users do with calls that are kept."""

    def countdown_page(self, place: Place, task: str | None) -> Operation[tuple[Place | None, list[Countdown]]]:
        """Some calls that are kept, soonest first, and where to go on; None: that was all."""
        low, skip = place
        page = yield requests.countdown_page(self.keys, low, skip, PAGE)
        if not page:
            return None, []
        last = page[-1][1]
        alike = sum(1 for _, when, _ in page if when == last)
        found = [shown(*one) for one in page]
        there = (last, alike + (skip if last == low else 0))
        return there, [one for one in found if task is None or fnmatch.fnmatchcase(one.task, task)]

    def cancel_countdowns(self, ids: Sequence[str] | Iterable[str]) -> Operation[list[str]]:
        """Cancel calls that are kept, and free the locks of unique ones; the ids of those that were."""
        if isinstance(ids, str):
            raise InvalidSchedule(f"ids is {ids!r}, but must be several: [{ids!r}].")
        try:
            wanted = list(dict.fromkeys(filter(is_text, ids)))  # no call has an id that is no text
        except TypeError:
            raise InvalidSchedule(f"ids is {ids!r}, but must be a list of task ids.") from None
        row = ["is", "skipped", "entry", "", "how", "countdown", "why", f"cancelled by {current_user()}"]
        gone: list[str] = []
        for i in range(0, len(wanted), PAGE):
            page, request = wanted[i : i + PAGE], secrets.token_hex(12)
            items = dict(zip(page, (yield requests.some(self.keys.countdown_items, page)), strict=True))
            now_gone = yield requests.countdown_cancel(self.keys, page, self.settings.ledger_size, row, request)
            for who in filter(None, (_lock_of(id_, items[id_]) for id_ in now_gone)):
                yield locks.end(self.keys, who, "", request=secrets.token_hex(12))
            gone += now_gone
        return gone


def _lock_of(id_: str, item: str | None) -> Who | None:
    """The lock that a call of a unique task has taken, as its message says; None for none."""
    if item is None or HEADER_LOCK not in item:
        return None
    try:
        call = KeptCall.parse(id_, item)
        digest = read_call(call.calls[0])["headers"].get(HEADER_LOCK)
    except Exception:  # noqa: BLE001 - rubbish in Redis raises what it likes, and has no lock
        return None
    return Who(digest, id_, call.task) if isinstance(digest, str) else None


def shown(id_: str, when: str, head: str) -> Countdown:
    """A call that is kept, as it is shown; one that cannot be read has no task."""
    due = from_score(when)
    try:
        call = KeptCall.parse(id_, head)
        return Countdown(id_, call.task, moment(due), moment(call.made), call.args, call.kwargs, call.expires or None)
    except (ValueError, OverflowError):
        return Countdown(id_, "", moment(due), None, "", "", None)
