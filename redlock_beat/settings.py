"""The ``redlock_beat_*`` settings out of Celery's configuration, validated once.

Each setting is one row of :data:`_RULES`; a wrong value, or a name that does not exist, is an
:class:`~redlock_beat.errors.InvalidSetting` that names the setting and what it accepts. Under a
namespace (Django's ``CELERY_REDLOCK_BEAT_URL``) Celery's own configuration does the translation.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import urlsplit

from .errors import InvalidSetting, mask

SCHEMES = (
    "redis", "rediss", "unix", "redis+socket", "sentinel", "sentinels", "redis+cluster", "rediss+cluster",
)  # fmt: skip
_ALIASES = {
    "redis+unix": "unix", "redis+sentinel": "sentinel", "rediss+sentinel": "sentinels", "valkey": "redis",
    "valkeys": "rediss", "valkey+sentinel": "sentinel", "valkeys+sentinel": "sentinels",
    "valkey+cluster": "redis+cluster", "valkeys+cluster": "rediss+cluster",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting of this package, each with its default.

    >>> Settings(url="redis://localhost/0").lease_ttl
    5.0
    """

    #: Where the schedule lives. Default: the broker's URL when that is a Redis.
    url: str = ""
    #: First part of every key name; it is the hash tag too.
    prefix: str = "redlock-beat"
    #: Seconds a term lasts without renewal: the longest gap when a machine vanishes.
    lease_ttl: float = 5.0
    #: Seconds one slow entry may take to render, alone, before it counts as an overrun.
    render_limit: float = 30.0
    #: Rows kept in the ledger; 0 turns it off.
    ledger_size: int = 10_000
    #: Messages claimed and not yet accepted by a broker that is not this Redis.
    outbox_limit: int = 1_000
    #: Slots sent after an outage by an entry whose policy is ``missed="all"``.
    catchup_limit: int = 100
    #: Definitions kept decoded in the leader's memory.
    cache_size: int = 10_000
    #: Occurrences in one commit, at most: fewer where Redis would take longer than some milliseconds.
    batch_size: int = 500
    #: Seconds any one answer of Redis may take.
    socket_timeout: float = 2.0
    #: Seconds one publish to a foreign broker may take.
    publish_timeout: float = 10.0
    #: The longest pause between two attempts to reach Redis.
    retry_pause: float = 1.0
    #: Whose schedule it is; default: the name of the Celery app. A beat of another application does not lead here.
    application: str = ""
    #: Release of the configuration: a beat with a lower one never overwrites it.
    config_version: int | None = None
    #: Policies of entries of ``beat_schedule``, by name: where other schedulers that read it must not see them.
    policies: Mapping[str, Any] = field(default_factory=dict)
    #: The port at which a beat serves metrics (needs the extra ``prometheus``); None for nowhere.
    metrics_port: int | None = None
    #: The address it listens at.
    metrics_host: str = "0.0.0.0"  # noqa: S104 - whoever scrapes is on another machine, or the port is not set
    #: The local file the loop touches, for ``health --this``; default: one a process, in a directory of the user's.
    heartbeat_file: str = ""
    #: Further keyword arguments of the redis-py client (``ssl_ca_certs``, ``master_name``, ...).
    redis_options: Mapping[str, Any] = field(default_factory=dict)
    #: Celery's own ``beat_cron_starting_deadline``: the ``grace`` of crontabs that have none of their own.
    cron_grace: float | None = None

    def __post_init__(self) -> None:
        for one in fields(self):
            rule = _RULES.get(one.name)
            value = getattr(self, one.name)
            if rule is not None and not rule.accepts(value):
                raise InvalidSetting(f"redlock_beat_{one.name} is {mask(repr(value))}, but must be {rule.words}.")
        if self.render_limit < self.lease_ttl:
            raise InvalidSetting(
                f"redlock_beat_render_limit ({self.render_limit}) must not be below redlock_beat_lease_ttl "
                f"({self.lease_ttl}): it is what the lease is stretched to for a slow entry."
            )
        if self.url:
            scheme_of(self.url, "redlock_beat_url")

    @property
    def silence(self) -> float:
        """Seconds the loop may take for one turn, at the very worst."""
        return max(self.render_limit, self.lease_ttl) + 2 * max(self.lease_ttl, self.socket_timeout)

    @property
    def margin(self) -> float:
        """Seconds before the end of a term in which nothing new is started on its strength."""
        return max(0.1, self.lease_ttl / 10)


