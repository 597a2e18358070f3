"""What others are told of a beat: probes, hooks and metrics."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from datetime import UTC, datetime, timedelta

import pytest

from redlock_beat import InvalidSetting, Schedule, add_hook, hooks, remove_hook
from redlock_beat import liveness as heartbeat
from redlock_beat.__main__ import main
from redlock_beat.beat.dispatch import prune_beats
from redlock_beat.beat.metrics import PrometheusHook, Served
from redlock_beat.schedule import health
from redlock_beat.store.item import stamp
from redlock_beat.store.keys import Keys
from tests.beats import Process, messages
from tests.servers import eventually, free_port, rabbitmq

K = Keys("redlock-beat")


@pytest.fixture(autouse=True)
def own_place(tmp_path, monkeypatch):
    """Heartbeats of this test alone."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def told():
    events: list[hooks.Event] = []
    add_hook(events.append)
    yield events
    remove_hook(events.append)


def of(events, kind):
    return [event for event in events if isinstance(event, kind)]


# --- does this loop turn? --------------------------------------------------------------------------


def test_a_turning_loop_is_healthy_without_redis(valkey, beats):
    assert not health.this().ok
    beat = beats(valkey)
    beat.scheduler.heartbeat.touch()
    verdict = health.this()
    assert verdict.ok
    assert f"process {os.getpid()}" in verdict.why
    assert main(["health", "--this"]) == 0
    beat.close()
    assert not health.this().ok


def test_a_standby_and_a_beat_without_redis_are_healthy(own_server, beats, own_place):
    server = own_server()
    leader, standby = beats(server).lead(), beats(server, redlock_beat_heartbeat_file=str(own_place / "standby"))
    standby.tick()
    assert health.this(str(own_place / "standby")).ok
    server.stop(signal.SIGKILL)
    standby.tick()
    assert health.this(str(own_place / "standby")).ok
    assert health.this().ok
    assert leader


