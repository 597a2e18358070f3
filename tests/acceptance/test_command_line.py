"""Every verb as a user runs it: a real process on a real server, on a terminal where it has a form for one."""

from __future__ import annotations

import contextlib
import fcntl
import json
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
from shlex import split as words
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from redlock_beat import Schedule
from redlock_beat.cli import redlock
from redlock_beat.store.keys import Keys
from tests.beats import ROOT, Process, hear_ctrl_c, ledger, make_app
from tests.schemas import fits
from tests.servers import eventually

K = Keys("redlock-beat")


class Shell:
    """A user's shell in the directory of a project."""

    def __init__(self, server, directory):
        self.server, self.directory = server, directory
        project = {"PROJECT_BROKER": server.url(), "PROJECT_ENTRIES": "0", "TMPDIR": str(directory)}
        self.env = {**os.environ, **project, "EDITOR": "false", "TZ": "Europe/Berlin", "COLUMNS": ""}
        self.command = [sys.executable, "-m", "celery", "-A", "tests.project", "redlock"]

    def __call__(self, *args: str, code: int = 0, stdin: str = "") -> str:
        done = subprocess.run(
            [*self.command, *args], cwd=ROOT, env=self.env, input=stdin, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == code, (done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        assert "\x1b" not in done.stdout  # no colours where nobody looks
        self.err = done.stderr
        return done.stdout

    def json(self, what: str, *args: str, code: int = 0, stdin: str = ""):
        """What a verb prints with --json, checked against its schema."""
        found = json.loads(self(*args, "--json", code=code, stdin=stdin))
        fits(found, what)
        return found

    def terminal(self, *args: str, columns: int = 80, answers: tuple[tuple[str, str], ...] = (), until: str = ""):
        """Run a verb on a pseudo-terminal: (exit code, what the user saw)."""
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        env = {**self.env, "TERM": "xterm", "PYTHONFAULTHANDLER": "1"}
        env.pop("COLUMNS")
        streams = {"stdin": slave, "stdout": slave, "stderr": slave}
        process = subprocess.Popen(
            [*self.command, *args], cwd=ROOT, env=env, start_new_session=True, preexec_fn=hear_ctrl_c, **streams
        )
        os.close(slave)
        seen, waiting, deadline = "", list(answers), time.monotonic() + 60
        try:
            while time.monotonic() < deadline:
                if not select.select([master], [], [], 0.1)[0]:
                    continue
                try:
                    data = os.read(master, 65536)
                except OSError:
                    break
                if not data:
                    break
                seen += data.decode(errors="replace")
                if waiting and waiting[0][0] in seen:
                    os.write(master, waiting.pop(0)[1].encode())
                if until and re.search(until, seen):
                    process.send_signal(signal.SIGINT)
                    until = ""
            try:
                return process.wait(20), seen
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGABRT)  # faulthandler says where it hangs
                process.wait(20)
                with contextlib.suppress(OSError):  # the end of a terminal that nobody writes to any more
                    while True:
                        seen += os.read(master, 65536).decode(errors="replace")
                raise AssertionError(f"{args} does not end; it printed: {seen}") from None
        finally:
            process.kill()
            process.wait()
            os.close(master)


@pytest.fixture
def shell(own_server, tmp_path):
    return Shell(own_server("valkey"), tmp_path)


@pytest.fixture
def schedule(shell):
    return Schedule.from_url(shell.server.url())


def test_there_is_a_help_text_with_an_example_for_each_verb(shell):
    assert len(redlock.commands) >= 20
    for name, command in redlock.commands.items():
        assert re.search(rf"\x08\n *Examples?:\n( .*\n)*? +celery -A proj redlock {name}\b", command.help), name
    assert "import-redbeat" in shell("--help")
    out = shell("add", "--help")
    assert "--every" in out
    assert "Examples:" in out
    shell("no-such-verb", code=2)


def test_entries_from_the_cradle_to_the_grave(shell, schedule):
    app = make_app(shell.server.url())
    when = words("--cron '0 7 * * 1-5' --tz Europe/Berlin --queue q --missed skip --grace 10m")
    options = ("--args", "[1, 2]", "--kwargs", '{"to": 7}')
    fits(shell.json("entry", "add", "nightly", "tasks.add", *when, *options), "entry")
    entry = schedule["nightly"]
    assert (str(entry.schedule), entry.timezone) == ("0 7 * * 1-5", "Europe/Berlin")
    assert (entry.args, entry.kwargs) == ((1, 2), {"to": 7})
    assert (entry.options, entry.missed, entry.grace) == ({"queue": "q"}, "skip", 600)
    shell("add", "nightly", "tasks.add", "--every", "30s", code=1)
    assert "exists already" in shell.err
    shell("add", "nightly", "tasks.add", "--every", "1h30m", "--replace")
    assert str(schedule["nightly"].schedule) == "every 1 h 30 min"
    shell("add", "sun", "tasks.add", "--solar", "sunset,52.5,13.4")
    shell("add", "shot", "tasks.add", "--at", "2090-01-01T07:00", "--tz", "Europe/Berlin")
    assert schedule["shot"].next_due.hour == 6
    shell("add", "rule", "tasks.add", "--rrule", "FREQ=WEEKLY;BYDAY=MO")
    wrongs = """--every soon|--cron '0 7'|--every 3s --cron '0 7 * * *'||--at 'some day'|--every 3s --args {}|
        --every 3s --kwargs x|--solar noon|--every 1s --tz Europe/Nowhere|--rrule FREQ=NEVER"""
    for wrong in map(words, wrongs.split("|")):  # in this process: a process each takes a second
        got = CliRunner().invoke(redlock, ["add", "wrong", "tasks.add", *wrong], obj=SimpleNamespace(app=app))
        assert got.exit_code == 2
        assert "Error: " in got.output
    assert "wrong" not in schedule

    lines = shell("list", "--json").splitlines()
    for line in lines:
        fits(json.loads(line), "entry")
    assert {json.loads(line)["name"] for line in lines} == {"nightly", "sun", "shot", "rule"}
    assert shell.json("entry", "show", "nightly")["sent"] == 0
    assert "there is no entry named 'none'" in (shell("show", "none", code=1) or shell.err)

    shell("edit", "nightly", "--set", "kwargs.to=8", "--set", "when.every=45s", "--set", "missed=all")
    entry = schedule["nightly"]
    assert (entry.kwargs, str(entry.schedule), entry.missed) == ({"to": 8}, "every 45 s", "all")
    shell("edit", "nightly", "--set", "nothing.at.all=1", code=2)
    shell.json("entry", "edit", "nightly", "--set", "note=hello")

    assert "is paused" in shell("pause", "nightly", "--note", "month's end")
    assert json.loads(shell("list", "--paused", "--json"))["note"] == "month's end"
    assert "is resumed" in shell("resume", "nightly")
    assert len(shell.json("slots", "next", "-n", "3")) == 3
    assert sum(column["count"] for column in shell.json("timeline", "next", "--timeline", "hour")) >= 79
    shell.json("outage", "next", "nightly", "--outage", "2090-01-01T00:00", "2090-01-01T01:00")
    shell("remove", "nightly", "--yes")
    assert "nightly" not in schedule
    shell("remove", "nightly", "--yes", code=1)


def test_editing_in_an_editor(shell, schedule, tmp_path):
    schedule.add("mail", "tasks.add", 60, kwargs={"to": 7})
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i \'s/"to": 7/"to": 8/\' "$1"\n')
    editor.chmod(0o755)
    shell.env["EDITOR"] = str(editor)
    assert "revision 2" in shell("edit", "mail")
    assert schedule["mail"].kwargs == {"to": 8}
    assert "Nothing was changed" in shell("edit", "mail")
    # Somebody else edits it while the editor is open.
    other = f"from redlock_beat import Schedule as S; S.from_url('{shell.server.url()}').update('mail', args=(1,))"
    editor.write_text(f'#!/bin/sh\nsed -i \'s/"to": 8/"to": 9/\' "$1"\n{sys.executable} -c "{other}"\n')
    shell("edit", "mail", code=1)
    assert "was edited since you read revision 2" in shell.err
    assert schedule["mail"].kwargs == {"to": 8}
    editor.write_text('#!/bin/sh\necho rubbish > "$1"\n')
    shell("edit", "mail", code=2)
    assert "cannot be used" in shell.err


