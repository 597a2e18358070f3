"""A call with a countdown or eta goes into the schedule's Redis; each case that does not says why."""

from __future__ import annotations

import base64
import json
import logging
import os
import pickle
import signal
from datetime import UTC, datetime, timedelta

import pytest
from celery import Celery, chain, chord, group
from celery.app.control import Control
from celery.exceptions import Retry
from celery.result import AsyncResult

import redlock_beat.tasks.task
from redlock_beat import InvalidSetting, NotKept, RedisUnavailable, Schedule, Settings, keep_countdowns
from redlock_beat.messages.calls import read_call
from redlock_beat.settings import settings_of
from redlock_beat.store.countdown import KeptCall
from redlock_beat.store.keys import Keys
from redlock_beat.tasks.client import store_of
from tests.beats import ledger, make_app, messages
from tests.proxy import Proxy
from tests.servers import eventually

K = Keys("redlock-beat")


def keeping(url: str, **conf):
    app = make_app(url, **{"redlock_beat_eta_threshold": 60, "result_backend": "cache+memory://", **conf})
    keep_countdowns(app)
    return app


@pytest.fixture
def app(valkey):
    return keeping(valkey.url())


@pytest.fixture
def add(app):
    return app.tasks["tasks.add"]


def kept(client) -> dict[str, dict]:
    """By id: the message that is kept, and the seconds until it is sent."""
    now = int(client.time()[0])
    found = {}
    for id_, when in client.zrange(K.countdowns, 0, -1, withscores=True):
        call = KeptCall.parse(id_, client.hget(K.countdown_items, id_))
        found[id_] = {**read_call(call.calls[0]), "in": when - now, "calls": len(call.calls)}
    return found


def test_a_countdown_beyond_the_threshold_is_kept_and_one_below_is_celerys(add, valkey):
    client = valkey.client()
    far = add.apply_async((1, 2), countdown=600)
    near = add.apply_async((1, 2), countdown=59)
    add.delay(1, 2)
    assert isinstance(far, AsyncResult)
    (one,) = kept(client).values()
    assert 598 < one["in"] < 602
    assert one["headers"]["id"] == far.id == next(iter(kept(client)))
    queued = messages(client)
    assert [message["headers"]["eta"] is not None for message in queued] == [True, False]
    assert queued[0]["headers"]["id"] == near.id


def test_what_is_kept_is_what_celery_would_have_sent_but_for_the_eta(add, valkey, app):
    client = valkey.client()
    options = {"queue": "other", "priority": 3, "headers": {"mine": 1}, "time_limit": 9, "expires": 900, "shadow": "s"}
    links = {"link": add.s(1), "link_error": add.s(2)}
    options |= {**links, "root_id": "r", "parent_id": "p", "ignore_result": True}
    add.apply_async((1,), {"y": 2}, countdown=600, task_id="kept", **options)
    app.conf.redlock_beat_eta_threshold = None
    app.send_task.keeper.celerys()("tasks.add", (1,), {"y": 2}, countdown=600, task_id="kept", task_type=add, **options)
    (plain,) = messages(client, "other\x06\x163")
    (ours,) = kept(client).values()
    headers = ours["headers"]
    expiries = [datetime.fromisoformat(found.pop("expires")) for found in (headers, plain["headers"])]
    assert abs(expiries[0] - expiries[1]) < timedelta(seconds=5)
    eta = datetime.fromisoformat(headers.pop("redlock_beat_eta"))
    assert abs(eta - datetime.fromisoformat(plain["headers"].pop("eta"))) < timedelta(seconds=5)
    assert headers.pop("eta") is None
    assert headers == plain["headers"]
    assert ours["body"] == base64.b64decode(plain["body"]).decode()
    assert ours["priority"] == plain["properties"]["priority"]
    assert ours["properties"]["correlation_id"] == plain["properties"]["correlation_id"]
    assert ours["routing_key"] == plain["properties"]["delivery_info"]["routing_key"]


@pytest.mark.parametrize(
    "eta",
    [
        lambda: datetime.now(UTC) + timedelta(seconds=600),
        lambda: (datetime.now(UTC) + timedelta(seconds=600)).isoformat(),
        lambda: (datetime.now(UTC) + timedelta(seconds=600)).replace(tzinfo=None),
        lambda: datetime.now(UTC).astimezone() + timedelta(seconds=600),
    ],
    ids=["aware", "text", "naive is UTC", "another zone"],
)
def test_an_eta_is_read_as_celery_reads_it(add, valkey, eta):
    add.apply_async(eta=eta())
    (one,) = kept(valkey.client()).values()
    assert 597 < one["in"] < 602


