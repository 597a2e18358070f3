"""The verb that serves the page."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import httpx
import pytest
from click.testing import CliRunner

from redlock_beat import InvalidSetting
from redlock_beat.cli import web
from redlock_beat.web.http import Request
from redlock_beat.web.logins import Password, Token
from tests.beats import ROOT

SECRET = "0123456789abcdefXYZ"


@pytest.fixture
def serving(valkey):
    """A process that serves the page, with what it prints first."""
    started = []

    def start(*args: str, **env: str) -> tuple[str, subprocess.Popen[str]]:
        command = [sys.executable, "-m", "celery", "-A", "tests.project", "redlock", "web", "--port", "0", *args]
        environ = {**os.environ, "PROJECT_BROKER": valkey.url(), "PYTHONUNBUFFERED": "1", **env}
        process = subprocess.Popen(
            command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        started.append(process)
        said = ""
        for line in process.stdout:
            said += line
            if found := re.search(r"http://\S+", line):
                return found[0], process
        raise AssertionError(said)

    yield start
    for process in started:
        process.kill()
        process.wait(10)


def test_the_url_that_it_prints_lets_in_and_no_other(serving):
    url, process = serving()
    with httpx.Client(headers={"accept": "text/html"}) as ann:
        assert "Signing in" in ann.get(url).text
        shown = ann.get(url.split("?")[0])
        assert (shown.status_code, "<h1>Schedule</h1>" in shown.text) == (200, True)
        assert "waitress" not in shown.headers.get("server", "")
    assert httpx.get(url.split("?")[0]).status_code == 403
    process.terminate()
    assert process.wait(10) == 0, "it hears SIGTERM by a handler of its own"


def test_read_only_and_a_token_of_the_environment(serving):
    url, _ = serving("--read-only", REDLOCK_BEAT_WEB_TOKEN=SECRET)
    assert url.endswith(f"?token={SECRET}")
    program = httpx.Client(headers={"authorization": f"Bearer {SECRET}"}, base_url=url.split("?")[0])
    assert program.get("/?format=json").json()["entries"] == []
    assert program.post("/entry/pause", json={"name": "mail"}).status_code == 403


def test_who_is_let_in(monkeypatch):
    access, query = web._access(None, SECRET, "read_only")
    assert isinstance(access, Token)
    assert query == f"?token={SECRET}"
    assert len(web._access(None, None, "all")[1]) > 30
    monkeypatch.setenv("REDLOCK_BEAT_WEB_PASSWORD", "secret")
    access, query = web._access("ann", None, "all")
    assert isinstance(access, Password)
    assert (query, access(Request("GET", "/")).status) == ("", 401)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--user", "ann", "--token", SECRET], "one of them"),
        (["--token", "short"], "16 or more"),
        (["--task-url", "x"], "task_url"),
        (["--proxy", "x"], "proxies"),
    ],
)
def test_what_cannot_work_is_said(args, words, valkey):
    from celery.bin.base import CLIContext

    from tests.beats import make_app

    context = CLIContext(make_app(valkey.url()), no_color=True, workdir=None)
    found = CliRunner().invoke(web.web_, args, obj=context)
    assert found.exit_code == 2
    assert words in found.output


def test_without_its_server_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "waitress.server", None)
    with pytest.raises(InvalidSetting, match=r"redlock-beat\[web\]"):
        web._serve(None, "127.0.0.1", 0, "")
