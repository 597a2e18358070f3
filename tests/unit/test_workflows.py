"""What GitHub runs for this repository: each file fits its schema, and the workflows may do no more than they must."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

GITHUB = Path(__file__).parents[2] / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))

pytestmark = pytest.mark.skipif(not WORKFLOWS, reason="an sdist has no workflows")


@pytest.mark.parametrize(
    ("schema", "paths"),
    [
        ("vendor.github-workflows", WORKFLOWS),
        ("custom.github-workflows-require-timeout", [path for path in WORKFLOWS if path.name == "ci.yml"]),
        ("vendor.dependabot", [GITHUB / "dependabot.yml"]),
        ("vendor.github-issue-config", [GITHUB / "ISSUE_TEMPLATE" / "config.yml"]),
        ("vendor.github-issue-forms", [GITHUB / "ISSUE_TEMPLATE" / name for name in ("bug.yml", "idea.yml")]),
    ],
)
def test_the_files_fit_their_schemas(schema, paths, capsys):
    check = pytest.importorskip("check_jsonschema", reason="the extra dev brings the schemas along").main
    with pytest.raises(SystemExit) as ended:
        check(["--builtin-schema", schema, *map(str, paths)])
    assert ended.value.code == 0, capsys.readouterr().out


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_only_read_and_runs_pinned_actions(path):
    text = path.read_text("utf-8")
    said = yaml.safe_load(text)
    assert said["permissions"] == {"contents": "read"}
    may = {name: job["permissions"] for name, job in said["jobs"].items() if "permissions" in job}
    assert may == ({"publish": {"id-token": "write"}} if path.name == "release.yml" else {})
    for used in re.findall(r"uses: (.+)", text):
        assert re.fullmatch(r"\./\.github/workflows/\w+\.yml|[\w/-]+@[0-9a-f]{40} # v[\d.]+", used), used
    assert "secrets." not in text


def test_github_runs_what_people_run():
    steps = yaml.safe_load((GITHUB / "workflows" / "ci.yml").read_text("utf-8"))["jobs"]["run"]["steps"]
    assert steps[-1]["run"] == ".ci/run"