def test_a_countdown_is_counted_by_rediss_clock_and_not_by_the_callers(add, valkey, monkeypatch):
    import celery.app.base

    monkeypatch.setattr(
        celery.app.base.Celery, "now", lambda self: datetime.now(UTC) + timedelta(hours=5), raising=True
    )
    add.apply_async(countdown=600, expires=1200)
    (one,) = kept(valkey.client()).values()
    assert 598 < one["in"] < 602
    expires = datetime.fromisoformat(one["headers"]["expires"]).timestamp() - valkey.client().time()[0]
    assert 1198 < expires < 1202


def test_what_celery_refuses_it_still_refuses(add, valkey):
    with pytest.raises(TypeError):
        add.apply_async((1, 2, 3, 4), countdown=600)
    with pytest.raises(TypeError):
        add.apply_async((1,), countdown="600")
    assert kept(valkey.client()) == {}


# --- whatever calls tasks --------------------------------------------------------------------------


def test_a_call_by_name_a_group_a_chord_and_a_chain_are_kept_whole(add, app, valkey):
    client = valkey.client()
    by_name = app.send_task("tasks.add", (1, 2), countdown=600)
    several = group(add.s(i, i) for i in range(3)).apply_async(countdown=600)
    first = chain(add.s(1, 1), add.s(2), app=app).apply_async(countdown=600)
    whole = chord([add.s(i, i).set(countdown=600) for i in range(2)], app=app)(add.s(5))
    found = kept(client)
    assert by_name.id in found
    assert {one.id for one in several.children} < set(found)
    assert {found[one.id]["headers"]["group"] for one in several.children} == {several.id}
    first_of_chain = found[first.parent.id]
    assert json.loads(first_of_chain["body"])[2]["chain"][0]["task"] == "tasks.add"
    header = [one for one in found.values() if one["headers"]["group"] == whole.parent.id]
    assert len(header) == 2
    assert json.loads(header[0]["body"])[2]["chord"]["task"] == "tasks.add"
    assert client.llen("celery") == 0
    assert len(found) == 1 + 3 + 1 + 2


def test_a_retry_keeps_its_id_and_counts_on(app, valkey):
    @app.task(name="tasks.again", bind=True, shared=False)
    def again(self):
        raise self.retry(countdown=600)

    headers = {"redlock_beat_eta": "of the run before", "mine": 1}
    run = {"called_directly": False, "retries": 1, "delivery_info": {}, "is_eager": False}
    again.push_request(id="same", args=(), kwargs={}, headers=headers, **run)
    with pytest.raises(Retry):
        again.run()
    (one,) = kept(valkey.client()).values()
    assert (one["headers"]["id"], one["headers"]["retries"], one["headers"]["mine"]) == ("same", 2, 1)
    assert one["headers"]["redlock_beat_eta"] != "of the run before"
    with pytest.raises(Retry):  # a nearer one is Celery's, and says nothing of the run before
        again.retry(countdown=30)
    (plain,) = messages(valkey.client())
    assert "redlock_beat_eta" not in plain["headers"]


def test_only_tasks_that_want_it_are_kept(valkey):
    from redlock_beat.tasks.countdowns import install

    app = make_app(valkey.url(), redlock_beat_eta_threshold=60)
    install(app)
    install(app)

    class Wants(app.Task):
        keeps_countdowns = True

    @app.task(base=Wants, name="wants", shared=False)
    def wants():
        """It says so."""

    wants.apply_async(countdown=600)
    app.tasks["tasks.add"].apply_async(countdown=600)
    assert [one["headers"]["task"] for one in kept(valkey.client()).values()] == ["wants"]
    keep_countdowns(app)
    wants.keeps_countdowns = False
    wants.apply_async(countdown=600)
    app.tasks["tasks.add"].apply_async(countdown=600)
    assert sorted(one["headers"]["task"] for one in kept(valkey.client()).values()) == ["tasks.add", "wants"]


