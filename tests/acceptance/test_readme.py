"""What the README tells a newcomer to do works."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

from redlock_beat import Schedule, Settings
from tests.beats import make_app

ROOT = Path(__file__).parents[2]


def test_the_demo_shows_a_takeover_without_a_repeat(tmp_path):
    got = subprocess.run(
        [sys.executable, "-m", "redlock_beat.demo"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=110,
        check=True,
    )
    assert "Killing" in got.stdout
    assert got.stdout.rstrip().endswith(" 0 of them twice.")


def test_the_first_snippet_runs_as_it_is_pasted(valkey, monkeypatch):
    app = make_app(valkey.url())
    monkeypatch.setitem(sys.modules, "proj", SimpleNamespace(app=app))
    readme = (ROOT / "README.md").read_text("utf-8")
    snippet = next(part.split("```")[0] for part in readme.split("```python\n") if "schedule = Schedule(app)" in part)
    exec(compile(snippet, "README.md", "exec"), {})
    assert {"nightly", "welcome", "every hour"} <= {entry.name for entry in Schedule(app)}


def test_ci_runs_exactly_the_test_command_of_the_readme():
    readme = (ROOT / "README.md").read_text("utf-8")
    (command,) = [line.strip() for line in readme.splitlines() if line.startswith("    pip install -e")]
    install, test = command.split(" && ")
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    assert install in script
    assert f"\n{test}\n" in script


def test_the_tables_name_every_setting_policy_verb_and_metric():
    from prometheus_client import CollectorRegistry

    from redlock_beat.beat.metrics import PrometheusHook
    from redlock_beat.cli import redlock
    from redlock_beat.entries.entry import POLICIES

    sections = {}
    for part in (ROOT / "README.md").read_text("utf-8").split("\n### ")[1:]:
        heading, _, text = part.partition("\n")
        cells = [line.split("|") for line in text.split("\n## ")[0].splitlines() if line.startswith("| ")]
        sections[heading] = {name for row in cells for name in re.findall(r"`([a-z_-]+)", row[1] + row[2])}
    registry = CollectorRegistry()
    PrometheusHook(registry)
    metrics = {
        one.name.removeprefix("redlock_beat_") + ("_total" if one.type == "counter" else "")
        for one in registry.collect()
    }
    assert {one.name for one in fields(Settings)} - {"cron_grace"} <= sections["Settings"]
    assert set(POLICIES) <= sections["Policies of an entry"]
    assert set(redlock.commands) <= sections["From the command line"]
    assert metrics <= sections["Watching it"]
