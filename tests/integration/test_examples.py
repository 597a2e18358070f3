"""The examples do what they say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from redlock_beat import Schedule
from tests.beats import messages

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_a_web_backend_edits_the_schedule_on_its_event_loop(valkey, beats, monkeypatch):
    from fastapi.testclient import TestClient

    monkeypatch.setenv("REDIS_URL", valkey.url())
    spec = importlib.util.spec_from_file_location("fastapi_app", EXAMPLES / "fastapi_app.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(__import__("sys").modules, "fastapi_app", module)
    spec.loader.exec_module(module)
    beat = beats(valkey).lead()
    with TestClient(module.api) as web:
        body = {"task": "tasks.add", "every": 3600, "args": [1]}
        made = web.put("/entries/mail", json=body)
        assert (made.status_code, made.json()["revision"]) == (201, 1)
        assert web.put("/entries/mail", json=body).status_code == 409
        assert web.put("/entries/other", json={**body, "every": -1}).status_code == 422
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
    assert Schedule.from_url(valkey.url())["mail"].args == (2,)
