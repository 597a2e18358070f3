"""One run at a time: what the commit decides while a run of an entry is under way, for both scripts alike."""

from __future__ import annotations

import json
import time
import uuid
from datetime import UTC, datetime, timedelta

import pytest
import redis

from redlock_beat import Schedule, hooks
from redlock_beat.clock import MICROS, micros
from redlock_beat.entries.policies import Missed
from redlock_beat.entries.waiting import ManualItem
from redlock_beat.store import requests
from redlock_beat.store.client import Target
from redlock_beat.store.keys import Keys
from redlock_beat.store.store import Store
from redlock_beat.store.values import Run, RunReport
from tests.beats import of
from tests.brokers import conf, taken
from tests.servers import eventually

K = Keys("redlock-beat")


class Worker:
    """Says what a worker says, without one."""

    def __init__(self, server, token="w", ttl=60):
        self.store = Store(Target(Schedule.from_url(server.url()).settings))
        self.token = token
        self.store.run(requests.worker(K, token, ttl * 1000))
        self.count = 0

    def begin(self, id_, entry="a"):
        return self.store.run(requests.begin(K, self.token, "w@h", Run(id_, entry, 1, entry, 10**9), 1000))[0]

    def end(self, id_, entry="a", what="succeeded", again=None):
        self.count += 1
        told = RunReport(what, id_, entry, 1, entry, took=1.0, again=again)
        self.store.run(requests.report(K, self.token, "w@h", [told], 1000, f"{self.token}-{self.count}"))


class Here:
    """A beat, its schedule and what is in the queue."""

    def __init__(self, server, beats, **policies):
        self.client, self.beat = server.client(), beats(server).lead()
        self.schedule = Schedule(self.beat.app)
        self.policies = policies

    def add(self, name="a", **more):
        self.schedule.add(name, "tasks.add", 3600, **{**self.policies, **more})

    def queue(self):
        """Ids in the queue, oldest first."""
        return [json.loads(text)["headers"]["id"] for text in reversed(self.client.lrange("celery", 0, -1))]

    def slot(self, name="a"):
        """A slot of the entry comes, and beat acts on it; the new rows of the ledger."""
        before = len(self.schedule.history())
        now = self.client.time()
        uid, rev, _, last, count, _ = self.client.hget(K.state, name).split(" ")
        self.client.hset(K.state, name, f"{uid} {rev} {now[0] * 10**6 + now[1] - 1000} {last} {count} 0")
        self.client.zadd(K.due, {name: now[0]})
        return self.until_row(before)

    def until_row(self, before):
        self.beat.until(lambda: len(self.schedule.history()) > before, "beat has acted")
        return self.schedule.history(n=len(self.schedule.history()) - before)[::-1]


@pytest.fixture
def here(server, beats):
    return lambda **policies: Here(server, beats, **policies)


def whats(rows):
    return [row.what for row in rows]


def test_runs_may_overlap_by_default_and_nothing_is_kept_of_them(here, server):
    there = here()
    there.add()
    assert whats(there.slot() + there.slot()) == ["sent", "sent"]
    assert server.client().exists(K.claims, K.buffered) == 0
    assert "redlock_beat_claim" not in json.loads(server.client().lindex("celery", 0))["headers"]


def test_skip_sends_nothing_until_the_run_is_over(here, server, way):
    there, worker = here(overlap="skip", queue_limit=30), Worker(server)
    there.add()
    assert whats(there.slot()) == ["sent"]
    (first,) = there.queue()
    assert json.loads(server.client().lindex("celery", 0))["headers"]["redlock_beat_claim"] == 30_000_000
    (skipped,) = there.slot()
    assert (skipped.what, skipped.entry) == ("skipped", "a")
    assert skipped.why == f"overlap: run {first} is under way"
    assert worker.begin(first) == "go"
    assert whats(there.slot()) == ["skipped"]
    assert there.schedule["a"].total_run_count == 1  # what was skipped was not sent
    assert there.queue() == [first]
    worker.end(first)
    assert whats(there.slot()) == ["sent"]
    assert len(there.queue()) == 2


