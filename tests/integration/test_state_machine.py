"""Several beats on one real server, edits, faults and crashes between any two steps.

The invariant: each occurrence is in the queue exactly once, or accounted for in the ledger by its
policy; never twice.
"""

from __future__ import annotations

import collections
import contextlib
import os
import threading
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
from redlock_beat.beat.replica import Replica
from redlock_beat.errors import Deposed
from redlock_beat.store.client import TROUBLE
from redlock_beat.store.keys import Keys
from redlock_beat.store.pipeline import Wire
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
        #: What stood there when it lost its term without knowing.
        self.deposed_at: tuple[Any, ...] | None = None
        store = beat.parts.store
        run, outer = store._run, self
        store._run = lambda name, keys, args: self.step(lambda: run(name, keys, args), lambda: None)  # type: ignore[method-assign]

        class FaultyWire(Wire):
            """The quick way's connection, with the same faults."""

            def send(self, *commands: bytes) -> None:
                def drain() -> None:
                    for _ in range(self.waiting):
                        self._connection.read_response()

                outer.step(lambda: super(FaultyWire, self).send(*commands), drain)

        beat.parts.dispatcher.express.wire = FaultyWire

    def step(self, act: Any, arrive: Any) -> Any:
        """One script or more; *arrive* waits until they have run."""
        if threading.current_thread() is not threading.main_thread():
            return act()  # the publisher's
        if self.count != 0:
            self.count -= 1
            return act()
        self.count = -1
        if self.how == "dies before":
            raise Crash
        if self.how == "another acts first":
            return self.raced(act)
        act()
        arrive()
        if self.how == "dies after":
            raise Crash
        raise ConnectionError("the reply is lost")

    def raced(self, act: Any) -> Any:
        """Somebody acts between two scripts of this beat. If that took its term, it must write nothing any more."""
        term = self.beat.term
        self.meanwhile()
        client = self.beat.scheduler.target.client()
        held = client.get(K.lease)
        if term is not None and held and not held.startswith(f"{self.beat.parts.lease.token} {term.epoch} "):
            self.deposed_at = written(client)
        client.close()
        return act()


def written(client: Any) -> tuple[Any, ...]:
    """What a beat writes when it sends. What a broker has accepted is noted by whoever it accepted it from."""
    noted = [row for row in ledger(client) if not row.get("id")]
    return len(noted), client.hgetall(K.state), client.llen("celery")


