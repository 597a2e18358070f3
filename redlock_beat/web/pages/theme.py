"""Light, dark, or as the visitor's system has it: a cookie that the server reads, so that no page flashes."""

from __future__ import annotations

from ..http import Response, cookie, redirect
from ..rendering import THEMES
from ..routes import Param, Route
from ..visit import Visit

_YEAR = 365 * 24 * 3600


def theme(visit: Visit) -> Response:
    """Keep the choice, and go back to the page."""
    return redirect(visit.back(visit.url("/")), cookie(visit.request, "redlock_beat_theme", visit["theme"], age=_YEAR))


ROUTES = (
    Route(
        "/theme",
        theme,
        "Colours",
        "Choose light or dark colours.",
        method="POST",
        params=(
            Param("theme", "choice", "The colours.", required=True, choices=THEMES),
            Param("back", words="Where to go then.", most=4_000),
        ),
        described=False,
        once=False,
    ),
)
