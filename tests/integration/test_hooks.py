"""What hooks are told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from redlock_beat import Schedule, add_hook, hooks, remove_hook
from redlock_beat.store.keys import Keys
from tests.beats import messages, of
from tests.servers import rabbitmq

K = Keys("redlock-beat")


def test_hooks_are_told_what_happens(valkey, beats, told):
    schedule = Schedule.from_url(valkey.url())
    beat = beats(valkey).lead()
    schedule.add("a", "tasks.add", 3600, run_now=True)
    schedule.trigger("a")
    client = valkey.client()
    beat.until(lambda: client.llen("celery") == 2)
    sent = of(told, hooks.Sent)
    assert {(one.entry, one.task, one.source) for one in sent} == {
        ("a", "tasks.add", None),
        ("a", "tasks.add", "trigger"),
    }
    assert {one.task_id for one in sent} == {one["headers"]["id"] for one in messages(client)}
    assert all(0 <= one.lateness < 60 for one in sent)
    assert [one.epoch for one in of(told, hooks.TermBegan)] == [1]
    turned = of(told, hooks.Turned)
    assert {(one.role, one.epoch) for one in turned} == {("standby", None), ("leader", 1)}
    assert turned[-1].entries == 1
    schedule.add("gone", "tasks.add", 3600)
    schedule.trigger("gone")
    schedule.remove("gone")
    beat.until(lambda: of(told, hooks.Skipped))
    assert [(one.entry, one.reason) for one in of(told, hooks.Skipped)] == [("gone", "removed")]
    other = beats(valkey)
    client.set(K.lease, "another 99 0 host:1")
    beat.until(lambda: of(told, hooks.TermEnded))
    assert other


def test_hooks_are_told_what_was_missed_and_what_failed(valkey, beats, told):
    schedule = Schedule.from_url(valkey.url())
    schedule.add("late", "tasks.add", timedelta(seconds=60), starts=datetime(2026, 1, 1, tzinfo=UTC))
    schedule.add("bad", "tasks.add", 60)
    schedule.add("raises", "tasks.add", 3600, options={"queue": {"no": "queue"}}, run_now=True)
    client = valkey.client()
    uid, rev, nominal, *rest = client.hget(K.state, "late").split(" ")
    client.hset(K.state, "late", " ".join([uid, rev, str(int(nominal) - 600_000_000), *rest]))
    client.zadd(K.due, {"late": int(nominal) / 1e6 - 600, "bad": 1})
    client.hset(K.entries, "bad", "rubbish")
    beat = beats(valkey).lead()
    beat.until(lambda: of(told, hooks.Missed) and len({one.step for one in of(told, hooks.Failed)}) == 2)
    missed = of(told, hooks.Missed)[0]
    assert (missed.entry, missed.reason) == ("late", "later slot due")
    assert missed.count == round((missed.last - missed.first) / 60) + 1 >= 9
    assert {(one.entry, one.step) for one in of(told, hooks.Failed)} == {("bad", "decode"), ("raises", "render")}


def test_behind_an_outbox_sent_means_accepted(valkey, beats, told):
    import uuid

    from kombu import Connection, Exchange, Queue

    queue = f"redlock-test-{uuid.uuid4().hex}"
    schedule = Schedule.from_url(valkey.url())
    url = rabbitmq()
    beat = beats(url, redlock_beat_url=valkey.url(), task_default_queue=queue).lead()
    schedule.add("a", "tasks.add", 3600, run_now=True)
    try:
        beat.until(lambda: of(told, hooks.Sent))
        assert (of(told, hooks.Sent)[0].entry, of(told, hooks.Sent)[0].task) == ("a", "tasks.add")
        assert schedule.history("a")[0].task_id == of(told, hooks.Sent)[0].task_id
        with Connection(url) as connection:  # it exists, and otherwise than Celery declares it
            other = Queue(
                f"{queue}-other", Exchange(queue), queue, queue_arguments={"x-max-length": 9}, auto_delete=True
            )
            other(connection.default_channel).declare()
        schedule.add("refused", "tasks.add", 3600, options={"queue": f"{queue}-other"}, run_now=True)
        beat.until(lambda: of(told, hooks.Failed))
        assert {one.step for one in of(told, hooks.Failed)} == {"publish"}
    finally:
        with Connection(url) as connection:
            connection.default_channel.queue_delete(queue)
            connection.default_channel.queue_delete(f"{queue}-other")
            connection.default_channel.exchange_delete(queue)


def test_a_hook_that_raises_hurts_nobody(valkey, beats, caplog, told):
    def bad(event):
        raise ValueError("my hook")

    add_hook(bad)
    try:
        schedule = Schedule.from_url(valkey.url())
        schedule.add("a", "tasks.add", 3600, run_now=True)
        beat = beats(valkey).lead()
        beat.until(lambda: valkey.client().llen("celery"))
        beat.tick()
        assert of(told, hooks.Sent)
        assert caplog.text.count("my hook") == 1
    finally:
        remove_hook(bad)
