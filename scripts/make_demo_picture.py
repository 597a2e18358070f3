"""Makes docs/figures/demo.svg: what ``redlock-beat demo`` shows when two leaders are lost: one killed, one frozen.

``python scripts/make_demo_picture.py`` needs the extra ``demo``. It runs the demo for half a minute, and draws the
terminal as it is then.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI

from redlock_beat.demo.actions import Actions
from redlock_beat.demo.processes import Plan, Processes
from redlock_beat.demo.screen import picture
from redlock_beat.demo.watch import Watch

PICTURE = Path(__file__).parents[1] / "docs" / "figures" / "demo.svg"
WIDTH, HEIGHT = 110, 34
#: Seconds that each thing may take, and that the demo runs before each harm: nobody judges a leader in the first five
#: seconds of a server.
PATIENCE, CALM = 60.0, 7.0


def said(actions: Actions, pattern: str) -> Callable[[], bool]:
    """Whether the notes say something."""
    return lambda: re.search(pattern, "\n".join(actions.said)) is not None


def until(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not check():
        if time.monotonic() > deadline:
            raise SystemExit("the demo does not come to where the picture is taken")
        time.sleep(0.05)


def play(actions: Actions) -> None:
    """Kill the leader, and freeze the one that takes over."""
    actions.harm(actions.begin)
    until(said(actions, "stand by"))
    time.sleep(CALM)
    actions.harm(actions.kill_leader)
    until(said(actions, r"leads \d+ ms later"))
    actions.edit(actions.add_entry)
    until(said(actions, "started anew"))
    time.sleep(CALM)
    actions.harm(actions.freeze_leader)
    until(said(actions, r"(?s)SIGSTOP.*leads .* later"))
    time.sleep(1)


def draw(actions: Actions) -> str:
    """The terminal as an SVG, without fonts that a browser would have to ask another site for."""
    console = Console(record=True, width=WIDTH, height=HEIGHT, file=io.StringIO(), force_terminal=True)
    console.print(picture(actions), height=HEIGHT)
    svg = console.export_svg(title="redlock-beat demo", theme=MONOKAI)
    svg = re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    return svg.replace("Fira Code, monospace", "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace")


def main() -> None:
    with Processes(Plan()) as processes:
        watch = Watch(processes.url)
        try:
            actions = Actions(processes, watch)
            play(actions)
            if watch.numbers.twice:
                raise SystemExit(f"{watch.numbers.twice} messages were sent twice")
            PICTURE.write_text(draw(actions), "utf-8")
        finally:
            watch.close()


if __name__ == "__main__":
    main()
