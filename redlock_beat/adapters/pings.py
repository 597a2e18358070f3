"""Pings: a check of each entry is asked for by HTTP as its runs begin and end.

Services that watch jobs (Healthchecks, Cronitor, Uptime Kuma and others) give each job a URL, and raise an alarm when
nobody asks for it in time, or when its failure is told. The beat knows what it has sent; what became of a run its
worker knows, so those pings come from the workers of a watched app (:func:`redlock_beat.watch`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from string import Formatter
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from .. import hooks
from ..errors import InvalidSetting
from .sending import Ping, Sender

#: What happened, and the event that says so.
EVENTS: dict[type[hooks.Event], str] = {
    hooks.Sent: "sent",
    hooks.RunStarted: "start",
    hooks.RunSucceeded: "success",
    hooks.RunFailed: "fail",
}
#: What is added to the path of a check that is one URL.
_PATHS = {"start": "/start", "success": "", "fail": "/fail"}
#: What a URL may have in braces.
_PLACES = ("entry", "task_id")
_LONGEST = 2_000


class Pings:
    """A hook that asks for the URLs of checks.

    Each check is for the entries of a name or pattern, and is one URL, as Healthchecks has it (with ``/start`` and
    ``/fail`` for the others), or a URL for each of ``sent``, ``start``, ``success`` and ``fail``. In a URL ``{entry}``
    and ``{task_id}`` are filled in.

    >>> pings = Pings({
    ...     "nightly": "https://hc-ping.com/0a1b",
    ...     "billing-*": {"success": "https://status.example.com/push/{entry}", "fail": "https://example.com/failed"},
    ... })
    >>> hooks.add_hook(pings)
    >>> pings.url("nightly", "fail", "the-id"), pings.url("billing-de", "success", "the-id")
    ('https://hc-ping.com/0a1b/fail', 'https://status.example.com/push/billing-de')
    >>> hooks.remove_hook(pings)
    >>> pings.close()
    """

    def __init__(self, checks: Mapping[str, Any], timeout: float = 5.0) -> None:
        read = {name: _read(name, check) for name, check in checks.items()}
        self._exact = {name: urls for name, urls in read.items() if not _is_pattern(name)}
        self._patterns = {name: urls for name, urls in read.items() if _is_pattern(name)}
        self._whats = {what for urls in read.values() for what in urls}
        self._sender = Sender(timeout)

    def __call__(self, event: hooks.Event) -> None:
        """Have the URL of an event asked for, if it has one; it waits for nothing."""
        what = EVENTS.get(type(event))
        if what in self._whats and isinstance(event, (hooks.Sent, hooks.Run)):
            url = self.url(event.entry, what, event.task_id)
            if url is not None:
                self._sender.put(Ping(event.entry, what, url))

    def url(self, entry: str, what: str, task_id: str) -> str | None:
        """The URL to ask for; None where there is none."""
        urls = self._exact.get(entry)
        if urls is None:
            matching = (urls for pattern, urls in self._patterns.items() if fnmatchcase(entry, pattern))
            urls = next(matching, {})
        url = urls.get(what)
        return None if url is None else _filled(url, entry, task_id)

    def close(self, seconds: float = 1.0) -> None:
        """Send what still waits, for so long at most, and nothing more."""
        self._sender.close(seconds)


def _is_pattern(name: str) -> bool:
    return any(one in name for one in "*?[")


def _filled(url: str, entry: str, task_id: str) -> str:
    return url.format(entry=quote(entry, safe=""), task_id=quote(task_id, safe=""))


def _read(name: str, check: Any) -> dict[str, str]:
    """The URLs of a check; InvalidSetting, which shows none of them."""
    where = f"redlock_beat_pings[{name!r}]"
    if isinstance(check, str):
        _check(where, check)
        return {what: _longer(check, path) for what, path in _PATHS.items()}
    if not isinstance(check, Mapping) or not check:
        raise InvalidSetting(f"{where} must be a URL, or a dictionary with URLs for some of {_listed()}.")
    for what, url in check.items():
        if what not in EVENTS.values():
            raise InvalidSetting(f"{where} has {what!r}, but takes URLs for {_listed()}.")
        _check(f"{where}[{what!r}]", url)
    return dict(check)


def _listed() -> str:
    *others, last = EVENTS.values()
    return f"{', '.join(others)} and {last}"


def _check(where: str, url: Any) -> None:
    if not isinstance(url, str) or not url.isascii() or re.search(r"[\x00-\x20\x7f]", url) or len(url) > _LONGEST:
        raise InvalidSetting(f"{where} must be a URL of at most {_LONGEST} ASCII characters without spaces.")
    try:
        places = [(place, spec, how) for _, place, spec, how in Formatter().parse(url) if place is not None]
        parts = urlsplit(_filled(url, "e", "i"))
        _ = parts.port
    except (ValueError, LookupError, AttributeError):
        places, parts = [("", "", None)], urlsplit("")
    if any(place not in _PLACES or spec or how for place, spec, how in places):
        raise InvalidSetting(
            f"{where} has braces, or a part that is no URL's: in braces it may have {{entry}} and {{task_id}} alone."
        )
    if parts.scheme not in ("http", "https") or not parts.hostname or "{" in urlsplit(url).netloc:
        raise InvalidSetting(f"{where} must begin with http:// or https:// and the name of a host.")
    if "@" in parts.netloc:
        raise InvalidSetting(f"{where} must not have a user and password: they are not sent.")


def _longer(url: str, path: str) -> str:
    """A URL with a longer path; what comes after the path stays."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + path)) if path else url
