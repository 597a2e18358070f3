"""What can happen to replicas; tests/acceptance and benchmarks do it to real processes.

Each says which of the processes live afterwards.
"""

from __future__ import annotations

import signal
import time

from redlock_beat.store.keys import Keys

from .beats import Replicas
from .servers import eventually

K = Keys("redlock-beat")


def sigterm(replicas: Replicas) -> list[bool]:
    """The leader is told to end."""
    one = replicas.leader()
    assert one.end() == 0
    return [beat is not one for beat in replicas.beats]


def sigkill(replicas: Replicas) -> list[bool]:
    """The leader is killed."""
    one = replicas.leader()
    one.end(signal.SIGKILL)
    return [beat is not one for beat in replicas.beats]


def sigstop(replicas: Replicas, seconds: float = 0) -> list[bool]:
    """The leader stands still until another leads and sends, and for so long at least."""
    one, epoch, until = replicas.leader(), replicas.epoch(), time.monotonic() + seconds
    one.send(signal.SIGSTOP)
    eventually(lambda: replicas.epoch() > epoch, "another leads")
    replicas.goes_on(1)
    time.sleep(max(0.0, until - time.monotonic()))
    one.send(signal.SIGCONT)
    one.says("another beat leads")
    return [True] * len(replicas.beats)


def lease_deleted(replicas: Replicas) -> list[bool]:
    """Somebody deletes the key of the lease."""
    replicas.client.delete(K.lease)
    return [True] * len(replicas.beats)


def connections_cut(replicas: Replicas) -> list[bool]:
    """All connections to Redis are cut."""
    for kind in ("normal", "pubsub"):
        replicas.client.client_kill_filter(_type=kind, skipme=True)
    return [True] * len(replicas.beats)


def scripts_flushed(replicas: Replicas) -> list[bool]:
    """Redis forgets the scripts."""
    replicas.client.script_flush()
    return [True] * len(replicas.beats)


def redis_restarted(replicas: Replicas, seconds: float = 0) -> list[bool]:
    """Redis is away until all have noticed, and for so long at least."""
    until = time.monotonic() + seconds
    replicas.server.stop()
    for one in replicas.beats:
        one.says("What is due stays due")
    time.sleep(max(0.0, until - time.monotonic()))
    replicas.server.start()
    return [True] * len(replicas.beats)


def rolling_replacement(replicas: Replicas) -> list[bool]:
    """Each is replaced, one after the other."""
    old = [one for one in replicas.beats if one.alive]
    for one in old:
        replicas.add().says("This beat is ")
        assert one.end() == 0
    return [one not in old for one in replicas.beats]


FAULTS = (
    sigterm,
    sigkill,
    sigstop,
    lease_deleted,
    connections_cut,
    scripts_flushed,
    redis_restarted,
    rolling_replacement,
)
