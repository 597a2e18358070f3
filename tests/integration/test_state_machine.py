"""Several beats on one real server, edits, faults and crashes between any two steps.

The invariant: each occurrence is in the queue exactly once, or accounted for in the ledger by its
policy; never twice. While everything is held nothing is sent.
"""

from __future__ import annotations

import collections
import contextlib
import os
import threading
from datetime import timedelta
from functools import partial
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

from redlock_beat import Entry, InvalidSchedule, NoSuchEntry, Schedule
from redlock_beat.beat.replica import Replica
from redlock_beat.clock import micros
from redlock_beat.errors import Deposed, OnHold
from redlock_beat.store.client import TROUBLE
from redlock_beat.store.keys import Keys
from redlock_beat.store.pipeline import Pipeline
from redlock_beat.store.requests import Request
from tests.beats import Beat, comes, ledger, make_app, messages
from tests.servers import eventually, shared

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
        self.source = ""
        self.meanwhile: Any = None
        #: What stood there when it lost its term without knowing.
        self.deposed_at: tuple[Any, ...] | None = None
        store = beat.parts.store
        run, outer = store.run, self

        def faulty(request: Request[Any]) -> Any:
            return self.step(lambda: run(request), lambda: None) if request.script else run(request)

        store.run = faulty  # type: ignore[method-assign]

        class FaultyPipeline(Pipeline):
            """The quick way's connection, with the same faults."""

            def send(self, *commands: bytes) -> None:
                def drain() -> None:
                    while self.waiting:
                        with contextlib.suppress(Exception):  # whatever the answer is, the script has run
                            self.read()

                outer.step(lambda: super(FaultyPipeline, self).send(*commands), drain)

        beat.parts.dispatcher.commits.pipeline = FaultyPipeline

    def step(self, act: Any, arrive: Any) -> Any:
        """One script or more; *arrive* waits until they have run."""
        if threading.current_thread() is not threading.main_thread():
            return act()  # the publisher's
        if self.count != 0:
            self.count -= 1
            return act()
        self.count = -1
        if self.source == "dies before":
            raise Crash
        if self.source == "another acts first":
            return self.raced(act)
        act()
        arrive()
        if self.source == "dies after":
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


def passed(client: Any) -> int:
    """How many occurrences have been sent or claimed; publishing what was claimed leaves it as it is."""
    with client.pipeline() as pipe:
        pipe.xrange(K.ledger)
        pipe.hlen(K.outbox)
        rows, claimed = pipe.execute()
    return sum(row["is"] == "sent" for _, row in rows) + int(claimed)


