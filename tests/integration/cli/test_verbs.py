"""What holds for every verb."""

from __future__ import annotations

import signal
import time
from types import SimpleNamespace

import click
from click.testing import CliRunner

from redlock_beat.cli import redlock
from tests.beats import LASTING, make_app


def test_names_complete(cli):
    cli.schedule.add("nightly", "t", 60)
    show = redlock.commands["show"]
    (name,) = [one for one in show.params if one.name == "name"]
    for app, expected in ((cli.schedule.app, ["nightly"]), (None, [])):  # without an app it does not raise either
        context = click.Context(show)
        context.params["app"] = app
        assert [one.value for one in name.shell_complete(context, "nig")] == expected


def test_it_is_said_when_nobody_leads(cli, valkey, beats):
    cli("add", "a", "tasks.add", "--every", "1h")
    assert "Nobody leads at present" in cli.err
    cli("run", "a")
    assert "Nobody leads at present" in cli.err
    beats(valkey, **LASTING).lead()
    cli("run", "a")
    assert cli.err == ""


def test_errors_speak_of_options_and_not_of_python(cli):
    cli.schedule.add("a", "tasks.add", 60)
    out = cli("add", "a", "tasks.add", "--every", "1h", code=1)
    assert "--replace" in out
    assert "replace=True" not in out
    assert "would never be sent" in cli("add", "b", "tasks.add", "--at", "2001-01-01T00:00", code=2)


def test_a_wrong_setting_is_one_line_and_exit_code_2(valkey):
    for app in (make_app(valkey.url(), redlock_beat_lease_ttl="x"), make_app("amqp://"), make_app("sentinel://x")):
        got = CliRunner().invoke(redlock, ["list"], obj=SimpleNamespace(app=app))
        assert got.exit_code == 2
        assert got.output.startswith("Error: ")
        assert "Traceback" not in got.output


def test_every_help_text_fits_and_its_examples_can_be_copied():
    from redlock_beat.cli.verbs import Verbs

    def helped(*args: str) -> list[str]:
        return CliRunner().invoke(redlock, [*args, "--help"], terminal_width=80).output.splitlines()

    assert {name for names in Verbs.sections.values() for name in names} == set(redlock.commands)
    summary = "\n".join(helped())
    assert "..." not in summary.replace("[ARGS]...", "")
    for name, command in redlock.commands.items():
        assert " ".join(command.get_short_help_str(200).split()) in " ".join(summary.split())
        examples = [line.strip() for line in command.help.splitlines() if line.strip().startswith(("celery", "python"))]
        assert examples, name
        lines = [line.strip() for line in helped(name)]
        assert set(examples) <= set(lines)
    assert "redlock_beat 0." in CliRunner().invoke(redlock, ["--version"]).output


def test_colours_are_left_out_where_they_are_not_wanted(cli, monkeypatch):
    cli.schedule.add("a", "tasks.add", 60)
    app = cli.schedule.app

    def colours(*args: str, no_color: bool = False) -> bool:
        obj = SimpleNamespace(app=app, no_color=no_color)
        return "\x1b[" in CliRunner().invoke(redlock, args, obj=obj, color=True).output

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert colours("list")
    assert not colours("--no-color", "list")
    assert not colours("list", no_color=True)  # celery --no-color -A proj redlock list
    monkeypatch.setenv("NO_COLOR", "1")
    assert not colours("list")


def test_a_verb_waits_as_long_as_it_is_told(own_server):
    server = own_server("valkey")
    app = make_app(server.url())
    server.process.send_signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        got = CliRunner().invoke(redlock, ["list", "--timeout", "0.3s"], obj=SimpleNamespace(app=app))
        assert time.monotonic() - began < 9  # without the option, it is ten
    finally:
        server.process.send_signal(signal.SIGCONT)
    assert got.exit_code == 1
    assert "did not answer for 0.3 s" in got.output