def test_what_runs_is_shown(shell, schedule):
    assert shell.json("status", "status", code=1)["leader"] is None
    assert shell.json("health", "health", code=1)["ok"] is False
    assert shell.json("health", "health", "--this", code=1)["ok"] is False
    # A lease that a busy machine does not cost it.
    beat = Process(shell.server.url(), PROJECT_ENTRIES="0", PROJECT_TTL="30", TMPDIR=str(shell.directory))
    try:
        beat.says("This beat is leader")
        schedule.add("a", "tasks.add", 0.2)
        id_ = shell("run", "a").strip()
        rows = eventually(lambda: [r for r in schedule.history("a") if r.task_id == id_])
        assert rows[0].source == "trigger"
        eventually(lambda: len(schedule.history("a", n=5)) == 5, "it is sent some times")
        found = shell.json("history", "history", "a", "-n", "5")
        assert len(found) == 5
        assert shell.json("history", "history", "--since", "2090-01-01T00:00") == []
        assert "10 slots" in shell("backfill", "a", "2026-01-01T00:00:00", "2026-01-01T00:00:02", "--dry-run")
        assert "10 slots" in shell("backfill", "a", "2026-01-01T00:00", "2026-01-01T00:00:02", "--yes", "--rate", "500")
        eventually(lambda: len([r for r in ledger(shell.server.client()) if r.get("how") == "backfill"]) == 10)
        status = shell.json("status", "status")
        assert status["leader"].endswith(f":{beat.pid}")
        assert status["lateness_p99"] < 60
        assert status["replicas"][0]["role"] == "leader"
        assert shell.json("health", "health")["ok"] is True
        assert shell.json("health", "health", "--this")["ok"] is True
        probe = [sys.executable, "-m", "redlock_beat", "health"]
        assert subprocess.run([*probe, "--this"], env=shell.env, cwd=ROOT).returncode == 0
        assert subprocess.run([*probe, "--url", shell.server.url()], env=shell.env, cwd=ROOT).returncode == 0
        beat.send(signal.SIGSTOP)
        assert subprocess.run([*probe, "--this"], env=shell.env, cwd=ROOT).returncode == 0  # not yet: it may render
        beat.send(signal.SIGCONT)
    finally:
        beat.close()


