"""The doctor finds what is wrong, and says what to do."""

from __future__ import annotations

import json

from redlock_beat import Schedule
from redlock_beat.cli import doctor
from redlock_beat.clock import micros
from redlock_beat.store.keys import Keys
from tests.beats import LASTING, make_app
from tests.servers import eventually

K = Keys("redlock-beat")


def levels(schedule_, app=None):
    return {one.what: one for one in doctor.examine(schedule_, app)}


def test_what_the_doctor_finds(own_server, beats):
    server = own_server("valkey", "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    ours = {"redlock_beat_ledger_size": 0, **LASTING}
    app = make_app(server.url(), task_always_eager=True, beat_max_loop_interval=5, **ours)
    edited = Schedule(app)
    edited.add("bad", "tasks.add", 60)
    edited.add("done", "tasks.add", 60, max_runs=1, keep=True)
    client = server.client()
    client.hset(K.entries, "bad", "rubbish")
    client.zadd(K.due, {"bad": 1})
    uid, rev, *_ = client.hget(K.state, "done").split(" ")
    client.hset(K.state, "done", f"{uid} {rev} - 5 1 0")
    heartbeat = {"host": "h", "pid": 1, "version": "0.0.1", "skew": 7_000_000, "delivery": "outbox"}
    client.hset(K.beats, "t", json.dumps({**heartbeat, "at": micros(edited.now())}))
    beats(app).lead().until(lambda: client.hexists(K.quarantine, "bad"))
    found = levels(edited, app)
    for what in ("eviction", "never again", "versions", "clock", "settings", "persistence"):
        assert found[what].level == "warning", what
    assert "'done'" in found["never again"].why
    assert found["quarantine"].level == "error"
    assert found["tasks"].level == "unknown"
    assert any("task_always_eager" in one.why for one in doctor.examine(edited, app))
    assert [one["level"] for one in json.loads(doctor.as_json(list(found.values())))]


def test_the_doctor_asks_the_workers(own_server, beats):
    from tests.beats import Process

    server = own_server("valkey")
    worker = Process(server.url(), "--concurrency", "1", "--pool", "solo", command=("worker",))
    try:
        worker.says("ready.")
        app = make_app(server.url())
        edited = Schedule(app)
        edited.add("known", "tasks.add", 60)
        assert eventually(lambda: levels(edited, app)["tasks"].level == "ok")
        edited.add("lost", "tasks.nobody.knows", 60)
        assert "'tasks.nobody.knows'" in levels(edited, app)["tasks"].why
    finally:
        worker.close()


def test_the_doctor_misses_reports_of_runs_that_others_wait_for(valkey):
    edited = Schedule.from_url(valkey.url())
    client = valkey.client()
    assert "reports" not in levels(edited)
    client.hset(K.claims, "a", "id 5 - 5")
    assert levels(edited)["reports"].level == "warning"
    client.zadd(K.workers, {"token": client.time()[0] + 60})
    assert levels(edited)["reports"].level == "ok"


def test_the_doctor_on_a_server_that_is_away():
    lost = Schedule.from_url("redis://:s3cret@127.0.0.1:1/0")
    found = list(doctor.examine(lost))
    assert [one.level for one in found] == ["error"]
    assert "s3cret" not in found[0].why


def test_health_and_doctor(cli, valkey, beats, monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert "nobody leads" in cli("health", code=1)
    assert "no beat of this user" in cli("health", "--this", code=1)
    assert "nobody leads" in cli("doctor", code=1)
    beats(valkey, **LASTING).lead()
    assert json.loads(cli("health", "--json"))["ok"]
    assert json.loads(cli("health", "--this", "--json"))["ok"]
    assert {row["level"] for row in json.loads(cli("doctor", "--json"))} <= {"ok", "warning", "unknown"}
    assert "The smallest rule" not in cli("doctor")


def test_the_doctor_sees_that_a_worker_took_our_name_for_its_state_file(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "--scheduler redlock" not in cli("doctor", code=1)
    (tmp_path / "redlock.dat").write_text("")
    assert "Write --scheduler redlock" in cli("doctor", code=1)
