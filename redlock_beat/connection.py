"""A URL -> a client; the subscription that wakes the loop; the pauses between attempts.

Every client runs with redis-py's own retries off: they repeat commands whose reply was lost, which
sends a trigger twice. Retrying is done above the scripts, where a repeated call is harmless. Every
socket has a timeout.
"""

from __future__ import annotations

import contextlib
import logging
import ssl
import time
from importlib import import_module
from types import ModuleType
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import redis
import tenacity
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from .clock import monotonic
from .config import Settings, scheme_of
from .errors import InvalidSetting, mask
from .keys import Keys

logger = logging.getLogger("redlock_beat")

#: What the world outside can do to us: always waited out, never fatal.
TROUBLE = (RedisError, OSError)

_CERTS = {"CERT_NONE": "none", "CERT_OPTIONAL": "optional", "CERT_REQUIRED": "required"}
_QUERY = {
    "db", "virtual_host", "username", "password", "ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile",
    "ssl_check_hostname", "ssl_ca_path", "ssl_keyfile_password", "health_check_interval", "client_name",
    "master_name",
}  # fmt: skip


class Target:
    """Where the schedule lives: one parsed URL, and the clients made for it.

    >>> Target(Settings(url="redis://localhost:6379/3")).db
    3
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.scheme = scheme_of(settings.url, "redlock_beat_url")
        self.cluster = self.scheme.endswith("+cluster")
        self.options = self._options()
        self.db = 0 if self.cluster else int(self.options.get("db", 0))
        self.keys = Keys(settings.prefix, self.db)

    def __str__(self) -> str:
        return mask(self.settings.url)

    def client(self, timeout: float | None = None) -> Any:
        """A new client with a pool of its own; nothing is connected before its first command."""
        options = dict(self.options)
        if timeout is not None:
            options["socket_timeout"] = options["socket_connect_timeout"] = timeout
        return self._made(redis, options)

    def async_client(self) -> Any:
        """A new client for an event loop."""
        import redis.asyncio
        from redis.asyncio.retry import Retry as AsyncRetry

        return self._made(redis.asyncio, {**self.options, "retry": AsyncRetry(NoBackoff(), 0)})

    def _made(self, kind: ModuleType, options: dict[str, Any]) -> Any:
        try:
            return self._make(kind, options)
        except TypeError as exc:
            raise InvalidSetting(f"redlock_beat_redis_options: {exc}") from None

    def _make(self, kind: ModuleType, options: dict[str, Any]) -> Any:
        """A client of the package ``redis`` or of ``redis.asyncio``: they spell their classes alike."""
        master = options.pop("master_name", None)
        sentinel_options = options.pop("sentinel_kwargs", None) or {}
        if self.cluster:
            cluster = import_module(f"{kind.__name__}.cluster")
            options.pop("db", None)
            return cluster.RedisCluster(**options)
        if self.scheme in ("sentinel", "sentinels"):
            if not master:
                raise InvalidSetting(
                    "the schedule's URL is a Sentinel's, so the name of the master is needed: set "
                    "redlock_beat_redis_options = {'master_name': 'mymaster'}, or end the URL in ?master_name=mymaster."
                )
            sentinels = import_module(f"{kind.__name__}.sentinel")
            options.pop("host", None)
            options.pop("port", None)
            known = {k: options[k] for k in ("socket_timeout", "socket_connect_timeout", "retry") if k in options}
            sentinel = sentinels.Sentinel(
                _sentinels(self.settings.url), sentinel_kwargs={**known, **sentinel_options}, **options
            )
            return sentinel.master_for(master, kind.Redis)
        return kind.Redis(**options)

    def _options(self) -> dict[str, Any]:
        settings = self.settings
        parts = urlsplit(settings.url.split(";")[0])
        query = dict(parse_qsl(parts.query))
        for name in sorted(set(query) - _QUERY):
            logger.warning("The Redis URL's option %r is not one of a Redis client and is left out.", name)
            query.pop(name)
        options: dict[str, Any] = {
            "socket_timeout": settings.socket_timeout,
            "socket_connect_timeout": settings.socket_timeout,
            "socket_keepalive": True,
            "retry": Retry(NoBackoff(), 0),
            "decode_responses": True,
            "encoding_errors": "surrogateescape",
            "protocol": 2,
            "health_check_interval": 0,
        }
        database = query.pop("virtual_host", None) or query.pop("db", None)
        if self.scheme in ("unix", "redis+socket"):
            options["unix_socket_path"] = unquote(parts.path)
            options.pop("socket_keepalive")
        else:
            try:
                options["host"], options["port"] = parts.hostname or "localhost", parts.port or 6379
            except ValueError:
                raise InvalidSetting(f"redlock_beat_url is {mask(settings.url)!r}: its port is not a number.") from None
            database = parts.path.strip("/") or database
        if database:
            try:
                options["db"] = int(database)
            except ValueError:
                raise InvalidSetting(
                    f"redlock_beat_url is {mask(settings.url)!r}: the database {database!r} is not a number."
                ) from None
        if parts.username:
            options["username"] = unquote(parts.username)
        if parts.password:
            options["password"] = unquote(parts.password)
        if self.scheme in ("rediss", "sentinels", "rediss+cluster"):
            options["ssl"] = True
        options.update(query)
        options.update(settings.redis_options)
        if self.scheme not in ("sentinel", "sentinels"):
            options.pop("master_name", None)
            options.pop("sentinel_kwargs", None)
        if "ssl_cert_reqs" in options:
            options["ssl_cert_reqs"] = _cert_reqs(options["ssl_cert_reqs"])
        if str(options.get("ssl_check_hostname")).lower() in ("false", "0", "no"):
            options["ssl_check_hostname"] = False
        return options


def _cert_reqs(value: Any) -> Any:
    if isinstance(value, ssl.VerifyMode):
        return value.name.removeprefix("CERT_").lower()
    return _CERTS.get(str(value), value)


def _sentinels(url: str) -> list[tuple[str, int]]:
    found = []
    for one in url.split(";"):
        parts = urlsplit(one if "://" in one else f"sentinel://{one}")
        found.append((parts.hostname or "localhost", parts.port or 26379))
    return found


def drop_connections(client: Any) -> None:
    """Forget the connections of a client, so that the next command makes a new one (to the new master)."""
    with contextlib.suppress(Exception):
        pool = getattr(client, "connection_pool", None)
        if pool is not None:
            pool.disconnect()


class Pauses:
    """Growing, jittered, bounded pauses between attempts.

    >>> pauses = Pauses(1.0)
    >>> 0 < pauses.next() < 0.2
    True
    """

    def __init__(self, longest: float) -> None:
        self._wait = tenacity.wait_exponential(multiplier=0.05, max=longest * 0.8) + tenacity.wait_random(
            0, longest * 0.2 if longest < 0.2 else 0.05
        )
        self._longest = longest
        self.attempts = 0

    def next(self) -> float:
        """The next pause in seconds."""
        self.attempts += 1
        state = tenacity.RetryCallState(retry_object=None, fn=None, args=(), kwargs={})  # type: ignore[arg-type]
        state.attempt_number = min(self.attempts, 30)
        return min(float(self._wait(state)), self._longest)

    def reset(self) -> None:
        """Begin again with the shortest."""
        self.attempts = 0


class Listener:
    """The one subscription of a process: the wake-up channel and the channel named after its token.

    While it stands, others can tell that this process lives; a server drops it within milliseconds
    of a crash. It never raises for what the network did: it waits, and subscribes again.
    """

    def __init__(self, target: Target, token: str) -> None:
        self.target = target
        self.token = token
        self.client = target.client()
        self.channels = (target.keys.wake, target.keys.beat(token))
        #: Since when the subscription stands (monotonic); None while it does not.
        self.since: float | None = None
        self._pubsub: Any = None
        self._confirmed: set[str] = set()
        self._retry_at = 0.0
        self._pauses = Pauses(target.settings.retry_pause)

    @property
    def confirmed(self) -> bool:
        """Whether the server confirmed both channels and the connection still stands."""
        return self.since is not None

    def subscribe(self) -> bool:
        """Subscribe if it is not so already; whether the subscription stands afterwards."""
        if self._pubsub is not None or monotonic() < self._retry_at:
            return self.confirmed
        try:
            self._pubsub = self._open()
            self._pubsub.subscribe(*self.channels)
            deadline = monotonic() + self.target.settings.socket_timeout
            while not self.confirmed and monotonic() < deadline:
                self._take(self._pubsub.get_message(timeout=max(0.001, deadline - monotonic())))
            if not self.confirmed:
                raise redis.TimeoutError("the subscription was not confirmed in time")
            self._pauses.reset()
        except TROUBLE as exc:
            self._lost(exc)
        return self.confirmed

    def _open(self) -> Any:
        if self.target.cluster:
            node = self.client.get_node_from_key(self.target.keys.lease)
            return self.client.pubsub(node=node)
        return self.client.pubsub()

    def wait(self, seconds: float) -> str | None:
        """Wait for a wake-up, for so many seconds at most; what it said, or None."""
        deadline = monotonic() + seconds
        while True:
            left = deadline - monotonic()
            if self._pubsub is None and not self.subscribe():
                if left <= 0:
                    return None
                time.sleep(min(left, max(0.001, self._retry_at - monotonic())))
                continue
            try:
                said = self._take(self._pubsub.get_message(timeout=max(0.0, left)))
                if said is not None:
                    self._drain()
                    return said
            except TROUBLE as exc:
                self._lost(exc)
                return "lost"
            if deadline - monotonic() <= 0:
                return None

    def _drain(self) -> None:
        # A thousand edits are one wake-up.
        for _ in range(10_000):
            if not self._ready():
                return
            self._take(self._pubsub.get_message(timeout=0))

    def _ready(self) -> bool:
        connection = getattr(self._pubsub, "connection", None)
        return connection is not None and bool(connection.can_read(timeout=0))

    def _take(self, message: Any) -> str | None:
        if message is None:
            return None
        if message["type"] == "subscribe":
            self._confirmed.add(message["channel"])
            if self._confirmed.issuperset(self.channels):
                self.since = monotonic()
            return None
        if message["type"] == "message":
            return str(message["data"])
        return None

    def _lost(self, exc: BaseException) -> None:
        if self.confirmed:
            logger.debug("The wake-up subscription was lost (%s); subscribing again.", mask(exc))
        self.close()
        self._retry_at = monotonic() + self._pauses.next()

    def close(self) -> None:
        """Drop the subscription."""
        pubsub, self._pubsub, self.since = self._pubsub, None, None
        self._confirmed.clear()
        if pubsub is not None:
            with contextlib.suppress(Exception):
                pubsub.close()
            drop_connections(self.client)
