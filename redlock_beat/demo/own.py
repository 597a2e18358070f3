"""Runs Celery for a project of the user's own, with the embedded server as its broker.

``python -m redlock_beat.demo.own proj:app redis://127.0.0.1:1234/0 beat -S redlock``. The module of the app is imported
as Celery does it; then broker, result backend and schedule are the embedded server, so nothing reaches the real ones.
"""

from __future__ import annotations

import os
import sys
from typing import Any

#: Settings that say how to reach a broker or a backend that is not meant here.
_ELSEWHERE: dict[str, Any] = {
    "broker_read_url": None,
    "broker_write_url": None,
    "broker_transport": None,
    "broker_transport_options": {},
    "broker_use_ssl": False,
    "broker_failover_strategy": "round-robin",
    "broker_connection_retry_on_startup": True,
    "result_backend_transport_options": {},
    "redis_backend_use_ssl": None,
    "redlock_beat_redis_options": {},
    "redlock_beat_prefix": "redlock-beat",
    "redlock_beat_metrics_port": None,
    "redlock_beat_heartbeat_file": "",
    "beat_scheduler": "redlock",
}


def redirect(app: Any, url: str) -> None:
    """Let the app use the server at *url* for everything.

    >>> from celery import Celery
    >>> app = Celery(broker="amqp://broker.example.com", set_as_current=False)
    >>> redirect(app, "redis://127.0.0.1:1234/0")
    >>> app.conf.broker_url
    'redis://127.0.0.1:1234/0'
    """
    app.conf.update(_ELSEWHERE, broker_url=url, result_backend=url, redlock_beat_url=url)


def main(argv: list[str]) -> None:
    """Import the app, redirect it, and run the command."""
    name, url, *command = argv
    # These variables would win over what the app's configuration says.
    for variable in ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL", "CELERY_RESULT_BACKEND"):
        os.environ[variable] = url
    from celery.app.utils import find_app

    app = find_app(name)
    redirect(app, url)
    if command[0] == "worker":
        from . import runs as runs  # its signal writes the runs down
    app.start(command)


if __name__ == "__main__":
    sys.path.insert(0, os.getcwd())
    main(sys.argv[1:])
