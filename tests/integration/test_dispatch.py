"""From due to in the queue: what a leader sends, and what it does when something cannot be sent."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from celery import chain, chord, group
from celery.beat import BeatLazyFunc
from celery.schedules import crontab
from kombu import Exchange, Queue
from kombu.transport import redis as kombu_redis

from redlock_beat import InvalidSchedule, Schedule
from redlock_beat.entries.policies import act_at
from redlock_beat.entries.waiting import ManualItem
from redlock_beat.store.keys import Keys
from tests.beats import duplicates, ledger, messages, occurrences
from tests.servers import eventually

K = Keys("redlock-beat")


def test_a_configured_entry_is_sent_once_per_slot(server, beats):
    beat = beats(server, {"a": {"task": "tasks.add", "schedule": 0.2, "args": (1, 2)}})
    client = server.client()
    beat.until(lambda: client.llen("celery") >= 4)
    found = sorted(due for _, due in occurrences(client))
    assert duplicates(client) == 0
    assert [round(b - a, 6) for a, b in zip(found, found[1:], strict=False)] == [0.2] * (len(found) - 1)
    headers = messages(client)[0]["headers"]
    assert headers["celery_beat_task"] is True
    assert headers["redlock_beat_entry"] == "a"
    sent = ledger(client, "sent")
    assert sent[0]["id"] == headers["id"]
    assert int(sent[0]["nominal"]) == round(headers["redlock_beat_due"] * 1e6)


def test_the_message_is_byte_for_byte_what_celery_sends(server, beats):
    options = {"queue": "other", "priority": 5, "expires": 60, "headers": {"mine": 1}, "ignore_result": True}
    beat = beats(server)
    client = server.client()
    beat.lead()
    Schedule(beat.app).add("a", "tasks.anything", 60, (1, {"b": [2]}), {"y": "ü"}, options=options, run_now=True)
    keys = ("celery", "other", "other\x06\x165", "other\x06\x163")
    beat.until(lambda: any(client.llen(key) for key in keys))
    (key,) = [key for key in keys if client.llen(key)]
    ours = json.loads(client.lindex(key, 0))
    id_ = ours["headers"]["id"]
    own = {name: ours["headers"][name] for name in ("periodic_task_name", "redlock_beat_entry", "redlock_beat_due")}
    assert own["periodic_task_name"] == "a"  # where django-celery-results looks for it
    client.delete(key)
    beat.app.send_task(
        "tasks.anything",
        [1, {"b": [2]}],
        {"y": "ü"},
        task_id=id_,
        **{**options, "headers": {"mine": 1, "celery_beat_task": True, **own}},
    )
    theirs = json.loads(client.lindex(key, 0))
    for message in (ours, theirs):
        assert message["properties"].pop("delivery_tag")
        assert message["properties"].pop("reply_to")
        assert datetime.fromisoformat(message["headers"].pop("expires"))
        message["headers"].pop("origin")
    assert json.dumps(ours) == json.dumps(theirs)


def test_expires_is_by_the_clock_of_redis(valkey, beats, monkeypatch):
    beat = beats(valkey)
    beat.lead()
    Schedule(beat.app).add("a", "tasks.add", 60, expires=30, run_now=True)
    wrong = datetime.now(UTC) - timedelta(days=3)
    monkeypatch.setattr(beat.app, "now", lambda: wrong)
    client = valkey.client()
    beat.until(lambda: client.llen("celery"))
    expires = datetime.fromisoformat(messages(client)[0]["headers"]["expires"])
    assert abs((expires - datetime.now(UTC)).total_seconds() - 30) < 5


def test_lazy_arguments_and_queue_objects_are_rendered_from_the_configuration(server, beats):
    queue = Queue("own", Exchange("own", type="direct"), routing_key="own")
    beat = beats(
        server,
        {
            "a": {
                "task": "tasks.add",
                "schedule": 0.2,
                "args": (BeatLazyFunc(lambda: 41), 1),
                "options": {"queue": queue},
            }
        },
    )
    client = server.client()
    beat.until(lambda: client.llen("own"))
    assert messages(client, "own")[0]["headers"]["argsrepr"] == "[41, 1]"
    assert json.loads(client.hget(K.entries, "a"))["ref"] is True


def test_options_declared_on_the_task_apply(valkey, beats):
    beat = beats(valkey)

    @beat.app.task(name="tasks.declared", queue="declared", expires=77)
    def declared() -> None: ...

    beat.lead()
    Schedule(beat.app).add("a", "tasks.declared", 60, run_now=True)
    client = valkey.client()
    beat.until(lambda: client.llen("declared"))
    assert messages(client, "declared")[0]["headers"]["expires"]


def test_canvas_signatures_are_carried(server, beats):
    beat = beats(server)
    add = beat.app.tasks["tasks.add"]
    beat.lead()
    schedule = Schedule(beat.app)
    schedule.add("chain", chain(add.s(1, 1), add.s(2)), 60, run_now=True)
    schedule.add("group", group(add.s(1, 1), add.s(2, 2)), 60, run_now=True)
    client = server.client()
    beat.until(lambda: client.llen("celery") >= 3)
    found = messages(client)
    assert sorted(one["headers"]["redlock_beat_entry"] for one in found) == ["chain", "group", "group"]
    assert all(one["headers"]["task"] == "tasks.add" for one in found)
    assert len({one["headers"]["id"] for one in found}) == 3


def test_a_chord_is_carried(valkey, beats):
    beat = beats(valkey, result_backend=valkey.url(2))
    add = beat.app.tasks["tasks.add"]
    beat.lead()
    Schedule(beat.app).add("chord", chord([add.s(1, 1), add.s(2, 2)], add.s(3)), 60, run_now=True)
    client = valkey.client()
    beat.until(lambda: client.llen("celery") >= 2)
    assert len(messages(client)) == 2
    for one in messages(client):
        assert json.loads(base64.b64decode(one["body"]))[2]["chord"]["task"] == "tasks.add"
        assert one["headers"]["redlock_beat_entry"] == "chord"
    assert client.pubsub_channels("*celery-task-meta*") == []


def test_a_configured_canvas_is_carried(valkey, beats):
    beat = beats(valkey)
    add = beat.app.tasks["tasks.add"]
    beat.app.add_periodic_task(0.2, chain(add.s(1, 1), add.s(2)), name="chained")
    client = valkey.client()
    beat.until(lambda: client.llen("celery"))
    assert messages(client)[0]["headers"]["task"] == "tasks.add"


def test_a_fanout_message_is_published_by_the_commit(server, beats):
    beat = beats(server, {"a": {"task": "tasks.add", "schedule": 0.2}}, task_send_sent_event=True)
    pubsub = server.client().pubsub()
    pubsub.psubscribe("/0.celeryev*")
    assert pubsub.get_message(timeout=5)["type"] == "psubscribe"
    found = beat.until(lambda: pubsub.get_message(timeout=0))
    event = json.loads(base64.b64decode(json.loads(found["data"])["body"]))
    assert event["type"] == "task-sent"
    assert event["uuid"] in {row["id"] for row in ledger(server.client(), "sent")}


@pytest.mark.skipif(not hasattr(kombu_redis.Channel, "_get_queue_expire"), reason="this kombu does not expire queues")
def test_a_queue_with_expiry_is_kept_alive(valkey, beats):
    beat = beats(valkey)
    queue = Queue("short", expires=60.0)
    beat.app.amqp.queues.add(queue)
    beat.lead()
    Schedule(beat.app).add("a", "tasks.add", 60, options={"queue": "short"}, run_now=True)
    client = valkey.client()
    beat.until(lambda: client.llen("short"))
    assert 0 < client.pttl("short") <= 60_000


def test_a_global_key_prefix_is_applied(valkey, beats):
    beat = beats(
        valkey,
        {"a": {"task": "tasks.add", "schedule": 0.2}},
        broker_transport_options={"global_keyprefix": "mine:", "visibility_timeout": 3600},
    )
    client = valkey.client()
    beat.until(lambda: client.llen("mine:celery"))
    assert beat.parts.renderer.direct


def test_the_broker_in_another_database_of_the_same_server(server, beats):
    beat = beats(server.url(3), {"a": {"task": "tasks.add", "schedule": 0.2}}, redlock_beat_url=server.url(0))
    queue = server.client(3)
    beat.until(lambda: queue.llen("celery") >= 2)
    assert beat.parts.renderer.direct
    assert server.client(0).llen("celery") == 0
    assert server.client(0).zscore(K.due, "a")


def test_a_task_that_does_not_send_is_in_the_ledger(valkey, beats):
    beat = beats(valkey)

    from celery import Task

    class Shy(Task):
        name = "tasks.shy"

        def apply_async(self, *args, **kwargs):
            return None

    beat.app.register_task(Shy())
    beat.lead()
    Schedule(beat.app).add("a", "tasks.shy", 60, run_now=True)
    client = valkey.client()
    beat.until(lambda: ledger(client, "published nothing"))
    assert client.llen("celery") == 0


def test_results_stay_wanted_but_beat_subscribes_to_none(valkey, beats):
    beat = beats(valkey, {"a": {"task": "tasks.add", "schedule": 0.1}}, result_backend=valkey.url(1))
    client = valkey.client()
    beat.until(lambda: client.llen("celery") >= 3)
    channels = client.pubsub_channels("*")
    assert [one for one in channels if "celery-task-meta" in one] == []
    assert messages(client)[0]["headers"]["ignore_result"] is False


# --- what cannot be sent -----------------------------------------------------------------------------


def test_a_queue_key_of_the_wrong_type_loses_nothing(server, beats):
    beat = beats(server)
    client = server.client()
    beat.lead()
    client.set("bad", "a string")
    schedule = Schedule(beat.app)
    schedule.add("good", "tasks.add", 0.2)
    schedule.add("bad", "tasks.add", 60, options={"queue": "bad"}, run_now=True)
    beat.until(lambda: ledger(client, "failed"))
    (row, *_) = ledger(client, "failed")
    assert row["entry"] == "bad"
    assert "WRONGTYPE" in row["why"]
    before = client.llen("celery")
    beat.until(lambda: client.llen("celery") > before)  # the others go on
    client.delete("bad")
    beat.until(lambda: client.type("bad") == "list")
    assert messages(client, "bad")[0]["headers"]["redlock_beat_due"] == int(row["nominal"]) / 1e6


def test_a_failed_push_takes_back_the_others_of_its_occurrence(server, beats):
    beat = beats(server)
    add = beat.app.tasks["tasks.add"]
    client = server.client()
    beat.lead()
    client.set("bad", "a string")
    both = group(add.s(1, 1).set(queue="fine"), add.s(2, 2).set(queue="bad"))
    Schedule(beat.app).add("both", both, 60, run_now=True)
    beat.until(lambda: ledger(client, "failed"))
    assert client.llen("fine") == 0
    client.delete("bad")
    beat.until(lambda: client.type("bad") == "list")
    assert client.llen("fine") == 1


def test_an_acl_that_denies_a_queue(server, beats):
    client = server.client()
    client.execute_command("ACL", "SETUSER", "beat", "on", "nopass", "+@all", "~{redlock-beat}:*", "~celery", "&*")
    try:
        beat = beats(server.url(), redlock_beat_url=server.url(user="beat:x"))
        beat.lead()
        assert beat.parts.renderer.direct
        schedule = Schedule(beat.app)
        schedule.add("good", "tasks.add", 0.2)
        schedule.add("denied", "tasks.add", 60, options={"queue": "secret"}, run_now=True)
        beat.until(lambda: ledger(client, "failed"))
        before = client.llen("celery")
        beat.until(lambda: client.llen("celery") > before)
        client.execute_command("ACL", "SETUSER", "beat", "~secret")
        beat.until(lambda: client.llen("secret"))
        assert client.llen("secret") == 1
    finally:
        client.execute_command("ACL", "DELUSER", "beat")


def test_a_refused_select_goes_through_the_outbox(server, beats):
    client = server.client()
    client.execute_command("ACL", "SETUSER", "beat", "on", "nopass", "+@all", "-select", "~*", "&*")
    try:
        beat = beats(
            server.url(3), {"a": {"task": "tasks.add", "schedule": 0.2}}, redlock_beat_url=server.url(0, "beat:x")
        )
        queue = server.client(3)
        beat.until(lambda: queue.llen("celery") >= 2)
        assert not beat.parts.renderer.direct
        assert duplicates(queue) == 0
    finally:
        client.execute_command("ACL", "DELUSER", "beat")


def test_a_select_refused_in_mid_term_loses_nothing(server, beats):
    client = server.client()
    client.execute_command("ACL", "SETUSER", "beat", "on", "nopass", "+@all", "~*", "&*")
    try:
        beat = beats(server.url(3), redlock_beat_url=server.url(0, "beat:x"))
        beat.lead()
        assert beat.parts.renderer.direct
        client.execute_command("ACL", "SETUSER", "beat", "-select")
        Schedule(beat.app).add("a", "tasks.add", 60, run_now=True)
        queue = server.client(3)
        beat.until(lambda: queue.llen("celery") or ledger(client, "failed"))
        client.execute_command("ACL", "SETUSER", "beat", "+select")
        beat.until(lambda: queue.llen("celery"))
        assert queue.llen("celery") == 1
    finally:
        client.execute_command("ACL", "DELUSER", "beat")


def test_a_server_at_its_memory_limit_loses_nothing(server, beats):
    beat = beats(server, {"a": {"task": "tasks.add", "schedule": 0.2}})
    client = server.client()
    beat.until(lambda: client.llen("celery") >= 2)
    epoch = client.get(K.epoch)
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", "1")
    try:
        before = client.llen("celery")
        beat.tick(5)
        full = client.llen("celery")
    finally:
        client.config_set("maxmemory", "0")
    if server.kind != "redis6":  # its libc build counts no memory at so small a limit
        assert full == before
    beat.until(lambda: client.llen("celery") > before + 1)
    assert duplicates(client) == 0
    assert client.get(K.epoch) == epoch  # and the leader was not lost to it


# --- one bad entry is one bad entry --------------------------------------------------------------------


@pytest.mark.parametrize(
    "definition",
    ['{"v":1', "[]", '{"v":99}', '{"v":1,"kind":"crontab","s_cron":"0 0 30 2 *","uid":"u","rev":1,"task":"t","at":0}'],
)
def test_a_definition_that_does_not_decode_is_quarantined_and_kept(server, beats, definition):
    beat = beats(server)
    client = server.client()
    beat.lead()
    schedule = Schedule(beat.app)
    schedule.add("bad", "tasks.add", 0.2)
    schedule.add("good", "tasks.add", 0.2)
    beat.parts.dispatcher.cache = type(beat.parts.dispatcher.cache)(0)
    whole = client.hget(K.entries, "bad")
    client.hset(K.entries, "bad", definition)
    beat.until(lambda: client.hexists(K.quarantine, "bad"))
    report = json.loads(client.hget(K.quarantine, "bad"))
    assert report["definition"] == definition
    assert client.hget(K.entries, "bad") == definition  # never deleted
    before = client.llen("celery")
    beat.until(lambda: client.llen("celery") > before)
    # Mended, it comes back with the next term.
    client.hset(K.entries, "bad", whole)
    client.delete(K.lease)
    client.incr(K.epoch)
    beat.until(lambda: client.zscore(K.due, "bad") is not None)
    beat.until(lambda: not client.hexists(K.quarantine, "bad"))


def test_a_bad_entry_does_not_survive_an_edit_of_it(valkey, beats):
    beat = beats(valkey)
    client = valkey.client()
    beat.lead()
    schedule = Schedule(beat.app)
    schedule.add("bad", "tasks.add", 0.2)
    client.hset(K.entries, "bad", "rubbish")
    beat.parts.dispatcher.cache = type(beat.parts.dispatcher.cache)(0)
    beat.until(lambda: client.hexists(K.quarantine, "bad"))
    schedule.add("bad", "tasks.add", 0.2, replace=True)
    assert not client.hexists(K.quarantine, "bad")
    before = client.llen("celery")
    beat.until(lambda: client.llen("celery") > before)


def test_rubbish_in_due_is_set_aside(valkey, beats):
    beat = beats(valkey, {"good": {"task": "tasks.add", "schedule": 0.2}})
    client = valkey.client()
    beat.lead()
    client.zadd(K.due, {"ghost": 1.0, "": 1.0, "half": 2.0})
    client.hset(K.state, "half", "not a state")
    beat.until(lambda: client.hlen(K.quarantine) == 3)
    assert client.zscore(K.due, "ghost") is None
    before = client.llen("celery")
    beat.until(lambda: client.llen("celery") > before)


def test_user_code_that_raises_is_tried_again_and_others_go_on(valkey, beats):
    fail = [True]

    def argument() -> int:
        if fail[0]:
            raise RuntimeError("no database, redis://user:secret@host/0")
        return 7

    beat = beats(
        valkey,
        {
            "a": {"task": "tasks.add", "schedule": 0.2, "args": (BeatLazyFunc(argument), 0)},
            "good": {"task": "tasks.add", "schedule": 0.2},
        },
    )
    client = valkey.client()
    beat.until(lambda: client.hexists(K.quarantine, "a"))
    assert "secret" not in client.hget(K.quarantine, "a")
    before = client.llen("celery")
    beat.until(lambda: client.llen("celery") > before)
    fail[0] = False
    beat.until(lambda: "[7, 0]" in {one["headers"]["argsrepr"] for one in messages(client)})
    beat.until(lambda: not client.hexists(K.quarantine, "a"))
    # What came due meanwhile is accounted for.
    assert ledger(client, "missed")


def test_names_in_emoji_and_odd_bytes(server, beats):
    beat = beats(server)
    beat.lead()
    schedule = Schedule(beat.app)
    names = ["🚀 Ünï", "a b\nc", "x" * 500, "{braces}:*[?]"]
    for name in names:
        schedule.add(name, "tasks.add", 60, run_now=True)
    client = server.client()
    beat.until(lambda: client.llen("celery") >= len(names))
    assert {one["headers"]["redlock_beat_entry"] for one in messages(client)} == set(names)


# --- what waits to be sent by hand -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "rubbish",
    [{"nominal": "soon"}, {"nominal": 10**40}, {"at": "yesterday"}, {"missed": [1, 2, "x", 3]}, {"entry": 7}],
    ids=str,
)
def test_a_manual_item_with_rubbish_in_it_stops_nothing_and_is_in_the_ledger(valkey, beats, rubbish, caplog):
    beat = beats(valkey).lead()
    schedule = Schedule(beat.app)
    entry = schedule.add("a", "tasks.add", 3600)
    client = valkey.client()
    good = {"entry": "a", "uid": entry.uid, "how": "trigger", "nominal": 1_000_000, "req": "1", "at": 1}
    client.zadd(K.manual, {json.dumps({**good, **rubbish}): 1.0, "[": 1.0, json.dumps(good): 2.0})
    beat.until(lambda: client.llen("celery"))
    assert client.zcard(K.manual) == 0
    rows = ledger(client, "skipped")
    assert len(rows) == 2
    assert all("cannot be read" in row["why"] for row in rows)
    assert "cannot be read and is dropped" in caplog.text


@pytest.mark.parametrize("score", ["-inf", "inf", "1e300", "-1e300"])
def test_a_score_beyond_every_calendar_stops_nothing(valkey, beats, score):
    schedule, client = Schedule.from_url(valkey.url()), valkey.client()
    parked = schedule.add("parked", "tasks.add", 3600)
    trigger = ManualItem("parked", parked.uid, "trigger", 1_000_000, 1_000_000, "r")
    client.zadd(K.due, {"parked": score})
    client.zadd(K.manual, {trigger.text(): score})
    schedule.add("good", "tasks.add", 0.2)
    beat = beats(valkey).lead()
    beat.until(lambda: len([row for row in ledger(client, "sent") if row["entry"] == "good"]) > 2, seconds=5)
    assert schedule.status().entries == 2
    assert schedule.health().why


def test_a_state_beyond_the_calendar_spoils_no_history(valkey, beats):
    """Its slot is in the ledger as it stood there."""
    client = valkey.client()
    client.xadd(K.ledger, {"at": 1, "is": "failed", "entry": "a", "nominal": 10**25, "epoch": 1})
    schedule = Schedule.from_url(valkey.url())
    (row,) = schedule.history()
    assert row.nominal is None
    assert schedule.status().lateness_p50 is None


def test_a_slot_that_jitter_holds_back_survives_an_edit_of_its_jitter(valkey, beats):
    """A deploy within the jitter of a nightly entry must not drop the night."""
    schedule = Schedule.from_url(valkey.url())
    schedule.add("a", "tasks.add", 3600, jitter=600)
    client = valkey.client()
    uid, rev, _, *rest = client.hget(K.state, "a").split(" ")
    now = schedule._store.now()
    nominal = next(n for n in range(now - 1000, 0, -1) if 1_500_000 < act_at(schedule["a"], n) - now < 3_000_000)
    client.hset(K.state, "a", " ".join([uid, rev, str(nominal), *rest]))
    due = act_at(schedule["a"], nominal)
    client.zadd(K.due, {"a": due / 1e6})
    schedule.update("a", jitter=300)
    beat = beats(valkey).lead()
    assert client.llen("celery") == 0
    beat.until(lambda: client.llen("celery"))
    assert round(messages(client)[0]["headers"]["redlock_beat_due"] * 1e6) == nominal
    (row,) = ledger(client, "sent")
    assert row["how"] == "settled"
    assert 0 <= int(row["at"]) - due < 1_000_000


def test_a_settled_slot_of_an_entry_that_is_paused_meanwhile_is_not_sent(valkey, beats):
    schedule = Schedule.from_url(valkey.url())
    entry = schedule.add("a", "tasks.add", 3600)
    text = ManualItem("a", entry.uid, "settled", entry.state.nominal, entry.state.nominal).text()
    client = valkey.client()
    client.zadd(K.manual, {text: 1.0})
    schedule.pause("a")
    beat = beats(valkey).lead()
    beat.until(lambda: ledger(client, "skipped"))
    assert ledger(client, "skipped")[0]["why"] == "the entry is paused"
    assert client.llen("celery") == 0


def test_an_edit_that_mends_a_failing_entry_is_felt_at_once(valkey, beats):
    beat = beats(valkey).lead()
    schedule = Schedule(beat.app)
    client = valkey.client()
    schedule.add("a", "tasks.add", 3600, (1, 2, 3, 4), run_now=True)
    beat.until(lambda: client.hexists(K.quarantine, "a"))
    state = client.hget(K.state, "a")
    client.hset(K.state, "a", f"{state[:-1]}6")  # it failed for a while: the next attempt is far away
    client.zincrby(K.due, 60, "a")
    beat.start()
    began = time.monotonic()
    schedule.update("a", args=(1, 2))
    eventually(lambda: client.llen("celery"), "it is sent")
    assert time.monotonic() - began < 0.5


@pytest.mark.parametrize("age", [1, 50])
def test_a_one_shot_that_is_past_when_it_arrives_is_sent_at_once(valkey, beats, age):
    beat = beats(valkey).lead()
    Schedule(beat.app).add("a", "tasks.add", datetime.now(UTC) - timedelta(seconds=age))
    client = valkey.client()
    beat.until(lambda: client.llen("celery"))
    assert client.llen("celery") == 1
    with pytest.raises(InvalidSchedule, match="never be sent"):
        Schedule(beat.app).add("b", "tasks.add", datetime.now(UTC) - timedelta(seconds=70))


# --- how late is still on time ---------------------------------------------------------------------------


def make_late(client, name, seconds):
    """As if nothing had run since a slot that came so long ago."""
    uid, rev, _, *rest = client.hget(K.state, name).split(" ")
    late = (int(client.time()[0]) - seconds) * 1_000_000
    client.hset(K.state, name, " ".join([uid, rev, str(late), *rest]))
    client.zadd(K.due, {name: late / 1e6})


def test_what_is_later_than_its_grace_is_missed_under_every_policy(valkey, beats, way):
    schedule = Schedule.from_url(valkey.url())
    client = valkey.client()
    cases = {
        "skip": ({"missed": "skip"}, 70, False), "skip a little late": ({"missed": "skip"}, 50, True),
        "once": ({"missed": "once", "grace": 5}, 7, False), "once in time": ({"grace": 600}, 70, True),
        "all": ({"missed": "all", "grace": 5}, 7, False), "no grace": ({}, 3000, True),
        "cron": ({}, 130, False), "cron a little late": ({}, 100, True), "cron of its own": ({"grace": 900}, 130, True),
    }  # fmt: skip
    far = (datetime.now(UTC).hour + 12) % 24  # no later slot of the crontabs is due
    for name, (policies, late, _) in cases.items():
        when = crontab(minute=0, hour=far) if name.startswith("cron") else 3600
        schedule.add(name, "tasks.add", when, **policies)
        make_late(client, name, late)
    beat = beats(valkey, beat_cron_starting_deadline=120).lead()
    beat.until(lambda: len(ledger(client, "sent")) + len(ledger(client, "missed")) >= len(cases))
    assert {one["headers"]["redlock_beat_entry"] for one in messages(client)} == {
        name for name, (_, _, sent) in cases.items() if sent
    }
    assert {row["why"] for row in ledger(client, "missed")} == {"grace"}
