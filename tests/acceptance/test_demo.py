"""The demo shows a takeover without a repeat, does what its keys say, and leaves nothing behind."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import psutil
import pytest

from tests.servers import eventually

PROJECT = """
from celery import Celery

app = Celery("mine", broker="amqp://nobody:nothing@broker.invalid//", backend="redis://nowhere.invalid/0")
app.conf.broker_transport_options = {"master_name": "other"}
app.conf.redlock_beat_url = "redis://nowhere.invalid/0"
app.conf.beat_schedule = {"tick": {"task": "mine.tick", "schedule": 1.0}}

@app.task(name="mine.tick")
def tick():
    open("ticks", "a").write(app.conf.broker_url + "\\n")
"""


@pytest.fixture
def run(tmp_path):
    """Start the command with its own folder for temporary files; all of it is gone when the test ends."""
    started = []
    (tmp_path / "temporary").mkdir()

    def start(*args: str, **options) -> subprocess.Popen:
        env = {**os.environ, "TMPDIR": str(tmp_path / "temporary"), "TERM": "xterm-256color", **options.pop("env", {})}
        command = [sys.executable, "-m", "redlock_beat", *args]
        started.append(subprocess.Popen(command, cwd=tmp_path, env=env, start_new_session=True, **options))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def offspring(process) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def nothing_is_left(processes, tmp_path) -> bool:
    return not any(one.is_running() for one in processes) and not list((tmp_path / "temporary").glob("redlock*"))


def test_it_shows_a_takeover_and_a_restart_without_a_repeat(run, tmp_path):
    got = run("demo", "--plain", "--seconds", "16", stdout=subprocess.PIPE, text=True)
    said = []
    for line in got.stdout:
        said.append(line)
        if "Killing" in line:
            processes = offspring(got)
    assert got.wait(60) == 0
    text = "".join(said)
    assert re.search(r"Killing beat \d(?s:.*)\nBeat \d, process \d+, leads [\d.]+ m?s later\.", text), text
    assert re.search(r"The server is back; the first message is sent .* later\.", text)
    assert "succeeded every-second-1" in text
    assert text.rstrip().endswith(" 0 of them twice.")
    eventually(lambda: nothing_is_left(processes, tmp_path), "nothing is left")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_whichever_way_it_ends_nothing_is_left(run, tmp_path, how):
    got = run("demo", "--plain", "--beats", "2", "--seconds", "90", stdout=subprocess.PIPE, text=True)
    for line in got.stdout:
        if "leads; the others stand by" in line:
            break
    processes = offspring(got)
    assert len(processes) >= 5  # the server, two beats, a worker, the cleaner
    leader = next(one for one in processes if "beat" in one.cmdline())
    leader.suspend()  # a frozen one hears no signal but one
    got.send_signal(how)
    got.wait(60)
    eventually(lambda: nothing_is_left(processes, tmp_path), "nothing is left", 30)


def test_on_a_terminal_keys_kill_edit_and_end(run, tmp_path):
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    got = run("demo", stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    keys = [
        ("stand by", "k"),
        ("leads .* later", "a"),
        ("added-1 is added", "p"),
        ("is paused", "p"),
        (r"is paused.*is paused", "p"),
        ("2 entries are resumed", "q"),
    ]
    seen, deadline = "", time.monotonic() + 90
    processes: list[psutil.Process] = []
    while time.monotonic() < deadline:
        if not select.select([master], [], [], 0.1)[0]:
            continue
        try:
            seen += os.read(master, 65536).decode(errors="replace")
        except OSError:
            break
        if keys and re.search(keys[0][0], seen, re.DOTALL):
            processes = offspring(got) or processes
            os.write(master, keys.pop(0)[1].encode())
    os.close(master)
    assert got.wait(60) == 0, seen[-3000:]
    assert not keys, seen[-3000:]
    assert "0 of them twice" in seen
    assert "Traceback" not in seen
    eventually(lambda: nothing_is_left(processes, tmp_path), "nothing is left")


def test_it_ends_in_good_order_when_nobody_reads_on(run, tmp_path):
    got = run("demo", "--plain", "--beats", "1", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert got.stdout.readline()
    processes = offspring(got)
    got.stdout.close()
    assert got.wait(60) == 1
    assert "Traceback" not in got.stderr.read()
    eventually(lambda: nothing_is_left(processes, tmp_path), "nothing is left")


def test_a_project_of_ones_own_runs_on_the_embedded_server_alone(run, tmp_path):
    (tmp_path / "mine.py").write_text(PROJECT)
    elsewhere = {"CELERY_BROKER_URL": "amqp://broker.invalid//"}
    args = ("try", "mine:app", "--worker", "--plain", "--seconds", "6", "--beats", "2")
    got = run(*args, env=elsewhere, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said, _ = got.communicate(timeout=90)
    assert got.returncode == 0, said
    assert "sent      tick" in said
    assert " 0 of them twice." in said
    assert re.fullmatch(r"(redis://127\.0\.0\.1:\d+/0\n)+", (tmp_path / "ticks").read_text())


def test_without_a_worker_no_task_of_ones_own_runs(run, tmp_path):
    (tmp_path / "mine.py").write_text(PROJECT)
    got = run("try", "mine", "--plain", "--seconds", "12", "--beats", "1", stdout=subprocess.PIPE, text=True)
    said, _ = got.communicate(timeout=90)
    assert got.returncode == 0, said
    assert "sent      tick" in said
    assert not (tmp_path / "ticks").exists()


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("demo", "--seconds", "-1"), "not a number of seconds"),
        (("demo", "--beats", "0"), "not a number between 1 and 9"),
        (("try",), "required: app"),
    ],
)
def test_wrong_usage_is_said(run, args, says):
    got = run(*args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said, _ = got.communicate(timeout=60)
    assert got.returncode == 2
    assert says in said


def test_an_app_that_cannot_be_imported_is_said(run):
    got = run(
        "try", "nowhere:app", "--plain", "--seconds", "3", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    said, _ = got.communicate(timeout=90)
    assert got.returncode == 1
    assert "nowhere" in said
    assert "Traceback" not in said
