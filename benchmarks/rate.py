"""How fast a leader sends when everything is due, against pipelined LPUSH of the same bytes."""

from __future__ import annotations

import time

from redlock_beat import Schedule
from redlock_beat.keys import Keys
from tests.beats import Beat, make_app
from tests.servers import KINDS, Server, binary

K = Keys("redlock-beat")


def main(quick: bool = False) -> None:
    many = 500 if quick else 20_000
    print(f"{many} due entries, ledger on, rendered by Celery each time")
    print(f"{'server':<10}{'sent/s':>10}{'LPUSH/s':>12}{'of LPUSH':>10}{'apply_async/s':>15}{'of apply':>10}")
    for kind in KINDS:
        if binary(kind) is None:
            continue
        server = Server(kind).start()
        try:
            _one(kind, server, many)
        finally:
            server.close()


def _one(kind: str, server: Server, many: int) -> None:
    client = server.client()
    app = make_app(server.url(), {f"e{i}": {"task": "tasks.add", "schedule": 86400.0} for i in range(many)})
    app.conf.redlock_beat_lease_ttl = 60.0
    app.conf.redlock_beat_render_limit = 60.0
    beat = Beat(app).lead()
    schedule = Schedule(app)
    names = [entry.name for entry in schedule]
    now = schedule._store.now()
    # All due at once, and late by an hour at most: neither missed nor early.
    states = client.hmget(K.state, names)
    moved = {}
    for name, text in zip(names, states, strict=True):
        uid, revision, _, *rest = text.split(" ")
        moved[name] = " ".join([uid, revision, str(now), *rest])
    for i in range(0, many, 1000):
        part = names[i : i + 1000]
        client.hset(K.state, mapping={name: moved[name] for name in part})
        client.zadd(K.due, dict.fromkeys(part, now / 1e6))
    began = time.perf_counter()
    while client.llen("celery") < many:
        beat.tick()
    took = time.perf_counter() - began
    bodies = client.lrange("celery", 0, -1)
    client.delete("floor")
    floor = time.perf_counter()
    for i in range(0, many, 500):
        pipe = client.pipeline(transaction=False)
        for body in bodies[i : i + 500]:
            pipe.lpush("floor", body)
        pipe.execute()
    floor = time.perf_counter() - floor
    bare = time.perf_counter()
    task = app.tasks["tasks.add"]
    with app.producer_or_acquire() as producer:
        for _ in range(min(many, 2000)):
            task.apply_async((1, 2), producer=producer)
    bare = (time.perf_counter() - bare) / min(many, 2000) * many
    beat.close()
    against = f"{floor / took:>10.2f}{many / bare:>15.0f}{bare / took:>10.2f}"
    print(f"{kind:<10}{many / took:>10.0f}{many / floor:>12.0f}{against}")
