"""What the change list says of each entry."""

from __future__ import annotations

from datetime import datetime

from django.contrib import admin
from django.utils.timezone import localtime

from .models import PeriodicTask


class Columns:
    """The columns, as methods of the admin."""

    @admin.display(description="task", ordering="task")
    def task_of(self, row: PeriodicTask) -> str:
        """The task it sends."""
        return row.task if row.entry is None or row.entry.canvas is None else f"{row.task} ({row.entry.canvas['task']})"

    @admin.display(description="enabled", boolean=True)
    def active(self, row: PeriodicTask) -> bool | None:
        """Whether it is sent; neither, where it cannot be read."""
        return None if row.entry is None else row.entry.enabled

    @admin.display(description="schedule")
    def when(self, row: PeriodicTask) -> str:
        """When, in words."""
        return "cannot be read by this release" if row.entry is None else row.entry.words

    @admin.display(description="next run", ordering="due")
    def next_run(self, row: PeriodicTask) -> datetime | str | None:
        """The next slot."""
        if row.entry is None:
            return None
        return _local(row.entry.next_due) or ("finished" if row.entry.enabled else "paused")

    @admin.display(description="last sent", ordering="last")
    def last_run(self, row: PeriodicTask) -> datetime | None:
        """When it was last sent."""
        return None if row.entry is None else _local(row.entry.last_sent)

    @admin.display(description="sent")
    def sent(self, row: PeriodicTask) -> int | None:
        """How often it was sent."""
        return None if row.entry is None else row.entry.total_run_count

    @admin.display(description="origin")
    def origin(self, row: PeriodicTask) -> str:
        """Where it comes from."""
        return {"config": "settings", "api": "runtime"}.get("" if row.entry is None else row.entry.origin, "")


def _local(when: datetime | None) -> datetime | None:
    """A time on the clock of the user: without USE_TZ Django does not put it there itself."""
    return None if when is None else localtime(when)