@dataclass(frozen=True, slots=True)
class _Rule:
    words: str
    accepts: Callable[[Any], bool]


def _number(low: float, high: float, unit: str) -> _Rule:
    def accepts(value: Any) -> bool:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high

    return _Rule(f"a number of {unit} from {low:g} to {high:g}", accepts)


def _whole(low: int, high: int, unit: str) -> _Rule:
    def accepts(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high

    return _Rule(f"a whole number of {unit} from {low} to {high}", accepts)


_PREFIX = re.compile(r"[^{}\s]{1,100}")

_RULES: dict[str, _Rule] = {
    "url": _Rule("a Redis URL", lambda v: isinstance(v, str)),
    "prefix": _Rule(
        "1 to 100 characters without spaces and braces",
        lambda v: isinstance(v, str) and _PREFIX.fullmatch(v) is not None,
    ),
    "lease_ttl": _number(0.5, 300, "seconds"),
    "render_limit": _number(0.5, 3600, "seconds"),
    "ledger_size": _whole(0, 100_000_000, "rows"),
    "outbox_limit": _whole(1, 1_000_000, "messages"),
    "catchup_limit": _whole(1, 10_000, "slots"),
    "cache_size": _whole(0, 10_000_000, "entries"),
    "batch_size": _whole(1, 2_000, "occurrences"),
    "socket_timeout": _number(0.05, 60, "seconds"),
    "publish_timeout": _number(0.05, 300, "seconds"),
    "retry_pause": _number(0.05, 60, "seconds"),
    "application": _Rule(
        "the name of the application, 200 characters at most", lambda v: isinstance(v, str) and len(v) <= 200
    ),
    "config_version": _Rule(
        "a whole number, or None",
        lambda v: v is None or (isinstance(v, int) and not isinstance(v, bool) and v >= 0),
    ),
    "policies": _Rule(
        "a dictionary of entry names and their policies, such as {'nightly': {'missed': 'skip'}}",
        lambda v: isinstance(v, Mapping) and all(isinstance(k, str) for k in v),
    ),
    "metrics_port": _Rule(
        "a port from 0 (any that is free) to 65535, or None",
        lambda v: v is None or (isinstance(v, int) and not isinstance(v, bool) and 0 <= v <= 65535),
    ),
    "metrics_host": _Rule("an address to listen at", lambda v: isinstance(v, str) and bool(v)),
    "heartbeat_file": _Rule("the path of a file", lambda v: isinstance(v, str) and "\0" not in v),
    "redis_options": _Rule(
        "a dictionary of redis-py client arguments",
        lambda v: isinstance(v, Mapping) and all(isinstance(k, str) for k in v),
    ),
}

_MARK = "redlock_beat_"
#: Fields that no setting of this package's own fills in.
_CELERYS = {"cron_grace"}


def scheme_of(url: str, setting: str) -> str:
    """The scheme of a Redis URL, in the one spelling used here; else an error that names *setting*."""
    scheme = urlsplit(url.split(";")[0]).scheme.lower()
    scheme = _ALIASES.get(scheme, scheme)
    if scheme not in SCHEMES:
        raise InvalidSetting(
            f"{setting} is {mask(repr(url))}, but must be a URL that starts with one of "
            f"{', '.join(s + '://' for s in (*SCHEMES, 'valkey', 'valkeys'))}."
        )
    return scheme


def is_redis_url(url: object) -> bool:
    """Whether a broker URL is one that the schedule could live at, too.

    >>> is_redis_url("redis://localhost/0"), is_redis_url("amqp://")
    (True, False)
    """
    if not isinstance(url, str) or "://" not in url:
        return False
    scheme = urlsplit(url.split(";")[0]).scheme.lower()
    return _ALIASES.get(scheme, scheme) in SCHEMES


def settings_of(app: Any) -> Settings:
    """The settings of a Celery app.

    >>> from celery import Celery
    >>> settings_of(Celery(broker="redis://localhost/3")).url
    'redis://localhost/3'
    """
    conf = app.conf
    known = {one.name for one in fields(Settings)} - _CELERYS
    _refuse_unknown(conf, known, getattr(app, "namespace", None))
    given: dict[str, Any] = {}
    for name in known:
        value = conf.get(_MARK + name)
        if value is not None:
            given[name] = value
    if not given.get("url"):
        broker = conf.broker_write_url
        first = broker[0] if isinstance(broker, (list, tuple)) and broker else broker
        if not is_redis_url(first):
            raise InvalidSetting(
                "redlock_beat_url is not set and the broker is not a Redis, so there is nowhere to keep the "
                "schedule. Set redlock_beat_url to a Redis URL, such as redis://localhost:6379/0."
            )
        given["url"] = ";".join(broker) if isinstance(broker, (list, tuple)) else first
        own = given.get("redis_options", {})
        given["redis_options"] = {**_from_broker(conf, first), **own} if isinstance(own, Mapping) else own
    main = getattr(app, "main", None)
    if isinstance(main, str) and main != "__main__":  # a script's name says nothing
        given.setdefault("application", main[:200])
    return Settings(**given, cron_grace=_cron_grace(conf.get("beat_cron_starting_deadline")))


def check_broker(app: Any) -> None:
    """Refuse a broker that kombu can never connect to, before it says so once a message."""
    broker = app.conf.broker_write_url
    first = str(broker[0] if isinstance(broker, (list, tuple)) and broker else broker)
    if first.startswith("sentinel://") and not (app.conf.broker_transport_options or {}).get("master_name"):
        raise InvalidSetting(
            "broker_url is a Sentinel's, so the name of the master is needed: set "
            "broker_transport_options = {'master_name': 'mymaster'}."
        )


def _cron_grace(value: Any) -> float | None:
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 10**9):
        return value
    raise InvalidSetting(f"beat_cron_starting_deadline is {value!r}, but must be a number of seconds, or None.")