def test_a_task_of_the_base_class_is_kept_by_itself_and_frees_its_lock_when_it_is_revoked(valkey):
    app = make_app(valkey.url(), redlock_beat_eta_threshold=60, result_backend="cache+memory://")

    @app.task(base=redlock_beat.tasks.task.Task, name="once", unique=True, shared=False)
    def once(x):
        """It says nothing of countdowns."""

    first = once.apply_async((1,), countdown=600)
    again = once.apply_async((1,), countdown=600)
    assert again.id == first.id
    assert list(kept(valkey.client())) == [first.id]
    app.control.revoke(first.id)
    assert first.state == "REVOKED"
    other = once.apply_async((1,), countdown=600)
    assert list(kept(valkey.client())) == [other.id] != [first.id]


def test_a_unique_call_that_the_schedule_cancels_frees_its_lock(valkey):
    """Else the next call is answered with a result that never comes, for as long as the countdown was."""
    app = make_app(valkey.url(), redlock_beat_eta_threshold=60)

    @app.task(base=redlock_beat.tasks.task.Task, name="once", unique=True, shared=False)
    def once(x):
        """One at a time."""

    schedule = Schedule(app)
    first, other = once.apply_async((1,), countdown=600), once.apply_async((2,), countdown=600)
    assert schedule.cancel(first.id) == 1
    assert not once.is_processing((1,))
    assert once.holder((2,)) == other.id
    assert once.delay(1).id != first.id


def test_half_characters_are_kept_as_celery_sends_them(add, app, valkey):
    """The name of a file that is no UTF-8, say."""
    result = add.apply_async(("\udc80\ud800", 1), countdown=600)
    (call,) = kept(valkey.client()).values()
    assert json.loads(call["body"])[0] == ["\udc80\ud800", 1]
    assert [one.id for one in Schedule(app).countdowns()] == [result.id]


def test_the_event_of_a_sent_task_is_kept_with_it(valkey):
    app = keeping(valkey.url(), task_send_sent_event=True)
    app.tasks["tasks.add"].apply_async(countdown=600)
    (one,) = kept(valkey.client()).values()
    assert one["calls"] == 2


def test_a_call_by_a_connection_of_its_own_is_left_to_it(add, app, valkey):
    with app.connection_for_write() as own:
        add.apply_async(countdown=600, connection=own)
    with make_app(valkey.url(1)).producer_or_acquire() as elsewhere:
        add.apply_async(countdown=600, producer=elsewhere)
    with app.producer_or_acquire() as same:
        add.apply_async(countdown=600, producer=same)
    assert len(kept(valkey.client())) == 1
    assert (valkey.client().llen("celery"), valkey.client(1).llen("celery")) == (1, 1)


def test_what_others_put_into_celerys_class_later_still_sees_each_call(add, valkey, monkeypatch):
    seen = []
    real = Celery.send_task
    monkeypatch.setattr(
        Celery, "send_task", lambda self, name, *a, **k: (seen.append(name), real(self, name, *a, **k))[1]
    )
    add.delay()
    add.apply_async(countdown=600)
    assert seen == ["tasks.add"] * 2
    assert len(kept(valkey.client())) == 1


def test_a_process_that_forks_goes_on(add, valkey):
    add.apply_async(countdown=600)
    pid = os.fork()
    if pid == 0:
        try:
            add.apply_async(countdown=600)
        finally:
            os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    add.apply_async(countdown=600)
    assert len(kept(valkey.client())) == 3


# --- when it cannot be kept ------------------------------------------------------------------------


def test_redis_away_means_celerys_way_and_a_warning_or_an_error(own_server, valkey, caplog):
    server = own_server()
    plainly = keeping(valkey.url(), redlock_beat_url=server.url())
    strictly = keeping(valkey.url(), redlock_beat_url=server.url(), redlock_beat_eta_fallback="error")
    server.stop(signal.SIGKILL)
    with caplog.at_level(logging.WARNING, "redlock_beat"):
        results = [plainly.tasks["tasks.add"].apply_async(countdown=600) for _ in range(3)]
    assert [message["headers"]["id"] for message in messages(valkey.client())] == [one.id for one in results]
    assert all(message["headers"]["eta"] for message in messages(valkey.client()))
    assert [record.message.split(" Redis")[0] for record in caplog.records] == [
        "1 calls with a countdown or eta cannot be kept by the schedule and are sent to the queue at once, as Celery does "
        "it: a worker holds each until its time. The last is of tasks.add:"
    ]
    with pytest.raises(NotKept, match="It is not sent") as raised:
        strictly.tasks["tasks.add"].apply_async(countdown=600)
    assert not raised.value.unknown
    assert valkey.client().llen("celery") == 3


