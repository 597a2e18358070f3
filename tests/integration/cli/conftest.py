"""The command line, driven as Celery drives it."""

from __future__ import annotations

from datetime import datetime, timedelta
from inspect import signature
from types import SimpleNamespace

import pytest
from celery import Celery
from click.testing import CliRunner

from redlock_beat import Schedule, register_schedule
from redlock_beat.cli import redlock
from redlock_beat.store.keys import Keys
from tests.beats import make_app
from tests.servers import Server

K = Keys("redlock-beat")


def runner() -> CliRunner:
    """What is said on stderr apart from the rest: click before 8.2 mixes them unless it is told not to."""
    apart = {"mix_stderr": False} if "mix_stderr" in signature(CliRunner.__init__).parameters else {}
    return CliRunner(**apart)


class CommandLine:
    """The verbs, for one application."""

    def __init__(self, app: Celery) -> None:
        self.app = app
        #: What the verbs work on.
        self.schedule = Schedule(app)
        #: What the last verb wrote to stderr.
        self.err = ""

    def __call__(self, *args: str, code: int = 0, answer: str | None = None) -> str:
        """Run a verb: what it prints."""
        got = runner().invoke(redlock, args, obj=SimpleNamespace(app=self.app), input=answer)
        assert got.exit_code == code, got.output
        self.err = got.stderr
        return got.stdout if not code else got.stdout + got.stderr


@pytest.fixture
def cli(valkey: Server, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.setenv("COLUMNS", "120")  # pytest-xdist sets another width in its workers
    return CommandLine(make_app(valkey.url()))


class Elsewhere:
    """A schedule class that the beats know, and this command line does not, or that raises here."""

    def next_slot(self, after: datetime) -> datetime:
        return after + timedelta(seconds=600)


@pytest.fixture(params=["not registered", "raises"])
def elsewhere(request: pytest.FixtureRequest, cli: CommandLine, valkey: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A schedule with one entry, m, whose slots cannot be computed here; why not."""
    register_schedule("elsewhere", Elsewhere, dump=lambda one: {})
    schedule = cli.schedule
    schedule.add("a", "t", 600)
    schedule.add("m", "t", Elsewhere())
    schedule.add("z", "t", 600)
    if request.param == "raises":
        monkeypatch.setattr(Elsewhere, "next_slot", lambda self, after: 1 / 0)
        return "ZeroDivisionError"
    client = valkey.client()
    client.hset(K.entries, "m", client.hget(K.entries, "m").replace('"elsewhere"', '"nowhere"'))
    return "not registered here"
