"""What a page is given: who asks for what, and the schedule."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..clock import moment
from ..entries.entry import Entry
from ..schedule.schedule import Schedule
from ..store import requests
from .access import Grant
from .http import Request
from .options import Options
from .redacting import redacted_entry

if TYPE_CHECKING:
    from .site import Site


class Visit:
    """One request to one page."""

    def __init__(self, site: Site, request: Request, grant: Grant, values: Mapping[str, Any]) -> None:
        self.site = site
        self.request = request
        self.grant = grant
        #: The parameters that the route declares, read and checked.
        self.values = values
        self._now: datetime | None = None

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    @property
    def options(self) -> Options:
        """How the page is served."""
        return self.site.options

    @property
    def schedule(self) -> Schedule:
        """The schedule; ``actor=visit.actor`` signs an edit."""
        return self.site.schedule

    @property
    def zone(self) -> str:
        """The zone in which times are shown."""
        return self.site.zone

    @property
    def now(self) -> datetime:
        """Redis's time, asked once a visit."""
        # No cached_property: before Python 3.12 it has one lock for all visits, held while Redis is asked.
        if self._now is None:
            self._now = moment(self.schedule.ask(requests.now(self.schedule.keys)))
        return self._now

    @property
    def actor(self) -> str:
        """Who signs the visitor's edits."""
        return (self.grant.actor or self.request.user or f"web@{self.request.peer or 'unknown'}")[:200]

    def may(self, verb: str) -> bool:
        """Whether the visitor is allowed a verb."""
        return self.grant.may(verb)

    def url(self, path: str = "", **query: Any) -> str:
        """A URL of the site: ``visit.url("/entry", name=entry.name)``."""
        return self.request.url(path, **query)

    def back(self, otherwise: str) -> str:
        """Where a form says that its visitor came from (its field ``back``), if that is on this site."""
        there = self.request.form.get("back")
        below = self.url("/")
        # Browsers leave out tabs and line ends: with one, "/" and a tab and "/evil.example" would be another host.
        if not isinstance(there, str) or not there.isprintable():
            return otherwise
        return there if there.startswith(below) and not there.startswith(("//", "/\\")) else otherwise

    def shown(self, entry: Entry) -> Entry:
        """The entry with the arguments that may be shown."""
        redact = self.options.redact
        return entry if redact is None else redacted_entry(redact, entry)
