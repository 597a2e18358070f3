"""How fast a leader sends when everything is due: ours and the others, on one server, in one run."""

from __future__ import annotations

import statistics
import time
import uuid
from functools import partial
from itertools import cycle
from typing import Any

from kombu import Connection

from tests.servers import KINDS, Server, binary, rabbitmq

from . import peers
from .peers import PEERS, QUEUE, Ours, OursOneAtATime, OursRendered, Peer, RedBeat, seconds

#: Repeats; the median counts.
REPEATS = 3
FLOOR = "pipelined LPUSH of the same bytes"


def main(quick: bool = False) -> dict[str, Any]:
    """Print and return messages a second, by server and by scheduler."""
    found: dict[str, Any] = {}
    for kind in KINDS[:1] if quick else KINDS:
        if binary(kind) is None:
            print(f"no server of kind {kind!r} here")
            continue
        found[kind] = _on(kind, quick)
    behind = _behind_rabbitmq(*((200, 1) if quick else (20_000, REPEATS)))
    if behind:
        found["rabbitmq"] = behind
    return found


def _behind_rabbitmq(many: int, repeats: int) -> dict[str, Any]:
    """The same with RabbitMQ as the broker, where one answers on localhost."""
    try:
        url = rabbitmq()
    except BaseException:  # a skip, outside of a test
        print("\nno RabbitMQ answers on localhost:5672")
        return {}
    print(f"\nRabbitMQ: messages a second, {many} due (median of {repeats}; spread), and the CPU time of a message")
    costs: dict[str, list[tuple[float, float]]] = {}
    for _ in range(repeats):
        for peer in (Ours(), RedBeat()):
            if not peer.missing():
                costs.setdefault(peer.name, []).append(_once_behind(url, peer, many))
    for name, each in costs.items():
        rates, used = [many / wall for wall, _ in each], statistics.median(cpu for _, cpu in each) / many
        spread = f"{min(rates):.0f}-{max(rates):.0f}"
        print(f"{name:<30} {statistics.median(rates):.0f} ({spread}), {used * 1e6:.0f} us", flush=True)
    if len(costs) == 2:
        ours, theirs = costs.values()
        wall, cpu = (statistics.median(b[i] / a[i] for a, b in zip(ours, theirs, strict=True)) for i in (0, 1))
        print(f"ratios (medians of those of a round): {wall:.1f} x RedBeat; of the CPU time {cpu:.1f} x")
    return {name: {str(many): [many / wall for wall, _ in each]} for name, each in costs.items()}


def _once_behind(url: str, peer: Peer, many: int) -> tuple[float, float]:
    queue = f"redlock-bench-{uuid.uuid4().hex}"
    peers.CONF["task_default_queue"] = queue
    server = Server("valkey").start()
    try:
        with Connection(url) as connection:
            channel = connection.default_channel
            channel.queue_declare(queue, durable=True, auto_delete=False)
            try:
                return peers.spent(peer, server, many, url, partial(_length, channel, queue))
            finally:
                channel.queue_delete(queue)
    finally:
        server.close()
        peers.CONF.clear()


def _length(channel: Any, queue: str) -> int:
    return int(channel.queue_declare(queue, passive=True).message_count)


def _on(kind: str, quick: bool) -> dict[str, Any]:
    sizes = (200,) if quick else (1_000, 20_000, 100_000)
    floor_at = sizes[-1] if quick else 20_000
    print(f"\n{kind}: messages a second, everything due, ledger on (median of {1 if quick else REPEATS}; spread)")
    rows: dict[str, dict[str, list[float]]] = {peer.name: {} for peer in PEERS if not peer.missing()}
    rows[FLOOR] = {str(floor_at): []}
    # In rounds, and the floor at once after the run it is compared with: what else the machine does hits all alike.
    for turn in range(1 if quick else REPEATS):
        for many in sizes:
            for peer in PEERS:
                once = peer.most <= 2_000 or (isinstance(peer, RedBeat) and many > 1_000)
                if peer.name not in rows or many > peer.most or (once and turn):
                    continue
                floor = rows[FLOOR][str(many)] if type(peer) is Ours and many == floor_at else None
                rows[peer.name].setdefault(str(many), []).append(_once(kind, peer, many, floor))
    for name, rates in rows.items():
        said = "  ".join(
            f"{many:>7}: {statistics.median(one):>7.0f} ({min(one):.0f}-{max(one):.0f})" for many, one in rates.items()
        )
        print(f"{name:<33} {said}", flush=True)
    for peer in PEERS:
        if peer.missing():
            print(f"{peer.name:<33} not installed: pip install {peer.needs}")
    _ratios(rows, str(floor_at))
    return rows


def _once(kind: str, peer: Peer, many: int, floor: list[float] | None = None) -> float:
    """Messages a second; and into *floor* how many of the very same a pipeline pushes right after."""
    server = Server(kind).start()
    try:
        rate = many / seconds(peer, server, many)
        if floor is not None:
            floor.append(many / _pushed(server))
        return rate
    finally:
        server.close()


def _pushed(server: Server) -> float:
    """Seconds it takes to push what is in the queue once more, in pipelines of 500: no scheduler at all."""
    client = server.client()
    bodies = client.lrange(QUEUE, 0, -1)
    client.delete(QUEUE)
    began = time.perf_counter()
    for i in range(0, len(bodies), 500):
        pipe = client.pipeline(transaction=False)
        for body in bodies[i : i + 500]:
            pipe.lpush(QUEUE, body)
        pipe.execute()
    return time.perf_counter() - began


def _ratios(rows: dict[str, dict[str, list[float]]], size: str) -> None:
    """Medians of the ratios within a round."""

    def ratio(name: str, other: str, many: str = size, than: str = size) -> float | None:
        ours, theirs = rows.get(name, {}).get(many), rows.get(other, {}).get(than)
        if not ours or not theirs:
            return None
        return statistics.median(a / b for a, b in zip(ours, cycle(theirs), strict=False))

    said = {
        "{:.1f} x RedBeat": ratio(Ours.name, RedBeat.name),
        "rendered {:.1f} x RedBeat": ratio(OursRendered.name, RedBeat.name),
        "overlap=skip {:.2f} of allow": ratio(OursOneAtATime.name, Ours.name),
        "{:.2f} of LPUSH": ratio(Ours.name, FLOOR),
        "100,000 entries {:.2f} of 1,000": ratio(Ours.name, Ours.name, "100000", "1000"),
    }
    print("ratios: " + ", ".join(text.format(one) for text, one in said.items() if one))