def test_a_wedged_loop_is_not_healthy(valkey, beats, own_place, monkeypatch, capsys):
    beat = beats(valkey).tick()
    now = heartbeat.monotonic()
    monkeypatch.setattr(heartbeat, "monotonic", lambda: now + beat.scheduler.settings.silence + 2)
    verdict = health.this()
    assert not verdict.ok
    assert "has not turned for" in verdict.why
    assert main(["health", "--this", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_what_a_killed_beat_left_behind_is_no_sign_of_life(own_place):
    directory = heartbeat.directory()
    directory.mkdir(mode=0o700)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    now = heartbeat.monotonic()
    left = directory / f"{gone.pid}.beat"
    left.write_text(heartbeat._FORMAT.format(pid=gone.pid, born="1", at=now, allowed=60))
    (directory / "rubbish.beat").write_text("rubbish")
    assert not health.this().ok
    assert not left.exists()
    # a number that is in use again, by a younger process
    (directory / "again.beat").write_text(heartbeat._FORMAT.format(pid=os.getpid(), born="1", at=now, allowed=60))
    assert not health.this().ok


def test_where_no_file_can_be_written_beat_runs_and_probes_say_what_to_set(valkey, beats, monkeypatch, caplog, capsys):
    def nowhere():
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp', '/var/tmp']")

    monkeypatch.setattr("tempfile.gettempdir", nowhere)  # as with readOnlyRootFilesystem
    monkeypatch.setattr(heartbeat, "_places", lambda: ["/proc/1/nowhere"], raising=False)
    beats(valkey, {"a": {"task": "t", "schedule": 0.1}}).until(lambda: valkey.client().llen("celery"), "it sends")
    assert caplog.text.count("Set redlock_beat_heartbeat_file") == 1
    assert main(["health", "--this"]) == 1
    assert "redlock_beat_heartbeat_file" in capsys.readouterr().out


def test_the_first_place_that_can_be_written_is_taken_by_beats_and_probes_alike(own_place, monkeypatch):
    monkeypatch.setenv("TMPDIR", "/proc/1/nowhere")
    monkeypatch.setenv("TEMP", str(own_place))
    beat = heartbeat.Heartbeat("", 60)
    beat.touch()
    assert heartbeat.directory().parent == own_place
    assert health.this().ok
    beat.close()


def test_a_directory_of_somebody_else_is_refused(own_place, caplog):
    heartbeat.directory().mkdir(mode=0o777)
    heartbeat.directory().chmod(0o777)
    beat = heartbeat.Heartbeat("", 60)
    beat.touch()
    beat.touch()
    assert caplog.text.count("cannot be written") == 1
    assert list(heartbeat.directory().iterdir()) == []
    assert not health.this().ok
    target = own_place / "target"
    target.write_text("precious")
    (own_place / "link").symlink_to(target)
    heartbeat.Heartbeat(str(own_place / "link"), 60).touch()
    assert target.read_text() == "precious"


# --- is the whole well? ----------------------------------------------------------------------------


def test_the_whole_is_asked_without_celery(own_server, beats, capsys, monkeypatch):
    server = own_server()
    assert main(["health", "--url", server.url()]) == 1
    assert "nobody leads" in capsys.readouterr().out
    schedule = Schedule.from_url(server.url())
    beats(server).lead()
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


# --- hooks -----------------------------------------------------------------------------------------


def test_hooks_are_told_what_happens(valkey, beats, told):
    schedule = Schedule.from_url(valkey.url())
    beat = beats(valkey).lead()
    schedule.add("a", "tasks.add", 3600, run_now=True)
    schedule.trigger("a")
    client = valkey.client()
    beat.until(lambda: client.llen("celery") == 2)
    sent = of(told, hooks.Sent)
    assert {(one.entry, one.task, one.how) for one in sent} == {("a", "tasks.add", None), ("a", "tasks.add", "trigger")}
    assert {one.task_id for one in sent} == {one["headers"]["id"] for one in messages(client)}
    assert all(0 <= one.lateness < 60 for one in sent)
    assert [one.epoch for one in of(told, hooks.TermBegan)] == [1]
    turned = of(told, hooks.Turned)
    assert {(one.role, one.epoch) for one in turned} == {("standby", None), ("leader", 1)}
    assert turned[-1].entries == 1
    schedule.add("gone", "tasks.add", 3600)
    schedule.trigger("gone")
    schedule.remove("gone")
    beat.until(lambda: of(told, hooks.Skipped))
    assert [(one.entry, one.reason) for one in of(told, hooks.Skipped)] == [("gone", "removed")]
    other = beats(valkey)
    client.set(K.lease, "another 99 0 host:1")
    beat.until(lambda: of(told, hooks.TermEnded))
    assert other


def test_hooks_are_told_what_was_missed_and_what_failed(valkey, beats, told):
    schedule = Schedule.from_url(valkey.url())
    schedule.add("late", "tasks.add", timedelta(seconds=60), starts=datetime(2026, 1, 1, tzinfo=UTC))
    schedule.add("bad", "tasks.add", 60)
    schedule.add("raises", "tasks.add", 3600, options={"queue": {"no": "queue"}}, run_now=True)
    client = valkey.client()
    uid, rev, nominal, *rest = client.hget(K.state, "late").split(" ")
    client.hset(K.state, "late", " ".join([uid, rev, str(int(nominal) - 600_000_000), *rest]))
    client.zadd(K.due, {"late": int(nominal) / 1e6 - 600, "bad": 1})
    client.hset(K.entries, "bad", "rubbish")
    beat = beats(valkey).lead()
    beat.until(lambda: of(told, hooks.Missed) and len({one.step for one in of(told, hooks.Failed)}) == 2)
    missed = of(told, hooks.Missed)[0]
    assert (missed.entry, missed.reason) == ("late", "later slot due")
    assert missed.count == round((missed.last - missed.first) / 60) + 1 >= 9
    assert {(one.entry, one.step) for one in of(told, hooks.Failed)} == {("bad", "decode"), ("raises", "render")}


def test_behind_an_outbox_sent_means_accepted(valkey, beats, told):
    import uuid

    from kombu import Connection, Exchange, Queue

    queue = f"redlock-test-{uuid.uuid4().hex}"
    schedule = Schedule.from_url(valkey.url())
    url = rabbitmq()
    beat = beats(url, redlock_beat_url=valkey.url(), task_default_queue=queue).lead()
    schedule.add("a", "tasks.add", 3600, run_now=True)
    try:
        beat.until(lambda: of(told, hooks.Sent))
        assert (of(told, hooks.Sent)[0].entry, of(told, hooks.Sent)[0].task) == ("a", "tasks.add")
        assert schedule.history("a")[0].task_id == of(told, hooks.Sent)[0].task_id
        with Connection(url) as connection:  # it exists, and otherwise than Celery declares it
            other = Queue(
                f"{queue}-other", Exchange(queue), queue, queue_arguments={"x-max-length": 9}, auto_delete=True
            )
            other(connection.default_channel).declare()
        schedule.add("refused", "tasks.add", 3600, options={"queue": f"{queue}-other"}, run_now=True)
        beat.until(lambda: of(told, hooks.Failed))
        assert {one.step for one in of(told, hooks.Failed)} == {"publish"}
    finally:
        with Connection(url) as connection:
            connection.default_channel.queue_delete(queue)
            connection.default_channel.queue_delete(f"{queue}-other")
            connection.default_channel.exchange_delete(queue)


def test_a_hook_that_raises_hurts_nobody(valkey, beats, caplog, told):
    def bad(event):
        raise ValueError("my hook")

    add_hook(bad)
    try:
        schedule = Schedule.from_url(valkey.url())
        schedule.add("a", "tasks.add", 3600, run_now=True)
        beat = beats(valkey).lead()
        beat.until(lambda: valkey.client().llen("celery"))
        beat.tick()
        assert of(told, hooks.Sent)
        assert caplog.text.count("my hook") == 1
    finally:
        remove_hook(bad)


# --- metrics ---------------------------------------------------------------------------------------


def scraped(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if line and line[0] != "#"}


def test_beats_serve_metrics_standbys_too(own_server):
    server = own_server()
    ports = [free_port(), free_port()]
    made = []
    try:
        for port in ports:
            conf = json.dumps({"redlock_beat_metrics_port": port, "redlock_beat_metrics_host": "127.0.0.1"})
            made.append(Process(server.url(), PROJECT_CONF=conf).says("This beat is "))
        leader = eventually(lambda: next((p for p in ports if scraped(p)["redlock_beat_sent_total"] > 5), None))
        found = scraped(leader)
        assert found["redlock_beat_leader"] == 1
        assert found["redlock_beat_epoch"] == 1
        assert found["redlock_beat_entries"] >= 5
        assert found["redlock_beat_terms_total"] == 1
        assert found["redlock_beat_lateness_seconds_count"] >= 5
        assert found["redlock_beat_loop_age_seconds"] < 60
        standby = scraped(next(p for p in ports if p != leader))
        assert (standby["redlock_beat_leader"], standby["redlock_beat_sent_total"]) == (0, 0)
    finally:
        for one in made:
            one.close()


def test_every_event_is_counted():
    from prometheus_client import CollectorRegistry

    registry = CollectorRegistry()
    hook = PrometheusHook(registry)
    for event in (
        hooks.TermBegan(1.0, 4),
        hooks.Sent(2.0, "a", "t", 1.9, "id", 4),
        hooks.Sent(2.0, "a", "t", 1.0, "id", 4, "backfill"),
        hooks.Missed(2.0, "a", 1.0, 2.0, 7, "grace"),
        hooks.Skipped(2.0, "a", "removed"),
        hooks.Failed(2.0, "a", "publish", "why"),
        hooks.Turned(2.0, "leader", 4, 10, 2, 3, 1),
    ):
        hook(event)

    def value(name, **labels):
        return registry.get_sample_value(f"redlock_beat_{name}", labels)

    assert (value("leader"), value("epoch"), value("terms_total")) == (1, 4, 1)
    assert (value("sent_total"), value("sent_by_hand_total", how="backfill")) == (2, 1)
    assert (value("lateness_seconds_count"), value("missed_total", reason="grace")) == (1, 7)
    assert (value("skipped_total", reason="removed"), value("failures_total", step="publish")) == (1, 1)
    assert value("publish_failures_total") == 1
    assert [value(name) for name in ("entries", "backlog", "outbox", "quarantined")] == [10, 2, 3, 1]
    hook(hooks.TermEnded(3.0, 4))
    assert value("leader") == 0


def test_a_port_in_use_stops_no_beat(caplog):
    first = Served(0, "127.0.0.1")
    second = Served(first.port, "127.0.0.1")
    assert second.port is None
    assert "beat goes on without" in caplog.text
    first.close()
    second.close()
    assert not hooks.listening()


def test_without_prometheus_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(InvalidSetting, match=r"pip install 'redlock-beat\[prometheus\]'"):
        Served(0, "127.0.0.1")


# --- who is there ----------------------------------------------------------------------------------


def test_a_standby_that_never_led_is_there_and_knows_the_time(valkey, beats, told):
    schedule = Schedule.from_url(valkey.url())
    beats(valkey).lead()
    standby = beats(valkey)
    standby.tick(2)
    assert {one.role: one.age < 60 for one in schedule.status().replicas} == {"leader": True, "standby": True}
    now = schedule._store.now()
    assert all(now / 1e6 - 60 < one.at <= now / 1e6 + 1 for one in told)
    assert of(told, hooks.Turned)[-1].role == "standby"
    token = standby.parts.lease.token
    prune_beats(standby.parts.store, now)
    assert valkey.client().hexists(K.beats, token)


def test_a_dead_leader_is_gone_as_soon_as_its_lease_is(valkey, beats):
    schedule, client = Schedule.from_url(valkey.url()), valkey.client()
    leader = beats(valkey, redlock_beat_lease_ttl=0.5).lead()
    leader.crash()
    assert [one.role for one in schedule.status().replicas] == ["leader"]
    eventually(lambda: not client.exists(K.lease))
    assert [one.role for one in schedule.status().replicas] == ["gone"]


def test_a_leader_that_lives_and_was_deposed_is_a_standby(valkey, beats):
    schedule = Schedule.from_url(valkey.url())
    old, new = beats(valkey).lead(), beats(valkey)
    valkey.client().delete(K.lease)
    new.lead()
    assert sorted(one.role for one in schedule.status().replicas) == ["leader", "standby"]  # it has time to notice
    old.until(lambda: old.term is None)
    old.tick()
    assert sorted(one.role for one in schedule.status().replicas) == ["leader", "standby"]


def test_a_standby_that_died_is_gone_after_some_silence(valkey, beats):
    schedule, client = Schedule.from_url(valkey.url()), valkey.client()
    beats(valkey).lead()
    standby = beats(valkey)
    standby.tick(2)
    token = standby.parts.lease.token
    row = json.loads(client.hget(K.beats, token))
    client.hset(K.beats, token, json.dumps({**row, "at": row["at"] - 9_000_000}))  # the TTL is 2 s
    assert sorted(one.role for one in schedule.status().replicas) == ["gone", "leader"]
