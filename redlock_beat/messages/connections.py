"""Connections to the broker, each of whose waits has a bound."""

from __future__ import annotations

from typing import Any


def bounded_connection(app: Any, timeout: float, base: type | None = None) -> Any:
    """A write connection of the app that bounds every wait, and tries once, not for ever."""
    connection = app.connection_for_write()
    options = dict(connection.transport_options or {})
    options.update(max_retries=1, interval_start=0, interval_step=0, interval_max=0)
    if is_redis(connection):
        for name in ("socket_timeout", "socket_connect_timeout"):
            if not options.get(name):
                options[name] = timeout
    elif connection.transport.driver_type == "amqp":
        for name in ("read_timeout", "write_timeout"):
            options.setdefault(name, timeout)
        options.setdefault("confirm_publish", True)
    info = dict(connection._info(resolve=False), transport_options=options)
    info["connect_timeout"] = min(float(info.get("connect_timeout") or timeout), timeout)
    return (base or type(connection))(**info)


def is_redis(connection: Any) -> bool:
    """Whether a kombu connection speaks to a Redis through kombu's own transport (Sentinel included)."""
    try:
        from kombu.transport.redis import Transport
    except ImportError:  # pragma: no cover - redis is a dependency
        return False
    cls = connection.get_transport_cls()
    return isinstance(cls, type) and issubclass(cls, Transport)
