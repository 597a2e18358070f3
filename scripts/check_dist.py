"""Says whether what was built is what shall be uploaded: ``python scripts/check_dist.py dist [--tag v0.2.0]``.

The wheel has each file of the package, and nothing else. The sdist has what is needed to test it.
"""

from __future__ import annotations

import argparse
import re
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

ROOT = Path(__file__).parent.parent
#: Kinds of files of which a wheel without any would be broken in a way that no import shows.
NEEDED = ("py.typed", ".lua", ".html", ".css", ".js", ".json")
#: What the tests of an sdist need.
SDIST = ("tests/conftest.py", "docs/index.md", "scripts/make_async.py", "examples/django/manage.py", "noxfile.py")


def problems(dist: Path, tag: str | None) -> list[str]:
    """What is wrong with the files of a folder, in words."""
    wheels, sdists = sorted(dist.glob("*.whl")), sorted(dist.glob("*.tar.gz"))
    if len(wheels) != 1 or len(sdists) != 1:
        return [f"{dist} has {len(wheels)} wheels and {len(sdists)} sdists; it should have one of each"]
    found = _of_wheel(wheels[0], tag)
    with tarfile.open(sdists[0]) as archive:
        names = {name.split("/", 1)[-1] for name in archive.getnames()}
    return found + [f"the sdist has no {name}" for name in SDIST if name not in names]


def _of_wheel(path: Path, tag: str | None) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
        info = next(name.split("/")[0] for name in names if ".dist-info/" in name)
        metadata = message_from_bytes(archive.read(f"{info}/METADATA"))
        entry_points = archive.read(f"{info}/entry_points.txt").decode()
        init = archive.read("redlock_beat/__init__.py").decode()
    package = {
        str(file.relative_to(ROOT))
        for file in (ROOT / "redlock_beat").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    inside = {name for name in names if not name.startswith(info)}
    found = [f"the wheel has no {name}" for name in sorted(package - inside)]
    found += [f"the wheel has {name}, which is not of the package" for name in sorted(inside - package)]
    found += [f"the wheel has no file {end}" for end in NEEDED if not any(name.endswith(end) for name in inside)]
    found += [f"the wheel has no {info}/{name}" for name in ("licenses/LICENSE",) if f"{info}/{name}" not in names]
    found += [f"no entry point {name}" for name in ("redlock-beat", "redlock = ") if name not in entry_points]
    said = re.search(r'^__version__ = "(.+)"$', init, re.MULTILINE)
    version = metadata["Version"]
    if said is None or said[1] != version:
        found.append(f"the package says that it is {said and said[1]}, and its metadata {version}")
    if tag is not None and tag != f"v{version}":
        found.append(f"the tag is {tag}, and the package {version}")
    if f"## [{version}] - " not in (ROOT / "CHANGELOG.md").read_text("utf-8"):
        found.append(f"CHANGELOG.md has no section of {version}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dist", type=Path)
    parser.add_argument("--tag", help="the tag from which it was built")
    args = parser.parse_args()
    found = problems(args.dist, args.tag)
    if found:
        raise SystemExit("\n".join(found))
    print("what was built is complete")


if __name__ == "__main__":
    main()
