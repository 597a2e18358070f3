"""The verb that serves the page: web."""

from __future__ import annotations

import os
import secrets
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

import click

from ..errors import InvalidSetting
from .terminal import say
from .verbs import Verb, VerbSchedule

if TYPE_CHECKING:
    from ..web.adapters import WSGI

#: Requests that are answered at a time.
THREADS = 8
#: Environment variables with what should not stand on a command line, which other users can see.
TOKEN, PASSWORD = "REDLOCK_BEAT_WEB_TOKEN", "REDLOCK_BEAT_WEB_PASSWORD"


@click.command("web", cls=Verb)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option("--port", default=8765, show_default=True, type=click.IntRange(0, 65535), help="The port; 0 for any.")
@click.option("--read-only", is_flag=True, help="Show everything and change nothing.")
@click.option("--token", help=f"The token in the URL.  [default: {TOKEN}, or a new one]")
@click.option("--user", help=f"Ask for this user and the password in {PASSWORD} instead of a token.")
@click.option("--task-url", help="The link of a task's id: a URL with {id} in it, such as Flower's.")
@click.option("--proxy", "proxies", multiple=True, help="Address or network of a proxy to believe. Repeatable.")
@click.option("--origin", "origins", multiple=True, help="The page's own address behind a proxy. Repeatable.")
def web_(
    schedule: VerbSchedule,
    host: str,
    port: int,
    read_only: bool,
    token: str | None,
    user: str | None,
    task_url: str | None,
    proxies: tuple[str, ...],
    origins: tuple[str, ...],
) -> None:
    """Serve the schedule as a page for a browser.

    It prints a URL with a token. Everybody who has this URL may use the page.

    \b
    Examples:
      celery -A proj redlock web
      celery -A proj redlock web --host 0.0.0.0 --port 8080 --read-only
    """
    verbs = "read_only" if read_only else "all"
    access, query = _access(user, token, verbs)
    from ..web.adapters import wsgi

    page = wsgi(schedule.app, access=access, task_url=task_url, proxies=proxies, origins=origins)
    _serve(page, host, port, query)


def _access(user: str | None, token: str | None, verbs: str) -> tuple[Any, str]:
    """Who is let in, and the query of the URL that is printed."""
    from ..web.logins import Password, Token

    if user is not None:
        if token is not None:
            raise click.UsageError("--user and --token are two ways to let people in: use one of them.")
        password = os.environ.get(PASSWORD) or click.prompt("Password", hide_input=True, err=True)
        return Password({user: password}, verbs), ""
    token = token or os.environ.get(TOKEN) or secrets.token_urlsafe(24)
    return Token(token, verbs), f"?token={token}"


def _serve(page: WSGI, host: str, port: int, query: str) -> None:
    try:
        from waitress.server import create_server
    except ImportError:
        raise InvalidSetting("the web page needs a server: pip install 'redlock-beat[web]'.") from None

    if threading.current_thread() is threading.main_thread():
        # Without a handler, process 1 of a container does not hear SIGTERM at all.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    page.site.warm()
    server = create_server(page, host=host, port=port, threads=THREADS, ident=None, clear_untrusted_proxy_headers=False)
    for there, at in _addresses(server):
        name = f"[{there}]" if ":" in there else there
        say(f"The schedule is at http://{name}:{at}/{query}")
    try:
        server.run()
    finally:
        server.close()
        page.site.close()


def _addresses(server: Any) -> list[tuple[str, int]]:
    """Where a server listens: a name may be several addresses."""
    found = getattr(server, "effective_listen", None) or [(server.effective_host, server.effective_port)]
    return [(str(host), int(port)) for host, port in found]
