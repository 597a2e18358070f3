"""May a run begin? Repeated and late messages do not bring two runs of one entry, or of one occurrence, to be at once."""

from __future__ import annotations

import contextlib
import signal
import uuid

import pytest
from kombu import Connection

from redlock_beat import Schedule
from redlock_beat.store.keys import Keys
from tests.beats import make_app
from tests.servers import eventually, rabbitmq
from tests.workers import Workers, at_once, kill

K = Keys("redlock-beat")
LIMIT = 60_000_000


@pytest.fixture
def queue():
    """A queue of one's own in RabbitMQ, deleted at the end."""
    name = f"redlock-test-{uuid.uuid4().hex}"
    yield name
    with Connection(rabbitmq()) as connection, contextlib.suppress(Exception):
        connection.default_channel.queue_delete(name)


def sent(here, app, seconds, id_=None, task="runs.sleep", **headers):
    """A message of an entry that has one run at a time, sent as the schedule sends it."""
    id_ = id_ or uuid.uuid4().hex
    headers = {"redlock_beat_entry": "a", "redlock_beat_due": 5.0, "redlock_beat_claim": LIMIT, **headers}
    app.send_task(task, (seconds,), task_id=id_, headers=headers)
    return id_


def claimed(client, id_, token="-", seconds=60.0):
    until = round((client.time()[0] + seconds) * 1_000_000)
    client.hset(K.claims, "a", f"{id_} {until} {token} {LIMIT}")


def dropped(schedule):
    return [(row.task_id, row.why) for row in schedule.history(outcome="dropped")]


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_an_occurrence_begins_once_whoever_repeats_its_message_and_a_retry_runs(valkey, workers, pool):
    here = workers(RUNS_ONCE="1")
    here.start(pool)
    app, schedule = make_app(valkey.url()), Schedule.from_url(valkey.url())
    headers = {"redlock_beat_entry": "a", "redlock_beat_due": 5.0}
    for _ in range(5):
        app.send_task("runs.sleep", task_id="one", headers=headers)
    app.send_task("runs.fail", ("retry",), task_id="two", headers=headers)
    eventually(lambda: len(dropped(schedule)) == 4, "the repeats are dropped")
    eventually(lambda: len(here.lines("end")) == 2, "both end")
    assert [line.id for line in here.lines("begin")].count("one") == 1
    assert [line.id for line in here.lines("begin")].count("two") == 2
    assert dropped(schedule)[0] == ("one", "repeat")
    assert here.logs().count("does not begin: this occurrence has begun before") == 4


def test_a_countdown_that_was_kept_begins_once_though_its_message_is_repeated(valkey, workers):
    here = workers(RUNS_ONCE="1")
    here.start()
    app, schedule = make_app(valkey.url()), Schedule.from_url(valkey.url())
    for _ in range(3):
        app.send_task("runs.sleep", task_id="kept", headers={"redlock_beat_eta": "2026-11-26T07:00:00+00:00"})
    app.send_task("runs.fail", ("retry",), task_id="again", headers={"redlock_beat_eta": "2026-11-26T07:00:00+00:00"})
    eventually(lambda: len(dropped(schedule)) == 2, "the repeats are dropped")
    eventually(lambda: len(here.lines("end")) == 2, "both end")
    assert [line.id for line in here.lines("begin")].count("kept") == 1
    assert [line.id for line in here.lines("begin")].count("again") == 2


def test_what_began_and_was_killed_does_not_begin_again_whatever_the_broker_does(valkey, workers, queue):
    """RabbitMQ delivers again what nobody has acknowledged: with the guard an occurrence has one run that began."""
    here = workers(rabbitmq(), RUNS_ACKS_LATE="1", RUNS_ONCE="1", RUNS_QUEUE=queue)
    first = here.start("prefork", 1)
    app, schedule = make_app(rabbitmq(), task_default_queue=queue), Schedule.from_url(valkey.url())
    app.send_task("runs.sleep", (20,), task_id="one", headers={"redlock_beat_entry": "a", "redlock_beat_due": 5.0})
    eventually(lambda: here.lines("begin"), "it runs")
    kill(first)
    here.start("prefork", 1)
    eventually(lambda: dropped(schedule) == [("one", "repeat")], "what comes again is dropped")
    assert len(here.lines("begin")) == 1


def test_an_entry_goes_on_though_a_process_was_killed_whose_message_may_not_begin_again(valkey, workers):
    """The pool gives the message back to the broker, and the guard drops it: its run is over."""
    here = workers(RUNS_ACKS_LATE="1", RUNS_ONCE="1")
    here.start("prefork", 1)
    app, client, schedule = make_app(valkey.url()), valkey.client(), Schedule.from_url(valkey.url())
    claimed(client, "one")
    sent(here, app, "die", "one", task="runs.fail")
    eventually(lambda: dropped(schedule) == [("one", "repeat")], "what comes again is dropped")
    eventually(lambda: not client.hlen(K.claims), "the next slot may be sent")
    assert {row.outcome for row in schedule.history()} == {"rejected", "dropped"}


def test_without_the_guard_or_with_a_header_that_says_no_a_repeat_runs(valkey, workers):
    here = workers(RUNS_ONCE="1")
    here.start()
    app = make_app(valkey.url())
    for _ in range(2):
        app.send_task("runs.sleep", task_id="one", headers={"redlock_beat_entry": "a", "redlock_beat_once": False})
        app.send_task("runs.sleep", task_id="plain")
    eventually(lambda: len(here.lines("end")) == 4, "all run")


