"""Who leads, what waits, what is wrong; and the hold of everything."""

from __future__ import annotations

from ...errors import InvalidSchedule
from ..routes import Done, Param, Route, Shown
from ..times import instant, local
from ..visit import Visit
from .entry import WHY

#: Rows of the ledger's end that are shown, and lines of a list of names.
TAIL, NAMES = 12, 20


def beats(visit: Visit, errors: dict[str, str] | None = None) -> Shown:
    """The status of the schedule."""
    status = visit.schedule.status()
    extra = {
        "status": status,
        "leader": next((one for one in status.replicas if one.role == "leader"), None),
        "tail": visit.site.tail.rows()[: -TAIL - 1 : -1],
        "names": NAMES,
        "errors": errors or {},
    }
    return Shown(status.json(), extra, 422 if errors else 200)


def hold(visit: Visit) -> Done | Shown:
    """Hold everything."""
    try:
        until = instant(visit["until"], visit.zone) if visit["until"] else None
        held = visit.schedule.hold(until, visit["note"], actor=visit.actor)
    except InvalidSchedule as exc:
        return beats(visit, {"until": str(exc)})
    end = "it is released" if held.until is None else local(held.until, visit.zone)
    return Done(visit.url("/beats"), f"Everything is held until {end}.", {"id": held.id})


def release(visit: Visit) -> Done:
    """Release what is held."""
    was = visit.schedule.release(actor=visit.actor, why=visit["why"])
    return Done(visit.url("/beats"), "Nothing was held." if was is None else "The hold is released.")


def acknowledge(visit: Visit) -> Done:
    """Acknowledge what Redis has lost."""
    was = visit.schedule.acknowledge(actor=visit.actor, why=visit["why"])
    return Done(visit.url("/beats"), "There was no loss to acknowledge." if was is None else f"Acknowledged: {was}")


ROUTES = (
    Route(
        "/beats",
        beats,
        "Beats",
        "Who leads, what waits, what is wrong.",
        template="beats.html",
        schema={"$ref": "#/components/schemas/status"},
        nav=True,
    ),
    Route(
        "/beats/hold",
        hold,
        "Hold everything",
        "Send nothing until the hold is released, or until a time; everything stays due under its policy.",
        "POST",
        "hold",
        params=(
            Param("until", words="Until when: an ISO time; without an offset it is in the zone of the page.", most=64),
            Param("note", words="Why.", most=1_000),
        ),
        template="beats.html",
    ),
    Route(
        "/beats/release",
        release,
        "Release the hold",
        "Send again; what became due meanwhile is sent or missed by its policies.",
        "POST",
        "release",
        params=(WHY,),
    ),
    Route(
        "/beats/acknowledge",
        acknowledge,
        "Acknowledge a loss",
        "Somebody has looked at what Redis has lost; the schedule is well again.",
        "POST",
        "acknowledge",
        params=(WHY,),
    ),
)
