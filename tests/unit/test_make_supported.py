"""What the documentation calls supported is what `nox -s matrix` has passed."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent.parent / "scripts" / "make_supported.py"


@pytest.fixture
def make(monkeypatch):
    spec = importlib.util.spec_from_file_location("make_supported", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module.sys, "argv", ["make_supported", "--check"])
    return module


def test_the_table_is_what_was_tested(make):
    make.main()


def test_a_combination_that_failed_is_called_so(make, tmp_path, monkeypatch):
    results = json.loads((make.DOCS / "supported.json").read_text("utf-8"))
    (tmp_path / "supported.json").write_text(json.dumps([{**results[0], "passed": False}, *results[1:]]))
    (tmp_path / "supported.md").write_text((make.DOCS / "supported.md").read_text("utf-8"))
    monkeypatch.setattr(make, "DOCS", tmp_path)
    with pytest.raises(SystemExit, match=r"python scripts/make_supported\.py"):
        make.main()
    monkeypatch.setattr(make.sys, "argv", ["make_supported"])
    make.main()
    assert "failed" in (tmp_path / "supported.md").read_text("utf-8")


def test_the_version_of_each_server_is_read(make):
    assert make.read_version("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64") == "Redis 7.0.15"
    assert make.read_version("Valkey server v=9.1.2 sha=00000000:0 malloc=libc bits=64") == "Valkey 9.1.2"
