"""For probes and programs: health, metrics, and the description of all pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...clock import monotonic
from ...errors import InvalidSetting, RedlockBeatError
from ...schedule.gauges import exposed, samples
from ..guard import Refused
from ..http import Request, Response, text
from ..openapi import description
from ..routes import Route, Shown
from ..visit import Visit

if TYPE_CHECKING:
    from ..site import Site

#: Seconds for which the answer of /healthz is kept: whoever asks, Redis is asked that often.
_FRESH = 1.0
#: Seconds that something may be due before the schedule is not well.
_MAX_LAG = 30.0


def healthz(site: Site, request: Request) -> Response:
    """``ok``, or ``not well`` with the status 503: that and no more, since everybody may ask."""
    at, well = site.health
    if monotonic() - at > _FRESH:
        try:
            well = site.schedule.health(_MAX_LAG).ok
        except RedlockBeatError:
            well = False
        site.health = (monotonic(), well)
    return text("ok\n" if well else "not well\n", 200 if well else 503)


def livez(site: Site, request: Request) -> Response:
    """``ok`` whenever the page answers, whatever the schedule is like: a reason to restart it is no other."""
    return text("ok\n")


def health(visit: Visit) -> dict[str, Any]:
    """Whether the schedule is well, and why not."""
    found = visit.schedule.health(_MAX_LAG)
    return {"ok": found.ok, "why": found.why}


def metrics(visit: Visit) -> Response | Shown:
    """The schedule in numbers, as Prometheus reads them; as JSON for other programs."""
    status = visit.schedule.status()
    if visit.request.wants_json:
        rows = [{"name": one.metric, "labels": labels, "value": value} for one, labels, value in samples(status)]
        return Shown({"metrics": rows})
    try:
        body, kind = exposed(status, visit.request.headers.get("accept", ""))
    except InvalidSetting as exc:
        raise Refused(501, str(exc)) from None
    return Response(200, body, kind, (("Vary", "Accept, Cookie"),))


def openapi(visit: Visit) -> dict[str, Any]:
    """The description of every page."""
    from . import ROUTES as EVERY  # a page among those that it describes

    return description(EVERY, visit.request.prefix)


_METRICS = {
    "type": "object",
    "required": ["metrics"],
    "properties": {
        "metrics": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "labels", "value"],
                "properties": {
                    "name": {"type": "string"},
                    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                    "value": {"type": "number"},
                },
            },
        }
    },
}

#: Pages for everybody.
OPEN = {"/healthz": healthz, "/livez": livez}

ROUTES = (
    Route(
        "/health",
        health,
        "Health",
        "Whether the schedule is well, and why not.",
        schema={"$ref": "#/components/schemas/health"},
    ),
    Route(
        "/metrics",
        metrics,
        "Metrics",
        "The schedule in numbers: text that Prometheus reads, or JSON.",
        schema=_METRICS,
        texts=("text/plain",),
    ),
    Route("/openapi.json", openapi, "OpenAPI", "The description of all of this for programs."),
)
