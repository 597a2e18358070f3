"""Three real beats, twenty entries of one second, one fault after the other: duplicates and the longest gap.

Measured on the messages that reach the queue: "duplicate" is an occurrence (entry, nominal due time) that is in
the queue twice; "gap" is the longest time, for any entry, between two messages, by the server's clock.
"""

from __future__ import annotations

import collections
import itertools
import json
import signal
import socket
import time
import uuid
from collections.abc import Callable
from functools import partial

from kombu import Connection

from redlock_beat.store.keys import Keys
from tests import faults
from tests.beats import Replicas, duplicates, ledger
from tests.servers import Server, eventually

K = Keys("redlock-beat")
TTL = 5.0
RABBITMQ = "amqp://guest:guest@127.0.0.1:5672//"


FAULTS: dict[str, tuple[Callable[[Replicas], object], float, str]] = {
    "leader SIGTERM": (faults.sigterm, 1.2, ""),
    "leader SIGKILL": (faults.sigkill, 2.0, ""),
    "leader SIGSTOP for 3 x TTL, then CONT": (
        partial(faults.sigstop, seconds=3 * TTL),
        TTL + 1.5,
        "the thawed beat is a standby",
    ),
    "lease key deleted by hand": (faults.lease_deleted, 2.0, ""),
    "all client connections cut (CLIENT KILL)": (faults.connections_cut, 2.0, ""),
    "SCRIPT FLUSH": (faults.scripts_flushed, 1.05, ""),
    "Redis stopped for 3 s and started (AOF)": (partial(faults.redis_restarted, seconds=3), 3 + 2.5, ""),
    "rolling replacement of all beats": (faults.rolling_replacement, 1.5, ""),
}


def main(quick: bool = False) -> dict[str, list[float]]:
    """Print the table of faults, then how takeovers are distributed; return the latter."""
    names = list(FAULTS)[:2] if quick else list(FAULTS)
    entries = 3 if quick else 20
    ttl = 1.0 if quick else TTL
    print(f"{'fault':<42}{'duplicates':>11}{'longest gap':>13}{'target':>9}   alive")
    for name in names:
        _one(name, entries, ttl, 1 if quick else 3)
    if _answers(RABBITMQ) and not quick:
        print("\nthe same with RabbitMQ behind the outbox (a repeat has the same task id)")
        for name in names:
            _one(name, entries, ttl, 3, RABBITMQ)
    many = 1 if quick else 10
    print(f"\nfrom the signal to the first message of the next leader, {many} times each")
    found = {}
    for name, how in (("SIGTERM", signal.SIGTERM), ("SIGKILL", signal.SIGKILL), ("SIGSTOP", signal.SIGSTOP)):
        took = found[name] = sorted(_takeovers(how, many, ttl))
        middle = took[len(took) // 2]
        print(f"{name:<10} best {took[0]:.3f} s, median {middle:.3f} s, worst {took[-1]:.3f} s", flush=True)
    return found


def _takeovers(how: signal.Signals, many: int, ttl: float) -> list[float]:
    """Seconds from a signal to the leader until another has sent, for one leader after the other."""
    server = Server("valkey").start()
    replicas = Replicas(server, PROJECT_ENTRIES="1", PROJECT_EVERY="0.02", PROJECT_TTL=str(ttl))
    took = []
    try:
        for _ in range(many):
            replicas.goes_on(1)
            time.sleep(ttl + 1.5)  # a standby younger than one TTL waits the TTL out, on purpose
            leader, epoch = replicas.leader(), replicas.epoch()
            at = replicas.client.time()
            leader.send(how)
            row = eventually(
                lambda epoch=epoch: next((r for r in ledger(replicas.client, "sent") if int(r["epoch"]) > epoch), None),
                "another sends",
            )
            took.append(int(row["at"]) / 1e6 - at[0] - at[1] / 1e6)
            leader.send(signal.SIGCONT)
            if how is not signal.SIGSTOP:
                leader.end()
                replicas.add().says("This beat is ")
            replicas.client.xtrim(K.ledger, maxlen=0)
    finally:
        replicas.close()
        server.close()
    return took


def _answers(url: str) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", 5672)) == 0


def _one(name: str, entries: int, ttl: float, settle: float, broker: str = "") -> None:
    fault, target, _ = FAULTS[name]
    server = Server("valkey", "--appendonly", "yes").start()
    queue = f"redlock-bench-{uuid.uuid4().hex}"
    more = {"PROJECT_CONF": json.dumps({"task_default_queue": queue})} if broker else {}
    replicas = Replicas(
        server, broker=broker, PROJECT_ENTRIES=str(entries), PROJECT_EVERY="1.0", PROJECT_TTL=str(ttl), **more
    )
    try:
        replicas.goes_on(entries)
        time.sleep(ttl + 1.5)  # a standby younger than one TTL waits the TTL out, on purpose
        began = time.time() - 1.5
        fault(replicas)
        time.sleep(settle)
        replicas.goes_on(entries)
        sent = collections.defaultdict(list)
        for row in ledger(replicas.client, "sent"):
            if int(row["at"]) / 1e6 >= began:
                sent[row["entry"]].append(int(row["at"]) / 1e6)
        gap = max(b - a for times in sent.values() for a, b in itertools.pairwise(times))
        alive = sum(replicas.alive())
        replicas.close()  # before the queue is drained, else it never ends
        twice = _drained(broker, queue) if broker else duplicates(replicas.client)
        print(f"{name:<42}{twice:>11}{gap:>11.2f} s{target:>7.2f} s   {alive}", flush=True)
    finally:
        replicas.close()
        server.close()


def _drained(url: str, queue: str) -> int:
    """How many messages in the queue repeat another; the queue is removed."""
    seen: dict[tuple[str, float], set[str]] = collections.defaultdict(set)
    total = 0
    with Connection(url) as connection:
        simple = connection.SimpleQueue(queue)
        while True:
            try:
                message = simple.get(timeout=1)
            except simple.Empty:
                break
            message.ack()
            total += 1
            headers = message.headers
            seen[headers["redlock_beat_entry"], headers["redlock_beat_due"]].add(headers["id"])
        simple.close()
        connection.default_channel.queue_delete(queue)
    assert all(len(ids) == 1 for ids in seen.values()), "a repeat with another task id"
    return total - len(seen)
