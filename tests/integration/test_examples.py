"""The examples do what they say."""

from __future__ import annotations

import importlib
import json
import os
import re
import runpy
import shlex
import socket
import subprocess
import sys
import urllib.request
from base64 import b64decode
from pathlib import Path

import pytest
import yaml

from redlock_beat import Schedule
from tests.beats import Running, messages
from tests.servers import eventually

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(valkey, monkeypatch):
    """Imports a module of a project in ``examples/``, as it is where that is the working directory."""
    monkeypatch.setenv("REDIS_URL", valkey.url())
    before = set(sys.modules)

    def load(project: str, module: str):
        monkeypatch.syspath_prepend(EXAMPLES / project)
        return importlib.import_module(module)

    yield load
    for name in set(sys.modules) - before:
        if name.split(".")[0] in ("weather", "reports", "backups"):
            del sys.modules[name]


def test_the_plain_project_measures_and_reminds(valkey, beats, example, monkeypatch, capsys):
    weather = example("plain", "weather")
    weather.app.loader.import_default_modules()
    client, schedule = valkey.client(), Schedule(weather.app)
    beat = beats(weather.app).lead()
    assert {entry.name for entry in schedule.entries()} >= {"measure", "morning report"}
    assert schedule["morning report"].words == "at 06:00, every day, Europe/Berlin"
    schedule.trigger("measure")
    monkeypatch.setattr(sys, "argv", ["remind.py", "water the plants", "0.2"])
    runpy.run_path(str(EXAMPLES / "plain" / "remind.py"), run_name="__main__")
    assert "reminder" in capsys.readouterr().out
    beat.until(lambda: client.llen("celery") == 2, "both are sent")
    for message in messages(client):
        (args, kwargs, _), task = json.loads(b64decode(message["body"])), message["headers"]["task"]
        assert weather.app.tasks[task].apply(args, kwargs).successful()
    assert not list(schedule.entries(prefix="reminder"))  # the reminder is sent, and gone


def test_tenants_make_schedules_and_see_only_their_own(own_server, beats, example, monkeypatch):
    from fastapi.testclient import TestClient

    server = own_server("valkey")
    monkeypatch.setenv("REDIS_URL", server.url())
    monkeypatch.setenv("REPORTS_KEYS", json.dumps({"a": "acme", "g": "globex"}))
    web = example("fastapi", "reports.web")
    app = sys.modules["reports"].app
    beat = beats(app).lead()
    with TestClient(web.api) as client:

        def ask(key: str, method: str, path: str, **body):
            return client.request(method, path, headers={"X-Key": key}, **({"json": body} if body else {}))

        wanted = {"report": "sales", "when": "0 7 * * 1-5", "timezone": "America/New_York"}
        made = ask("a", "PUT", "/reports/weekly", **wanted)
        assert (made.status_code, made.json()["words"]) == (200, "at 07:00, Monday to Friday, America/New_York")
        assert ask("g", "PUT", "/reports/weekly", **wanted).status_code == 200
        assert [one["name"] for one in ask("a", "GET", "/reports").json()] == ["weekly"]
        assert ask("nobody", "GET", "/reports").status_code == 401
        assert ask("a", "PUT", "/reports/weekly", **{**wanted, "report": "os.system"}).status_code == 403
        assert ask("a", "PUT", "/reports/weekly", **{**wanted, "when": "0 25 * * *"}).status_code == 422
        assert ask("a", "PUT", "/reports/weekly", **{**wanted, "when": "1s"}).status_code == 422
        assert ask("a", "PUT", "/reports/globex%2Fweekly", **wanted).status_code in (404, 422)
        sent = ask("a", "POST", "/reports/weekly/run").json()["task_id"]
        beat.until(lambda: messages(server.client()), "it is sent")
        headers = messages(server.client())[0]["headers"]
        assert (headers["id"], headers["redlock_beat_entry"]) == (sent, "acme/weekly")
        assert len(ask("a", "GET", "/reports/weekly/made").json()) == 1
        assert ask("g", "GET", "/reports/weekly/made").json() == []
        monkeypatch.setattr(sys.modules["reports.schedules"], "MOST", 1)
        assert ask("a", "PUT", "/reports/second", **wanted).status_code == 403
        assert client.get("/health").json()["ok"]
        assert ask("a", "DELETE", "/reports/weekly").status_code == 204
        gone = ask("a", "DELETE", "/reports/weekly")
        assert (gone.status_code, gone.json()["detail"]) == (404, "there is no such report")
        assert [entry.name for entry in Schedule(app).entries() if "/" in entry.name] == ["globex/weekly"]

        beat.close()
        web.api.state.schedule.retry_for = 0.2
        server.stop()
        for method, path in (("GET", "/reports"), ("GET", "/health"), ("DELETE", "/reports/weekly")):
            away = ask("a", method, path)
            assert (away.status_code, away.headers["Retry-After"]) == (503, "5")
            assert "127.0.0.1" not in away.json()["detail"]


