"""Whether the whole is well."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from redlock_beat import Schedule
from redlock_beat.__main__ import main
from redlock_beat.store.item import stamp
from redlock_beat.store.keys import Keys
from tests.beats import LASTING
from tests.brokers import conf
from tests.proxy import Proxy

K = Keys("redlock-beat")


def test_the_whole_is_asked_without_celery(own_server, beats, capsys, monkeypatch, own_place):
    server = own_server()
    assert main(["health", "--url", server.url()]) == 1
    assert "nobody leads" in capsys.readouterr().out
    schedule = Schedule.from_url(server.url())
    beats(server, **LASTING).lead()  # nobody ticks it any more
    assert main(["health", "--url", server.url()]) == 0
    schedule.add("a", "tasks.add", 60)
    server.client().zadd(K.due, {"a": 1000})
    assert main(["health", "--url", server.url(), "--max-lag", "30"]) == 1
    assert "1 due, the oldest for" in capsys.readouterr().out
    server.client().zadd(K.due, {"a": 9e9})
    server.client().hset(K.quarantine, "bad", json.dumps({"error": "e"}))
    assert "in quarantine: 'bad'" in schedule.health().why
    server.client().delete(K.quarantine)
    server.client().hset(K.outbox, mapping={"i": stamp(1, "a", 1000, "id", False, [], "{}"), "rubbish": "rubbish"})
    assert "2 messages wait for the broker" in schedule.health().why
    server.client().hdel(K.outbox, "i")
    assert "is never published" in schedule.health().why
    server.client().delete(K.outbox)
    assert schedule.health().ok
    with pytest.raises(SystemExit) as stop:
        main(["health"])
    assert stop.value.code == 2
    monkeypatch.setenv("REDLOCK_BEAT_URL", server.url())
    code = "import sys; from redlock_beat.__main__ import main; main(['health', '--this']); main(['health']); "
    code += "print({'celery', 'kombu'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "set()"
    assert "led, nothing due" in out
    server.stop(signal.SIGKILL)
    capsys.readouterr()
    assert main(["health", "--url", f"redis://:s3cret@127.0.0.1:{server.port}/0"]) == 1
    out = capsys.readouterr().out
    assert "does not answer" in out
    assert "s3cret" not in out
    for wrong in (["--url", "http://x"], ["--url", server.url(), "--timeout", "-1"], ["--url", "sentinel://x"]):
        with pytest.raises(SystemExit) as stop:
            main(["health", *wrong])
        assert stop.value.code == 2
    assert "master" in capsys.readouterr().err
    monkeypatch.setenv("REDLOCK_BEAT_REDIS_OPTIONS", "[]")
    with pytest.raises(SystemExit):
        main(["health"])


def test_health_reads_what_waits_for_the_broker(valkey, beats, way):
    """A message just claimed is no reason to worry, whatever slot it is for."""
    proxy = Proxy(1)  # nothing listens there
    beat = beats(f"amqp://guest:guest@127.0.0.1:{proxy.port}//", **conf(valkey, "q"), **LASTING).lead()
    schedule, client = Schedule(beat.app), valkey.client()
    schedule.add("a", "tasks.add", 0.2)
    beat.until(lambda: client.hlen(K.outbox) >= 3)
    assert schedule.health(max_lag=30).ok, schedule.health(max_lag=30).why
    beat.until(lambda: "for the broker, one for" in schedule.health(max_lag=0.2).why, "they wait too long")
    assert "inf" not in schedule.health(max_lag=0.2).why
    proxy.close()
