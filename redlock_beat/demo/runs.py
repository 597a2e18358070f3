"""A list of what workers have got, kept by the workers themselves.

The demo counts with it what came twice, instead of believing what beats say of themselves.
"""

from __future__ import annotations

import contextlib
from typing import Any

import redis
from celery.signals import task_prerun

#: The list, in the database of the queue: a task id each.
RUNS = "demo:runs"
#: Before the id of a run that the queue, not a beat, has caused: its worker lost the connection and got it once more.
AGAIN = "again "


@task_prerun.connect
def write_down(task: Any = None, task_id: str = "", **_: Any) -> None:
    """Write a run down before it begins; a run is not stopped by this."""
    again = bool((task.request.delivery_info or {}).get("redelivered"))
    with (
        contextlib.suppress(redis.RedisError),
        redis.Redis.from_url(str(task.app.conf.broker_url), socket_timeout=2) as client,
    ):
        client.rpush(RUNS, AGAIN + task_id if again else task_id)