def test_backups_are_planned_in_the_browser(valkey, beats, example):
    web = example("flask", "backups.web").web
    app = sys.modules["backups"].app
    beat = beats(app).lead()
    client = web.test_client()
    assert b"backup photos" in client.get("/").data
    planned = client.post("/backups/backup photos/plan", data={"when": "30 3 * * *"})
    assert planned.status_code == 303
    assert b"at 03:30, every day, UTC" in client.get("/").data
    refused = client.post("/backups/backup photos/plan", data={"when": "30 25 * * *"})
    assert (refused.status_code, b"25" in refused.data) == (422, True)
    assert client.post("/backups/backup attic/now").status_code == 404
    elsewhere = client.post("/backups/backup mail/now", headers={"Sec-Fetch-Site": "cross-site"})
    assert elsewhere.status_code == 403
    assert client.post("/backups/backup mail/now").status_code == 303
    beat.until(lambda: messages(valkey.client()), "it is sent")
    assert [one["headers"]["redlock_beat_entry"] for one in messages(valkey.client())] == ["backup mail"]
    assert b"backup mail" in client.get("/beat/").data
    assert client.get("/beat/", environ_base={"REMOTE_ADDR": "192.0.2.1"}).status_code == 403


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*/README.md")), ids=lambda path: path.parent.name)
def test_an_example_names_what_is_there(path):
    text = path.read_text("utf-8")
    for name in re.findall(r"`([\w/]+\.py)`", text):
        assert (path.parent / name).exists(), name
    for module in re.findall(r"(?:celery -A|uvicorn|--app) ([\w.]+)", text):
        assert (path.parent / f"{module.replace('.', '/')}.py").exists() or (path.parent / module).is_dir(), module
    assert (path.parent / "requirements.txt").exists()


DJANGO = EXAMPLES / "django"


#: What Compose knows of a file, of a service and of a healthcheck, as far as it is used here.
KNOWN = {
    "file": {"services", "volumes"},
    "service": {
        *("build", "command", "depends_on", "deploy", "environment", "healthcheck", "image", "init", "ports"),
        *("read_only", "restart", "stop_grace_period", "tmpfs", "volumes", "working_dir"),
    },
    "healthcheck": {"test", "interval", "timeout", "retries", "start_period"},
}


def composed(text):
    """A compose file, merged, if Compose would take it."""
    found = yaml.safe_load(text)
    assert {name for name in found if not name.startswith("x-")} <= KNOWN["file"]
    for service in found["services"].values():
        assert set(service) <= KNOWN["service"]
        assert ("image" in service) != ("build" in service)
        assert set(service.get("healthcheck", {})) <= KNOWN["healthcheck"]
        for other, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}
            assert "healthcheck" in found["services"][other]
        for volume in service.get("volumes", ()):
            source, _, target = volume.partition(":")
            assert target.startswith("/")
            assert source.startswith(".") or source in found["volumes"]
    return found


def test_the_compose_file_of_the_documentation_can_be_read():
    page = (EXAMPLES.parent / "docs" / "howto" / "docker_compose.md").read_text("utf-8")
    assert {"redis", "beat"} <= set(composed(re.search(r"```yaml\n(.*?)```", page, re.DOTALL)[1])["services"])


def command_lines(service):
    """What the shell of a service runs, as this machine runs it; requirements are here already."""
    shell, option, script = shlex.split(service["command"])
    assert (shell, option) == ("sh", "-c")
    install, *lines = [shlex.split(line) for line in script.split("&&")]
    assert install[:-1] == ["pip", "install", "-q", "-r"]
    assert (DJANGO / install[-1]).is_file()
    assert lines[-1].pop(0) == "exec"  # else the shell hears SIGTERM, and not what it runs
    programs = {"python": [sys.executable], "celery": [sys.executable, "-m", "celery"]}
    return [[*programs[program], *args] for program, *args in lines]


def test_the_services_of_the_django_project_start_from_nothing(valkey, tmp_path):
    """The command lines of docker-compose.yml as processes, on a database file: they serve, send and run."""
    compose = composed((DJANGO / "docker-compose.yml").read_text("utf-8"))
    services = compose["services"]
    assert set(services) == {"redis", "database", "web", "beat", "worker"}
    settings = (DJANGO / "shopfront" / "settings.py").read_text("utf-8")
    for name in compose["x-project"]["environment"]:
        assert name in settings or name == "DJANGO_SETTINGS_MODULE", name
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    database = {"DB_ENGINE": "django.db.backends.sqlite3", "DB_NAME": str(tmp_path / "shop.sqlite3")}
    env = {**os.environ, **compose["x-project"]["environment"], **database}
    env |= {"PYTHONPATH": str(EXAMPLES.parent), "REDIS_URL": valkey.url()}
    migrate, load, serve = command_lines(services["web"])
    subprocess.run(migrate, cwd=DJANGO, env=env, check=True, capture_output=True, timeout=90)
    loaded = subprocess.run(load, cwd=DJANGO, env=env, check=True, capture_output=True, text=True, timeout=90)
    assert "2 added" in loaded.stdout
    running = {}
    for name, line in (
        ("web", serve),
        ("beat", *command_lines(services["beat"])),
        ("worker", *command_lines(services["worker"])),
    ):
        line = [address if word == "0.0.0.0:8000" else word for word in line]
        running[name] = Running(line, DJANGO, env)
    try:
        schedule = Schedule.from_url(valkey.url())
        eventually(lambda: schedule.has("cancel_orders"), "beat knows the commands", 60)
        assert {entry.origin for entry in schedule} == {"api", "config"}
        schedule.trigger("cancel_orders")
        running["worker"].says("cancel_orders: 0 orders are cancelled.")
        eventually(lambda: schedule.history("cancel_orders", outcome="succeeded"), "the worker has told of it")
        schedule.add("wrong", "command.orders.cancel_orders", 3600, args=("--days", 0))
        schedule.trigger("wrong")
        running["worker"].says("--days must be 1 or more.")
        running["web"].says("System check identified no issues")
        eventually(lambda: b"Log in" in page(f"http://{address}/admin/login/"), "the pages are there")
        assert running["beat"].end() == 0
    finally:
        for one in running.values():
            one.close()


def page(url):
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.read()
    except OSError:
        return b""
