"""Celery's face of a beat: when it starts, ends and is stopped."""

from __future__ import annotations

import os
import signal

import pytest

from redlock_beat import InvalidSetting, UnsupportedServer
from redlock_beat.beat import parts
from redlock_beat.store.keys import Keys
from tests.beats import duplicates, make_app

K = Keys("redlock-beat")


ENTRY = {"a": {"task": "tasks.add", "schedule": 0.1}}


def test_a_closed_scheduler_ends_the_loop(valkey, beats):
    beat = beats(valkey).lead()
    beat.scheduler.close()
    with pytest.raises(SystemExit):
        beat.scheduler.tick()


def test_a_stop_in_the_middle_of_a_tick_releases_on_a_connection_of_its_own(server, beats):
    beat = beats(server, ENTRY, redlock_beat_lease_ttl=60.0, redlock_beat_render_limit=60.0).lead()
    client = server.client()
    due = beat.parts.store.due

    def interrupted(*args, **kwargs):
        beat.scheduler.close()  # what Celery's signal handler does, before it raises SystemExit
        raise SystemExit

    beat.parts.store.due = interrupted
    with pytest.raises(SystemExit):
        for _ in range(3):
            beat.scheduler.tick()
    assert client.get(K.lease) is None
    beat.parts.store.due = due
    beat.scheduler.close()
    assert duplicates(client) == 0


def test_a_stop_while_the_beat_is_built_ends_it_and_leaves_nothing(valkey, beats, monkeypatch):
    beat = beats(valkey, ENTRY)

    def interrupted(app):
        beat.scheduler.close()  # what Celery's signal handler does, before it raises SystemExit
        raise SystemExit

    monkeypatch.setattr(parts, "Reading", interrupted)
    with pytest.raises(SystemExit):
        beat.tick()
    beat.scheduler.close()
    assert not beat.built
    assert valkey.client().keys("*") == []
    with pytest.raises(SystemExit):
        beat.tick()


def test_a_beat_that_cannot_be_built_yet_is_built_by_a_later_tick(valkey, beats, monkeypatch, caplog):
    beat, read, calls = beats(valkey, ENTRY), parts.Reading, []

    def away(app):
        calls.append(1)
        if len(calls) == 1:
            raise ConnectionError("nobody answers")
        return read(app)

    monkeypatch.setattr(parts, "Reading", away)
    beat.lead()
    assert "does not serve this beat (ConnectionError: nobody answers)" in caplog.text


def test_an_unsupported_server_ends_it(own_server, beats):
    server = own_server("valkey", "--rename-command", "GETDEL", "")
    with pytest.raises(UnsupportedServer, match=r"6\.2"):
        beats(server).tick()


def test_celery_sees_the_schedule_and_never_sleeps_or_syncs(valkey, beats):
    beat = beats(valkey, ENTRY).lead()
    assert [one.name for one in beat.scheduler.schedule] == ["a"]
    beat.scheduler.schedule = {}
    assert beat.scheduler.should_sync() is False
    assert beat.scheduler.sync() is None
    assert beat.scheduler.setup_schedule() is None


def test_an_embedded_beat_whose_parent_is_gone_ends(valkey, beats):
    beat = beats(valkey).lead()
    beat.scheduler.parent = os.getppid() + 1
    with pytest.raises(SystemExit):
        beat.scheduler.tick()
    assert valkey.client().get(K.lease) is None


def test_an_embedded_beat_adopts_sigterm(valkey, beats):
    beat = beats(valkey)
    beat.scheduler.parent = os.getppid()
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        beat.lead()
        handler = signal.getsignal(signal.SIGTERM)
        assert callable(handler)
        with pytest.raises(SystemExit):
            handler(signal.SIGTERM, None)
        assert valkey.client().get(K.lease) is None
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_setting_that_cannot_work_ends_it(beats):
    with pytest.raises(InvalidSetting, match="master_name"):
        beats("memory://", redlock_beat_url="sentinel://127.0.0.1:1").tick()


def test_a_lazy_scheduler_touches_nothing(valkey, beats):
    from redlock_beat import RedisScheduler

    app = make_app(valkey.url(), {"a": {"task": "tasks.add", "schedule": 1}})
    lazy = RedisScheduler(app, lazy=True, schedule_filename="x", max_interval=3)
    assert "redis" in lazy.info
    lazy.close()
    assert valkey.client().keys("*") == []