def test_the_doctor(shell, schedule):
    found = shell.json("doctor", "doctor", code=1)
    levels = {one["what"]: one["level"] for one in found}
    assert levels["persistence"] == "warning"
    assert levels["health"] == "error"
    assert levels["permissions"] == "ok"
    assert "AOF is off" in shell("doctor", code=1)


def test_out_and_in_again(shell, schedule, tmp_path):
    schedule.add("a", "tasks.add", 60, args=("ä",))
    schedule.add("b", "tasks.add", 60)
    file = tmp_path / "schedule.jsonl"
    shell("export", str(file))
    assert shell("export").splitlines()[1:] == file.read_text("utf-8").splitlines()[1:]
    schedule.remove("a")
    schedule.update("b", args=(1,))
    out = shell("import", str(file), "--dry-run")
    assert "+ a" in out
    assert "args: [1] -> []" in out
    assert shell.json("imported", "import", str(file))["added"] == 1
    nothing = {"dry_run": False, "added": 0, "changed": 0, "unchanged": 2, "kept": 0}
    assert shell.json("imported", "import", "-", stdin=file.read_text("utf-8")) == nothing
    half = "\n".join(file.read_text("utf-8").splitlines()[:2])
    shell("import", "-", "--yes", code=1, stdin=half)
    assert "cut off" in shell.err


def test_the_migrations(shell, schedule, tmp_path):
    shell("import-redbeat", "--yes", code=1)
    assert "no schedule of RedBeat" in shell.err
    file = tmp_path / "dump.json"
    rows = (
        ("intervalschedule", 1, {"every": 5, "period": "minutes"}),
        ("periodictask", 1, {"name": "a", "task": "tasks.add", "interval": 1, "args": "[1]", "enabled": True}),
        ("periodictask", 2, {"name": "b", "task": "tasks.add"}),
    )
    dump = [{"model": f"django_celery_beat.{model}", "pk": pk, "fields": fields} for model, pk, fields in rows]
    file.write_text(json.dumps(dump))
    assert "+ a" in shell("import-django-celery-beat", str(file), "--dry-run", code=1)
    assert "a" not in schedule
    found = shell.json("imported", "import-django-celery-beat", str(file), code=1)
    assert found["added"] == 1
    assert "left out: b: it has no schedule" in shell.err
    assert str(schedule["a"].schedule) == "every 5 min"
    assert shell.json("imported", "import-django-celery-beat", str(file), code=1)["kept"] == 1


