"""The pages of the documentation, run: each Python block, and each command with what it prints.

A page has a folder, an emptied server and a project ``proj`` of its own; its blocks run in order, in one namespace. The
addresses of Redis that a page names become those of that server. What cannot run here says why in a comment before
it::

    <!-- skip: next "needs a cluster of Kubernetes" -->

What a page needs and a reader does not want to see stands in a comment, too::

    <!-- invisible-code: python
    schedule.add("nightly", "tasks.report", "0 3 * * *")
    -->

A block of Python that begins with ``# proj.py``, or with the name of another file, is also written to that file.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE, OutputChecker
from pathlib import Path
from types import CodeType
from typing import Any
from unittest import SkipTest

import yaml
from celery import Celery
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, SkipParser

import redlock_beat
from redlock_beat import Schedule
from redlock_beat.testing import running_beat

from .beats import hear_ctrl_c
from .servers import Server, eventually

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
PAGES = [path for path in PAGES if "_build" not in path.parts]

#: The project that the pages speak of.
PROJECT = '''
"""A project with an app and three tasks."""

import os

from celery import Celery

app = Celery("proj", broker="{url}", backend="{url}")


@app.task(name="tasks.report")
def report(*args, **kwargs):
    return args


@app.task(name="tasks.mail")
def mail(*args, **kwargs):
    return kwargs


@app.task(name="tasks.add")
def add(x=0, y=0):
    return x + y
'''

#: What stands for a Redis on the pages.
ADDRESS = re.compile(r"redis://(?:localhost|127\.0\.0\.1|redis)(?::6379)?(?:/0)?(?![\w/:.])")
#: What is different each time: numbers, ids, and the name of this machine.
_CHANGES = ((re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}"), "ID"), (re.compile(r"\d+"), "0"), (re.compile(r"\s+"), " "))


def sybil(page: Page) -> Sybil:
    """What finds the examples of a page, and runs them in it."""
    languages: dict[str, Callable[[Example], None]] = {
        "python": page.python,
        "console": page.console,
        "json": reads(json.loads),
        "toml": reads(tomllib.loads),
        "yaml": reads(lambda text: list(yaml.safe_load_all(text))),
    }
    parsers = [CodeBlockParser(language, evaluate) for language, evaluate in languages.items()]
    return Sybil([SkipParser(), *parsers], path=str(ROOT), pattern="*.md")


def reads(parse: Callable[[str], object]) -> Callable[[Example], None]:
    """An example that is data can be read."""

    def evaluate(example: Example) -> None:
        parse(str(example.parsed))

    return evaluate


@dataclass
class Page:
    """One page as it runs."""

    path: Path
    server: Server
    folder: Path
    namespace: dict[str, Any] = field(default_factory=dict)
    processes: list[subprocess.Popen[Any]] = field(default_factory=list)
    beats: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    skipped: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The server's."""
        return self.server.url()

    def run(self) -> int:
        """Run every example; how many ran."""
        document = sybil(self).parse(self.path)
        document.namespace = self.namespace
        self._give_names()
        ran = 0
        for example in document.examples():
            try:
                example.evaluate()
                ran += 1
            except SkipTest as exc:
                self.skipped.append(str(exc))
            except BaseException as exc:
                exc.add_note(f"{self.path.relative_to(ROOT)}, line {example.line}")
                raise
        return ran

    def _give_names(self) -> None:
        """The names that the pages take as given."""
        import proj

        app = proj.app

        given = {"app": app, "schedule": Schedule(app), "Schedule": Schedule, "Celery": Celery}
        tasks = {name: getattr(proj, name) for name in ("report", "mail", "add") if hasattr(proj, name)}
        self.namespace.update(
            given, **tasks, redlock_beat=redlock_beat, lead=self.lead, stop=self.stop, __name__="page"
        )

    def lead(self) -> None:
        """Have a beat of this process lead until the page ends: it starts at once."""
        import proj

        self.beats.enter_context(running_beat(proj.app))
        eventually(lambda: self.server.client().keys("*:lease"), "it leads")

    def stop(self) -> None:
        """End what the page has started, in good order."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(20)

    def close(self) -> None:
        """End what the page has started, whatever it does."""
        self.beats.close()
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)

    def here(self, text: str) -> str:
        """A text of the page with the address of the server."""
        return ADDRESS.sub(self.url, text)

    # --- Python ---

    def python(self, example: Example) -> None:
        """Run a block, an `await` at its top included; then the tests that it defines."""
        text = self.here(example.parsed)
        if found := re.match(r"# ([\w/]+\.py)\n", text):
            path = self.folder / found[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            sys.modules.pop(path.stem, None)
            if path.stem == "proj":
                self._give_names()
                return
        source = "\n" * (example.line + example.parsed.line_offset) + text
        before = set(self.namespace)
        self._exec(source)
        for name in [one for one in self.namespace if one.startswith("test_") and one not in before]:
            test = self.namespace[name]
            test(**{one: self._fixture(one) for one in inspect.signature(test).parameters})

    def _exec(self, source: str) -> None:
        code: CodeType = compile(source, str(self.path), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        found = eval(code, self.namespace)
        if inspect.iscoroutine(found):
            asyncio.run(found)

    def _fixture(self, name: str) -> Any:
        self.server.client().flushall()
        return {"redlock_url": self.url, "redlock_schedule": Schedule.from_url(self.url)}[name]

    # --- commands ---

    def console(self, example: Example) -> None:
        """Run each `$ command`, and compare what it prints with what the page shows."""
        for command, shown in commands(self.here(example.parsed)):
            code, printed = self._command(command)
            if shown:
                assert same(shown, printed), f"$ {command}\nprints\n{printed}\nand the page shows\n{shown}"
            assert code == 0 or (code == 1 and shown), f"$ {command}\nends with {code}:\n{printed}"

    def _command(self, command: str) -> tuple[int, str]:
        words = shlex.split(command, comments=True)
        if words[:1] == ["pip"] or words[:3] == ["python", "-m", "pip"]:
            return self._pip(words)
        if words[:1] == ["celery"] and set(words) & {"beat", "worker"}:
            return self._service(words)
        if words[:4] == ["celery", "-A", "proj", "redlock"] and "--follow" in words:
            return self._follower(words)
        if words[:4] == ["celery", "-A", "proj", "redlock"] and not set(words) & {"|", ">", "<", "&&"}:
            return self._verb(words[1:])
        return self._shell(command)

    def _pip(self, words: list[str]) -> tuple[int, str]:
        """Nothing is installed: what the page names is one of ours, with extras that there are."""
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
        for word in words:
            if found := re.fullmatch(r"(?:redlock-beat|\.)\[([a-z,]+)\]", word):
                assert set(found[1].split(",")) <= set(extras), word
        return 0, ""

    def _verb(self, words: list[str]) -> tuple[int, str]:
        """A verb, as Celery drives it, in this process, where it starts at once; what it asks is answered with yes."""
        from celery.bin.celery import celery
        from click.testing import CliRunner

        got = CliRunner().invoke(celery, words, input="y\n", catch_exceptions=False, prog_name="celery")
        return got.exit_code, got.output

    def _service(self, words: list[str]) -> tuple[int, str]:
        """A beat or a worker runs until the page ends; the page goes on when it is ready."""
        beat = "beat" in words and "worker" not in words
        ours = "redbeat.RedBeatScheduler" not in words
        log = self.folder / f"process-{len(self.processes)}.log"
        if "-l" not in words:
            words = [*words, "-l", "info"]
        if beat:
            words = [*words, f"--pidfile={log}.pid", "-s", str(log) + ".schedule"]
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", *words],
                cwd=self.folder,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=self._env(),
                start_new_session=True,
            )
        self.processes.append(process)
        ready = ("This beat " if ours else "beat: Starting") if beat else " ready."

        def is_ready() -> bool:
            assert process.poll() is None, log.read_text()
            return ready in log.read_text()

        eventually(is_ready, "it is ready")
        if beat and ours:
            eventually(lambda: self.server.client().keys("*:lease"), "one leads")
        return 0, log.read_text()

    def _follower(self, words: list[str]) -> tuple[int, str]:
        """What goes on until it is interrupted is interrupted when it waits for news."""
        process = subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._env(),
            start_new_session=True,
            preexec_fn=hear_ctrl_c,
            text=True,
        )
        self.processes.append(process)
        client = self.server.client()
        eventually(lambda: process.poll() is not None or client.info("clients")["blocked_clients"], "it follows")
        process.send_signal(signal.SIGINT)
        printed = process.communicate(timeout=60)[0]
        return 0 if "Traceback" not in printed else process.returncode, printed

    def _shell(self, command: str) -> tuple[int, str]:
        got = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self._env(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        return got.returncode, got.stdout

    def _env(self) -> dict[str, str]:
        paths = [str(self.folder), str(ROOT), os.environ.get("PYTHONPATH", "")]
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "PATH": path,
            "TMPDIR": str(self.folder),
            "COLUMNS": "120",
        }


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Each command of a block, with what the page shows below it."""
    parts = re.split(r"^\$ ", text, flags=re.MULTILINE)
    assert not parts[0].strip(), f"a console block begins with a command ($ ...), not with {parts[0]!r}"
    for part in parts[1:]:
        command, _, shown = re.sub(r"\\\n\s*", "", part).partition("\n")
        yield command.strip(), shown.strip()


def same(shown: str, printed: str) -> bool:
    """Whether a page shows what was printed; numbers, ids and the width of columns do not count."""
    for pattern, word in _CHANGES:
        shown, printed = pattern.sub(word, shown), pattern.sub(word, printed)
    return OutputChecker().check_output(shown.strip() + "\n", printed.strip() + "\n", ELLIPSIS | NORMALIZE_WHITESPACE)
