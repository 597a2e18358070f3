"""How a real beat starts, and ends where it can never work: one line that says what to do, and an exit code."""

from __future__ import annotations

import json

import pytest

from redlock_beat import InvalidSetting
from redlock_beat.schedule.configuration import read_configuration
from tests.beats import Process, ledger, make_app
from tests.servers import eventually

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def started():
    """Real processes, ended at the end."""
    running = []

    def start(url, *args, conf=None, **given):
        env = {"PROJECT_CONF": json.dumps(conf or {}), **given.pop("env", {})}
        running.append(Process(url, *args, **given, **env))
        return running[-1]

    yield start
    for one in running:
        one.close()


def ends_with_one_line(beat, words):
    assert beat.popen.wait(60) == 1
    said = beat.said()
    assert words in said
    assert "Traceback" not in said
    assert said.count("CRITICAL") == 1
    assert len([line for line in said.splitlines() if line.strip() and not line.startswith("  ")]) < 12, said


@pytest.mark.parametrize(
    ("broker", "schedule", "conf", "words"),
    [
        ("amqp://127.0.0.1:1//", "", {}, "Set redlock_beat_url to a Redis URL"),
        (NOWHERE, "", {"redlock_beat_ledger_size": "many"}, "redlock_beat_ledger_size is 'many'"),
        (NOWHERE, "", {"redlock_beat_lease_tll": 5}, "Did you mean redlock_beat_lease_ttl?"),
        (NOWHERE, "sentinel://127.0.0.1:1", {}, "redlock_beat_redis_options = {'master_name'"),
        ("sentinel://127.0.0.1:1", "", {}, "broker_transport_options = {'master_name'"),
        (NOWHERE, "", {"redlock_beat_redis_options": {"pasword": "x"}}, "redlock_beat_redis_options: "),
    ],
    ids=["nowhere to keep it", "wrong value", "wrong name", "no master", "no master of the broker", "wrong option"],
)
def test_a_wrong_setting_ends_beat_with_one_line_that_says_what_to_set(started, broker, schedule, conf, words):
    ends_with_one_line(started(broker, conf=conf, env={"PROJECT_SCHEDULE": schedule}), words)


def test_what_is_found_out_only_once_it_runs_ends_beat_with_one_line_too(started, own_server):
    old = own_server("valkey", "--rename-command", "GETDEL", "")
    ends_with_one_line(started(old.url()), "is too old or has commands switched off")
    ends_with_one_line(started(own_server().url(), conf={"result_backend": "nothing://"}), "result_backend cannot be")


def test_a_beat_beside_an_installed_redbeat_starts_without_an_error_and_without_its_lock(started, valkey):
    beat = started(valkey.url(), conf={"imports": ["redbeat.schedulers"]})
    eventually(lambda: ledger(valkey.client(), "sent"), "it sends")
    assert beat.alive
    assert "lock_key" not in beat.said()
    assert "ERROR" not in beat.said()
    assert not list(valkey.client().scan_iter("redbeat*"))


def test_a_worker_whose_scheduler_became_its_state_file_is_told(started, valkey, tmp_path):
    where = str(tmp_path / "redlock")
    worker = started(
        valkey.url(),
        command=("worker", "-B", "-S", where, "-s", str(tmp_path / "schedule"), "-P", "solo"),
        conf={"worker_concurrency": 1},
    )
    worker.says("Write --scheduler redlock instead of -S")
    assert "celery.beat:PersistentScheduler" in worker.said()


def test_a_beat_schedule_that_is_no_dictionary_is_refused():
    app = make_app(NOWHERE)
    app.conf.beat_schedule = ["a"]
    with pytest.raises(InvalidSetting, match="beat_schedule is"):
        read_configuration(app)


def test_an_embedded_beat_leads_by_scheduler_and_by_setting(started, valkey, tmp_path):
    for args, conf in ((("--scheduler", "redlock"), {}), ((), {"beat_scheduler": "redlock"})):
        worker = started(valkey.url(), *args, command=("worker", "-B", "-c", "1"), conf=conf)
        worker.says("This beat is leader")
        assert "--statedb" not in worker.said()
        worker.end()