def test_what_no_worker_took_counts_for_its_queue_limit_alone(here):
    there = here(overlap="skip", queue_limit=30)
    there.add()
    (sent,) = there.slot()
    assert whats(there.slot()) == ["skipped"]
    id_, until, *others = there.client.hget(K.claims, "a").split(" ")
    assert (id_, int(until)) == (sent.task_id, micros(sent.at) + 30 * MICROS)
    there.client.hset(K.claims, "a", " ".join([id_, str(micros(there.schedule.now())), *others]))  # it has lapsed
    assert whats(there.slot()) == ["sent"]


def test_a_run_counts_while_its_worker_lives_and_no_longer(here, server):
    there, worker = here(overlap="skip", queue_limit=0.2), Worker(server)
    there.add()
    there.slot()
    (first,) = there.queue()
    worker.begin(first)
    until = time.time() + 0.3
    eventually(lambda: time.time() > until, "its queue limit is over")
    assert whats(there.slot()) == ["skipped"]
    worker.store.run(requests.worker(K, "w", 0))
    assert whats(there.slot()) == ["sent"]


def test_buffer_one_keeps_one_slot_which_is_sent_when_the_run_is_over(here, server, way):
    there, worker = here(overlap="buffer_one", queue_limit=30), Worker(server)
    there.add()
    there.slot()
    (first,) = there.queue()
    worker.begin(first)
    (buffered,) = there.slot()
    assert buffered.what == "buffered"
    assert buffered.why == f"overlap: it waits for run {first}"
    assert whats(there.slot()) == ["skipped"]
    (waiting,) = there.schedule.waiting()
    assert (waiting.source, waiting.count) == ("buffered", 1)
    before = len(there.schedule.history())
    worker.end(first)
    rows = there.until_row(before + 1)
    assert (rows[0].what, rows[0].source, rows[0].task_id) == ("sent", "buffered", buffered.task_id)
    assert rows[0].nominal == buffered.nominal
    assert there.queue() == [first, buffered.task_id]
    assert (server.client().zcard(K.manual), server.client().hlen(K.buffered)) == (0, 0)
    assert whats(there.slot()) == ["buffered"]  # the one that was buffered is under way now


def test_buffer_all_keeps_the_order_and_its_bound(here, server):
    there, worker = here(overlap="buffer_all", buffer_limit=3, queue_limit=30), Worker(server)
    there.add()
    there.slot()
    rows = [row for _ in range(5) for row in there.slot()]
    assert whats(rows) == ["buffered"] * 3 + ["skipped"] * 2
    for row in rows[:3]:
        before = len(there.schedule.history())
        id_ = there.queue()[-1]
        worker.begin(id_)
        worker.end(id_)
        (sent,) = there.until_row(before + 1)
        assert (sent.what, sent.task_id) == ("sent", row.task_id)
    assert server.client().hlen(K.buffered) == 0


def test_a_new_slot_does_not_overtake_one_that_waits(here, server):
    there, worker, client = here(overlap="buffer_all", queue_limit=30), Worker(server), server.client()
    there.add()
    there.slot()
    (first,) = there.slot()
    id_ = there.queue()[-1]
    worker.begin(id_)
    worker.end(id_)
    (item,) = client.zrange(K.manual, 0, -1)
    client.zadd(K.manual, {item: client.time()[0] + 3600})  # its list refuses it, or it cannot be rendered at present
    (second,) = there.slot()
    assert (second.what, second.why) == ("buffered", "overlap: it waits for what waits before it")
    assert len(there.queue()) == 1
    client.zadd(K.manual, {item: client.time()[0]})
    there.beat.until(lambda: len(there.queue()) == 2, "the first goes first")
    assert there.queue()[-1] == first.task_id


def test_what_is_buffered_is_sent_although_nothing_is_ever_told(here):
    there = here(overlap="buffer_one", queue_limit=0.5)
    there.add()
    there.slot()
    (buffered,) = there.slot()
    there.beat.until(lambda: there.queue()[-1] == buffered.task_id, "it is sent when the claim has lapsed")


def test_the_run_before_is_cancelled_and_revoked(here, server, monkeypatch):
    there, worker = here(overlap="cancel_previous", terminate=True, queue_limit=30), Worker(server)
    revoked = []
    monkeypatch.setattr(
        type(there.beat.app.control),
        "revoke",
        lambda self, id_, terminate=False, **kw: revoked.append((id_, terminate)),
    )
    there.add()
    there.slot()
    (first,) = there.queue()
    worker.begin(first)
    assert whats(there.slot()) == ["sent"]
    second = there.queue()[1]
    eventually(lambda: revoked == [(first, True)], "it is revoked")
    eventually(lambda: not server.client().hlen(K.cancelling), "and that is done")
    worker.end(first, what="revoked")
    assert server.client().hget(K.claims, "a").startswith(second)
    assert worker.begin(first) == "overtaken"


