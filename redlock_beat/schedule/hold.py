"""To hold everything, and to release it: a maintenance window for the whole schedule."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import datetime
from typing import Any

from ..clock import instant_of, moment
from ..errors import InvalidSchedule, ScheduleBusy
from ..store import holds
from ..store.requests import Operation
from ..store.values import Held
from .answers import Hold
from .edit_log import MOST_WHY, Signature, as_reason
from .given import is_text
from .status import shown
from .task_locks import TaskLocks

#: How often a hold is made anew because another came first.
ATTEMPTS = 200
#: Seconds that whoever holds waits for the leader besides the rest of its lease.
MORE = 0.25


class Holds(TaskLocks):
    """What users do with the hold."""

    def held(self) -> Operation[Hold | None]:
        """What holds everything now, or None."""
        return shown(*(yield holds.look(self.keys)))

    def holding(
        self, until: datetime | None, note: str | None, actor: str | None, why: str | None
    ) -> Operation[tuple[Hold, float]]:
        """Hold everything, in the place of a hold that stands; and for how many seconds to wait for the leader.

        From this step on no commit succeeds. When the leader has answered, or its lease as it is now has ended, no
        message is on its way to another broker either.
        """
        ends = None if until is None else instant_of(until, "until")
        if note and (not isinstance(note, str) or len(note) > MOST_WHY or not is_text(note)):
            raise InvalidSchedule(f"the note must be a text of at most {MOST_WHY} characters.")
        signature = Signature(self.actor if actor is None else actor, as_reason(note) if why is None else why)
        hold = holds.Hold(secrets.token_hex(12), 0, ends, signature.actor, note or None)
        for _ in range(ATTEMPTS):
            before, _lease = yield holds.look(self.keys)
            row = self._log_rows(signature.row("held", "", changes=_changes(before, hold)))
            expected = "" if before is None else before.id
            found: holds.HoldAnswer = yield holds.put(
                self.keys, expected, hold, self.settings.edit_log_size, row, secrets.token_hex(12)
            )
            if found.what == "past":
                raise InvalidSchedule(
                    f"until is {until}, which is past: Redis's time is {moment(found.now).isoformat()}. Nothing was "
                    "changed. Give a later time, or none, and release the hold yourself."
                )
            if found.what == "held":
                made = shown(replace(hold, at=found.now), found.lease)
                assert made is not None
                return made, found.left_ms / 1000 + MORE
        raise ScheduleBusy("everything", ATTEMPTS)

    def confirmed(self, hold: Hold) -> Operation[Hold]:
        """The same hold, and whether the leader sends nothing more; also when it is another's by now, or over."""
        there: holds.Hold | None
        lease: Held | None
        there, lease = yield holds.look(self.keys)
        return replace(hold, confirmed=there is None or there.id != hold.id or there.seen_by(lease))

    def releasing(self, actor: str | None, why: str | None) -> Operation[Hold | None]:
        """Release what is held; the hold that stood, or None: then nothing was held, and nothing is changed."""
        row = self._log_rows(self.signature(actor, why).row("released", ""))
        hold = yield holds.end(self.keys, self.settings.edit_log_size, row, secrets.token_hex(12))
        return shown(hold, None)

    def _log_rows(self, row: list[Any]) -> list[Any]:
        return row if self.settings.edit_log_size else []


def _changes(before: holds.Hold | None, hold: holds.Hold) -> tuple[tuple[str, Any, Any], ...]:
    """What a hold changes, as the edit log has it."""

    def said(one: holds.Hold | None) -> dict[str, str | None]:
        ends = None if one is None or one.until is None else moment(one.until).isoformat()
        return {"until": ends, "note": None if one is None else one.note}

    then, now = said(before), said(hold)
    return tuple((part, then[part], now[part]) for part in now if then[part] != now[part])
