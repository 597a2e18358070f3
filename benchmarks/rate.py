"""How fast a leader sends when everything is due: ours and the others, on one server, in one run."""

from __future__ import annotations

import statistics
import time
import uuid
from functools import partial
from typing import Any

from kombu import Connection

from tests.servers import KINDS, Server, binary, rabbitmq

from . import peers
from .peers import PEERS, QUEUE, Ours, Peer, RedBeat, seconds

#: Repeats; the median counts.
REPEATS = 3


def main(quick: bool = False) -> dict[str, Any]:
    """Print and return messages a second, by server and by scheduler."""
    found: dict[str, Any] = {}
    for kind in KINDS[:1] if quick else KINDS:
        if binary(kind) is None:
            print(f"no server of kind {kind!r} here")
            continue
        found[kind] = _on(kind, quick)
    behind = _behind_rabbitmq(200 if quick else 20_000)
    if behind:
        found["rabbitmq"] = behind
    return found


def _behind_rabbitmq(many: int) -> dict[str, Any]:
    """The same with RabbitMQ as the broker, where one answers on localhost."""
    try:
        url = rabbitmq()
    except BaseException:  # a skip, outside of a test
        print("\nno RabbitMQ answers on localhost:5672")
        return {}
    print(f"\nRabbitMQ: messages a second, {many} due")
    rows: dict[str, Any] = {}
    for peer in (Ours(), RedBeat()):
        if peer.missing():
            continue
        queue = f"redlock-bench-{uuid.uuid4().hex}"
        peers.CONF["task_default_queue"] = queue
        server = Server("valkey").start()
        try:
            with Connection(url) as connection:
                channel = connection.default_channel
                channel.queue_declare(queue, durable=True, auto_delete=False)
                length = partial(_length, channel, queue)
                rows[peer.name] = {str(many): [many / peers.seconds(peer, server, many, url, length)]}
                channel.queue_delete(queue)
            print(f"{peer.name:<30} {rows[peer.name][str(many)][0]:.0f}", flush=True)
        finally:
            server.close()
            peers.CONF.clear()
    if len(rows) == 2:
        print(f"ratio: {rows['redlock_beat'][str(many)][0] / rows['celery-redbeat'][str(many)][0]:.1f} x RedBeat")
    return rows


def _length(channel: Any, queue: str) -> int:
    return int(channel.queue_declare(queue, passive=True).message_count)


def _on(kind: str, quick: bool) -> dict[str, Any]:
    sizes = (200,) if quick else (1_000, 20_000, 100_000)
    print(f"\n{kind}: messages a second, everything due, ledger on (median of {1 if quick else REPEATS}; spread)")
    rows: dict[str, Any] = {}
    for peer in PEERS:
        if peer.missing():
            print(f"{peer.name:<30} not installed: pip install {peer.needs}")
            continue
        rates: dict[int, list[float]] = {}
        for many in sizes:
            if many > peer.most:
                continue
            slow = isinstance(peer, RedBeat) and many > 1_000
            repeats = 1 if quick or slow or peer.most <= 2_000 else REPEATS
            rates[many] = [many / _once(kind, peer, many) for _ in range(repeats)]
        rows[peer.name] = {str(many): one for many, one in rates.items()}
        said = "  ".join(f"{many:>7}: {statistics.median(one):>7.0f} ({min(one):.0f}-{max(one):.0f})"
                         for many, one in rates.items())  # fmt: skip
        print(f"{peer.name:<30} {said}", flush=True)
    floor = [_floor(kind, sizes[-1] if quick else 20_000) for _ in range(1 if quick else REPEATS)]
    rows["pipelined LPUSH of the same bytes"] = {"20000": floor}
    print(f"{'pipelined LPUSH of the same':<30} {statistics.median(floor):.0f}")
    _ratios(rows, "200" if quick else "20000")
    return rows


def _once(kind: str, peer: Peer, many: int) -> float:
    server = Server(kind).start()
    try:
        return seconds(peer, server, many)
    finally:
        server.close()


def _floor(kind: str, many: int) -> float:
    """Messages a second when they are only pushed, in pipelines of 500: no scheduler at all."""
    server = Server(kind).start()
    try:
        seconds(Ours(), server, many)
        client = server.client()
        bodies = client.lrange(QUEUE, 0, -1)
        client.delete(QUEUE)
        began = time.perf_counter()
        for i in range(0, many, 500):
            pipe = client.pipeline(transaction=False)
            for body in bodies[i : i + 500]:
                pipe.lpush(QUEUE, body)
            pipe.execute()
        return many / (time.perf_counter() - began)
    finally:
        server.close()


def _ratios(rows: dict[str, Any], size: str) -> None:
    def rate(name: str, many: str = size) -> float | None:
        found = rows.get(name, {}).get(many)
        return statistics.median(found) if found else None

    ours, theirs = rate("redlock_beat"), rate("celery-redbeat")
    rendered, floor = rate("redlock_beat, each rendered"), rate("pipelined LPUSH of the same bytes", "20000")
    said = []
    if ours and theirs and rendered:
        said += [f"{ours / theirs:.1f} x RedBeat", f"rendered {rendered / theirs:.1f} x RedBeat"]
    if ours and floor:
        said.append(f"{ours / floor:.2f} of LPUSH")
    small, large = rate("redlock_beat", "1000"), rate("redlock_beat", "100000")
    if small and large:
        said.append(f"100,000 entries {large / small:.2f} of 1,000")
    print("ratios: " + ", ".join(said))
