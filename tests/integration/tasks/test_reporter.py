"""What workers tell of runs: each outcome once, with its entry, whoever dies, and at no cost for the tasks."""

from __future__ import annotations

import signal
import time

import pytest

from redlock_beat import RedisUnavailable, Schedule, hooks
from redlock_beat.store import requests
from redlock_beat.store.client import Target
from redlock_beat.store.keys import Keys
from redlock_beat.store.store import Store
from redlock_beat.store.values import FailedRuns, RunReport
from redlock_beat.tasks import reporter as reporter_module
from redlock_beat.tasks.reporter import Noted, Reporter
from redlock_beat.tasks.request import WatchedRequest, report_to
from tests.beats import make_app, of
from tests.servers import eventually
from tests.workers import Workers, kill

K = Keys("redlock-beat")
POOLS = ("prefork", "threads", "solo")


def outcomes(schedule: Schedule, id_: str) -> list[str | None]:
    return [row.outcome for row in reversed(schedule.history()) if row.task_id == id_ and row.what == "ran"]


@pytest.mark.parametrize("pool", POOLS)
def test_each_outcome_is_in_the_ledger_with_its_worker_and_duration(valkey, workers, pool):
    here = workers()
    here.start(pool)
    app, schedule = make_app(valkey.url()), Schedule.from_url(valkey.url())
    schedule.add("bad", "runs.fail", 3600)
    sent = time.time()
    ids = {
        "succeeded": here.send(app, "runs.sleep", "ok", (0.2,)),
        "failed": here.send(app, "runs.fail", "bad", ("raise",)),
        "rejected": here.send(app, "runs.fail", "no", ("reject",)),
        "retried": here.send(app, "runs.fail", "again", ("retry",)),
    }
    app.send_task("runs.sleep")  # of no entry
    eventually(lambda: len(schedule.history()) == 5, "all are told")
    time_of = {row.task_id: row for row in schedule.history() if row.outcome != "retried"}
    for outcome, id_ in ids.items():
        assert outcomes(schedule, id_) == (["retried", "succeeded"] if outcome == "retried" else [outcome])
    ok = time_of[ids["succeeded"]]
    assert (ok.entry, ok.what) == ("ok", "ran")
    assert ok.by is not None
    assert ok.by.startswith("w0-")
    assert 0.2 <= ok.took < 20
    assert sent - 0.01 < ok.began.timestamp() <= ok.at.timestamp() - ok.took + 0.01
    assert [row.task_id for row in schedule.history(outcome="failed")] == [ids["failed"]]
    assert "secret" not in schedule.history(outcome="failed")[0].why
    status = schedule.status()
    assert (status.workers, status.running, status.outcomes["failed"], status.failing) == (1, 0, 1, {"bad": 1})
    assert valkey.client().hlen(K.runs) == 0


def test_what_is_under_way_is_seen_and_a_revoked_run_is_told(valkey, workers):
    here = workers()
    here.start("prefork", 1)
    app, schedule = make_app(valkey.url()), Schedule.from_url(valkey.url())
    long = here.send(app, "runs.fail", "long", ("long",))
    eventually(lambda: schedule.status().running == 1, "it is seen to run")
    app.control.revoke(long, terminate=True, signal="SIGKILL")
    eventually(lambda: outcomes(schedule, long) == ["revoked"], "it is told")
    assert schedule.status().running == 0


def test_a_process_of_the_pool_that_is_killed_fails_its_run(valkey, workers):
    here = workers()
    here.start("prefork", 2)
    app, schedule = make_app(valkey.url()), Schedule.from_url(valkey.url())
    id_ = here.send(app, "runs.fail", "a", ("die",))
    eventually(lambda: outcomes(schedule, id_) == ["failed"], "it is told")
    assert "WorkerLost" in schedule.history(outcome="failed")[0].why


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_run_whose_worker_is_killed_is_lost_once_within_the_lease_and_the_look_of_another(valkey, workers, pool):
    here = workers(RUNS_TTL="1")
    first = here.start(pool, 1)
    app, schedule = make_app(valkey.url()), Schedule.from_url(valkey.url())
    schedule.add("a", "runs.fail", 3600)
    id_ = here.send(app, "runs.fail", "a", ("long",))
    eventually(lambda: schedule.status().running == 1, "it runs")
    for _ in range(2):
        here.start("solo")
    died = kill(first)
    (lost,) = eventually(lambda: schedule.history(outcome="lost"), "it is lost")
    assert (lost.task_id, lost.entry, lost.what) == (id_, "a", "ran")
    assert lost.by.startswith("w0-")
    assert lost.at.timestamp() - died < 1 + 1 / 3 + 10  # the lease, the next look of another, and a busy machine
    assert schedule.status().failing == {"a": 1}


