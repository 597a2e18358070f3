"""Several beats on one real server, edits, faults and crashes between any two steps.

The invariant: each occurrence is in the queue exactly once, or accounted for in the ledger by its
policy; never twice.
"""

from __future__ import annotations

import collections
import contextlib
import os
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from redlock_beat import NoSuchEntry, Schedule
from redlock_beat.connection import TROUBLE
from redlock_beat.errors import Deposed
from redlock_beat.keys import Keys
from tests.beats import Beat, ledger, make_app, messages

K = Keys("redlock-beat")
EVERY = 0.02


FAULTS = ["dies before", "dies after", "loses", "another acts first", "another acts first"]


class Crash(BaseException):
    """The process dies here."""


class Faulty:
    """The store of one beat: dies before or after the nth script from now, or loses its reply."""

    def __init__(self, beat: Beat) -> None:
        self.beat = beat
        self.count = -1
        self.how = ""
        self.meanwhile: Any = None
        store = beat.scheduler.store
        run = store._run

        def faulty(name: str, keys: Any, args: Any) -> Any:
            if self.count == 0:
                self.count = -1
                if self.how == "dies before":
                    raise Crash
                if self.how == "another acts first":
                    self.meanwhile()
                    return run(name, keys, args)
                run(name, keys, args)
                if self.how == "dies after":
                    raise Crash
                raise ConnectionError(f"the reply of {name} is lost")
            self.count -= 1
            return run(name, keys, args)

        store._run = faulty  # type: ignore[method-assign]