def test_what_a_leader_that_died_was_to_cancel_the_next_one_does(server, beats, monkeypatch):
    revoked = []
    beat = beats(server)
    monkeypatch.setattr(
        type(beat.app.control), "revoke", lambda self, id_, terminate=False, **kw: revoked.append((id_, terminate))
    )
    server.client().hset(K.cancelling, mapping={"one": "1", "two": "0"})
    beat.lead()
    eventually(lambda: sorted(revoked) == [("one", True), ("two", False)], "both are revoked")


def test_what_is_to_be_cancelled_is_so_although_the_answer_of_the_commit_was_lost(valkey, beats, monkeypatch):
    there, client, revoked = Here(valkey, beats, overlap="cancel_previous", queue_limit=30), valkey.client(), []
    monkeypatch.setattr(
        type(there.beat.app.control), "revoke", lambda self, id_, terminate=False, **kw: revoked.append(id_)
    )
    there.add()
    there.slot()
    (first,) = there.queue()
    commits = there.beat.parts.dispatcher.commits
    pipeline, lost = commits.pipeline, []

    class Losing(pipeline):
        """Loses the answer of the second commit, once, after Redis has given it."""

        def read(self):
            answer = super().read()
            if isinstance(answer, list) and any(str(one).startswith("cancels") for one in answer) and not lost:
                lost.append(answer)
                raise redis.ConnectionError("the answer was lost")
            return answer

    monkeypatch.setattr(commits, "pipeline", Losing)
    there.slot()
    there.beat.until(lambda: revoked == [first], "it is revoked")
    assert lost
    eventually(lambda: not client.hlen(K.cancelling), "and that is done")


def test_triggers_and_backfills_run_one_at_a_time_too(here, server):
    there, worker = here(overlap="buffer_all", queue_limit=30), Worker(server)
    there.add()
    there.slot()
    ids = [there.schedule.trigger("a") for _ in range(2)]
    there.beat.until(lambda: len(there.schedule.history()) == 3, "they wait")
    assert there.queue()[1:] == []
    for _ in range(2):
        worker.begin(there.queue()[-1])
        count = len(there.queue())
        worker.end(there.queue()[-1])
        there.beat.until(lambda count=count: len(there.queue()) > count, "the next one is sent")
    assert sorted(there.queue()[1:]) == sorted(ids)


def test_the_last_slot_of_an_entry_that_may_wait_is_not_lost(here, server):
    there, worker = here(overlap="buffer_one", queue_limit=30), Worker(server)
    there.schedule.add("a", "tasks.add", datetime.now(UTC) + timedelta(hours=1), **there.policies)
    first = there.schedule.trigger("a")
    there.beat.until(lambda: there.queue() == [first], "a trigger is sent")
    worker.begin(first)
    (buffered,) = there.slot()
    assert buffered.what == "buffered"
    there.schedule.update("a", args=(1, 2))  # it waits on
    worker.end(first)
    there.beat.until(lambda: len(there.queue()) == 2, "the last is sent")
    assert there.queue()[1] == buffered.task_id
    assert "a" not in there.schedule


@pytest.mark.parametrize("edit", ["moved", "added anew"])
def test_a_last_slot_that_waits_and_is_moved_meanwhile_comes_at_its_new_time(here, server, edit):
    """The end of the run it waited for must not bring it forward."""
    there, worker = here(overlap="buffer_one", queue_limit=30), Worker(server)
    there.schedule.add("a", "tasks.add", datetime.now(UTC) + timedelta(hours=1), **there.policies)
    first = there.schedule.trigger("a")
    there.beat.until(lambda: there.queue() == [first], "a trigger is sent")
    worker.begin(first)
    assert whats(there.slot()) == ["buffered"]
    later = datetime.now(UTC) + timedelta(hours=2)
    if edit == "moved":
        there.schedule.update("a", when=later)
    else:
        there.schedule.remove("a")
        there.schedule.add("a", "tasks.add", later, **there.policies)
    there.client.zremrangebyscore(K.manual, "-inf", "+inf")  # what was due before the edit
    due = there.client.zscore(K.due, "a")
    worker.end(first)
    assert there.client.zscore(K.due, "a") == due
    there.add("b")
    sent = there.schedule.trigger("b")
    there.beat.until(lambda: sent in there.queue(), "beat has acted")
    assert there.queue() == [first, sent]


