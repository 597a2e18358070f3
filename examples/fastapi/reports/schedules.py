"""What a tenant may do with the schedule: its entries are named after it and labelled with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

from redlock_beat import AsyncSchedule, Entry, NoSuchEntry

#: A customer may have so many reports, and none more often than this.
MOST = 50
#: The reports there are. What runs is chosen here, never by a request.
REPORTS = {"sales", "stock", "visitors"}
#: Everybody wants theirs at seven: each is sent up to so many seconds later, always the same for one entry.
SPREAD = 120


class NotAllowed(Exception):
    """A tenant wants something that it may not have."""


@dataclass(frozen=True)
class Reports:
    """The reports of one tenant.

    Every call passes the tenant's name to the schedule, so that no request can reach the entries of another.
    """

    schedule: AsyncSchedule
    tenant: str

    async def put(self, name: str, report: str, when: str, timezone: str) -> Entry:
        """Add a report, or change when it is made."""
        if report not in REPORTS:
            raise NotAllowed(f"there is no report {report!r}; there are {', '.join(sorted(REPORTS))}")
        if not await self.schedule.has(self._name(name)) and await self.count() >= MOST:
            raise NotAllowed(f"you have {MOST} reports, which is the most there can be: delete one first")
        return await self.schedule.add(
            self._name(name),
            "reports.make",
            when,
            kwargs={"tenant": self.tenant, "report": report},
            timezone=timezone,
            jitter=SPREAD,
            labels={"tenant": self.tenant},
            replace=True,
            actor=self.tenant,
        )

    async def list(self) -> AsyncIterator[Entry]:
        """Its reports, in the order of their names."""
        async for entry in self.schedule.entries(labels={"tenant": self.tenant}):
            yield entry

    async def count(self) -> int:
        """How many it has."""
        return len([entry async for entry in self.list()])

    async def remove(self, name: str) -> None:
        """Delete one."""
        await self.schedule.remove(self._name(name), actor=self.tenant)

    async def make_now(self, name: str) -> str:
        """Make one now, too; the id of the task."""
        return await self.schedule.trigger(self._name(name), actor=self.tenant)

    async def made(self, name: str, n: int = 10) -> list[datetime]:
        """When it was last made, the newest first."""
        if not await self.schedule.has(self._name(name)):
            raise NoSuchEntry(name)
        rows = await self.schedule.history(self._name(name), n=n)
        return [row.at for row in rows if row.what == "sent"]

    def shown(self, entry: Entry) -> str:
        """The name of an entry as the tenant gave it."""
        return entry.name.removeprefix(f"{self.tenant}/")

    def _name(self, name: str) -> str:
        return f"{self.tenant}/{name}"