class Beats(RuleBasedStateMachine):
    server: Any

    def __init__(self) -> None:
        super().__init__()
        self.client = self.server.client()
        self.client.flushall()
        self.schedule = Schedule.from_url(self.server.url())
        self.beats: list[tuple[Beat, Faulty]] = []
        self.plain: set[str] = set()  # entries whose every slot can be counted
        self.triggered: set[str] = set()
        self.removed: set[str] = set()

    def new_beat(self) -> tuple[Beat, Faulty]:
        app = make_app(self.server.url(), redlock_beat_ledger_size=1_000_000, redlock_beat_batch_size=3)
        beat = Beat(app)
        beat.scheduler._prepare()
        return beat, Faulty(beat)

    @initialize()
    def start(self) -> None:
        self.beats = [self.new_beat() for _ in range(3)]
        for i, missed in enumerate(("once", "all", "skip")):
            self.schedule.add(f"e{i}", "t", EVERY, missed=missed)
            self.plain.add(f"e{i}")

    def step(self, which: int, act: Any) -> None:
        beat, _ = self.beats[which]
        try:
            act(beat.scheduler)
        except Crash:
            beat.scheduler._ticking = False
            beat.crash()
            self.beats[which] = self.new_beat()
        except Deposed:
            beat.scheduler._demoted()
        except TROUBLE:
            beat.scheduler._generation += 1

    @rule(which=st.integers(0, 2))
    def stand_for_election(self, which: int) -> None:
        def act(scheduler: Any) -> None:
            if scheduler._term is None:
                term = scheduler.lease.acquire()
                if term is not None:
                    scheduler._promoted(term, "")

        self.step(which, act)

    @rule(which=st.integers(0, 2), turns=st.integers(1, 3))
    def take_turns(self, which: int, turns: int) -> None:
        def act(scheduler: Any) -> None:
            for _ in range(turns):
                if scheduler._term is not None:
                    scheduler._prove()
                    if not scheduler._begun:
                        scheduler._begin(scheduler._term)
                    scheduler.dispatcher.turn(scheduler._term)

        self.step(which, act)

    @rule(which=st.integers(0, 2), count=st.integers(0, 6), how=st.sampled_from(FAULTS),
          edit=st.sampled_from(["none", "update", "resume"]))  # fmt: skip
    def something_will_go_wrong(self, which: int, count: int, how: str, edit: str) -> None:
        fault = self.beats[which][1]
        fault.count, fault.how = count, how

        def meanwhile() -> None:
            # Between two scripts of this beat another takes the term and sends, or somebody edits.
            if edit == "update":
                self.edit_arguments(0, count)
            elif edit == "resume":
                self.pause_and_resume(1)
            else:
                self.client.delete(K.lease)
                other = (which + 1) % 3
                self.beats[other][1].count = -1
                self.stand_for_election(other)
                self.take_turns(other, 2)

        fault.meanwhile = meanwhile

    @rule()
    def the_lease_expires(self) -> None:
        self.client.delete(K.lease)

    @rule(which=st.integers(0, 2))
    def a_clean_stop(self, which: int) -> None:
        self.beats[which][1].count = -1
        self.beats[which][0].close()
        self.beats[which] = self.new_beat()

    @rule(i=st.integers(0, 2), value=st.integers())
    def edit_arguments(self, i: int, value: int) -> None:
        with contextlib.suppress(NoSuchEntry):
            self.schedule.update(f"e{i}", args=(value,))

    @rule(i=st.integers(0, 2))
    def trigger(self, i: int) -> None:
        with contextlib.suppress(NoSuchEntry):
            self.triggered.add(self.schedule.trigger(f"e{i}"))

    @rule(i=st.integers(0, 2))
    def pause_and_resume(self, i: int) -> None:
        with contextlib.suppress(NoSuchEntry):
            self.schedule.pause(f"e{i}")
            self.schedule.resume(f"e{i}")
            self.plain.discard(f"e{i}")

    @rule(i=st.integers(0, 2))
    def change_the_schedule(self, i: int) -> None:
        with contextlib.suppress(NoSuchEntry):
            self.schedule.update(f"e{i}", when=EVERY * 2)
            self.plain.discard(f"e{i}")

    @precondition(lambda self: "e2" not in self.removed)
    @rule()
    def remove(self) -> None:
        self.schedule.remove("e2")
        self.removed.add("e2")
        self.plain.discard("e2")

    @rule()
    def scripts_are_flushed(self) -> None:
        self.client.script_flush()

    @rule()
    def connections_are_cut(self) -> None:
        self.client.client_kill_filter(_type="normal", skipme=True)

    @invariant()
    def nothing_is_sent_twice_and_all_is_in_the_ledger(self) -> None:
        ids = collections.Counter(one["headers"]["id"] for one in messages(self.client))
        assert not ids or max(ids.values()) == 1
        sent = [row["id"] for row in ledger(self.client, "sent")]
        assert sorted(sent) == sorted(ids)

    def teardown(self) -> None:
        for beat, fault in self.beats:
            fault.count = -1
            beat.close()
        # Another beat settles what is left.
        if self.beats:
            self.client.delete(K.lease)
            last, _ = self.new_beat()
            last.until(lambda: last.scheduler._begun and self.client.zcard(K.manual) == 0)
            last.close()
            self.nothing_is_sent_twice_and_all_is_in_the_ledger()
            self.every_slot_is_accounted_for()
            assert self.client.hgetall(K.quarantine) == {}
            manual = {row["id"] for row in ledger(self.client, "sent") if row.get("how") == "trigger"}
            if "e2" not in self.removed:
                assert manual == self.triggered  # an edit that returned has taken effect, once
        self.schedule.close()

    def every_slot_is_accounted_for(self) -> None:
        step = round(EVERY * 1e6)
        for name in self.plain:
            entry = self.schedule[name]
            slots: collections.Counter[int] = collections.Counter()
            for row in ledger(self.client):
                if row.get("entry") != name or row.get("how"):
                    continue
                if row["is"] == "sent":
                    slots[int(row["nominal"])] += 1
                elif row["is"] == "missed":
                    slots.update(range(int(row["from"]), int(row["to"]) + 1, step))
            expected = range(entry.anchor + step, entry.state.nominal, step)
            assert slots == collections.Counter(expected), name


@pytest.mark.parametrize("kind", ["valkey", "redis"])
def test_several_beats_edits_faults_and_crashes(kind, request):
    from tests.conftest import _server

    machine = type("Machine", (Beats,), {"server": _server(kind)})
    many = int(os.environ.get("REDLOCK_BEAT_EXAMPLES", "60"))
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=many, stateful_step_count=25, deadline=None, derandomize=bool(os.environ.get("CI")),
            suppress_health_check=list(HealthCheck), phases=[Phase.generate], database=None,
        ),
    )  # fmt: skip