def test_what_waits_is_dropped_when_the_entry_is_paused_or_removed(here, server):
    there, worker = here(overlap="buffer_one", queue_limit=30), Worker(server)
    for name in ("a", "b"):
        there.add(name)
        there.slot(name)
        worker.begin(there.queue()[-1], name)
        assert whats(there.slot(name)) == ["buffered"]
    first, second = there.queue()
    there.schedule.pause("a")
    there.schedule.remove("b")
    worker.end(first, "a")
    worker.end(second, "b")
    there.beat.until(lambda: server.client().zcard(K.manual) == 0, "both are dropped")
    assert len(there.queue()) == 2
    there.schedule.resume("a")
    assert whats(there.slot()) == ["sent"]


def test_many_entries_at_once_each_have_one_run(here, server):
    there = here(overlap="skip", queue_limit=30)
    with there.schedule.batch() as batch:
        for i in range(600):
            batch.add(f"e{i}", "tasks.add", 3600, overlap="skip" if i % 2 else "allow", run_now=True)
    there.beat.until(lambda: len(there.queue()) == 600, "all are sent")
    assert server.client().hlen(K.claims) == 300
    now = server.client().time()[0]
    for i in range(600):
        server.client().zadd(K.due, {f"e{i}": now})
    there.beat.until(lambda: len(there.queue()) == 900, "those that may overlap are sent again")
    there.beat.until(lambda: len([r for r in there.schedule.history() if r.what == "skipped"]) == 300, "others are not")


def test_a_chain_is_refused_since_its_end_is_not_known(here):
    from celery import chain, signature

    with pytest.raises(Exception, match="overlap is 'skip', but a chain is many runs"):
        here().schedule.add("c", chain(signature("t"), signature("t")), 60, overlap="skip")


def test_behind_another_broker_a_run_counts_from_its_claim_in_the_outbox(valkey, beats, way):
    queue = f"redlock-test-{uuid.uuid4().hex}"
    beat = beats("memory://", **conf(valkey, queue)).lead()
    worker, client, schedule = Worker(valkey), valkey.client(), Schedule(beat.app)
    schedule.add("a", "tasks.add", 3600, overlap="buffer_one", queue_limit=30)
    there = Here.__new__(Here)
    there.client, there.beat, there.schedule = client, beat, schedule
    assert whats(there.slot()) == ["sent"]
    (first,) = [one.headers["id"] for one in taken("memory://", queue)]
    worker.begin(first)
    (buffered,) = there.slot()
    assert buffered.what == "buffered"
    worker.end(first)
    beat.until(lambda: client.hlen(K.outbox) == 0 and client.zcard(K.manual) == 0, "the next one is published")
    eventually(lambda: len(schedule.history()) == 4, "and noted")
    assert [one.headers["id"] for one in taken("memory://", queue)] == [buffered.task_id]


def test_a_refused_push_leaves_no_claim(valkey, beats):
    there, client = Here(valkey, beats, overlap="skip"), valkey.client()
    client.set("celery", "no list")
    there.add()
    (failed,) = there.slot()
    assert failed.what == "failed"
    assert client.hlen(K.claims) == 0
    client.delete("celery")
    there.beat.until(lambda: there.queue(), "it is sent when the queue is one again")


def test_a_renewed_configuration_keeps_the_policy(valkey, beats):
    entry = {"task": "tasks.add", "schedule": 3600.0, "overlap": "skip", "queue_limit": "5m", "pause_on_failure": 2}
    schedule = Schedule(beats(valkey, {"a": entry}).lead().app)
    assert (schedule["a"].overlap, schedule["a"].queue_limit, schedule["a"].pause_on_failure) == ("skip", 300.0, 2)