def test_an_error_in_a_retry_would_lose_the_task_so_it_is_sent_plainly(own_server, valkey):
    server = own_server()
    app = keeping(valkey.url(), redlock_beat_url=server.url(), redlock_beat_eta_fallback="error")
    server.stop(signal.SIGKILL)
    app.tasks["tasks.add"].apply_async(countdown=600, retries=1)
    assert valkey.client().llen("celery") == 1


@pytest.mark.parametrize("answers", [1, 2])
def test_a_lost_reply_keeps_a_call_once_and_two_are_never_silence(valkey, answers):
    proxy = Proxy(valkey.port)
    try:
        app = keeping(valkey.url(), redlock_beat_url=f"redis://127.0.0.1:{proxy.port}/0")
        add = app.tasks["tasks.add"]
        add.apply_async(countdown=600)
        proxy.lose_reply("EVALSHA", for_good=answers == 2)
        result = add.apply_async(countdown=600)
    finally:
        proxy.close()
    client = valkey.client()
    assert len(kept(client)) == 2
    plain = [message["headers"] for message in messages(client)]
    assert [headers["id"] for headers in plain] == ([result.id] if answers == 2 else [])
    assert all(headers["redlock_beat_eta"] for headers in plain)  # by which the guard drops the second of the two


def test_a_call_that_is_sent_while_its_lost_answer_is_asked_for_again_is_sent_once(valkey, beats):
    app, client = keeping(valkey.url(), redlock_beat_eta_threshold=1), valkey.client()
    beats(app).lead().start()
    store, lost = store_of(app), []
    run = store.run

    def losing(request):
        answer = run(request)
        if request.script == "countdown_keep" and not lost:
            lost.append(request)
            eventually(lambda: client.llen("celery"), "its time comes, and it is sent")
            away = RedisUnavailable("the answer is lost")
            away.unknown = True
            raise away
        return answer

    store.run = losing
    result = app.tasks["tasks.add"].apply_async(countdown=3)
    assert lost
    assert [message["headers"]["id"] for message in messages(client)] == [result.id]
    assert not kept(client)


def test_limits_are_said_and_what_is_beyond_them_is_celerys(valkey, caplog):
    app = keeping(valkey.url(), redlock_beat_eta_limit=1)
    add = app.tasks["tasks.add"]
    add.apply_async(countdown=600)
    with caplog.at_level(logging.WARNING, "redlock_beat"):
        add.apply_async(countdown=600)
    assert "keeps 1 calls already (redlock_beat_eta_limit)" in caplog.text
    strict = keeping(valkey.url(), redlock_beat_eta_fallback="error").tasks["tasks.add"]
    with pytest.raises(NotKept, match="larger than"):
        strict.apply_async(("x" * 1_100_000,), countdown=600)
    with pytest.raises(NotKept, match="3653 days"):
        strict.apply_async(countdown=86_400 * 4000)
    assert len(kept(valkey.client())) == 1
    assert len(messages(valkey.client())) == 1


def test_what_is_not_kept_is_said_in_whole_sentences(valkey):
    app = keeping(valkey.url(), redlock_beat_eta_limit=1, redlock_beat_eta_fallback="error")
    app.tasks["tasks.add"].apply_async(countdown=600)
    with pytest.raises(NotKept, match=r"calls already \(redlock_beat_eta_limit\)\. It is not sent\. Call it again"):
        app.tasks["tasks.add"].apply_async(countdown=600)


def test_a_parent_has_a_child_once_though_it_was_not_kept(valkey):
    app = keeping(valkey.url(), redlock_beat_eta_limit=1)
    add = app.tasks["tasks.add"]
    add.apply_async(countdown=600)

    @app.task(name="tasks.parent", bind=True, shared=False)
    def parent(self):
        add.apply_async(countdown=600)
        return len(self.request.children)

    assert parent.apply().get() == 1


