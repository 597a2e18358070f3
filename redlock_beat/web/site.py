"""One request, from the first check to the last header."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any
from urllib.parse import quote, unquote

from ..entries.codec import plain
from ..recurrence.zones import zone_name
from ..schedule.schedule import Schedule
from ..settings import settings_of
from . import assets, guard, proxies
from .access import Grant, granted
from .catalogue import Catalogue
from .failures import Failure, failure_of
from .guard import Refused
from .http import Request, Response, cookie, redirect
from .once import once
from .options import Options
from .pages import OPEN, ROUTES
from .rendering import context_of, environment, rendered
from .routes import Done, Route, Shown, found
from .tail import Tail
from .visit import Visit

#: The cookie with what the last edit did, until a page has shown it; and the one with the chosen colours.
SAID, THEME = "redlock_beat_said", "redlock_beat_theme"
#: Seconds that one answer of Redis may take.
SOCKET = 1.0
#: Characters of what an edit says.
MOST_SAID = 300
JSON = "application/json"


class Site:
    """The pages of one schedule.

    >>> site = Site(Schedule.from_url("redis://localhost:6379/0"), Options())
    >>> site.handle(Request("GET", "/", headers={"host": "evil.example"}, peer="127.0.0.1")).status
    403
    """

    def __init__(self, app: Any, options: Options) -> None:
        self.app = app
        self.options = options
        self._lock = threading.Lock()
        #: When the schedule's health was last asked for, on the monotonic clock, and whether it was well.
        self.health = (float("-inf"), False)

    @cached_property
    def schedule(self) -> Schedule:
        """The schedule, made when it is first asked for: an app may be configured after it is mounted."""
        with self._lock:
            if isinstance(self.app, Schedule):
                return self.app
            settings = settings_of(self.app)
            settings = replace(settings, socket_timeout=min(settings.socket_timeout, SOCKET))
            return Schedule(self.app, settings=settings, retry_for=self.options.patience)

    @cached_property
    def zone(self) -> str:
        """The zone in which times are shown."""
        return self.options.timezone or zone_name(getattr(self.schedule.app, "timezone", None))

    @cached_property
    def title(self) -> str:
        """What stands at the top of every page."""
        return self.options.title or self.schedule.settings.prefix

    @cached_property
    def catalogue(self) -> Catalogue:
        """What is known of all entries."""
        return Catalogue(self.schedule)

    @cached_property
    def tail(self) -> Tail:
        """The newest rows of the ledger."""
        return Tail(self.schedule)

    def warm(self) -> None:
        """Read the templates, which takes a moment, before the first visit."""
        for name in environment().list_templates(("html",)):
            environment().get_template(name)

    def close(self) -> None:
        """Close the connections."""
        if "schedule" in self.__dict__:
            self.schedule.close()

    def handle(self, request: Request) -> Response:
        """The response to a request; it never raises."""
        try:
            response = self._answered(request)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the visitor gets a page that says so
            response = self._failed(request, exc)
        kept = any(name == "Cache-Control" for name, _ in response.headers)
        response = response.with_headers(*guard.HEADERS, *(() if kept else (guard.NO_STORE,)))
        return replace(response, body=b"") if request.method == "HEAD" else response

    def _answered(self, request: Request) -> Response:
        guard.check_method(request)
        guard.check_size(request)
        request = proxies.seen_through(request, self.options.trusted)
        if request.path == "" and request.prefix:
            return redirect(request.url("/") + (f"?{request.query}" if request.query else ""))
        if request.path in OPEN:  # one bit for probes, which know neither names nor passwords
            return OPEN[request.path](self, request)
        guard.check_host(request, self.options.hosts)
        asset = assets.served(request.path) if request.path.startswith("/static/") else None
        if asset is not None:
            return asset
        grant = granted(self.options.asked(request))
        if isinstance(grant, Response):
            return grant
        if grant is None:
            raise Refused(403, _CLOSED if self.options.access is None else _NOT_LET_IN)
        return self._page(request, grant)

    def _page(self, request: Request, grant: Grant) -> Response:
        route = found(ROUTES, request.method, request.path)
        if route.method == "POST":
            guard.check_origin(request, self.options.origins)
            if route.verb is not None and not grant.may(route.verb):
                raise Refused(403, f"You are not allowed to {route.verb} here; nothing was changed.")
        visit = Visit(self, request, grant, _values(route, request))
        if route.method == "POST" and route.once and not (request.is_json and "request" not in request.form):
            with once(self.schedule, str(request.form.get("request", ""))) as free:
                answer = route.view(visit)
                if isinstance(answer, Shown) and answer.status >= 400:  # shown again: whoever goes back may mend it
                    free()
        else:
            answer = route.view(visit)
        return self._response(route, visit, answer)

    def _response(self, route: Route, visit: Visit, answer: Any) -> Response:
        if isinstance(answer, Response):
            return answer
        if isinstance(answer, Done):
            if visit.request.wants_json or visit.request.is_json:
                return json_response({"done": answer.said, **answer.data})
            said = quote(answer.said[:MOST_SAID], safe="", errors="replace")
            return redirect(visit.back(answer.to), cookie(visit.request, SAID, said, age=30))
        shown = answer if isinstance(answer, Shown) else Shown(answer)
        template = shown.template or route.template
        if visit.request.wants_json or visit.request.is_json or not template:
            return json_response(shown.data if shown.status < 400 else shown.refusal(), shown.status)
        return self._html(visit, route, template, shown)

    def _html(self, visit: Visit, route: Route, template: str, shown: Shown) -> Response:
        request = visit.request
        # A page that looks for news by itself does not take the message away from the one that is to show it.
        live = "x-live" in request.headers
        said = None if live else request.cookies.get(SAID)
        body = rendered(
            template,
            visit,
            **self._frame(request, route.title),
            **context_of(visit),
            said=unquote(said)[:MOST_SAID] if said else None,
            path=route.path,
            data=shown.data,
            **shown.extra,
        )
        headers = (cookie(request, SAID, "", age=0),) if said else ()
        return Response(shown.status, body, headers=(*headers, ("Vary", "Accept, Cookie")))

    def _frame(self, request: Request, title: str) -> Mapping[str, Any]:
        """What the layout shows around every page, also around an error."""
        theme = request.cookies.get(THEME)
        return {
            "request": request,
            "url": request.url,
            "title": title,
            "site_title": self.options.title or "redlock_beat",
            "nav": tuple(one for one in ROUTES if one.nav),
            "theme": theme if theme in ("light", "dark") else "system",
            "options": self.options,
        }

    def _failed(self, request: Request, exc: Exception) -> Response:
        failure = failure_of(exc, changing=request.method == "POST")
        headers = failure.headers
        if request.wants_json or request.is_json:
            return json_response(failure.json(), failure.status).with_headers(*headers)
        return Response(failure.status, self._failure_page(request, failure), headers=headers)

    def _failure_page(self, request: Request, failure: Failure) -> bytes:
        try:
            seen = proxies.seen_through(request, self.options.trusted)
            return rendered("error.html", None, **self._frame(seen, failure.title), failure=failure)
        except Exception:  # noqa: BLE001 - not even the error's page works: without Jinja, for one
            return f"{failure.status} {failure.title}\n\n{failure.words}\n".encode()


_CLOSED = (
    "This page answers visitors of its own machine alone, under the name localhost, and not through a proxy. "
    "To open it to others, mount it with access=, a function that says who may do what."
)
_NOT_LET_IN = "You are not allowed to see this page."


def _values(route: Route, request: Request) -> dict[str, Any]:
    try:
        given: Mapping[str, Any] = {**request.params, **request.form} if route.method == "POST" else _query(request)
    except (ValueError, RecursionError):
        raise Refused(422, "The request cannot be read.") from None
    return {param.name: param.read(given.get(param.name)) for param in route.params}


def _query(request: Request) -> dict[str, Any]:
    """The query, with lists where a name comes twice."""
    found: dict[str, Any] = {}
    for name, value in request.pairs:
        before = found.get(name)
        found[name] = value if before is None else [*before, value] if isinstance(before, list) else [before, value]
    return found


def json_response(data: Any, status: int = 200) -> Response:
    """Data as JSON; what JSON has no type for stands there as it does in Redis and on the command line."""
    return Response(status, json.dumps(plain(data)).encode(), JSON, (("Vary", "Accept, Cookie"),))