@pytest.mark.parametrize("overlap", ["skip", "buffer_one"])
def test_slots_missed_while_a_run_is_under_way_are_noted_and_told_once(here, server, told, overlap):
    there, worker = here(overlap=overlap, queue_limit=30), Worker(server)
    there.add()
    there.slot()
    worker.begin(there.queue()[0])
    data, client = json.loads(there.client.hget(K.entries, "a")), there.client
    first = data["at"] - 3 * 3600 * MICROS
    uid, revision, _, last, count, _ = client.hget(K.state, "a").split(" ")
    client.hset(K.entries, "a", json.dumps({**data, "at": first}))
    client.hset(K.state, "a", f"{uid} {revision} {first} {last} {count} 0")
    client.zadd(K.due, {"a": first / MICROS})
    there.beat.until(lambda: there.schedule.history()[0].what != "sent")
    rows = [row.what for row in there.schedule.history()]
    assert sorted(rows) == sorted(["sent", "missed", "skipped" if overlap == "skip" else "buffered"])
    (missed,) = of(told, hooks.Missed)
    assert missed.count == 3


def test_a_settled_slot_that_waits_notes_what_was_missed_before_it_once(here, server, told):
    there, worker = here(overlap="buffer_one", queue_limit=30), Worker(server)
    there.add()
    there.slot()
    worker.begin(there.queue()[0])
    uid, now = there.schedule["a"].uid, micros(there.schedule.now())
    missed = Missed(now - 9 * MICROS, now - 5 * MICROS, 3, "later slot due")
    item = ManualItem("a", uid, "settled", now, now, missed=missed)
    there.client.zadd(K.manual, {item.text(): now / MICROS})
    there.beat.until(lambda: there.schedule.history()[0].what == "buffered")
    worker.end(there.queue()[0])
    there.beat.until(lambda: len(there.queue()) == 2, "it is sent")
    there.beat.tick()
    assert sum(row.what == "missed" for row in there.schedule.history()) == 1
    assert len(of(told, hooks.Missed)) == 1


def losing(monkeypatch, commits, word):
    """Lose the answer of the first commit that says so of an item, after Redis has given it; a list of what was lost."""
    pipeline, lost = commits.pipeline, []

    class Losing(pipeline):
        def read(self):
            answer = super().read()
            said = answer[0] if isinstance(answer, (tuple, list)) and answer else ""
            if not lost and isinstance(said, str) and (said.startswith(word) or said == "k"):
                lost.append(answer)
                raise redis.ConnectionError("the answer was lost")
            return answer

    monkeypatch.setattr(commits, "pipeline", Losing)
    return lost


@pytest.mark.parametrize("broker", ["same", "other"])
@pytest.mark.parametrize("overlap", ["skip", "buffer_one"])
@pytest.mark.parametrize("source", ["slot", "trigger"])
def test_what_was_held_up_is_not_sent_although_the_answer_was_lost(
    valkey, beats, monkeypatch, told, broker, overlap, source
):
    """The publisher would send what is in no outbox, and the log and the hooks would tell of it."""
    queue = f"redlock-test-{uuid.uuid4().hex}"
    there = Here.__new__(Here)
    there.beat = beats("memory://", **conf(valkey, queue)).lead() if broker == "other" else beats(valkey).lead()
    there.client, there.schedule, worker = valkey.client(), Schedule(there.beat.app), Worker(valkey)
    there.schedule.add("a", "tasks.add", 3600, overlap=overlap, queue_limit=30)
    (first,) = there.slot()
    worker.begin(first.task_id)
    eventually(lambda: len(of(told, hooks.Sent)) == 1 and not there.client.hlen(K.outbox), "it is sent")
    lost = losing(monkeypatch, there.beat.parts.dispatcher.commits, "skipped" if overlap == "skip" else "waits")
    if source == "trigger":
        there.schedule.trigger("a")
    else:
        there.slot()
    there.beat.until(lambda: lost, "the answer is lost")
    dispatcher = there.beat.parts.dispatcher
    there.beat.until(lambda: not dispatcher._unsure, "it has found out")
    there.schedule.add("b", "tasks.add", 3600)
    there.schedule.trigger("b")
    there.beat.until(lambda: len(of(told, hooks.Sent)) == 2, "another is sent")
    assert [event.entry for event in of(told, hooks.Sent)] == ["a", "b"]
    if broker == "other":
        assert len(taken("memory://", queue)) == 2