def test_the_threshold_is_below_what_a_broker_leaves_with_a_worker(valkey):
    with pytest.raises(InvalidSetting, match="visibility timeout"):
        settings_of(make_app(valkey.url(), redlock_beat_eta_threshold=3600))
    app = make_app(valkey.url(), redlock_beat_eta_threshold=20, broker_transport_options={"visibility_timeout": 20})
    with pytest.raises(InvalidSetting, match="visibility timeout"):
        settings_of(app)
    rabbit = make_app("amqp://", redlock_beat_url=valkey.url(), redlock_beat_eta_threshold=7200)
    assert settings_of(rabbit).eta_threshold == 7200
    for wrong in ({"eta_threshold": 0}, {"eta_threshold": "5m"}, {"eta_fallback": "maybe"}, {"eta_limit": 0}):
        with pytest.raises(InvalidSetting, match="redlock_beat_eta_"):
            Settings(url="redis://", **wrong)


# --- revoking --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "revoke",
    [
        lambda app, id_: app.control.revoke(id_),
        lambda app, id_: app.control.revoke([id_]),
        lambda app, id_: app.AsyncResult(id_).revoke(),
        lambda app, id_: app.control.terminate(id_),
        lambda app, id_: app.control.broadcast("revoke", arguments={"task_id": id_}),  # `celery control revoke`
    ],
    ids=["one", "a list", "its result", "terminate", "the command line"],
)
def test_revoke_removes_it_before_its_time_and_its_state_is_revoked(app, add, valkey, revoke):
    result = add.apply_async(countdown=600)
    other = add.apply_async(countdown=600)
    assert result.state == "PENDING"
    revoke(app, result.id)
    assert list(kept(valkey.client())) == [other.id]
    assert result.state == "REVOKED"
    assert other.state == "PENDING"
    assert [row["id"] for row in ledger(valkey.client(), "skipped")] == [result.id]


def test_an_app_with_a_control_of_its_own_keeps_it(valkey):
    class Own(Control):
        def revoke(self, task_id, **kwargs):
            self.asked = task_id
            return super().revoke(task_id, **kwargs)

    app = make_app(valkey.url(), redlock_beat_eta_threshold=60, result_backend="cache+memory://")
    app.control_cls = Own
    keep_countdowns(app)
    result = app.tasks["tasks.add"].apply_async(countdown=600)
    app.control.revoke(result.id)
    assert (app.control.asked, result.state) == (result.id, "REVOKED")


def test_an_app_can_still_be_pickled(app):
    assert isinstance(pickle.loads(pickle.dumps(app)).control, Control)


def test_a_revoke_of_a_task_that_is_not_kept_is_celerys(app, add, valkey):
    result = add.delay()
    app.control.revoke(result.id)
    assert result.state == "PENDING"  # a worker says so, as ever
    assert ledger(valkey.client()) == []


def test_the_part_of_a_chord_that_is_revoked_fails_the_chord_as_with_a_worker(app, add):
    body = chord([add.s(i, i).set(countdown=600) for i in range(2)], app=app)(add.s(5))
    first = body.parent.children[0]
    app.control.revoke(first.id)
    assert first.state == "REVOKED"
    assert body.state == "PENDING"
    app.control.revoke(body.parent.children[1].id)
    assert body.state == "FAILURE"


def test_a_revoke_while_redis_is_away_is_an_error_in_the_log_or_raised(own_server, valkey, caplog):
    server = own_server()
    conf = {"redlock_beat_url": server.url()}
    plainly, strictly = keeping(valkey.url(), **conf), keeping(valkey.url(), redlock_beat_eta_fallback="error", **conf)
    id_ = plainly.tasks["tasks.add"].apply_async(countdown=600).id
    server.stop(signal.SIGKILL)
    plainly.control.revoke(id_)
    assert "Revoke it again" in caplog.text
    with pytest.raises(ConnectionError):
        strictly.control.revoke(id_)


def test_an_item_that_cannot_be_read_is_cancelled_all_the_same(app, add, valkey):
    result = add.apply_async(countdown=600)
    valkey.client().hset(K.countdown_items, result.id, "rubbish")
    app.control.revoke(result.id)
    assert kept(valkey.client()) == {}


def test_the_schedule_cancels_it_as_well(app, add, valkey):
    result = add.apply_async(countdown=600)
    schedule = Schedule(app)
    assert [(one.id, one.task, one.args) for one in schedule.countdowns()] == [(result.id, "tasks.add", "()")]
    assert schedule.cancel(result.id) == 1
    assert kept(valkey.client()) == {}
