"""Jinja's environment: every value is escaped, and a name that is missing is an error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any

from ..clock import moment
from ..errors import InvalidSetting
from ..recurrence.zones import zone
from . import assets, charts, once, times
from .access import VERBS
from .visit import Visit

#: The parts of the site that the navigation shows come from the routes; this is what stands beside them.
THEMES = ("system", "light", "dark")
#: Characters of a JSON value that a page shows.
MOST_JSON = 4_000


@cache
def environment() -> Any:
    """The one environment of this process."""
    try:
        import jinja2
    except ImportError:
        raise InvalidSetting("the web page needs Jinja: pip install 'redlock-beat[web]'.") from None

    made = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__, "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(span=times.span, utc=times.utc, utc_beside=times.utc_beside, json=shown_json, at=_at)
    made.globals.update(asset=assets.path_of, sparkline=charts.sparkline, new_id=once.new_id, themes=THEMES)
    return made


def rendered(template: str, visit: Visit | None, **context: Any) -> bytes:
    """A page as HTML."""
    made = environment().get_template(template)
    words: str = made.render(visit=visit, **context)
    return words.encode("utf-8", "replace")


def context_of(visit: Visit) -> Mapping[str, Any]:
    """What every template of a visit may use."""
    return {
        "now": visit.now,
        "zone": visit.zone,
        "may": {verb: visit.may(verb) for verb in VERBS},
        "relative": lambda at: times.relative(at, visit.now),
        "local": lambda at, day=False: times.local(at, visit.zone, None if day else visit.now),
        "zone_at": lambda at: at.astimezone(zone(visit.zone)).tzname() or visit.zone,
    }


def shown_json(value: Any, indent: int | None = None) -> str:
    """A value as JSON text, cut where it is very long."""
    text = json.dumps(value, indent=indent, ensure_ascii=False, default=str)
    return text if len(text) <= MOST_JSON else text[:MOST_JSON] + "…"


def _at(value: Any) -> datetime | None:
    """The time of an instant, of ISO text, or of a datetime."""
    if value is None or isinstance(value, datetime):
        return value
    return moment(value) if isinstance(value, int) else datetime.fromisoformat(value)
