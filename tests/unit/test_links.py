"""Every link of a page inside this repository leads somewhere, and each file that it names is there.

Links to other sites are tried by GitHub's workflow, which has a network.
"""

from __future__ import annotations

import collections
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "deploy/**/*.md", ".github/**/*.md", "benchmarks/*.md")
    for path in ROOT.glob(pattern)
    if "_build" not in path.parts
)
#: Folders with which a path begins that a page names as `path`.
FOLDERS = "docs|tests|scripts|examples|benchmarks|deploy|redlock_beat|.ci|.github"


def text_of(path: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^([ \t]*)(```+|:::+).*?^\1\2", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """The anchors of the headings of a page, as GitHub and MyST make them."""
    found: set[str] = set(re.findall(r"^\(([\w-]+)\)=$", path.read_text("utf-8"), re.MULTILINE))
    times: collections.Counter[str] = collections.Counter()
    for heading in re.findall(r"^#+ (.+)$", text_of(path), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", plain.lower()).strip().replace(" ", "-")
        found.add(f"{anchor}-{times[anchor]}" if times[anchor] else anchor)
        times[anchor] += 1
    return found


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    text = text_of(path)
    targets = re.findall(r"\]\(<?([^)\s>]+)>?\)", text) + re.findall(r"^\[[^\]]+\]:\s+(\S+)", text, re.MULTILINE)
    for target in targets:
        if "://" in target or target.startswith("mailto:"):
            continue
        file, _, anchor = target.partition("#")
        there = path if not file else path.parent / file
        assert there.resolve().is_relative_to(ROOT), f"{target} leads out of the repository"
        assert there.exists(), target
        if anchor and there.suffix == ".md":
            assert anchor in anchors(there), target


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_a_page_names_are_there(path):
    if path.name == "CHANGELOG.md":
        return  # it says what was, too
    for name in re.findall(rf"`((?:{FOLDERS})/[\w./-]+)`", text_of(path)):
        if not (ROOT / name.split("/")[0]).exists():
            continue  # an sdist has not all of them
        assert (ROOT / name.rstrip("/")).exists() or (path.parent / name).exists(), name
