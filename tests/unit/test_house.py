"""The plan of the house holds: a module imports from those above it, and the package imports fast."""

from __future__ import annotations

import ast
import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import redlock_beat

PACKAGE = Path(redlock_beat.__file__).parent
ROOMS = [
    line.split()[0].rstrip("/")
    for line in redlock_beat.__doc__.split("==\n")[1].splitlines()
    if line and not line.startswith("=")
]
FOLDERS = {"lua", "cli"}
VERBS = [f"cli.{path.stem}" for path in sorted((PACKAGE / "cli").glob("*.py")) if path.stem != "__init__"]
MODULES = sorted(path.stem for path in PACKAGE.glob("*.py") if path.stem not in ("__init__", "__main__", "demo"))


def test_every_module_has_its_place_in_the_plan():
    assert sorted(set(ROOMS) - FOLDERS) == MODULES
    assert all((PACKAGE / folder).is_dir() for folder in FOLDERS)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_from_those_above_it(name):
    tree = ast.parse((PACKAGE / f"{name}.py").read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            used = [node.module] if node.module else [alias.name for alias in node.names]
            for other in used:
                if other in ROOMS:
                    assert ROOMS.index(other) < ROOMS.index(name), f"{name} imports {other}"


@pytest.mark.parametrize("name", ["", *MODULES, *VERBS])
def test_the_examples_in_docstrings_work(name):
    module = importlib.import_module(f"redlock_beat.{name}" if name else "redlock_beat")
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS).failed == 0


def test_importing_the_package_loads_neither_celery_nor_redis():
    code = "import sys, redlock_beat; print(sorted({'celery', 'redis', 'kombu'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_every_public_name_has_a_docstring():
    for name in redlock_beat.__all__:
        if name != "__version__":
            assert getattr(redlock_beat, name).__doc__
    assert set(redlock_beat.__all__) <= set(dir(redlock_beat))
    with pytest.raises(AttributeError):
        redlock_beat.nothing  # noqa: B018
