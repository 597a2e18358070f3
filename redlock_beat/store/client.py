"""A client for a URL; the subscription that wakes the loop; the pauses between attempts.

Every client runs with redis-py's own retries off: they repeat commands whose reply was lost, which sends a trigger
twice. Beat retries above the scripts, where repeating is harmless. Every socket has a timeout.
"""

from __future__ import annotations

import contextlib
import ssl
import time
from importlib import import_module
from types import ModuleType
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import redis
import tenacity
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError
from redis.retry import Retry

from ..clock import monotonic
from ..errors import InvalidSetting, mask
from ..log import log
from ..settings import Settings, scheme_of
from .keys import Keys
from .packing import pack_bytes

#: What Redis and the network may raise: beat waits until it passes, and never ends because of it.
TROUBLE = (RedisError, RedisClusterException, OSError)

_CERTS = {"CERT_NONE": "none", "CERT_OPTIONAL": "optional", "CERT_REQUIRED": "required"}
_TLS = ("cert_reqs", "ca_certs", "certfile", "keyfile", "check_hostname", "ca_path", "keyfile_password")
_QUERY = {"db", "virtual_host", "username", "password", "health_check_interval", "client_name", "master_name"} | {
    f"ssl_{name}" for name in _TLS
}


class Target:
    """Where the schedule is: one parsed URL, and the clients for it.

    >>> Target(Settings(url="redis://localhost:6379/3")).db
    3
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.scheme = scheme_of(settings.url, "redlock_beat_url")
        self.cluster = self.scheme.endswith("+cluster")
        self.sentinel = self.scheme in ("sentinel", "sentinels")
        self.several = self.cluster or self.sentinel
        self.options = self._options()
        self.db = 0 if self.cluster else int(self.options.get("db", 0))
        self.keys = Keys(settings.prefix, self.db)

    def __str__(self) -> str:
        return mask(self.settings.url)

    def client(self, timeout: float | None = None) -> Any:
        """A new client with a pool of its own; it connects with its first command."""
        options = dict(self.options)
        if timeout is not None:
            options["socket_timeout"] = options["socket_connect_timeout"] = timeout
        made = self._made(redis, options)
        pack_bytes(made)
        return made

    def check(self) -> None:
        """Refuse at start options that no client takes; nothing connects."""
        if not self.cluster:  # a client of a cluster connects as it is made
            self.client()

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
        """A client of ``redis`` or of ``redis.asyncio``: both have classes of the same names."""
        master = options.pop("master_name", None)
        sentinel_options = options.pop("sentinel_kwargs", None) or {}
        if self.cluster:
            cluster = import_module(f"{kind.__name__}.cluster")
            options.pop("db", None)
            for name in ("host", "port"):
                options.pop(name)
            nodes = [cluster.ClusterNode(*address) for address in self.addresses(6379)]
            return _asking_all(cluster.RedisCluster(startup_nodes=nodes, **options), nodes)
        if self.sentinel:
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
                self.addresses(26379), sentinel_kwargs={**known, **sentinel_options}, **options
            )
            return sentinel.master_for(master, kind.Redis)
        return kind.Redis(**options)

    def _parts(self) -> list[SplitResult]:
        """The parts of the URL; of several for Sentinels or a cluster, of the first one otherwise.

        A database, a user or a query in any of them holds for all.
        """
        texts = [one.strip() for one in self.settings.url.split(";") if one.strip()]
        found = [urlsplit(one if "://" in one else f"redis://{one}") for one in texts]
        if not self.several:
            return found[:1]
        query = "&".join(one.query for one in reversed(found) if one.query)
        path = next((one.path for one in found if one.path.strip("/")), "")
        user = next((one.netloc.rpartition("@")[0] for one in found if "@" in one.netloc), "")
        return [
            one._replace(
                netloc=f"{user}@{one.netloc.rpartition('@')[2]}" if user else one.netloc, path=path, query=query
            )
            for one in found
        ]

    def addresses(self, port: int) -> list[tuple[str, int]]:
        """Hosts and ports of the URLs; *port* where none is written."""
        return [(one.hostname or "localhost", one.port or port) for one in self._parts()]

    def _options(self) -> dict[str, Any]:
        settings = self.settings
        parts = self._parts()[0]
        query = dict(parse_qsl(parts.query))
        for name in sorted(set(query) - _QUERY):
            words = "The option %(option)r of the Redis URL is not one of redis-py's. Beat ignores it."
            log.warning("url.unknown_option", words, option=name)
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
        if not self.sentinel:
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


def _asking_all(client: Any, nodes: list[Any]) -> Any:
    """Let a client of a cluster look for it at these nodes, too, whenever it looks for it anew.

    redis-py asks only those that the cluster listed the last time: a replica that was away then is forgotten, and after
    a failover to it the client would find nobody.
    """
    manager, known = client.nodes_manager, {node.name: node for node in nodes}
    asking = client if hasattr(client, "initialize") else manager  # the one of redis.asyncio looks by itself
    look = asking.initialize

    def look_at_all(*args: Any, **kwargs: Any) -> Any:
        manager.startup_nodes = {**known, **manager.startup_nodes}
        return look(*args, **kwargs)

    asking.initialize = look_at_all
    return client


def drop_connections(client: Any) -> None:
    """Close the connections of a client, so that the next command makes a new one (to the new master)."""
    with contextlib.suppress(Exception):
        pool = getattr(client, "connection_pool", None)
        if pool is not None:
            pool.disconnect()


def node_of(client: Any, key: str) -> Any:
    """The client for the server that has a key: on a cluster one of many."""
    if hasattr(client, "get_node_from_key"):
        return client.get_redis_connection(client.get_node_from_key(key))
    return client


#: Seconds between two attempts to reach Redis or the broker, at most.
LONGEST_PAUSE = 1.0


class Pauses:
    """Growing, jittered, bounded pauses between attempts.

    >>> pauses = Pauses()
    >>> 0 < pauses.next() < 0.2
    True
    """

    def __init__(self, longest: float = LONGEST_PAUSE) -> None:
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
        """Begin again with the shortest pause."""
        self.attempts = 0


#: Seconds between two attempts to move a subscription to where the schedule is, at most.
LONGEST_MOVE = 30.0


class Listener:
    """The one subscription of a process: the wake-up channel and the channel named after its token.

    While it stands, others know that this process lives; a server drops it within milliseconds of a crash. It never
    raises because of the network: it waits, and subscribes again.

    On a cluster it is a sharded subscription (Redis 7, Valkey): the server ends it when the slot moves. Redis 6.2 has
    only the other kind, which stays where it was made.
    """

    def __init__(self, target: Target, token: str) -> None:
        self.target = target
        self.token = token
        self.channels = (target.keys.wake, target.keys.beat(token))
        #: Since when there is a subscription (monotonic); None while there is none.
        self.since: float | None = None
        self._client: Any = None
        self._sharded = target.cluster
        self._pubsub: Any = None
        self._confirmed: set[str] = set()
        self._retry_at = 0.0
        self._pauses = Pauses()
        self._move_at = 0.0
        self._moves = Pauses(LONGEST_MOVE)
        #: A wake-up that came while nobody waited.
        self._said: str | None = None
        # When the server last said something, and when the PING was sent that has no answer yet.
        self._heard = 0.0
        self._pinged: float | None = None

    @property
    def confirmed(self) -> bool:
        """Whether the server has confirmed both channels, and the connection is still there."""
        return self.since is not None

    @property
    def woken(self) -> bool:
        """Whether a wake-up came while nobody waited."""
        return self._said is not None

    def subscribe(self) -> bool:
        """Subscribe unless there is a subscription; whether there is one afterwards."""
        if self._pubsub is not None or monotonic() < self._retry_at:
            return self.confirmed
        try:
            pubsub = self._pubsub = self._open()
            (pubsub.ssubscribe if self._sharded else pubsub.subscribe)(*self.channels)
            deadline = monotonic() + self.target.settings.socket_timeout
            while not self.confirmed and monotonic() < deadline:
                self._handle(pubsub.get_message(timeout=max(0.001, deadline - monotonic())))
            if not self.confirmed:
                raise redis.TimeoutError("the subscription was not confirmed in time")
            self._pauses.reset()
        except TROUBLE as exc:
            if self._sharded and "unknown command" in str(exc).lower():
                self._sharded = False  # Redis 6.2
            self._lost(exc)
        return self.confirmed

    def _open(self) -> Any:
        if self._client is None:
            self._client = self.target.client()
        if self.target.cluster:
            # No node tells this client that a slot has moved: it has to ask.
            self._client.nodes_manager.initialize()
        return node_of(self._client, self.target.keys.lease).pubsub()

    def wait(self, seconds: float) -> str | None:
        """Wait for a wake-up, for so many seconds at most; its text, or None.

        Also "lost" when the subscription is lost, and "subscribed" when it is there again: nobody heard what was
        published meanwhile.
        """
        deadline = monotonic() + seconds
        said, self._said = self._said, None
        while said is None:
            left = deadline - monotonic()
            if self._pubsub is None:
                if self.subscribe():
                    return "subscribed"
                if left <= 0:
                    return None
                time.sleep(min(left, max(0.001, self._retry_at - monotonic())))
                continue
            try:
                said = self._handle(self._pubsub.get_message(timeout=max(0.0, left)))
                self._ping()
            except TROUBLE as exc:
                self._lost(exc)
                return "lost"
            if deadline - monotonic() <= 0:
                break
        self.glance()  # a thousand edits are one wake-up
        heard, self._said = said or self._said, None
        return heard

    def glance(self) -> bool:
        """Read without waiting what came while nobody waited; whether there is a subscription."""
        if self._pubsub is not None:
            try:
                for _ in range(10_000):
                    if not self._ready():
                        break
                    self._said = self._handle(self._pubsub.get_message(timeout=0)) or self._said
                self._ping()
            except TROUBLE as exc:
                self._lost(exc)
        return self.confirmed

    def _ready(self) -> bool:
        connection = getattr(self._pubsub, "connection", None)
        return connection is not None and bool(connection.can_read(timeout=0))

    def _handle(self, message: Any) -> str | None:
        if message is None:
            return None
        self._heard, self._pinged = monotonic(), None
        kind = message["type"]
        if kind in ("subscribe", "ssubscribe"):
            self._confirmed.add(message["channel"])
            if self._confirmed.issuperset(self.channels):
                self.since = monotonic()
        elif kind in ("unsubscribe", "sunsubscribe"):
            raise redis.ConnectionError("the server has ended the subscription: the slot is elsewhere now")
        elif kind in ("message", "smessage"):
            return str(message["data"])
        return None

    def _ping(self) -> None:
        """Ask after a TTL without a message: the connection may be open at this end only."""
        now, settings = monotonic(), self.target.settings
        if self._pinged is not None:
            if now - self._pinged > settings.socket_timeout:
                raise redis.TimeoutError("the subscription does not answer")
        elif now - self._heard > settings.lease_ttl:
            self._pubsub.ping()
            self._pinged = now

    def arrived(self) -> None:
        """Note that the subscription is where the schedule is: a script sees it there."""
        self._moves.reset()

    def move(self) -> None:
        """No script sees the subscription where the schedule is: subscribe there, now or after a pause."""
        if monotonic() < self._move_at:
            return
        self._move_at = monotonic() + self._moves.next()
        if self._moves.attempts == 6:
            log.warning(
                "subscription.elsewhere",
                "The server that holds the schedule does not see this beat's wake-up subscription (does a proxy keep "
                "subscriptions on another server?). Nothing is lost: edits take effect at the next renewal, and a "
                "leader that dies is replaced after the TTL.",
            )
        else:
            words = "The wake-up subscription is not where the schedule is (a failover?). Beat subscribes again."
            log.debug("subscription.moved", words)
        self.close()
        self.subscribe()

    def _lost(self, exc: BaseException) -> None:
        if self.confirmed:
            log.debug(
                "subscription.lost", "The wake-up subscription is lost (%(why)s). Beat subscribes again.", why=mask(exc)
            )
        self.close()
        self._retry_at = monotonic() + self._pauses.next()

    def close(self) -> None:
        """Drop the subscription."""
        pubsub, self._pubsub, self.since = self._pubsub, None, None
        self._confirmed.clear()
        self._pinged = None
        if pubsub is not None:
            with contextlib.suppress(Exception):
                pubsub.close()
            drop_connections(self._client)