# --- on a terminal ---------------------------------------------------------------------------------


def plain(seen: str) -> list[str]:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen).replace("\r", "").splitlines()


def test_tables_fit_the_terminal_and_names_cannot_command_it(shell, schedule):
    schedule.add("x" * 100, "tasks.a.task.with.a.very.long.name.indeed", 60)
    schedule.add("日本" * 30, "t", 60)
    schedule.add("evil\x1b[2J\nname", "t", 60)
    schedule.pause("x" * 100)
    for columns in (60, 80, 200):
        code, seen = shell.terminal("list", columns=columns)
        assert code == 0
        assert "\x1b[1m" in seen  # a head in bold, on a terminal
        from redlock_beat.cli.terminal import width_of

        assert max(width_of(line) for line in plain(seen)) <= columns
        assert "\x1b[2J" not in seen
    code, seen = shell.terminal("next", "--timeline", "day")
    assert max(map(len, plain(seen))) <= 80


def test_a_wait_for_redis_is_said_and_ends_when_it_is_told_to(shell, schedule):
    schedule.add("a", "tasks.add", 60)
    shell.server.process.send_signal(signal.SIGSTOP)
    try:
        code, seen = shell.terminal("list", "--timeout", "2s")
        assert code == 1
        assert "Waiting for Redis at redis://" in seen
        assert "did not answer for 2 s" in seen
        shell("status", "--timeout", "0.2s", code=1)
        assert "Waiting" not in shell.err  # nobody looks
    finally:
        shell.server.process.send_signal(signal.SIGCONT)


def test_colours_are_left_out_where_they_are_not_wanted(shell, schedule):
    schedule.add("a", "tasks.add", 60)
    assert "\x1b[1m" in shell.terminal("list")[1]
    assert "\x1b[1m" not in shell.terminal("--no-color", "list")[1]
    shell.env["NO_COLOR"] = "1"
    assert "\x1b[1m" not in shell.terminal("list")[1]


def test_what_destroys_asks_first(shell, schedule):
    schedule.add("a", "tasks.add", 60)
    code, seen = shell.terminal("remove", "a", answers=(("[y/N]", "n\n"),))
    assert code == 1
    assert "Aborted" in seen
    code, seen = shell.terminal("backfill", "a", "2026-01-01T00:00", "2026-01-01T01:00", answers=(("[y/N]", "n\n"),))
    assert "Send 60 slots of 'a' (2026-01-01 00:00:00 UTC to " in seen
    assert code == 1
    code, seen = shell.terminal("remove", "a", answers=(("[y/N]", "y\n"),))
    assert code == 0
    assert "a" not in schedule


def test_watching_and_following_until_interrupted(shell, schedule):
    beat = Process(shell.server.url(), PROJECT_ENTRIES="1", TMPDIR=str(shell.directory))
    try:
        beat.says("This beat is leader")
        code, seen = shell.terminal("status", "--watch", "--every", "0.1s", until=r"(?s)leader .*leader .*leader ")
        assert code == 0
        assert "LOOP AGE" in seen
        code, seen = shell.terminal("history", "--follow", "-n", "1", until=r"(?s)(entry-00.*){4}")
        assert code == 0
        assert "Traceback" not in seen
    finally:
        beat.close()


def test_shell_completion_completes_verbs_and_names(shell, schedule):
    schedule.add("nightly-report", "t", 60)
    schedule.add("nightly-mail", "t", 60)
    schedule.add("other", "t", 60)

    def complete(words: str, last: int) -> set[str]:
        env = {**shell.env, "_CELERY_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(last)}
        code = "import sys; sys.argv[0] = 'celery'; from celery.bin.celery import celery; celery(prog_name='celery')"
        out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True).stdout
        return {line.split(",", 1)[1] for line in out.splitlines() if "," in line}

    assert {"pause"} == complete("celery -A tests.project redlock pau", 4)
    assert {"nightly-report", "nightly-mail"} == complete("celery -A tests.project redlock show night", 5)