def test_a_run_that_has_been_overtaken_does_not_begin_beside_the_other(valkey, workers):
    here = workers()
    here.start()
    app, client, schedule = make_app(valkey.url()), valkey.client(), Schedule.from_url(valkey.url())
    claimed(client, "newer")
    late = sent(here, app, 0)
    eventually(lambda: dropped(schedule) == [(late, "overtaken by newer")], "it is dropped")
    assert client.hget(K.claims, "a").startswith("newer ")
    sent(here, app, 0, "newer")
    eventually(lambda: here.lines("end"), "the one that has the claim runs")
    eventually(lambda: not client.hlen(K.claims), "and frees it")
    assert [line.id for line in here.lines("begin")] == ["newer"]


def test_a_claim_that_no_worker_took_lapses_and_a_run_that_comes_late_takes_it(valkey, workers):
    here = workers()
    here.start()
    app, client = make_app(valkey.url()), valkey.client()
    claimed(client, "lost in the queue", seconds=-1)
    id_ = sent(here, app, 0)
    eventually(lambda: [line.id for line in here.lines("end")] == [id_], "it runs")


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_message_that_is_delivered_again_while_it_runs_waits(valkey, workers, pool):
    """A visibility timeout shorter than the run: Celery itself runs it twice at once."""
    here = workers(RUNS_ACKS_LATE="1")
    here.start(pool, 1)
    here.start(pool, 2)
    app, client = make_app(valkey.url()), valkey.client()
    claimed(client, "one")
    for _ in range(2):
        sent(here, app, 1.5, "one")
    eventually(lambda: len(here.lines("end")) == 2, "both have run")
    assert at_once(here.lines()) == 1


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_run_is_repeated_after_its_worker_was_killed_and_not_before_that_is_certain(valkey, workers, queue, pool):
    """RabbitMQ delivers again as soon as a connection breaks: its worker may still run it."""
    here = workers(rabbitmq(), RUNS_ACKS_LATE="1", RUNS_TTL="2", RUNS_QUEUE=queue)
    first = here.start(pool, 1)
    app, client = make_app(rabbitmq(), task_default_queue=queue), valkey.client()
    claimed(client, "one")
    headers = {"redlock_beat_entry": "a", "redlock_beat_due": 5.0, "redlock_beat_claim": LIMIT}
    app.send_task("runs.hold", task_id="one", headers=headers)
    eventually(lambda: here.lines("begin"), "it runs")
    here.start(pool, 1)
    first.send_signal(signal.SIGSTOP)  # its connection may break while it lives
    until = float(client.zrange(K.workers, 0, 0, withscores=True)[0][1])
    died = kill(first)
    again = eventually(lambda: len(here.lines("begin")) == 2 and here.lines("begin")[1], "it is repeated")
    assert again.at > min(until, died) - 0.1
    here.go()
    eventually(lambda: here.lines("end"), "it ends")
    assert at_once(here.lines(), [(here.lines("begin")[0].pid, died)]) == 1


def test_redis_away_runs_begin_unasked(own_server, valkey, tmp_path):
    schedule_server = own_server()
    here = Workers(schedule_server, tmp_path, broker=valkey.url(), RUNS_PREFETCH="32", RUNS_TIMEOUT="0.5")
    try:
        here.start("threads", 1)
        schedule_server.process.send_signal(signal.SIGSTOP)
        app = make_app(valkey.url())
        for _ in range(5):
            sent(here, app, 0)
        eventually(lambda: len(here.lines("end")) == 5, "they run, though Redis does not answer")
        assert "begins unasked" in here.logs()
    finally:
        schedule_server.process.send_signal(signal.SIGCONT)
        here.close()


def test_a_retry_keeps_the_claim_until_it_is_over(valkey, workers):
    here = workers()
    here.start()
    app, client, schedule = make_app(valkey.url()), valkey.client(), Schedule.from_url(valkey.url())
    claimed(client, "one")
    sent(here, app, "retry elsewhere", "one", task="runs.fail")  # to a queue where nobody has it yet
    eventually(lambda: schedule.history(outcome="retried"), "it is retried")
    assert client.hget(K.claims, "a").split(" ")[2] == "-"
    late = sent(here, app, 0, "two")
    eventually(lambda: dropped(schedule) == [(late, "overtaken by one")], "another does not begin meanwhile")
    client.rpoplpush("elsewhere", "celery")
    eventually(lambda: schedule.history(outcome="succeeded"), "the retry runs")
    eventually(lambda: not client.hlen(K.claims), "and frees the claim")


def test_what_waits_for_a_claim_is_due_as_soon_as_it_is_free(valkey, workers):
    here = workers()
    here.start()
    app, client = make_app(valkey.url()), valkey.client()
    claimed(client, "one")
    far = client.time()[0] + 3600
    client.zadd(K.manual, {"second": far, "third": far})
    client.hset(K.buffered, "a", '["cancelled","second","third"]')
    sent(here, app, 0, "one")
    eventually(lambda: client.zscore(K.manual, "second") < far, "the first that is still there is due")
    assert client.zscore(K.manual, "third") == far
    assert client.hget(K.buffered, "a") == '["second","third"]'
    assert client.hlen(K.claims) == 0
