"""``beat_schedule`` -> Redis: three-way, by the leader, in pages."""

from __future__ import annotations

import json

from celery.beat import BeatLazyFunc, ScheduleEntry
from celery.schedules import crontab

from redlock_beat import Schedule
from redlock_beat.keys import Keys
from redlock_beat.sync import read_configuration
from tests.beats import make_app, messages

K = Keys("redlock-beat")
HOUR = {"task": "t", "schedule": 3600.0}


def release(server, beats, entries, **conf):
    """Deploy a configuration: a beat with it leads, syncs and stops; its schedule."""
    beat = beats(server, entries, **conf).lead()
    beat.close()
    return Schedule(beat.app)


def writes(client) -> int:
    stats = client.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("hset", "hdel", "zadd", "zrem"))


def test_twenty_thousand_entries_in_pages_and_an_unchanged_second_start_writes_nothing(valkey, beats, untraced):
    entries = {f"e{i}": {"task": "t", "schedule": crontab(minute=i % 60), "args": (i,)} for i in range(20_000)}
    client = valkey.client()
    client.config_resetstat()
    beat = beats(valkey, entries)
    beat.until(lambda: beat.scheduler._begun and beat.scheduler._sync is None, "it is synced", 100)
    beat.close()
    schedule = Schedule(beat.app)
    assert len(schedule) == 20_000
    calls = client.info("commandstats")["cmdstat_evalsha"]["calls"]
    assert calls < 20_000 / 50
    schema = {key: client.dump(key) for key in (K.entries, K.state, K.due, K.configured, K.config)}
    client.config_resetstat()
    release(valkey, beats, entries)
    assert {key: client.dump(key) for key in schema} == schema
    assert writes(client) < 10  # a heartbeat, and nothing else


def test_dispatch_goes_on_between_the_pages(valkey, beats):
    release(valkey, beats, {"now": {"task": "t", "schedule": 0.05}})
    entries = {f"e{i}": HOUR for i in range(2_000)}
    beat = beats(valkey, {"now": {"task": "t", "schedule": 0.05}, **entries})
    client = valkey.client()
    beat.until(lambda: beat.scheduler._begun)
    sent = []
    while beat.scheduler._sync is not None:
        beat.tick()
        sent.append(client.llen("celery"))
    assert len(set(sent)) > 1


def test_what_changed_is_changed_and_the_rest_is_left(server, beats):
    schedule = release(server, beats, {"a": HOUR, "b": HOUR, "c": HOUR})
    before = {name: schedule[name] for name in "abc"}
    schedule.update("b", args=(1,))
    release(server, beats, {"a": {**HOUR, "args": (7,)}, "b": HOUR, "c": HOUR, "d": HOUR})
    assert schedule["a"].args == (7,)
    assert schedule["a"].uid == before["a"].uid
    assert schedule["a"].state.nominal == before["a"].state.nominal  # args never move it
    assert schedule["b"].args == (1,)  # edited at runtime, and unchanged in the configuration
    assert schedule["c"] == before["c"]
    assert schedule["d"].origin == "config"


def test_edits_pauses_and_removals_stay_until_the_configuration_changes(server, beats):
    entries = {"a": HOUR, "b": HOUR}
    schedule = release(server, beats, entries)
    schedule.pause("a", note="mine")
    schedule.remove("b")
    release(server, beats, {**entries, "c": HOUR})
    assert schedule["a"].note == "mine"
    assert "b" not in schedule
    release(server, beats, {"a": {**HOUR, "args": (1,)}, "b": {**HOUR, "args": (1,)}, "c": HOUR})
    assert schedule["a"].enabled
    assert schedule["a"].state.nominal > schedule._store.now()
    assert "b" in schedule


def test_a_rollout_that_flaps_loses_no_pause_and_no_phase(server, beats):
    old, new = {"a": HOUR, "b": HOUR, "gone": HOUR}, {"a": HOUR}
    schedule = release(server, beats, old)
    schedule.pause("b", note="mine")
    schedule.update("gone", kwargs={"x": 1})
    schedule.remove("a")
    before = {name: (schedule[name], schedule[name].state) for name in ("b", "gone")}
    for _ in range(2):
        release(server, beats, new)
        assert "gone" not in schedule
        release(server, beats, old)
        assert {name: (schedule[name], schedule[name].state) for name in ("b", "gone")} == before
        assert "a" not in schedule
    client = server.client()
    assert client.zscore(K.due, "gone") * 1e6 == before["gone"][1].nominal
    assert client.zscore(K.due, "b") is None
    assert client.hlen(K.archive) == 0


def test_an_entry_removed_at_runtime_and_in_the_configuration_comes_back_only_changed(valkey, beats):
    schedule = release(valkey, beats, {"a": HOUR, "b": HOUR})
    schedule.remove("a")
    release(valkey, beats, {"b": HOUR})
    release(valkey, beats, {"a": HOUR, "b": HOUR})
    assert "a" not in schedule
    release(valkey, beats, {"b": HOUR})
    release(valkey, beats, {"a": {**HOUR, "args": (2,)}, "b": HOUR})
    assert schedule["a"].args == (2,)


def test_an_entry_that_returns_changed_keeps_its_uid(valkey, beats):
    schedule = release(valkey, beats, {"a": HOUR, "b": HOUR})
    uid = schedule["a"].uid
    release(valkey, beats, {"b": HOUR})
    release(valkey, beats, {"a": {**HOUR, "kwargs": {"x": 1}}, "b": HOUR})
    assert schedule["a"].uid == uid
    assert valkey.client().zscore(K.due, "a")


