"""The verbs that export and import."""

from __future__ import annotations

import json


def test_moving(cli, valkey, tmp_path):
    cli.schedule.add("a", "t", 60)
    cli.schedule.add("b", "t", 60)
    file = str(tmp_path / "out.jsonl")
    cli("export", file)
    assert cli("export").count("\n") == 4
    cli.schedule.remove("a")
    cli.schedule.update("b", args=(1,))
    out = cli("import", file, "--dry-run")
    assert out.endswith("Would be: 1 added, 1 changed.\n")
    assert "args: [1] -> []" in out
    cli("import", file, code=1, answer="n\n")
    assert "1 added, 1 changed." in cli("import", file, answer="y\n")
    assert json.loads(cli("import", file, "--json"))["unchanged"] == 2
    assert "cut off" in cli("import", "-", "--yes", code=1, answer='{"redlock_beat": "export", "version": 1}\n')
    assert "there is no schedule of RedBeat" in cli("import-redbeat", "--yes", code=1)
    client = valkey.client()
    definition = {
        "name": "their",
        "task": "t",
        "args": [],
        "kwargs": {},
        "options": {},
        "enabled": True,
        "schedule": {"__type__": "interval", "every": 60.0, "relative": False},
    }
    client.hset("redbeat:their", "definition", json.dumps(definition))
    client.zadd("redbeat::schedule", {"redbeat:their": 5, "redbeat:gone": 5})
    assert "left out: gone" in cli("import-redbeat", "--dry-run", code=1)
    assert "1 added" in cli("import-redbeat", code=1, answer="y\n")
    assert "their" in cli.schedule
    assert "1 already here" in cli("import-redbeat", "--yes", "--url", valkey.url(), "--key-prefix", "redbeat:", code=1)
    fixture = tmp_path / "dump.json"
    fixture.write_text("[]")
    assert "nothing." in cli("import-django-celery-beat", str(fixture), "--yes")


def test_an_import_needs_no_temporary_directory(cli, tmp_path, monkeypatch):
    cli.schedule.add("a", "tasks.add", 60)
    file = tmp_path / "out.jsonl"
    cli("export", str(file))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    cli("import", str(file), "--yes")
