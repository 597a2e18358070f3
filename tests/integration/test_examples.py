"""The examples do what they say."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from redlock_beat import Schedule
from tests.beats import messages

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def web(monkeypatch):
    """The web backend on some server."""
    from fastapi.testclient import TestClient

    def start(server) -> TestClient:
        monkeypatch.setenv("REDIS_URL", server.url())
        spec = importlib.util.spec_from_file_location("fastapi_app", EXAMPLES / "fastapi_app.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "fastapi_app", module)
        spec.loader.exec_module(module)
        return TestClient(module.api)

    return start


def test_a_web_backend_edits_the_schedule_on_its_event_loop(valkey, beats, web):
    beat = beats(valkey).lead()
    with web(valkey) as web:
        body = {"task": "tasks.add", "when": 3600, "args": [1]}
        made = web.put("/entries/mail", json=body)
        assert (made.status_code, made.json()["revision"]) == (201, 1)
        assert web.put("/entries/cron", json={**body, "when": "0 7 * * 1-5"}).status_code == 201
        assert web.put("/entries/mail", json=body).status_code == 409
        assert web.put("/entries/other", json={**body, "when": -1}).status_code == 422
        assert web.put("/entries/other", json={**body, "task": "os.system"}).status_code == 403
        assert web.patch("/entries/mail", json={"revision": 1, "args": [2]}).json() == {"name": "mail", "revision": 2}
        assert web.patch("/entries/mail", json={"revision": 1, "args": [3]}).status_code == 412
        assert web.patch("/entries/none", json={"revision": 1, "args": [3]}).status_code == 404
        assert [one["name"] for one in web.get("/entries", params={"prefix": "ma"}).json()] == ["mail"]
        sent = web.post("/entries/mail/run").json()["task_id"]
        assert web.post("/entries/none/run").status_code == 404
        beat.until(lambda: messages(valkey.client()))
        assert messages(valkey.client())[0]["headers"]["id"] == sent
        assert web.get("/health").json()["ok"]
        assert web.delete("/entries/cron", params={"revision": 7}).status_code == 412
        assert web.delete("/entries/cron").status_code == 204
        assert web.delete("/entries/cron").status_code == 404
    assert Schedule.from_url(valkey.url())["mail"].args == (2,)
    assert len(Schedule.from_url(valkey.url())) == 1


def test_a_web_backend_says_why_an_edit_is_refused_and_that_redis_is_gone(own_server, web):
    server = own_server("valkey")
    with web(server) as web:
        body = {"task": "tasks.add", "when": 3600}
        assert web.put("/entries/mail", json=body).status_code == 201
        refused = web.patch("/entries/mail", json={"revision": 1, "args": ["x" * 300_000]})
        assert (refused.status_code, "bytes as JSON" in refused.json()["detail"]) == (422, True)
        assert web.put(f"/entries/{'x' * 600}", json=body).status_code == 422
        unwell = web.get("/health")
        assert (unwell.status_code, unwell.json()["ok"]) == (503, False)
        web.app.state.schedule.retry_for = 0.2
        server.stop()
        for gone in (
            web.get("/entries"),
            web.get("/health"),
            web.delete("/entries/mail"),
            web.put("/entries/b", json=body),
        ):
            assert (gone.status_code, gone.headers["Retry-After"]) == (503, "5")
            assert "127.0.0.1" not in gone.json()["detail"]
