"""The ``redlock_beat_*`` settings of Celery's configuration, checked once.

Each setting is a field of :class:`Settings` and a row of :data:`_RULES`. A wrong value, or a name that does not exist,
is an :class:`~redlock_beat.errors.InvalidSetting` that names the setting and what it accepts. Under a namespace
(Django's ``CELERY_REDLOCK_BEAT_URL``) Celery translates the names.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import urlsplit

from .errors import InvalidSetting, mask

SCHEMES = ("redis", "rediss", "unix", "redis+socket", "sentinel", "sentinels", "redis+cluster", "rediss+cluster")
#: Other spellings. "valkey" may stand for "redis" in each.
_ALIASES = {"redis+unix": "unix", "redis+sentinel": "sentinel", "rediss+sentinel": "sentinels"}


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting of this package, each with its default.

    >>> Settings(url="redis://localhost/0").lease_ttl
    5.0
    """

    #: The URL of the Redis that has the schedule. Default: the broker's, if the broker is a Redis.
    url: str = ""
    #: The first part of every key, which is also the hash tag. Each schedule on one Redis needs its own prefix.
    prefix: str = "redlock-beat"
    #: Seconds a term lasts without renewal: the longest gap when the leader's machine vanishes.
    lease_ttl: float = 5.0
    #: Seconds that one slow entry may take to compute or render. An entry that exceeds it three times is quarantined.
    render_limit: float = 30.0
    #: Rows that the ledger keeps; 0 turns it off.
    ledger_size: int = 10_000
    #: About how many rows the edit log (who edited what) keeps; 0 turns it off.
    edit_log_size: int = 10_000
    #: Messages that may wait for a broker that is not this Redis; what is due beyond that stays due.
    outbox_limit: int = 1_000
    #: The most slots that an entry with ``missed="all"`` sends after an outage.
    catchup_limit: int = 100
    #: Seconds that one answer of Redis may take.
    socket_timeout: float = 2.0
    #: Seconds that one publish to a broker other than this Redis may take.
    publish_timeout: float = 10.0
    #: Seconds after a Celery worker's last renewal until its runs count as lost and its locks are free.
    worker_ttl: float = 30.0
    #: Whether workers drop the repeated message of an occurrence that has begun. A task may have an attribute of this
    #: name, which applies to that task.
    once_per_occurrence: bool = False
    #: Whose schedule it is: a beat of another application does not lead here. Default: the name of the Celery app.
    application: str = ""
    #: The version of the configuration, a whole number: a beat with a lower one never overwrites configured entries.
    config_version: int | None = None
    #: Policies of configured entries by name, for projects whose ``beat_schedule`` other schedulers read, too.
    policies: Mapping[str, Any] = field(default_factory=dict)
    #: Calendars by name, for the policies ``exclude`` and ``only``: days, functions, collections, .ics files.
    calendars: Mapping[str, Any] = field(default_factory=dict)
    #: Django's management commands that are tasks, see ``redlock_beat.django``.
    commands: Mapping[str, Any] = field(default_factory=dict)
    #: The Celery app of a Django project that has several: ``"proj.celery:app"``.
    app: str = ""
    #: The port at which a beat serves metrics (needs the extra ``prometheus``); None serves none.
    metrics_port: int | None = None
    #: The address at which it serves them.
    metrics_host: str = "0.0.0.0"  # noqa: S104 - who scrapes them is on another machine
    #: A label of entries: sent and missed slots are counted for each of its values. None counts all together.
    metrics_label: str | None = None
    #: URLs to ping when entries are sent and when their runs begin and end, by name or pattern of the entry.
    pings: Mapping[str, Any] = field(default_factory=dict)
    #: The StatsD server that beats and workers send metrics to, such as ``localhost:8125``. Default: none.
    statsd: str = ""
    #: What the names of these metrics begin with.
    statsd_prefix: str = "redlock_beat"
    #: Tags of these metrics, such as ``["env:prod"]``, if the server supports tags; None if it does not.
    statsd_tags: Sequence[str] | None = None
    #: The local file that the loop touches, for ``health --this``. Default: one for each process, in the user's name.
    heartbeat_file: str = ""
    #: The schedule keeps a call whose countdown or eta is at least so many seconds away. None: it keeps none.
    eta_threshold: float | None = None
    #: What happens to such a call that cannot be kept: ``plain`` (Celery sends it; a warning says so) or ``error``.
    eta_fallback: str = "plain"
    #: The most calls that are kept.
    eta_limit: int = 1_000_000
    #: Further keyword arguments of the redis-py client (``ssl_ca_certs``, ``master_name``, ...).
    redis_options: Mapping[str, Any] = field(default_factory=dict)
    #: Celery's own ``beat_cron_starting_deadline``: the ``grace`` of crontabs that have none of their own.
    cron_grace: float | None = None

    def __post_init__(self) -> None:
        for one in fields(self):
            rule = _RULES.get(one.name)
            value = getattr(self, one.name)
            if rule is not None and not rule.accepts(value):
                said = f"a {type(value).__name__}" if rule.secret else mask(repr(value))
                raise InvalidSetting(f"redlock_beat_{one.name} is {said}, but must be {rule.words}.")
        if self.render_limit < self.lease_ttl:
            raise InvalidSetting(
                f"redlock_beat_render_limit ({self.render_limit}) must not be below redlock_beat_lease_ttl "
                f"({self.lease_ttl}): for a slow entry the lease lasts that long."
            )
        if self.url:
            scheme_of(self.url, "redlock_beat_url")

    @property
    def silence(self) -> float:
        """Seconds that one turn of the loop may take at worst."""
        return max(self.render_limit, self.lease_ttl) + 2 * max(self.lease_ttl, self.socket_timeout)

    @property
    def margin(self) -> float:
        """Seconds before the end of a term in which nothing new begins."""
        return max(0.1, self.lease_ttl / 10)


