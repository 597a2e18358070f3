"""The page: ``flask --app backups.web run``."""

from __future__ import annotations

from typing import Any

from flask import Flask, redirect, render_template_string, request
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.wrappers import Response

import redlock_beat.web
from redlock_beat import InvalidSchedule, NoSuchEntry, RedisUnavailable, Schedule

from .celery import app

PAGE = """
<!doctype html>
<title>Backups</title>
{% if why %}<p role="alert">{{ why }}</p>{% endif %}
<table>
  {% for entry in entries %}
  <tr>
    <td>{{ entry.name }}</td>
    <td>{{ entry.words }}</td>
    <td>{{ "paused" if not entry.enabled else entry.next_due.isoformat(" ", "minutes") if entry.next_due else "" }}</td>
    <td>
      <form method="post" action="{{ url_for('plan', name=entry.name) }}">
        <input name="when" placeholder="30 3 * * *" aria-label="When"><button>Change</button>
        <button formaction="{{ url_for('make_now', name=entry.name) }}">Now</button>
      </form>
    </td>
  </tr>
  {% endfor %}
</table>
"""

web = Flask(__name__)
schedule = Schedule(app, retry_for=3.0)  # shared by all threads; a request waits no longer for Redis
# The schedule's own page. Without a function that says who may do what, it serves this machine alone.
web.wsgi_app = DispatcherMiddleware(web.wsgi_app, {"/beat": redlock_beat.web.wsgi(app)})  # type: ignore[method-assign]


@web.before_request
def same_site() -> tuple[str, int] | None:
    """Browsers say from which site a form was sent: no other site may press our buttons."""
    if request.method == "POST" and request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        return "this form was sent by another site", 403
    return None


def page(why: str = "", status: int = 200) -> tuple[str, int]:
    entries = schedule.entries(prefix="backup ")
    return render_template_string(PAGE, entries=entries, why=why), status


@web.get("/")
def index() -> tuple[str, int]:
    return page()


@web.post("/backups/<name>/plan")
def plan(name: str) -> Response | tuple[str, int]:
    try:
        schedule.update(name, when=request.form["when"], actor=request.remote_addr)
    except InvalidSchedule as exc:
        return page(str(exc), 422)
    return redirect("/", 303)


@web.post("/backups/<name>/now")
def make_now(name: str) -> Response:
    schedule.trigger(name, actor=request.remote_addr)
    return redirect("/", 303)


@web.errorhandler(NoSuchEntry)
def missing(exc: NoSuchEntry) -> tuple[str, int]:
    return page("There is no such backup.", 404)


@web.errorhandler(RedisUnavailable)
def away(exc: RedisUnavailable) -> tuple[Any, int]:
    return "The schedule cannot be reached.", 503
