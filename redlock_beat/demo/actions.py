"""What one can do to the demo: kill, freeze, restart, edit."""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable

from ..errors import RedlockBeatError
from .processes import KEPT_DOWN, Beat, Processes
from .watch import KEPT, Watch

#: Seconds to wait for a new leader before saying that there is none.
PATIENCE = 30.0
ADDED = "added-{}"


class Actions:
    """Carries out what the keys say, each in a thread of its own, and says what came of it.

    >>> actions = Actions(processes, watch, say=print)   # doctest: +SKIP
    >>> actions.kill_leader()                            # doctest: +SKIP
    """

    def __init__(self, processes: Processes, watch: Watch, say: Callable[[str], None] | None = None) -> None:
        self.processes = processes
        self.watch = watch
        #: What happened, newest last.
        self.said: deque[str] = deque(maxlen=KEPT)
        self._say = say
        self._number = itertools.count(1)
        #: Only one harm at a time, so that what is measured is its own.
        self._harm = threading.Lock()
        self._edits = threading.Lock()

    def say(self, words: str) -> None:
        """Note what happened."""
        self.said.append(f"{time.strftime('%H:%M:%S')} {words}")
        if self._say is not None:
            self._say(words)

    def harm(self, action: Callable[[], object]) -> None:
        """Carry out an action that does harm, without waiting for it; none begins while another is under way."""
        if self._harm.acquire(blocking=False):
            self._in_background(action, self._harm)
        else:
            self.say("One thing at a time: the last one is still under way.")

    def edit(self, action: Callable[[], object]) -> None:
        """Carry out an edit, without waiting for it, after those before it."""

        def in_turn() -> None:
            with self._edits:
                action()

        self._in_background(in_turn)

    def _in_background(self, action: Callable[[], object], held: threading.Lock | None = None) -> None:
        def carry_out() -> None:
            try:
                action()
            except (RedlockBeatError, OSError) as exc:
                self.say(f"That did not work: {exc}")
            finally:
                if held is not None:
                    held.release()

        threading.Thread(target=carry_out, name="redlock-beat-demo-action", daemon=True).start()

    def begin(self) -> bool:
        """Look, and look after the beats, from now on; whether one of them comes to lead."""
        self.watch.start()
        threading.Thread(target=self._look_after, name="redlock-beat-demo-care", daemon=True).start()
        first = self.watch.await_leader(None, PATIENCE, lambda: self.processes.all_ended)
        if first is None:
            words = "\n".join(
                f"beat {one.number}: {self.processes.last_words(one, 1000)}" for one in self.processes.beats
            )
            self.say(f"No beat came to lead. What they said last:\n{words}")
            return False
        self.say(f"Process {first.leader.rpartition(':')[2]} leads; the others stand by.")
        return True

    def _look_after(self) -> None:
        while not self.watch.done.wait(0.1):
            for words in self.processes.look_after():
                self.say(words[0].upper() + words[1:] + ".")

    def leading(self) -> Beat | None:
        """The beat that leads, if one of ours does."""
        leader = self.watch.leader or ""
        return next((beat for beat in self.processes.beats if leader.endswith(f":{beat.pid}")), None)

    def kill_leader(self) -> None:
        """SIGKILL the leader, and measure the takeover."""
        beat, before = self.leading(), self.watch.leader
        if beat is None:
            self.say("Nobody leads at this moment.")
            return
        self.say(f"Killing beat {beat.number}, process {beat.pid}, the leader (SIGKILL).")
        self.processes.kill(beat)
        self._say_takeover(before)

    def freeze_leader(self) -> None:
        """SIGSTOP the leader; thaw all instead when one is frozen."""
        frozen = [beat for beat in self.processes.beats if beat.frozen_until is not None]
        if frozen:
            for one in frozen:
                self.processes.thaw(one)
                self.say(f"Beat {one.number} goes on (SIGCONT). It finds that it was deposed, and stands by.")
            return
        beat, before = self.leading(), self.watch.leader
        if beat is None:
            self.say("Nobody leads at this moment.")
            return
        self.say(f"Freezing beat {beat.number}, process {beat.pid}, the leader (SIGSTOP): its connections stay open.")
        self.processes.freeze(beat)
        self._say_takeover(before)

    def restart_redis(self) -> None:
        """Stop the server for a moment, and start it with its data."""
        self.say(f"Stopping the server for {KEPT_DOWN:.0f} s.")
        self.processes.stop_server()
        time.sleep(KEPT_DOWN)
        self.processes.start_server()
        back = time.monotonic()
        if self.watch.await_sent(1, PATIENCE) is None:
            self.say("The server is back, and nothing is sent yet.")
        else:
            self.say(f"The server is back; the first message is sent {_span(time.monotonic() - back)} later.")

    def add_entry(self) -> None:
        """Add an entry that runs every two seconds."""
        name = ADDED.format(next(self._number))
        task, args = "demo.hello", (2,)
        if self.processes.plan.own is not None:  # one like an entry of the user's
            like = next((entry for entry in self.watch.schedule if not entry.task.startswith("celery.")), None)
            if like is None:
                self.say("Your app has no entry yet, so there is none to copy.")
                return
            task, args = like.task, like.args
        self.watch.schedule.add(name, task, 2.0, args=args)
        self.say(f"{name} is added: {task} every two seconds.")

    def pause_or_resume(self) -> None:
        """Pause the first entry that is not, or resume all when all are paused."""
        entries = sorted(self.watch.schedule, key=lambda entry: entry.name)
        running = [entry for entry in entries if entry.enabled]
        paused = [entry for entry in entries if not entry.enabled]
        if paused and (len(paused) > 1 or not running):
            for entry in paused:
                self.watch.schedule.resume(entry.name)
            self.say(f"{len(paused)} entries are resumed.")
        elif running:
            self.watch.schedule.pause(running[0].name, note="paused in the demo")
            self.say(f"{running[0].name} is paused. One more is paused next, and then all are resumed.")

    def _say_takeover(self, before: str | None) -> None:
        takeover = self.watch.await_leader(before, PATIENCE)
        if takeover is None:
            self.say(f"Nobody leads after {PATIENCE:.0f} s.")
            return
        pid = takeover.leader.rpartition(":")[2]
        number = next((str(beat.number) for beat in self.processes.beats if str(beat.pid) == pid), "?")
        self.say(f"Beat {number}, process {pid}, leads {_span(takeover.seconds)} later.")


def _span(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 2 else f"{seconds:.1f} s"