class Beats(RuleBasedStateMachine):
    server: Any
    #: Where messages go: to the same server, or by the outbox to another.
    broker: Any

    def __init__(self) -> None:
        super().__init__()
        self.client = self.server.client()
        self.client.flushall()
        self.queue = self.broker.client()
        self.queue.flushall()
        self.schedule = Schedule.from_url(self.server.url())
        self.beats: list[tuple[Beat, Faulty]] = []
        self.plain: set[str] = set()  # entries whose every slot can be counted
        self.triggered: set[str] = set()
        self.removed: set[str] = set()
        self.revisions: dict[str, int] = {}

    def new_beat(self) -> tuple[Beat, Faulty]:
        app = make_app(
            self.broker.url(), redlock_beat_url=self.server.url(), redlock_beat_ledger_size=1_000_000,
            redlock_beat_batch_size=3,
        )  # fmt: skip
        beat = Beat(app)
        beat.scheduler.build().prepare()
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
            act(beat.replica)
        except Crash:
            beat.crash()
            self.beats[which] = self.new_beat()
        except Deposed:
            beat.replica.stand_down()
        except TROUBLE:
            beat.parts.broker.doubt()

    @rule(which=st.integers(0, 2))
    def stand_for_election(self, which: int) -> None:
        def act(replica: Replica) -> None:
            if replica.leader is None:
                term = replica.parts.lease.acquire()
                if term is not None:
                    replica.lead(term)

        self.step(which, act)

    def leader(self, which: int) -> int:
        """A beat that believes it leads; *which* stands for election if there is none."""
        for one in (which, (which + 1) % 3, (which + 2) % 3):
            if self.beats[one][0].term is not None:
                return one
        self.client.delete(K.lease)
        self.stand_for_election(which)
        return which

    @rule(which=st.integers(0, 2), turns=st.integers(1, 3))
    def lead(self, which: int, turns: int) -> None:
        self.take_turns(self.leader(which), turns)

    @rule(which=st.integers(0, 2), count=st.integers(1, 2), edit=st.sampled_from(["none", "update", "resume"]),
          turns=st.integers(0, 2))  # fmt: skip
    def a_race(self, which: int, count: int, edit: str, turns: int) -> None:
        """Something is due, the leader looks, somebody else acts, the leader commits."""
        which = self.leader(which)
        self.take_turns(which, 3)
        due = self.schedule._store.now() + round(EVERY * 1e6)
        while self.schedule._store.now() <= due:
            pass
        self.something_will_go_wrong(which, count, "another acts first", edit, turns)
        fault = self.beats[which][1]
        fault.deposed_at = None
        self.take_turns(which, 1)
        assert fault.deposed_at in (None, written(self.client)), "it wrote without its term"

    @rule(which=st.integers(0, 2), turns=st.integers(1, 3))
    def take_turns(self, which: int, turns: int) -> None:
        def act(replica: Replica) -> None:
            for _ in range(turns):
                leader = replica.leader
                if leader is not None:
                    assert leader.broker.known(10), "the broker answers, so which way messages go is known"
                    if not leader.begun:
                        leader.begin()
                    leader.dispatcher.turn(leader.term)

        self.step(which, act)

    @rule(which=st.integers(0, 2), count=st.integers(0, 6), how=st.sampled_from(FAULTS),
          edit=st.sampled_from(["none", "update", "resume"]), turns=st.integers(0, 2))  # fmt: skip
    def something_will_go_wrong(self, which: int, count: int, how: str, edit: str, turns: int) -> None:
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
                self.take_turns(other, turns)

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
            self.revisions[f"e{i}"] = self.schedule.update(f"e{i}", args=(value,)).revision

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
        if self.broker is not self.server:
            return  # it is on its way; see at the end
        ids = collections.Counter(one["headers"]["id"] for one in messages(self.queue))
        assert not ids or max(ids.values()) == 1
        sent = [row["id"] for row in ledger(self.client, "sent")]
        assert sorted(sent) == sorted(ids)

    @invariant()
    def no_edit_is_undone(self) -> None:
        for name, revision in self.revisions.items():
            state = self.client.hget(K.state, name)
            assert state is None or int(state.split(" ")[1]) >= revision, name

    def teardown(self) -> None:
        for beat, fault in self.beats:
            fault.count = -1
            beat.close()
        # Another beat settles what is left.
        if self.beats:
            self.client.delete(K.lease)
            last, _ = self.new_beat()
            last.until(lambda: last.begun and self.client.zcard(K.manual) == 0 and self.client.hlen(K.outbox) == 0)
            last.close()
            self.nothing_is_sent_twice_and_all_is_in_the_ledger()
            self.what_was_claimed_was_published()
            self.every_slot_is_accounted_for()
            assert self.client.hgetall(K.quarantine) == {}
            manual = {row["id"] for row in ledger(self.client, "sent") if row.get("how") == "trigger"}
            if "e2" not in self.removed:
                assert manual == self.triggered  # an edit that returned has taken effect, once
        self.schedule.close()

    def what_was_claimed_was_published(self) -> None:
        """Through an outbox a message may come twice when its publisher dies, with the same id; it is noted once."""
        sent = [row["id"] for row in ledger(self.client, "sent")]
        assert len(sent) == len(set(sent))
        assert set(sent) == {one["headers"]["id"] for one in messages(self.queue)}

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


@pytest.mark.parametrize(
    ("kind", "broker"), [("valkey", "valkey"), ("redis", "redis"), ("valkey", "redis6")],
    ids=["valkey", "redis", "by the outbox"],
)  # fmt: skip
def test_several_beats_edits_faults_and_crashes(kind, broker, way):
    from tests.conftest import _server

    machine = type("Machine", (Beats,), {"server": _server(kind), "broker": _server(broker)})
    many = int(os.environ.get("REDLOCK_BEAT_EXAMPLES", "60" if kind == broker else "30"))
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=many, stateful_step_count=25, deadline=None, derandomize=bool(os.environ.get("CI")),
            suppress_health_check=list(HealthCheck), phases=[Phase.generate], database=None,
        ),
    )  # fmt: skip
