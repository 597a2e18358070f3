"""What the README tells a newcomer to do works."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_ci_runs_the_test_command_of_the_readme():
    readme = (ROOT / "README.md").read_text("utf-8")
    (command,) = [line.removeprefix("$ ") for line in readme.splitlines() if line.startswith("$ pip install -e")]
    install, test = command.split(" && ")
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    assert install in script
    assert f"\n{test} --cov\n" in script  # and how much of the code it covers


def test_the_guide_to_editing_names_every_verb():
    from redlock_beat.cli import redlock

    guide = (ROOT / "docs" / "editing.md").read_text("utf-8")
    cells = [line.split("|")[2] for line in guide.splitlines() if line.startswith("| ")]
    assert set(redlock.commands) <= {name for cell in cells for name in re.findall(r"`([a-z-]+)`", cell)}


def test_a_newcomer_reads_two_screens_before_the_links():
    text = (ROOT / "README.md").read_text("utf-8").split("## Documentation")[0]
    shown = re.sub(r"<!--.*?-->\n*", "", text, flags=re.DOTALL)
    assert len(shown.splitlines()) <= 110