def test_an_archived_entry_that_returns_late_counts_from_now(valkey, beats):
    schedule = release(valkey, beats, {"a": {"task": "t", "schedule": 60.0}, "b": HOUR})
    release(valkey, beats, {"b": HOUR})
    client = valkey.client()
    kept = json.loads(client.hget(K.archive, "a"))
    uid, rev, nominal, *rest = kept["state"].split()
    kept["state"] = " ".join([uid, rev, str(int(nominal) - 7200_000_000), *rest])
    kept["at"] -= 7200_000_000
    client.hset(K.archive, "a", json.dumps(kept))
    release(valkey, beats, {"a": {"task": "t", "schedule": 60.0}, "b": HOUR})
    assert schedule["a"].state.nominal > schedule._store.now()


def test_rubbish_in_the_archive_is_a_new_entry(valkey, beats):
    release(valkey, beats, {"b": HOUR})
    valkey.client().hset(K.archive, "a", "rubbish")
    assert "a" in release(valkey, beats, {"a": HOUR, "b": HOUR})


def test_entries_made_at_runtime_are_never_touched(server, beats, caplog):
    schedule = Schedule.from_url(server.url())
    mine = schedule.add("a", "mine", 60)
    release(server, beats, {"a": HOUR})
    assert schedule["a"] == mine
    assert "made at runtime" in caplog.text
    release(server, beats, {})
    assert schedule["a"] == mine


def test_an_older_release_overwrites_nothing(server, beats, caplog):
    schedule = release(server, beats, {"a": HOUR}, redlock_beat_config_version=3)
    for version in (2, None):
        release(server, beats, {"b": HOUR}, redlock_beat_config_version=version)
        assert [one.name for one in schedule] == ["a"]
    assert "configuration version 3" in caplog.text
    release(server, beats, {"b": HOUR}, redlock_beat_config_version=3)
    assert [one.name for one in schedule] == ["b"]


def test_one_bad_configured_entry_is_one_bad_entry(valkey, beats, caplog):
    entries = {
        "good": HOUR, "no task": {"schedule": 1}, "bad cron": {"task": "t", "schedule": "soon"}, "odd": 5,
        "bad policy": {**HOUR, "missed": "maybe"},
    }  # fmt: skip
    schedule = release(valkey, beats, entries)
    assert [one.name for one in schedule] == ["good"]
    for name in set(entries) - {"good"}:
        assert repr(name) in caplog.text


def test_an_entry_gone_bad_in_the_configuration_is_not_archived(valkey, beats):
    schedule = release(valkey, beats, {"a": HOUR, "b": HOUR})
    release(valkey, beats, {"a": {"task": "t", "schedule": "rubbish"}, "b": HOUR})
    assert "a" in schedule


def test_a_definition_that_does_not_decode_is_replaced_by_the_configuration(valkey, beats):
    schedule = release(valkey, beats, {"a": HOUR})
    valkey.client().hset(K.entries, "a", "rubbish")
    release(valkey, beats, {"a": {**HOUR, "args": (1,)}})
    assert schedule["a"].args == (1,)


def test_celerys_own_entry_objects_and_default_entries(valkey, beats):
    entry = ScheduleEntry("a", "t", schedule=30.0, args=(1,))
    schedule = release(valkey, beats, {"a": entry}, result_expires=3600)
    assert schedule["a"].args == (1,)
    assert "celery.backend_cleanup" in schedule


def test_policies_stand_beside_celerys_own_keys(valkey, beats):
    schedule = release(
        valkey, beats, {"a": {**HOUR, "missed": "all", "timezone": "Europe/Berlin", "relative": True, "expires": 5}}
    )
    entry = schedule["a"]
    assert (entry.missed, entry.timezone, entry.schedule.relative, entry.options["expires"]) == (
        "all", "Europe/Berlin", True, 5,
    )  # fmt: skip


def test_the_digest_is_the_same_in_every_process(valkey):
    def one(value):
        return read_configuration(make_app(valkey.url(), {"a": {**HOUR, "args": (BeatLazyFunc(int, value), object)}}))

    assert one("1").digest == one("1").digest
    assert one("1").digest != one("2").digest


def test_a_conflicting_edit_in_mid_sync_is_read_again(valkey, beats):
    schedule = release(valkey, beats, {"a": HOUR})
    beat = beats(valkey, {"a": {**HOUR, "args": (1,)}, "b": HOUR})
    beat.until(lambda: beat.scheduler._begun)
    edit, calls = beat.scheduler.store.edit, []

    def slower(edits, **kwargs):
        if not calls:
            schedule.update("a", kwargs={"x": 1})
        calls.append(1)
        return edit(edits, **kwargs)

    beat.scheduler.store.edit = slower
    beat.lead()
    assert schedule["a"].args == (1,)


def test_a_rename_is_a_removal_and_an_addition(valkey, beats):
    schedule = release(valkey, beats, {"a": HOUR})
    uid = schedule["a"].uid
    release(valkey, beats, {"b": HOUR})
    assert [one.name for one in schedule] == ["b"]
    assert schedule["b"].uid != uid


def test_an_entry_of_another_release_waits_for_a_beat_that_has_it(valkey, beats):
    entries = {"a": {"task": "t", "schedule": 0.1, "args": (BeatLazyFunc(int),)}}
    release(valkey, beats, entries, redlock_beat_config_version=2)
    beat = beats(valkey, {}, redlock_beat_config_version=1)
    client = valkey.client()
    beat.until(lambda: client.hexists(K.quarantine, "a"))
    assert client.llen("celery") == 0
    beat.close()
    newer = beats(valkey, entries, redlock_beat_config_version=2)
    newer.until(lambda: messages(client))