EDITS, HOW = st.sampled_from(["none", "update", "resume", "hold", "skip"]), st.sampled_from(FAULTS)


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
        #: Three at most: each is made as it is first needed.
        self.beats: dict[int, tuple[Beat, Faulty]] = {}
        self.plain: set[str] = set()  # entries whose every slot can be counted
        self.triggered: dict[str, int | None] = {}  # by its id, the argument that it has for once
        self.removed: set[str] = set()
        self.revisions: dict[str, int] = {}
        #: The slots of plain entries that are to be skipped, and those of which nobody knows: their time came just as
        #: the skip was taken back.
        self.skipped: dict[str, set[int]] = collections.defaultdict(set)
        self.unsure: set[tuple[str, int]] = set()
        #: How many had been sent when everything was held; None while nothing is.
        self.held_at: int | None = None

    def beat(self, which: int) -> tuple[Beat, Faulty]:
        if which not in self.beats:
            self.beats[which] = self.new_beat()
        return self.beats[which]

    def new_beat(self) -> tuple[Beat, Faulty]:
        conf = {"redlock_beat_url": self.server.url(), "redlock_beat_ledger_size": 1_000_000}
        app = make_app(self.broker.url(), **conf)
        beat = Beat(app)
        beat.scheduler.build().prepare()
        return beat, Faulty(beat)

    @initialize()
    def start(self) -> None:
        for i, missed in enumerate(("once", "all", "skip")):
            self.schedule.add(f"e{i}", "t", EVERY, missed=missed)
            self.plain.add(f"e{i}")

    def step(self, which: int, act: Any) -> None:
        beat, _ = self.beat(which)
        try:
            act(beat.replica)
        except Crash:
            beat.crash()
            del self.beats[which]
        except Deposed:
            beat.replica.stand_down()
        except OnHold:
            pass
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
            if one in self.beats and self.beats[one][0].term is not None:
                return one
        self.client.delete(K.lease)
        self.stand_for_election(which)
        return which

    @rule(which=st.integers(0, 2), turns=st.integers(1, 3))
    def lead(self, which: int, turns: int) -> None:
        self.take_turns(self.leader(which), turns)

    @rule(which=st.integers(0, 2), count=st.integers(1, 2), edit=EDITS, turns=st.integers(0, 2))
    def a_race(self, which: int, count: int, edit: str, turns: int) -> None:
        """Something is due, the leader looks, somebody else acts, the leader commits."""
        self.release()
        which = self.leader(which)
        self.take_turns(which, 3)
        comes(self.schedule, micros(self.schedule.now()) + round(EVERY * 1e6))
        self.something_will_go_wrong(which, count, "another acts first", edit, turns)
        fault = self.beat(which)[1]
        fault.deposed_at = None
        self.take_turns(which, 1)
        assert fault.deposed_at in (None, written(self.client)), "it wrote without its term"

    @rule(which=st.integers(0, 2), turns=st.integers(1, 3))
    def take_turns(self, which: int, turns: int) -> None:
        def act(replica: Replica) -> None:
            for _ in range(turns):
                leader = replica.leader
                if leader is not None:
                    # A proof may be from before the last doubt, or its connection was cut: beat asks again.
                    eventually(partial(leader.broker.known, 1), "it is known which way messages go")
                    if not leader.begun:
                        leader.begin()
                    leader.dispatcher.turn(leader.term)

        self.step(which, act)

    @rule(which=st.integers(0, 2), count=st.integers(0, 6), how=HOW, edit=EDITS, turns=st.integers(0, 2))
    def something_will_go_wrong(self, which: int, count: int, how: str, edit: str, turns: int) -> None:
        fault = self.beat(which)[1]
        fault.count, fault.source = count, how

        def meanwhile() -> None:
            # Between two scripts of this beat another takes the term and sends, or somebody edits.
            if edit == "update":
                self.edit_arguments(0, count)
            elif edit == "resume":
                self.pause_and_resume(1)
            elif edit == "hold":
                self.hold()
            elif edit == "skip":
                self.skip(0, 1 + turns)
            else:
                self.client.delete(K.lease)
                other = (which + 1) % 3
                self.beat(other)[1].count = -1
                self.stand_for_election(other)
                self.take_turns(other, turns)

        fault.meanwhile = meanwhile

    @rule()
    def the_lease_expires(self) -> None:
        self.client.delete(K.lease)

    @rule(which=st.integers(0, 2))
    def a_clean_stop(self, which: int) -> None:
        if which in self.beats:
            beat, fault = self.beats.pop(which)
            fault.count = -1
            beat.close()

    @rule(i=st.integers(0, 2), value=st.integers(-1000, 1000))
    def edit_arguments(self, i: int, value: int) -> None:
        with contextlib.suppress(NoSuchEntry):
            self.revisions[f"e{i}"] = self.schedule.update(f"e{i}", args=(value,)).revision

    @rule(i=st.integers(0, 2), value=st.none() | st.integers(10**6, 10**7))
    def trigger(self, i: int, value: int | None) -> None:
        with contextlib.suppress(NoSuchEntry):
            self.triggered[self.schedule.trigger(f"e{i}", None if value is None else (value,))] = value

    @rule(i=st.integers(0, 2))
    def pause_for_a_moment(self, i: int) -> None:
        # On a busy machine that moment has gone by before the pause is made, and it is refused.
        with contextlib.suppress(NoSuchEntry, InvalidSchedule):
            self.schedule.pause(f"e{i}", until=self.schedule.now() + timedelta(seconds=EVERY))
            self.plain.discard(f"e{i}")

    @rule(i=st.integers(0, 2))
    def pause_and_resume(self, i: int) -> None:
        with contextlib.suppress(NoSuchEntry):
            self.schedule.pause(f"e{i}")
            self.schedule.resume(f"e{i}")
            self.plain.discard(f"e{i}")

    @rule(i=st.integers(0, 2), n=st.integers(0, 3))
    def skip(self, i: int, n: int) -> None:
        name = f"e{i}"
        with contextlib.suppress(NoSuchEntry):
            before = micros(self.schedule.now())
            entry = self.schedule.skip(name, n)
            after = micros(self.schedule.now())
            if name in self.plain:
                self.skips(entry, n, before, after)

    def skips(self, entry: Entry, n: int, before: int, after: int) -> None:
        """Those whose time has come stay skipped; in the place of the others are the next *n*."""
        step, known = round(EVERY * 1e6), self.skipped[entry.name]
        first = after + 1  # with 0, all that may still be taken back
        if n:
            assert entry.skip is not None
            first = entry.skip.last - (n - 1) * step
            assert before < first <= after + step, "it skips other slots than the next"
            known.update(range(first, entry.skip.last + 1, step))
            known.difference_update(range(entry.skip.last + step, max(known) + 1, step))
            return
        self.unsure.update((entry.name, slot) for slot in known if before < slot < first)
        known.difference_update([slot for slot in known if slot >= first])

    @rule()
    def hold(self) -> None:
        """Without waiting for a leader, which takes no turn meanwhile."""
        self.schedule.ask(self.schedule.operations.holding(None, None, None, None))
        if self.held_at is None:
            self.held_at = passed(self.client)

    @rule()
    def release(self) -> None:
        self.nothing_is_sent_while_all_is_held()
        self.held_at = None
        self.schedule.release()

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
    def nothing_is_sent_while_all_is_held(self) -> None:
        assert self.held_at in (None, passed(self.client)), "it sent what is held"

    @invariant()
    def no_edit_is_undone(self) -> None:
        for name, revision in self.revisions.items():
            state = self.client.hget(K.state, name)
            assert state is None or int(state.split(" ")[1]) >= revision, name

    def teardown(self) -> None:
        for beat, fault in self.beats.values():
            fault.count = -1
            beat.close()
        # Another beat settles what is left.
        if len(self.schedule):
            self.release()
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
                assert manual == set(self.triggered)  # an edit that returned has taken effect, once
            self.each_trigger_has_its_own_arguments()
        self.schedule.close()

    def what_was_claimed_was_published(self) -> None:
        """Through an outbox a message may come twice when its publisher dies, with the same id; it is noted once."""
        sent = [row["id"] for row in ledger(self.client, "sent")]
        assert len(sent) == len(set(sent))
        assert set(sent) == {one["headers"]["id"] for one in messages(self.queue)}

    def each_trigger_has_its_own_arguments(self) -> None:
        for one in messages(self.queue):
            said, value = one["headers"]["argsrepr"], self.triggered.get(one["headers"]["id"])
            known = {f"[{value}]" for value in self.triggered.values()}
            assert said == f"[{value}]" if value is not None else said not in known

    def every_slot_is_accounted_for(self) -> None:
        step = round(EVERY * 1e6)
        for name in self.plain:
            entry = self.schedule[name]
            slots: collections.Counter[int] = collections.Counter()
            skipped: set[int] = set()
            for row in ledger(self.client):
                if row.get("entry") != name or row.get("how") == "trigger":
                    continue
                first, last = (int(row.get(part, row.get("nominal", "0"))) for part in ("from", "to"))
                if row["is"] in ("sent", "missed", "skipped"):
                    slots.update(range(first, last + 1, step))
                if row["is"] == "skipped":
                    skipped.update(range(first, last + 1, step))
            expected = range(entry.anchor + step, entry.state.nominal, step)
            assert slots == collections.Counter(expected), name
            unsure = {slot for one, slot in self.unsure if one == name}
            assert skipped - unsure == self.skipped[name].intersection(expected) - unsure, name


#: Schedule, broker and how messages are made: each at least once, with the other in more than one company.
CASES = {
    "filled-redis": ("redis", "redis", "filled"),
    "rendered-valkey": ("valkey", "valkey", "rendered"),
    "filled-by the outbox": ("valkey", "redis6", "filled"),
    "rendered-by the outbox": ("redis", "redis6", "rendered"),
}


@pytest.mark.parametrize(("kind", "broker", "way"), CASES.values(), ids=CASES, indirect=["way"])
def test_several_beats_edits_faults_and_crashes(kind, broker, way):
    machine = type("Machine", (Beats,), {"server": shared(kind), "broker": shared(broker)})
    many = int(os.environ.get("REDLOCK_BEAT_EXAMPLES", "30" if kind == broker else "15"))
    quiet = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None}
    same = bool(os.environ.get("CI"))
    steps = settings(max_examples=many, stateful_step_count=25, derandomize=same, phases=[Phase.generate], **quiet)
    run_state_machine_as_test(machine, settings=steps)