def _from_broker(conf: Any, url: str) -> dict[str, Any]:
    # Only what says how to reach the server is taken over from the broker: its other transport
    # options (visibility_timeout, ...) are kombu's, and a Redis client refuses them.
    options: dict[str, Any] = {}
    transport = conf.broker_transport_options or {}
    for name in ("master_name", "sentinel_kwargs"):
        if name in transport:
            options[name] = transport[name]
    tls = conf.broker_use_ssl
    if isinstance(tls, Mapping):
        options.update(tls)
    if tls and scheme_of(url, "broker_url") == "redis":
        options["ssl"] = True
    return options


def _refuse_unknown(conf: Any, known: set[str], namespace: str | None) -> None:
    start = f"{namespace}_".lower() if namespace else ""
    for key in list(conf):
        name = str(key).lower()
        name = name.removeprefix(start)
        if name.startswith(_MARK) and name.removeprefix(_MARK) not in known:
            near = difflib.get_close_matches(name.removeprefix(_MARK), known, 1)
            hint = f" Did you mean redlock_beat_{near[0]}?" if near else ""
            accepted = ", ".join(sorted(known))
            raise InvalidSetting(
                f"{key} is not a setting of redlock_beat.{hint} The settings are (after redlock_beat_): {accepted}."
            )