def test_a_worker_that_ends_in_good_order_has_told_everything(valkey, workers):
    here = workers()
    process = here.start("prefork", 1)
    app, schedule = make_app(valkey.url()), Schedule.from_url(valkey.url())
    id_ = here.send(app, "runs.sleep", "a", (1.0,))
    eventually(lambda: here.lines("begin"), "it runs")
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert outcomes(schedule, id_) == ["succeeded"]
    assert valkey.client().zcard(K.workers) == 0


def test_redis_away_costs_a_task_nothing_and_its_report_comes_later(own_server, valkey, tmp_path):
    schedule_server = own_server()
    here = Workers(schedule_server, tmp_path, broker=valkey.url(), RUNS_PREFETCH="32")
    try:
        here.start("threads", 1)
        app, schedule = make_app(valkey.url()), Schedule.from_url(schedule_server.url())
        eventually(lambda: schedule.status().workers == 1, "it reports")
        schedule_server.process.send_signal(signal.SIGSTOP)
        ids = [here.send(app, "runs.sleep", "a") for _ in range(20)]
        eventually(lambda: len(here.lines("end")) == 20, "all run, though Redis does not answer")
        schedule_server.process.send_signal(signal.SIGCONT)
        told = eventually(lambda: len(schedule.history()) >= 20 and schedule.history(), "they are told")
        assert sorted(row.task_id for row in told) == sorted(ids)  # each once
    finally:
        here.close()


def test_an_entry_pauses_after_so_many_failed_runs_in_a_row_and_says_why(valkey, workers):
    here = workers()
    here.start("threads", 1)
    app, schedule = make_app(valkey.url()), Schedule.from_url(valkey.url())
    schedule.add("a", "runs.fail", 3600, pause_on_failure=3)
    for how in ("raise", "raise", "well", "raise", "raise"):  # success between: it counts from none again
        here.send(app, "runs.fail", "a", (how,))
    eventually(lambda: len(schedule.history()) == 5, "all are told")
    assert schedule.status().failing == {"a": 2}
    assert schedule["a"].enabled
    last = here.send(app, "runs.fail", "a", ("raise",))
    eventually(lambda: not schedule["a"].enabled, "it pauses")
    entry = schedule["a"]
    assert entry.paused_by == "pause_on_failure"
    assert "3 failed runs in a row" in entry.note
    assert last in entry.note
    assert "secret" not in entry.note
    schedule.resume("a")
    here.send(app, "runs.fail", "a", ("raise",))
    eventually(lambda: schedule.status().failing == {"a": 1}, "it counts from none again")
    assert schedule["a"].enabled


def test_a_report_whose_answer_was_lost_is_heard_once_and_answered_again(valkey):
    """The answer says which entries pause: without it an entry would go on until its next failure."""
    schedule = Schedule.from_url(valkey.url())
    schedule.add("a", "runs.fail", 3600, pause_on_failure=1)
    store = Store(Target(schedule.settings))
    told = [RunReport("failed", "id", "a", 1, ago=5, took=1.5, why="x"), RunReport("succeeded", "other", "b", 1)]
    for _ in range(2):
        _, failed = store.run(requests.report(store.keys, "token", "w", told, 100, "request"))
        assert failed == [FailedRuns("a", 1, "id", "x")]
    for _ in range(2):
        assert store.run(requests.report(store.keys, "token", "w", told[1:], 100, "next"))[1] == []
    assert valkey.client().xlen(K.ledger) == 3


def ten_minutes_pass(client):
    """For what Redis forgets after a while."""
    for key in client.scan_iter(K.request("*")):
        left = client.pttl(key) - 600_000
        _ = client.pexpire(key, left) if left > 0 else client.delete(key)


def test_a_worker_that_was_cut_off_for_long_after_a_report_counts_it_once(valkey):
    schedule, client = Schedule.from_url(valkey.url()), valkey.client()
    schedule.add("a", "runs.fail", 3600, pause_on_failure=2)
    store = Store(Target(schedule.settings))
    told = [RunReport("failed", "id", "a", 1, ago=5, took=1.5, why="x")]
    for _ in range(2):
        _, failed = store.run(requests.report(store.keys, "token", "w", told, 100, "request"))
        assert failed == []
        ten_minutes_pass(client)
        store.run(requests.report(store.keys, "other", "w", [RunReport("succeeded", "1", "b", 1)], 100, "another"))
    assert client.hgetall(K.failures) == {"a": "1"}
    assert [row.task_id for row in schedule.history("a")] == ["id"]


