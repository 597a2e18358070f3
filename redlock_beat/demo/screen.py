"""The demo on a terminal: a picture that is drawn anew ten times a second, and keys."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator

from rich.console import Console, Group
from rich.layout import Layout
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ..clock import micros
from ..schedule.answers import LedgerRow
from .actions import Actions
from .plain import summary
from .processes import Beat, Processes
from .watch import Watch

KEYS = (
    ("k", "kill the leader"),
    ("f", "freeze or thaw it"),
    ("r", "restart Redis"),
    ("a", "add an entry"),
    ("p", "pause one"),
    ("q", "end"),
)
#: What became of an occurrence or a run -> its colour.
COLOURS = {
    "sent": "cyan",
    "succeeded": "green",
    "failed": "red",
    "missed": "yellow",
    "skipped": "yellow",
    "lost": "red",
}


def show(processes: Processes, seconds: float | None) -> int:
    """Show what happens until `q` or for so many seconds; 0 when nothing came twice."""
    watch = Watch(processes.url)
    actions = Actions(processes, watch)
    actions.say(f"An embedded Valkey at {processes.url}; {len(processes.beats)} beats are starting.")
    console = Console()
    deadline = None if seconds is None else time.monotonic() + seconds
    try:
        with _keys() as pressed, Live(console=console, screen=True, auto_refresh=False) as live:
            actions.harm(actions.begin)
            while deadline is None or time.monotonic() < deadline:
                live.update(picture(actions), refresh=True)
                if not _act(pressed(0.1), actions):
                    break
    except KeyboardInterrupt:
        pass
    finally:
        watch.close()
    console.print(summary(watch), highlight=False, soft_wrap=True)
    return 1 if watch.numbers.twice else 0


def _act(key: str, actions: Actions) -> bool:
    """Do what a key says; False to end."""
    harms = {"k": actions.kill_leader, "f": actions.freeze_leader, "r": actions.restart_redis}
    edits = {"a": actions.add_entry, "p": actions.pause_or_resume}
    if key in harms:
        actions.harm(harms[key])
    if key in edits:
        actions.edit(edits[key])
    return key not in ("q", "\x04")


@contextlib.contextmanager
def _keys() -> Iterator[_Pressed]:
    """Keys as they are pressed, without Enter; the terminal is as before when the block ends."""
    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)
    tty.setcbreak(number)
    try:
        yield _Pressed()
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)


class _Pressed:
    def __call__(self, seconds: float) -> str:
        """The key that is pressed within so many seconds, or ''."""
        number = sys.stdin.fileno()
        if not select.select([number], [], [], seconds)[0]:
            return ""
        # Not by sys.stdin, which may take more than it gives; nothing means that the terminal is gone.
        return os.read(number, 1).decode(errors="replace").lower() or "q"


def picture(actions: Actions) -> Layout:
    """What the terminal shows at this moment."""
    layout = Layout()
    layout.split_column(
        Layout(name="top", size=len(actions.processes.beats) + 5), Layout(name="middle"), Layout(name="bottom", size=12)
    )
    layout["top"].split_row(Layout(_beats(actions), ratio=3), Layout(_numbers(actions.watch), ratio=2))
    layout["middle"].split_row(Layout(_ledger(actions.watch), ratio=3), Layout(_coming(actions.watch), ratio=2))
    layout["bottom"].update(Group(_said(actions), _help(actions)))
    return layout


def _beats(actions: Actions) -> Panel:
    table = Table(expand=True, box=None)
    for title in ("beat", "process", "what it does"):
        table.add_column(title)
    leading = actions.leading()
    for beat in actions.processes.beats:
        table.add_row(str(beat.number), str(beat.pid), _role(beat, beat is leading))
    trouble = actions.watch.trouble
    title = f"term {actions.watch.epoch}" if trouble is None else "[red]Redis does not answer"
    return Panel(table, title=f"Beats: {title}", border_style="green" if leading and trouble is None else "red")


def _role(beat: Beat, leads: bool) -> Text:
    if beat.back_at is not None:
        return Text("killed, comes back in a moment", "red")
    if beat.frozen_until is not None:
        return Text(f"frozen for {max(0, beat.frozen_until - time.monotonic()):.0f} s more", "blue")
    return Text("LEADS", "bold green") if leads else Text("stands by", "dim")


def _numbers(watch: Watch) -> Panel:
    numbers = watch.numbers
    late = [numbers.late(0.5), numbers.late(0.99)]
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_row("sent", str(numbers.sent))
    table.add_row("late p50, p99", ", ".join(f"{one * 1000:.0f} ms" for one in late if one is not None) or "-")
    table.add_row(
        "runs", ", ".join(f"{many} {what}" for what, many in sorted(numbers.outcomes.items())) or str(numbers.runs)
    )
    table.add_row("longest pause", f"{numbers.pause:.2f} s")
    table.add_row("sent twice", Text(str(numbers.twice), "bold green" if not numbers.twice else "bold red"))
    return Panel(table, title="So far")


def _ledger(watch: Watch) -> Panel:
    table = Table(expand=True, box=None)
    for title in ("at", "", "entry", "late", "took"):
        table.add_column(title, no_wrap=True)
    for row in list(watch.rows)[:-40:-1]:
        table.add_row(*_cells(row))
    return Panel(table, title="What happens")


def _cells(row: LedgerRow) -> tuple[str | Text, ...]:
    what = row.outcome or row.what
    late = "" if row.what == "ran" or row.lateness is None else f"{row.lateness * 1000:.0f} ms"
    took = "" if row.took is None else f"{row.took * 1000:.0f} ms"
    return row.at.astimezone().strftime("%H:%M:%S"), Text(what, COLOURS.get(what, "")), Text(row.entry), late, took


def _coming(watch: Watch) -> Panel:
    table = Table(expand=True, box=None)
    for title in ("in", "entry"):
        table.add_column(title, no_wrap=True)
    now = time.time()
    for slot in list(watch.coming):
        table.add_row(f"{max(0.0, micros(slot.nominal) / 1e6 - now):.1f} s", Text(slot.name))
    return Panel(table, title=f"Next, of {watch.entries} entries")


def _said(actions: Actions) -> Panel:
    return Panel(Text("\n".join(list(actions.said)[-7:]), no_wrap=True, overflow="ellipsis"), title="Notes", height=9)


def _help(actions: Actions) -> Text:
    line = Text.assemble(*(part for key, what in KEYS for part in ((f" {key} ", "reverse"), (f" {what}  ", ""))))
    if page := actions.processes.page_url():
        line.append(f"\n The page: {page}")
    return line
