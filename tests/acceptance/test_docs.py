"""Every block of the README and the documentation runs. Links are followed by tests/unit/test_links.py."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from redlock_beat import hooks
from tests.pages import PAGES, PROJECT, ROOT, Page
from tests.servers import Server

#: The languages of blocks; those after the first line are shown, and nothing can be done with them here.
LANGUAGES = {
    *("python", "console", "json", "toml", "yaml"),
    *("text", "ini", "dockerfile", "promql", "lua", "nginx"),
}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture
def page(
    request: pytest.FixtureRequest, valkey: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Page]:
    page = Page(request.param, valkey, tmp_path)
    (tmp_path / "proj.py").write_text(PROJECT.replace("{url}", page.url))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # beats of other tests have heartbeat files, too
    monkeypatch.setenv("REDIS_URL", page.url)
    monkeypatch.setenv("REDLOCK_BEAT_URL", page.url)
    monkeypatch.delitem(sys.modules, "proj", raising=False)
    before = list(hooks._hooks)
    yield page
    page.close()
    for hook in hooks._hooks[:]:
        if hook not in before:
            hooks.remove_hook(hook)
    sys.modules.pop("proj", None)


@pytest.mark.parametrize("page", PAGES, ids=name_of, indirect=True)
def test_every_block_of_a_page_runs(page):
    ran = page.run()
    assert all(page.skipped), "a block that is skipped says why"
    print(f"{ran} ran, {len(page.skipped)} skipped: {page.skipped}")  # shown by pytest -rP


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_blocks_are_fenced_and_say_their_language(path):
    fenced = False
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        where = f"{name_of(path)}:{number}"
        if found := re.match(r"\s*(```+|:::+)(.*)$", line):
            fenced = not fenced
            if fenced and not found[2].startswith("{"):
                assert found[2] in LANGUAGES, f"{where}: a block of the language {found[2]!r}"
        elif not fenced:
            assert not re.match(r"    (?:celery|pip|python|\$|redis-cli) ", line), f"{where}: write ```console"