def test_runs_that_were_found_lost_are_told_and_counted_though_the_answer_was_lost(valkey, told, monkeypatch):
    tell, client = Telling(valkey), valkey.client()
    app = make_app(valkey.url(), redlock_beat_worker_ttl=1)
    reporter, schedule = Reporter(app, Schedule(app).settings, "token", "w@h"), Schedule(app)
    schedule.add("a", "runs.fail", 3600, pause_on_failure=1)
    tell("gone", RunReport("started", "1", "a", 5))
    client.zrem(K.workers, "gone")
    monkeypatch.setattr(reporter_module, "AWAY", 0.01)
    run, lost = reporter.store.run, []

    def losing(request):
        answer = run(request)
        if request.script == "sweep" and not lost:
            lost.append(request)
            ten_minutes_pass(client)
            raise RedisUnavailable("the answer is lost")
        return answer

    reporter.store.run = losing
    reporter.start()
    try:
        eventually(lambda: not schedule["a"].enabled, "it pauses")
        eventually(lambda: of(told, hooks.EntryPaused), "it is told")
    finally:
        reporter.finish()
    assert [(event.task_id, event.outcome) for event in of(told, hooks.RunFailed)] == [("1", "lost")]
    assert outcomes(schedule, "1") == ["lost"]


def test_an_outcome_that_redis_has_lost_is_found_missing(valkey, workers):
    """A failover loses the last writes: a run that has ended seems to run on a worker that lives."""
    here = workers(RUNS_TTL="1")
    here.start("solo")
    client, schedule = valkey.client(), Schedule.from_url(valkey.url())
    (token,) = eventually(lambda: client.zrange(K.workers, 0, -1), "it lives")
    client.hset(K.runs, "gone", f"{token} 5 5 w0 a")
    client.hset(K.claims, "uid", f"gone 5 {token} 1000000")
    eventually(lambda: not client.hlen(K.runs) and not client.hlen(K.claims), "both are freed")
    assert [row.outcome for row in schedule.history()] == ["lost"]


def test_hooks_of_a_worker_hear_of_its_runs(valkey):
    from redlock_beat import add_hook, remove_hook

    heard = []
    add_hook(heard.append)
    try:
        app = make_app(valkey.url())
        reporter = Reporter(app, Schedule(app).settings, "token", "w@h")
        for noted in (
            Noted("started", "1", "t", "a", 2_000_000, "", 0.0),
            Noted("started", "2", "t", "a", 2_000_000, "", 0.0),
            Noted("succeeded", "1", "t", "a", 2_000_000, "", 0.0, 1.5),
            Noted("failed", "3", "t", "a", 2_000_000, "", 0.0, 1.5, why="x"),
            Noted("retried", "4", "t", "a", 2_000_000, "", 0.0, 1.5, 3.0, "y"),
        ):
            reporter.note(noted)
        reporter.start()
        eventually(lambda: len(heard) == 4, "they are told")
        reporter.finish()
    finally:
        remove_hook(heard.append)
    assert [type(event) for event in heard] == [
        hooks.RunStarted,
        hooks.RunSucceeded,
        hooks.RunFailed,
        hooks.RunEnded,
    ]
    assert (heard[1].nominal, heard[1].took, heard[1].worker, heard[2].why, heard[3].outcome) == (
        2.0,
        1.5,
        "w@h",
        "x",
        "retried",
    )


class Telling:
    """Tells what workers tell, without one."""

    def __init__(self, server):
        self.store = Store(Target(Schedule.from_url(server.url()).settings))
        self.count = 0

    def __call__(self, token, *told):
        self.store.run(requests.worker(K, token, 60_000))
        self.count += 1
        return self.store.run(requests.report(K, token, "w", told, 1000, f"told-{self.count}"))


def test_an_error_with_half_a_character_in_its_text_is_told_and_so_are_all_with_it(valkey):
    """So does the name of a file look that is no UTF-8, in the text of an OSError."""
    tell = Telling(valkey)
    tell("w", RunReport("failed", "1", "a", 5, why="no \udcff.txt"), RunReport("succeeded", "2", "a", 5, took=1.0))
    rows = Schedule.from_url(valkey.url()).history()
    assert [(row.task_id, row.outcome, row.why) for row in rows] == [
        ("2", "succeeded", None),
        ("1", "failed", "no ?.txt"),
    ]


def test_a_report_that_redis_cannot_read_takes_no_other_along(valkey, monkeypatch):
    words = RunReport.words
    monkeypatch.setattr(reporter_module, "AWAY", 0.01)
    # Redis reads no JSON with half a character.
    monkeypatch.setattr(RunReport, "words", lambda one: [*words(one)[:-1], "\udcff" if one.why == "bad" else one.why])
    app = make_app(valkey.url())
    reporter, schedule = Reporter(app, Schedule(app).settings, "token", "w@h"), Schedule(app)
    for number in range(9):
        reporter.note(Noted("failed", str(number), "t", "a", 5, "", 0.0, why="bad" if number == 5 else "good"))
    reporter.start()
    try:
        good = {str(number) for number in range(9) if number != 5}
        eventually(lambda: {row.task_id for row in schedule.history()} == good, "all others are told")
    finally:
        reporter.finish()