@dataclass(frozen=True, slots=True)
class _Rule:
    words: str
    accepts: Callable[[Any], bool]
    #: Whether no error may show its value.
    secret: bool = False


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _number(low: float, high: float, unit: str) -> _Rule:
    def accepts(value: Any) -> bool:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high

    return _Rule(f"a number of {unit} from {low:g} to {high:g}", accepts)


def _integer(low: int, high: int, unit: str) -> _Rule:
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
    "worker_ttl": _number(1, 3600, "seconds"),
    "once_per_occurrence": _Rule("true or false", lambda v: isinstance(v, bool)),
    "render_limit": _number(0.5, 3600, "seconds"),
    "ledger_size": _integer(0, 100_000_000, "rows"),
    "edit_log_size": _integer(0, 100_000_000, "rows"),
    "outbox_limit": _integer(1, 1_000_000, "messages"),
    "catchup_limit": _integer(1, 10_000, "slots"),
    "socket_timeout": _number(0.05, 60, "seconds"),
    "publish_timeout": _number(0.05, 300, "seconds"),
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
    "calendars": _Rule(
        "a dictionary of names and days, such as {'shut': ['12-24..01-06'], 'holidays': 'holidays.ics'}",
        lambda v: isinstance(v, Mapping) and all(isinstance(k, str) for k in v),
    ),
    "commands": _Rule(
        "a dictionary of management commands, such as {'clearsessions': {'schedule': crontab(hour=3, minute=0)}}",
        lambda v: isinstance(v, Mapping) and all(isinstance(k, str) for k in v),
    ),
    "app": _Rule("the path of a Celery app, such as 'proj.celery:app'", lambda v: isinstance(v, str)),
    "metrics_port": _Rule(
        "a port from 0 (any that is free) to 65535, or None",
        lambda v: v is None or (isinstance(v, int) and not isinstance(v, bool) and 0 <= v <= 65535),
    ),
    "metrics_label": _Rule(
        "the name of a label, or None",
        lambda v: v is None or (isinstance(v, str) and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]{0,62}", v) is not None),
    ),
    "metrics_host": _Rule("an address to listen at", lambda v: isinstance(v, str) and bool(v)),
    "eta_threshold": _Rule(
        "a number of seconds from 1 to 86400, or None", lambda v: v is None or _number(1, 86_400, "").accepts(v)
    ),
    "eta_fallback": _Rule("'plain' or 'error'", lambda v: v in ("plain", "error")),
    "eta_limit": _integer(1, 100_000_000, "calls"),
    "pings": _Rule(
        "a dictionary of names of entries and URLs, such as {'nightly': 'https://hc-ping.com/...'}",
        lambda v: isinstance(v, Mapping) and all(isinstance(k, str) and k for k in v),
        secret=True,
    ),
    "statsd": _Rule("a host and a port, such as 'localhost:8125'", lambda v: isinstance(v, str)),
    "statsd_prefix": _Rule(
        "up to 100 letters, digits, dots, underscores and dashes",
        lambda v: isinstance(v, str) and re.fullmatch(r"[A-Za-z0-9_.-]{0,100}", v) is not None,
    ),
    "statsd_tags": _Rule(
        "a list of up to 20 tags, such as ['env:prod'], or None",
        lambda v: v is None or (_is_list(v) and len(v) <= 20 and all(isinstance(one, str) and one for one in v)),
    ),
    "heartbeat_file": _Rule("the path of a file", lambda v: isinstance(v, str) and "\0" not in v),
    "redis_options": _Rule(
        "a dictionary of redis-py client arguments",
        lambda v: isinstance(v, Mapping) and all(isinstance(k, str) for k in v),
    ),
}

#: What each setting accepts, in words.
ACCEPTED = {name: rule.words for name, rule in _RULES.items()}

