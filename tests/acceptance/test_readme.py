"""What the README tells a newcomer to do works."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

from redlock_beat import Schedule
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