@pytest.mark.parametrize("setting", [("maxmemory", "1", "0"), ("min-replicas-to-write", "1", "0")])
def test_reports_wait_while_redis_takes_no_writes(own_server, monkeypatch, setting):
    """A full server, or one without its replicas, refuses what it would take a moment later."""
    monkeypatch.setattr(reporter_module, "AWAY", 0.01)
    server = own_server()
    name, bad, good = setting
    client, app = server.client(), make_app(server.url())
    reporter, schedule = Reporter(app, Schedule(app).settings, "token", "w@h"), Schedule(app)
    tried, run = [], reporter.store.run
    monkeypatch.setattr(reporter.store, "run", lambda request: tried.append(1) or run(request))
    client.config_set(name, bad)
    reporter.note(Noted("succeeded", "1", "t", "a", 5, "", 0.0, 1.0))
    reporter.start()
    try:
        eventually(lambda: len(tried) > 3 * reporter_module.REFUSALS, "it was refused often")
        client.config_set(name, good)
        eventually(lambda: outcomes(schedule, "1") == ["succeeded"], "it is told")
    finally:
        reporter.finish()


def test_a_run_that_begins_again_at_once_is_under_way(valkey):
    """A retry without a pause begins before its worker has told that the try before it has ended."""
    app = make_app(valkey.url())
    reporter = Reporter(app, Schedule(app).settings, "token", "w@h")
    for what in ("started", "retried", "started"):
        reporter.note(Noted(what, "1", "t", "a", 5, "", 0.0, again=0.0 if what == "retried" else None))
    reporter.start()
    try:
        eventually(lambda: valkey.client().hexists(K.runs, "1"), "it is under way")
    finally:
        reporter.finish()


def test_a_message_that_comes_twice_hides_neither_run_from_those_who_look_for_the_lost(valkey):
    tell, client = Telling(valkey), valkey.client()
    tell("one", RunReport("started", "1", "a", 5))
    tell("two", RunReport("started", "1", "a", 5))
    tell("two", RunReport("dropped", "1", "a", 5))
    tell("one", RunReport("dropped", "1", "a", 5, again=0))  # the same worker has it twice
    assert client.hget(K.runs, "1").startswith("one ")
    tell("two", RunReport("started", "1", "a", 5))
    client.zrem(K.workers, "two", "one")
    tell.store.run(requests.worker(K, "three", 60_000))
    swept = tell.store.run(requests.sweep(K, "three", "0", "0", 500, 1000, "look"))
    assert [one[0] for one in swept.lost] == ["1", "1"]
    assert not client.hlen(K.runs)


def test_a_repeated_run_that_ends_first_leaves_the_other_as_it_is(valkey):
    tell, client = Telling(valkey), valkey.client()
    tell("one", RunReport("started", "1", "a", 5))
    tell("two", RunReport("started", "1", "a", 5))
    tell("one", RunReport("succeeded", "1", "a", 5))
    assert list(client.hkeys(K.runs)) == ["1 two"]
    tell("two", RunReport("succeeded", "1", "a", 5))
    assert not client.hlen(K.runs)


@pytest.mark.parametrize("again", [None, 0])
def test_what_a_worker_tells_late_does_not_free_the_claim_of_a_repeated_run(valkey, again):
    """It was cut off, its lease has lapsed, and another worker has begun the same run."""
    tell, client = Telling(valkey), valkey.client()
    tell("other")
    client.hset(K.claims, "a", "1 5 other 1000")
    tell("late", RunReport("rejected", "1", "a", 5, "a", again=again))
    assert client.hget(K.claims, "a") == "1 5 other 1000"
    tell("other", RunReport("succeeded", "1", "a", 5, "a"))
    assert not client.hlen(K.claims)


def test_an_exception_whose_text_cannot_be_made_has_an_outcome():
    """It would else be raised in the worker's main process."""

    class Bad(Exception):
        def __str__(self):
            raise ValueError("no text")

    class Base:
        def on_failure(self, exc_info, **kwargs):
            pass

    class Info:
        exception = Bad()

    request = type("R", (WatchedRequest, Base), {})()
    request.id, request.name, request.request_dict = "1", "t", {"redlock_beat_entry": "a"}
    request._already_cancelled = request._already_revoked = False
    told = []
    report_to(type("To", (), {"note": staticmethod(told.append)}))
    try:
        request.on_failure(Info())
    finally:
        report_to(None)
    assert [(one.what, one.why) for one in told] == [("failed", "Bad: (its text cannot be made)")]
