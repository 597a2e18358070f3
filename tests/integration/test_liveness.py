"""Whether the loop of a beat on this machine turns, asked without Redis."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from redlock_beat import liveness as heartbeat
from redlock_beat.__main__ import main
from redlock_beat.schedule import health

pytestmark = pytest.mark.usefixtures("own_place")


def test_a_turning_loop_is_healthy_without_redis(valkey, beats):
    assert not health.machine_health().ok
    beat = beats(valkey)
    beat.scheduler.heartbeat.touch()
    verdict = health.machine_health()
    assert verdict.ok
    assert f"process {os.getpid()}" in verdict.why
    assert main(["health", "--this"]) == 0
    beat.close()
    assert not health.machine_health().ok


def test_a_standby_and_a_beat_without_redis_are_healthy(own_server, beats, own_place):
    server = own_server()
    leader, standby = beats(server).lead(), beats(server, redlock_beat_heartbeat_file=str(own_place / "standby"))
    standby.tick()
    assert health.machine_health(str(own_place / "standby")).ok
    verdict = health.machine_health(str(own_place / "standby"), ready=True)
    assert not verdict.ok, "it has not yet said how its first turn went"
    leader.tick()
    standby.tick()
    assert main(["health", "--this", "--ready"]) == 0
    assert health.machine_health(str(own_place / "standby"), ready=True).ok
    server.stop(signal.SIGKILL)
    for beat in (leader, standby):  # the file says how the turn before went
        beat.tick(2)
    assert health.machine_health(str(own_place / "standby")).ok
    assert health.machine_health().ok
    for file in (None, str(own_place / "standby")):
        verdict = health.machine_health(file, ready=True)
        assert (verdict.ok, "can neither lead nor stand by" in verdict.why) == (False, True)
    server.start()
    standby.until(lambda: standby.replica.ready, "Redis is back")
    standby.tick()
    assert health.machine_health(str(own_place / "standby"), ready=True).ok


def test_a_beat_that_may_not_lead_here_is_alive_and_not_ready(valkey, beats):
    beats(valkey).lead().close()
    stranger = beats(valkey, redlock_beat_application="another").tick(2)
    assert health.machine_health().ok
    assert not health.machine_health(ready=True).ok
    assert not stranger.begun


def test_a_file_of_a_beat_of_an_older_release_is_read(own_place):
    heartbeat.HeartbeatFile(str(own_place / "file"), 60).touch(ready=True)
    words = (own_place / "file").read_text().split()
    (own_place / "file").write_text(" ".join(words[:5]))
    assert health.machine_health(str(own_place / "file")).ok


def test_a_wedged_loop_is_not_healthy(valkey, beats, own_place, monkeypatch, capsys):
    beat = beats(valkey).tick()
    now = heartbeat.monotonic()
    monkeypatch.setattr(heartbeat, "monotonic", lambda: now + beat.scheduler.settings.silence + 2)
    verdict = health.machine_health()
    assert not verdict.ok
    assert "has not turned for" in verdict.why
    assert main(["health", "--this", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_what_a_killed_beat_left_behind_is_no_sign_of_life(own_place):
    code = "import os; from redlock_beat.liveness import HeartbeatFile; HeartbeatFile('', 60).touch(); os._exit(1)"
    gone = subprocess.Popen([sys.executable, "-c", code])
    assert gone.wait(30) == 1
    left = heartbeat.directory() / f"{gone.pid}.beat"
    words = left.read_text().split()
    (left.parent / "rubbish.beat").write_text("rubbish")
    assert not health.machine_health().ok
    assert not left.exists()
    # a number that is in use again, by a younger process
    words[1] = str(os.getpid())
    (left.parent / "again.beat").write_text(" ".join(words))
    assert not health.machine_health().ok


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
    beat = heartbeat.HeartbeatFile("", 60)
    beat.touch()
    assert heartbeat.directory().parent == own_place
    assert health.machine_health().ok
    beat.close()


def test_a_directory_of_somebody_else_is_refused(own_place, caplog):
    heartbeat.directory().mkdir(mode=0o777)
    heartbeat.directory().chmod(0o777)
    beat = heartbeat.HeartbeatFile("", 60)
    beat.touch()
    beat.touch()
    assert caplog.text.count("cannot be written") == 1
    assert list(heartbeat.directory().iterdir()) == []
    assert not health.machine_health().ok
    target = own_place / "target"
    target.write_text("precious")
    (own_place / "link").symlink_to(target)
    heartbeat.HeartbeatFile(str(own_place / "link"), 60).touch()
    assert target.read_text() == "precious"
