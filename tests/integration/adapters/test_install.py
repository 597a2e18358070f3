"""Adapters that the settings ask for are there while a beat or a worker runs, and once in a process."""

from __future__ import annotations

import pytest

from redlock_beat import Schedule, hooks
from redlock_beat.adapters import install
from redlock_beat.errors import InvalidSetting
from redlock_beat.settings import Settings
from tests.beats import make_app
from tests.workers import Workers


def settings(udp, **more):
    return Settings(url="redis://localhost", statsd=f"127.0.0.1:{udp.getsockname()[1]}", **more)


def test_a_beat_and_a_worker_of_one_process_add_them_once(udp):
    install.begin(settings(udp))
    install.begin(settings(udp))
    hooks.emit(hooks.TermEnded(1.0, 1))
    install.end(settings(udp))
    hooks.emit(hooks.TermEnded(1.0, 2))
    install.end(settings(udp))
    hooks.emit(hooks.TermEnded(1.0, 3))
    assert [udp.recv(100), udp.recv(100)] == [b"redlock_beat.leader:0|g"] * 2
    udp.setblocking(False)
    with pytest.raises(BlockingIOError):
        udp.recv(100)
    assert not hooks.listening()


def test_two_that_ask_for_different_things_have_each_their_own(udp):
    install.begin(Settings(url="redis://localhost"))
    install.begin(settings(udp))
    hooks.emit(hooks.TermEnded(1.0, 1))
    assert udp.recv(100) == b"redlock_beat.leader:0|g"
    install.end(settings(udp))
    assert not hooks.listening()
    install.end(Settings(url="redis://localhost"))


def test_a_beat_sends_its_metrics_and_stops_at_its_end(udp, valkey, beats):
    conf = {"redlock_beat_statsd": settings(udp).statsd, "redlock_beat_statsd_tags": ["env:test"]}
    beat = beats(valkey, **conf).lead()
    Schedule(beat.app).add("a", "tasks.add", 3600, run_now=True)
    beat.until(lambda: Schedule(beat.app).history())
    found = b""
    while b"sent" not in found:
        found = udp.recv(1_000)
    assert found.startswith(b"redlock_beat.sent:1|c|#env:test\nredlock_beat.lateness:")
    beat.close()
    assert not hooks.listening()


def test_a_worker_sends_the_metrics_of_its_runs(udp, valkey, tmp_path):
    workers = Workers(valkey, tmp_path, RUNS_STATSD=settings(udp).statsd)
    try:
        workers.start()
        workers.send(make_app(valkey.url()), "runs.sleep")
        found = b"runs.started"
        while b"runs.started" in found:  # which is not told of a run that is over at once
            found = udp.recv(1_000)
        assert found.startswith(b"redlock_beat.runs.succeeded:1|c\nredlock_beat.run_time:")
    finally:
        workers.close()


@pytest.mark.parametrize(
    "conf",
    [{"redlock_beat_pings": {"a": "ftp://host/secret"}}, {"redlock_beat_statsd": "localhost"}],
    ids=lambda conf: next(iter(conf)),
)
def test_settings_that_cannot_be_used_are_refused_at_the_start(valkey, beats, conf):
    with pytest.raises(InvalidSetting, match=next(iter(conf))) as raised:
        beats(valkey, **conf)
    assert "secret" not in str(raised.value)