#: Kombu's own, for a Redis broker, in seconds.
VISIBILITY_TIMEOUT = 3600
_MARK = "redlock_beat_"
#: Settings of earlier commits, and why nobody needs them.
_GONE = {
    "cache_size": "beat keeps no decoded entries",
    "batch_size": "beat finds out how many occurrences Redis takes in a few milliseconds",
    "retry_pause": "pauses between attempts grow to a second and no further",
}
#: Fields that a setting of Celery's fills in.
_CELERYS = {"cron_grace"}


def scheme_of(url: str, setting: str) -> str:
    """The scheme of a Redis URL in its one spelling; InvalidSetting, which names *setting*, for others."""
    scheme = _scheme(url)
    if scheme not in SCHEMES:
        raise InvalidSetting(
            f"{setting} is {mask(repr(url))}, but must be a URL that starts with one of "
            f"{', '.join(s + '://' for s in (*SCHEMES, 'valkey', 'valkeys'))}."
        )
    for one in url.split(";"):
        try:
            parts = urlsplit(one if "://" in one else f"redis://{one}")
            (parts.hostname or "").encode("idna")
            _ = parts.port
        except ValueError:  # the first connection would raise it
            raise InvalidSetting(f"{setting} is {mask(repr(url))}, whose host or port is not valid.") from None
    return scheme


def is_redis_url(url: object) -> bool:
    """Whether a schedule could be at this broker URL.

    >>> is_redis_url("redis://localhost/0"), is_redis_url("amqp://")
    (True, False)
    """
    return isinstance(url, str) and "://" in url and _scheme(url) in SCHEMES


def _scheme(url: str) -> str:
    scheme = urlsplit(url.split(";")[0]).scheme.lower().replace("valkey", "redis")
    return _ALIASES.get(scheme, scheme)


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
                "redlock_beat_url is not set, and the broker is not a Redis that could keep the schedule. "
                "Set redlock_beat_url to a Redis URL, such as redis://localhost:6379/0."
            )
        given["url"] = ";".join(broker) if isinstance(broker, (list, tuple)) else first
        own = given.get("redis_options", {})
        given["redis_options"] = {**_from_broker(conf, first), **own} if isinstance(own, Mapping) else own
    main = getattr(app, "main", None)
    if isinstance(main, str) and main != "__main__":  # a script's name says nothing
        given.setdefault("application", main[:200])
    _check_threshold(conf, given.get("eta_threshold"))
    return Settings(**given, cron_grace=_cron_grace(conf.get("beat_cron_starting_deadline")))


def check_broker(app: Any) -> None:
    """Refuse a broker that kombu can never connect to: kombu itself would say so with each message."""
    broker = app.conf.broker_write_url
    first = str(broker[0] if isinstance(broker, (list, tuple)) and broker else broker)
    if first.startswith("sentinel://") and not (app.conf.broker_transport_options or {}).get("master_name"):
        raise InvalidSetting(
            "broker_url is a Sentinel's, so the name of the master is needed: set "
            "broker_transport_options = {'master_name': 'mymaster'}."
        )


def _check_threshold(conf: Any, threshold: Any) -> None:
    """Refuse a threshold at which workers would hold a message for longer than the broker leaves it with them."""
    broker = conf.broker_write_url
    first = broker[0] if isinstance(broker, (list, tuple)) and broker else broker
    visible = (conf.broker_transport_options or {}).get("visibility_timeout", VISIBILITY_TIMEOUT)
    if isinstance(threshold, (int, float)) and is_redis_url(first) and threshold >= visible:
        raise InvalidSetting(
            f"redlock_beat_eta_threshold ({threshold:g}) must be below the broker's visibility timeout ({visible:g}): "
            "a worker holds what is below the threshold, and what it holds for longer is delivered a second time."
        )


def _cron_grace(value: Any) -> float | None:
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 10**9):
        return value
    raise InvalidSetting(f"beat_cron_starting_deadline is {value!r}, but must be a number of seconds, or None.")


def _from_broker(conf: Any, url: str) -> dict[str, Any]:
    # Only the options that say how to reach the server: the others (visibility_timeout, ...) are kombu's, and a
    # Redis client refuses them.
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
        if not name.startswith(_MARK) or name.removeprefix(_MARK) in known:
            continue
        name = name.removeprefix(_MARK)
        if name in _GONE:
            raise InvalidSetting(f"{key} is not a setting of redlock_beat any more: {_GONE[name]}. Remove it.")
        near = difflib.get_close_matches(name, known, 1)
        hint = f" Did you mean redlock_beat_{near[0]}?" if near else ""
        accepted = ", ".join(sorted(known))
        raise InvalidSetting(
            f"{key} is not a setting of redlock_beat.{hint} The settings are (after redlock_beat_): {accepted}."
        )
