"""The plan of the house holds: a module imports from those above it, and the package imports fast."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import redlock_beat
from tests import django_project

PACKAGE = Path(redlock_beat.__file__).parent
#: The folders in the order of the plan, the ground first; each knows only those before it.
FOLDERS = [
    line.split()[0].rstrip(".")
    for line in redlock_beat.__doc__.split("==\n")[1].splitlines()
    if line and not line.startswith("=")
]
#: They put the parts together: the names of the package, the probe's command, the demo, help for tests of projects.
ON_TOP = {"__init__", "__main__", "demo", "testing", "pytest_plugin"}


def modules() -> list[str]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[0] not in ON_TOP:
            found.append(".".join(part for part in parts if part != "__init__"))
    return found


MODULES = modules()


def folder_of(module: str) -> str:
    return module.split(".")[0] if (PACKAGE / module.split(".")[0]).is_dir() else ""


def imports(module: str) -> list[str]:
    """The modules of this package that a module imports, wherever in it."""
    path = PACKAGE.joinpath(*module.split("."))
    package = path.is_dir()
    tree = ast.parse((path / "__init__.py" if package else path.with_suffix(".py")).read_text("utf-8"))
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            up = node.level - 1 if package else node.level
            base = module.split(".")[: len(module.split(".")) - up]
            base += node.module.split(".") if node.module else []
            found += [".".join(base)] if node.module else [".".join([*base, alias.name]) for alias in node.names]
    return found


def test_the_folders_are_those_of_the_plan():
    there = {path.parent.relative_to(PACKAGE).parts[0] for path in PACKAGE.glob("*/__init__.py")} - ON_TOP
    assert there == set(FOLDERS) - {""}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_from_its_folder_and_those_before_it(name):
    allowed = FOLDERS[: FOLDERS.index(folder_of(name)) + 1]
    for other in imports(name):
        if other.split(".")[0] not in ("__version__", ""):
            assert folder_of(other) in allowed, f"{name} imports {other}"


@pytest.mark.parametrize("name", ["", *MODULES])
def test_the_examples_in_docstrings_work(name):
    if folder_of(name) == "django":
        django_project.set_up()
    module = importlib.import_module(f"redlock_beat.{name}" if name else "redlock_beat")
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS).failed == 0


@pytest.mark.parametrize("name", [name for name in MODULES if folder_of(name) != "beat"])
def test_a_schedule_is_used_by_its_public_names(name):
    path = PACKAGE.joinpath(*name.split("."))
    tree = ast.parse((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text("utf-8"))
    private = [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and ast.unparse(node.value) in ("schedule", "self.schedule", "self._schedule")
    ]
    assert private == []


def test_tasks_and_beat_know_nothing_of_each_other():
    for name in MODULES:
        if folder_of(name) == "tasks":
            assert not any(folder_of(other) == "beat" for other in imports(name)), name


def test_the_page_knows_nothing_of_messages_beats_and_workers():
    for name in MODULES:
        if folder_of(name) == "web":
            assert not {folder_of(other) for other in imports(name)} & {"messages", "beat", "tasks"}, name


def test_django_asks_the_schedule_and_is_known_by_nobody():
    known = {"", "recurrence", "entries", "store", "schedule", "messages", "tasks", "django"}
    faces = {"verbs": "cli", "side_by_side": "cli", "urls": "web"}  # the same command line, the same page
    for name in MODULES:
        for other in imports(name):
            if folder_of(name) == "django":
                shown = folder_of(other) == faces.get(name.removeprefix("django."))
                assert shown or folder_of(other) in known, f"{name} imports {other}"
            else:
                assert folder_of(other) != "django", f"{name} imports {other}"


@pytest.mark.parametrize("name", MODULES)
def test_functions_and_classes_can_be_read_at_one_look(name):
    path = PACKAGE.joinpath(*name.split("."))
    tree = ast.parse((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            most = 250 if isinstance(node, ast.ClassDef) else 60
            lines = node.end_lineno - node.lineno + 1
            assert lines <= most, f"{node.name} has {lines} lines"


def test_the_formatter_has_its_way():
    folders = (PACKAGE.parent / folder for folder in ("tests", "benchmarks", "scripts", "examples"))
    paths = (path for root in (PACKAGE, *folders) for path in root.rglob("*.py"))
    assert [str(path) for path in paths if "# fmt: " + "skip" in path.read_text("utf-8")] == []


@pytest.mark.parametrize(("module", "name"), [("settings", "Settings"), ("entries.entry", "Policies")])
def test_every_setting_and_policy_is_documented_on_its_field(module, name):
    text = (PACKAGE / f"{module.replace('.', '/')}.py").read_text("utf-8")
    (cls,) = [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef) and node.name == name]
    lines = text.splitlines()
    fields = [node for node in cls.body if isinstance(node, ast.AnnAssign)]
    assert len(fields) > 10
    assert [
        ast.unparse(field.target) for field in fields if not lines[field.lineno - 2].lstrip().startswith("#:")
    ] == []


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


def test_the_map_for_contributors_leads_to_files_that_are_there():
    root = Path(__file__).parents[2]
    rows = [line.split("|")[1:-1] for line in (root / "CONTRIBUTING.md").read_text("utf-8").splitlines() if "|" in line]
    assert len(rows) > 10
    for what, start, tests in rows[2:]:
        for path in re.findall(r"`([a-z_/]+(?:\.[a-z]+|/))`", start):
            assert (PACKAGE / path).exists() or (root / path).exists(), (what, path)
        for path in re.findall(r"`([a-z_/]+(?:\.[a-z]+|/))`", tests):
            assert (root / "tests" / path).exists(), (what, path)


#: Files of tests about no single module: the whole, or what stands beside the package.
WHOLE = {
    *("unit/config", "unit/house", "unit/links", "unit/make_async", "unit/make_figures", "unit/make_reference"),
    *("unit/make_supported", "unit/workflows", "unit/web/style", "integration/examples", "integration/lost_replies"),
    *("integration/state_machine", "integration/upgrade", "integration/django/recipes", "integration/web/browser"),
    "integration/web/mounts",
}


def test_a_file_of_tests_is_called_as_the_module_that_it_tests():
    """And stands in a folder of the same name; words may follow, as in test_lease_failover.py."""
    tests = PACKAGE.parent / "tests"
    for path in [*tests.glob("unit/**/test_*.py"), *tests.glob("integration/**/test_*.py")]:
        folder, words = path.parent.relative_to(tests), path.stem.split("_")[1:]
        names = ["_".join(words[: i + 1]) for i in range(len(words))]
        known = {module.stem for module in PACKAGE.joinpath(*folder.parts[1:]).glob("*.py")}
        if folder.name == "web":
            known |= {module.stem for module in PACKAGE.glob("web/pages/*.py")}
        whole = {name for name in names if f"{folder.as_posix()}/{name}" in WHOLE}
        assert whole or not known.isdisjoint(names), f"call {path} as the module that it tests"
