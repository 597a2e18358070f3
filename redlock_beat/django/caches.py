"""What Django's caches may do to the schedule: ``cache.clear()`` empties a whole database of Redis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.conf import settings

from ..settings import Settings, is_redis_url

#: Host, port and database of a Redis; or a socket, no port, and a database.
Place = tuple[str, int | None, int]


def cache_in(place: Place) -> str | None:
    """The name of a cache that lives in this database of a Redis; None when there is none."""
    for name, conf in settings.CACHES.items():
        if place in _places(conf):
            return str(name)
    return None


def _places(conf: Mapping[str, Any]) -> Iterator[Place]:
    given = conf.get("LOCATION") or ()
    options = conf.get("OPTIONS") or {}
    for url in [given] if isinstance(given, str) else given:
        for part in str(url).split(","):
            if is_redis_url(part.strip()):
                place = place_of(part.strip())
                yield (*place[:2], int(options["db"])) if str(options.get("db", "")).isdigit() else place


def place_of(url: str) -> Place:
    """Where a URL of a Redis leads to.

    >>> place_of("redis://user:secret@localhost/3"), place_of("unix:///run/redis.sock?db=1")
    (('127.0.0.1', 6379, 3), ('/run/redis.sock', None, 1))
    """
    split = urlsplit(url)
    asked = parse_qs(split.query).get("db", [""])[0]
    if not split.hostname:
        return split.path, None, int(asked) if asked.isdigit() else 0
    path = split.path.strip("/")
    host = "127.0.0.1" if split.hostname.lower() == "localhost" else split.hostname.lower()
    return host, split.port or 6379, int(asked or path) if (asked or path).isdigit() else 0


def is_cache(url: object) -> bool:
    """Whether a setting names a cache of Django's, or its kind, where the URL of a Redis is needed."""
    return isinstance(url, str) and (
        url in settings.CACHES or url.startswith(("locmem://", "memcached://", "db://", "cache://", "django://"))
    )


def schedule_place(made: Settings) -> Place | None:
    """The database in which the schedule is; None where it is not one of one server."""
    split = urlsplit(made.url)
    if ";" in made.url or split.scheme not in ("redis", "rediss", "valkey", "valkeys", "unix", "redis+socket"):
        return None
    return place_of(made.url)
