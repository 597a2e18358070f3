"""aio.py is what scripts/make_async.py makes of schedule.py, and the script does what it says."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SCRIPT = ROOT / "scripts" / "make_async.py"

pytestmark = pytest.mark.skipif(not (ROOT / "redlock_beat").exists(), reason="the package that is tested is a wheel")


def script():
    spec = importlib.util.spec_from_file_location("make_async", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_asynchronous_schedule_is_what_the_synchronous_one_makes():
    subprocess.run([sys.executable, str(SCRIPT), "--check"], check=True)


def test_a_change_of_one_alone_is_found(tmp_path, monkeypatch):
    make = script()
    monkeypatch.setattr(make, "TARGET", tmp_path / "aio.py")
    monkeypatch.setattr(make.sys, "argv", ["make_async", "--check"])
    with pytest.raises(SystemExit, match=r"python scripts/make_async\.py"):
        make.main()
    make.TARGET.write_text(make.made(make.SOURCE.read_text("utf-8")), "utf-8")
    make.main()
    make.TARGET.write_text(make.TARGET.read_text("utf-8") + "# by hand\n", "utf-8")
    with pytest.raises(SystemExit, match=r"python scripts/make_async\.py"):
        make.main()


BEFORE = '''"""A schedule."""


class Schedule:
    """The schedule.

    >>> with schedule.batch() as batch:   # doctest: +SKIP
    ...     schedule.one("ä").name
    """

    def __len__(self) -> int:
        return self.one("a")

    def one(self, name: str) -> Entry:
        return self.ask(self.operations.one(name))[1]  # the Schedule's

    def ask(self, operation: Any) -> Any:
        with self._turns.turn():
            return str(self._store.run(operation))

    def each(self) -> Iterator[Entry]:
        yield from self.ask("each")
'''

AFTER = '''

class AsyncSchedule:
    """The schedule.

    >>> async with schedule.batch() as batch:   # doctest: +SKIP
    ...     (await schedule.one("ä")).name
    """

    async def one(self, name: str) -> Entry:
        return (await self.ask(self.operations.one(name)))[1]  # the AsyncSchedule's

    async def ask(self, operation: Any) -> Any:
        async with self._turns.turn():
            return str(self._store.run(operation))

    async def each(self) -> AsyncIterator[Entry]:
        for one in await self.ask("each"):
            yield one
'''


def test_what_the_script_makes(monkeypatch):
    make = script()
    monkeypatch.setattr(make, "TEXTS", {})
    assert make.made(BEFORE) == make.HEADER + AFTER


def test_a_text_that_is_no_more_is_said(monkeypatch):
    make = script()
    with pytest.raises(SystemExit, match="mend TEXTS"):
        make.made(BEFORE)
