"""``beat_schedule`` -> Redis: three-way, by the leader, in pages."""

from __future__ import annotations

import json
import signal
from base64 import b64decode
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import ClassVar

import pytest
from celery import chain
from celery.beat import BeatLazyFunc, ScheduleEntry, Scheduler
from celery.schedules import crontab
from click.testing import CliRunner
from dateutil.rrule import HOURLY, MINUTELY, rrule, rrulestr

from redlock_beat import InvalidSchedule, Schedule, register_schedule
from redlock_beat.beat import pages
from redlock_beat.cli import redlock
from redlock_beat.cli.doctor import examine
from redlock_beat.clock import micros
from redlock_beat.errors import Deposed
from redlock_beat.schedule.configuration import edited, read_configuration
from redlock_beat.store.digests import digests
from redlock_beat.store.keys import Keys
from redlock_beat.words import one_line
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


def test_thousands_of_entries_in_pages_and_an_unchanged_second_start_writes_nothing(valkey, beats, untraced):
    far = (datetime.now(UTC).month + 5) % 12 + 1  # the month in which they are due: not while this runs
    entries = {
        f"e{i}": {"task": "t", "schedule": crontab(minute=i % 60, month_of_year=far), "args": (i,)}
        for i in range(6_000)
    }
    client = valkey.client()
    client.config_resetstat()
    beat = beats(valkey, entries)
    beat.until(lambda: beat.settled, "it is synced", 60)
    beat.close()
    schedule = Schedule(beat.app)
    assert len(schedule) == 6_000
    calls = client.info("commandstats")["cmdstat_evalsha"]["calls"]
    assert calls < 6_000 / 50
    schema = {key: client.dump(key) for key in (K.entries, K.state, K.due, K.digests, K.config)}
    client.config_resetstat()
    release(valkey, beats, entries)
    assert [key for key in schema if client.dump(key) != schema[key]] == []
    assert writes(client) < 10  # a heartbeat, and nothing else


def test_dispatch_goes_on_between_the_pages(valkey, beats):
    release(valkey, beats, {"now": {"task": "t", "schedule": 0.05}})
    entries = {f"e{i}": HOUR for i in range(2_000)}
    beat = beats(valkey, {"now": {"task": "t", "schedule": 0.05}, **entries})
    client = valkey.client()
    beat.until(lambda: beat.begun)
    sent = []
    while not beat.settled:
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
    assert schedule["a"].state.nominal > micros(schedule.now())
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
    assert schedule["a"].state.nominal > micros(schedule.now())


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
        "good": HOUR,
        "no task": {"schedule": 1},
        "bad cron": {"task": "t", "schedule": "soon"},
        "odd": 5,
        "bad policy": {**HOUR, "missed": "maybe"},
    }
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
        "all",
        "Europe/Berlin",
        True,
        5,
    )


def test_the_digest_is_the_same_in_every_process(valkey):
    def one(value):
        return read_configuration(make_app(valkey.url(), {"a": {**HOUR, "args": (BeatLazyFunc(int, value), object)}}))

    assert one("1").digest == one("1").digest
    assert one("1").digest != one("2").digest


def test_a_conflicting_edit_in_mid_sync_is_read_again(valkey, beats):
    schedule = release(valkey, beats, {"a": HOUR})
    beat = beats(valkey, {"a": {**HOUR, "args": (1,)}, "b": HOUR})
    beat.until(lambda: beat.term)
    edit, calls = beat.parts.store.edit, []

    def slower(edits, **kwargs):
        if edits and not calls:
            calls.append(schedule.update("a", kwargs={"x": 1}))
        return edit(edits, **kwargs)

    beat.parts.store.edit = slower
    beat.lead()
    assert calls
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


class Calendar:
    """A schedule of a user's own, whose table may be away."""

    away: ClassVar[bool] = False

    def next_slot(self, after):
        if self.away:
            raise RuntimeError("the table is away")
        return after + timedelta(seconds=3600)


@pytest.fixture
def calendar(monkeypatch):
    monkeypatch.setattr(Calendar, "away", True)
    register_schedule("calendar", Calendar, dump=lambda one: {})
    return Calendar()


def bad_entries(calendar):
    second = rrulestr("FREQ=HOURLY;BYSECOND=61", dtstart=datetime(2026, 1, 31))
    return {"rrule": {"task": "t", "schedule": second}, "calendar": {"task": "t", "schedule": calendar}, "\ud800": HOUR}


def test_an_entry_whose_next_slot_cannot_be_computed_leaves_all_others_in_force(server, beats, caplog, calendar):
    bad = bad_entries(calendar)
    schedule = release(server, beats, {"a": HOUR, **bad, "z": HOUR})
    assert sorted(one.name for one in schedule) == ["a", "z"]
    status = schedule.status()
    assert set(status.left_out) == set(bad)
    assert status.left_out_total == 3
    assert "the table is away" in status.left_out["calendar"]
    assert "BYSECOND" in status.left_out["rrule"]
    assert "UTF-8" in status.left_out["\ud800"]
    for name in bad:
        assert f"beat_schedule[{one_line(name)!r}]" in caplog.text
    release(server, beats, {"a": HOUR, "z": HOUR})
    assert schedule.status().left_out == {}


def test_what_was_left_out_turns_health_red_and_is_named_by_doctor_and_list(valkey, beats, calendar):
    beat = beats(valkey, {"a": HOUR, **bad_entries(calendar)}).lead()
    schedule = Schedule(beat.app)
    verdict = schedule.health()
    assert not verdict.ok
    assert "left out of beat_schedule: 'calendar' and 2 more" in verdict.why
    found = [one for one in examine(schedule, beat.app) if one.what == "left out"]
    assert len(found) == 3
    assert any("'calendar'" in one.why and "the table is away" in one.why for one in found)
    for verb in ("list", "status"):
        said = CliRunner().invoke(redlock, [verb], obj=SimpleNamespace(app=beat.app)).output
        assert "calendar" in said
        assert "the table is away" in said


def test_what_was_left_out_comes_into_force_in_the_same_term_once_it_can_be(valkey, beats, calendar, monkeypatch):
    monkeypatch.setattr(pages, "AGAIN", 0.05)
    beat = beats(valkey, {"a": HOUR, "c": {"task": "t", "schedule": calendar}}).lead()
    schedule = Schedule(beat.app)
    assert "c" not in schedule
    Calendar.away = False
    beat.until(lambda: schedule.health().ok)
    assert "c" in schedule
    assert schedule.status().left_out == {}


def test_what_was_left_out_is_tried_again_by_the_next_leader(valkey, beats, calendar):
    entries = {"a": HOUR, "c": {"task": "t", "schedule": calendar}}
    release(valkey, beats, entries)
    Calendar.away = False
    assert "c" in release(valkey, beats, entries)


def test_what_was_left_out_is_tried_again_though_the_leader_dies_as_its_sync_ends(valkey, beats, calendar):
    entries = {"a": HOUR, "c": {"task": "t", "schedule": calendar}}
    beat = beats(valkey, entries)
    beat.until(lambda: beat.term)
    store, ended = beat.parts.store, []
    mark = store.config_mark

    def dies(*args):
        ended.append(mark(*args))
        raise Deposed

    store.config_mark = dies
    beat.until(lambda: ended)
    beat.close()
    assert "c" in Schedule(beat.app).status().left_out
    Calendar.away = False
    assert "c" in release(valkey, beats, entries)


def test_a_configured_schedule_that_can_no_longer_be_computed_stands_until_one_that_can_replaces_it(
    valkey, beats, calendar
):
    Calendar.away = False
    schedule = release(valkey, beats, {"a": HOUR, "c": {"task": "t", "schedule": calendar}})
    Calendar.away = True
    release(valkey, beats, {"a": HOUR, "c": {"task": "t", "schedule": calendar, "timezone": "Europe/Berlin"}})
    assert schedule["c"].timezone == "UTC"
    client = valkey.client()
    past = micros(schedule.now()) - 1_000_000
    uid, revision, _, *rest = client.hget(K.state, "c").split()
    client.hset(K.state, "c", " ".join([uid, revision, str(past), *rest]))  # due, and what follows is not known
    release(valkey, beats, {"a": HOUR, "c": HOUR})
    assert str(schedule["c"].schedule) == str(schedule["a"].schedule)
    assert schedule["c"].uid == uid


def test_a_sync_that_breaks_is_begun_again_and_dispatch_goes_on(valkey, beats, monkeypatch, caplog):
    monkeypatch.setattr(pages, "AGAIN", 0.05)
    beat = beats(valkey, {"a": HOUR})
    beat.until(lambda: beat.term is not None)
    edit, calls = beat.parts.store.edit, []

    def broken(*args, **kwargs):
        calls.append(1)
        if len(calls) <= 2:
            raise AssertionError("a mistake of ours")
        return edit(*args, **kwargs)

    beat.parts.store.edit = broken
    schedule = Schedule(beat.app)
    beat.until(lambda: "a" in schedule)
    assert "a mistake of ours" in caplog.text


@pytest.mark.parametrize("name", ["a\ud800", "\udcff"])
def test_what_is_no_text_is_refused_by_name_at_every_door(valkey, name):
    schedule = Schedule.from_url(valkey.url())
    with pytest.raises(InvalidSchedule, match="UTF-8"):
        schedule.add(name, "t", 60)
    for given in ({"task": name}, {"task": "t", "args": [name]}, {"task": "t", "options": {"headers": {"h": name}}}):
        with pytest.raises(InvalidSchedule, match=r"'mine'.*UTF-8"):
            schedule.add("mine", when=60, **given)
    with pytest.raises(InvalidSchedule, match=r"'mine'.*UTF-8"):
        schedule.add("mine", "t", 60, note=name)
    assert len(schedule) == 0


def test_an_entry_made_at_runtime_survives_every_change_of_a_configured_one_of_its_name(server, beats, caplog):
    schedule = Schedule.from_url(server.url())
    mine = schedule.add("mine", "mine", 60)
    for there in ({"mine": HOUR}, {"mine": HOUR}, {"mine": {**HOUR, "args": (1,)}}, {}, {"mine": HOUR}, {}):
        release(server, beats, {"other": HOUR, **there})
        assert schedule["mine"] == mine
        assert set(schedule.status().left_out) == set(there)
    assert "made at runtime" in caplog.text


def test_an_entry_made_at_runtime_in_the_place_of_a_removed_configured_one_is_never_touched(server, beats):
    schedule = release(server, beats, {"a": HOUR, "b": HOUR})
    schedule.remove("a")
    mine = schedule.add("a", "mine", 60)
    for entries in ({"a": HOUR}, {"a": {**HOUR, "args": (1,)}}, {}, {"a": HOUR}):
        release(server, beats, {**entries, "b": HOUR})
        assert schedule["a"] == mine


def test_an_entry_made_at_runtime_that_this_release_cannot_read_is_never_touched(valkey, beats):
    schedule = release(valkey, beats, {"a": HOUR, "b": HOUR})
    schedule.remove("a")
    schedule.add("a", "mine", 60)
    client = valkey.client()
    newer = json.dumps({**json.loads(client.hget(K.entries, "a")), "v": 99})
    client.hset(K.entries, "a", newer)
    for entries in ({"a": {**HOUR, "args": (1,)}}, {}):
        release(valkey, beats, {**entries, "b": HOUR})
        assert client.hget(K.entries, "a") == newer


def test_the_configured_entry_comes_into_force_when_the_one_made_at_runtime_is_removed(valkey, beats, monkeypatch):
    monkeypatch.setattr(pages, "AGAIN", 0.05)
    schedule = Schedule.from_url(valkey.url())
    schedule.add("mine", "mine", 60)
    beat = beats(valkey, {"mine": HOUR}).lead()
    assert "made at runtime" in schedule.status().left_out["mine"]
    schedule.remove("mine")
    beat.until(lambda: schedule.status().left_out == {})
    assert schedule["mine"].task == "t"
    beat.close()
    release(valkey, beats, {})
    assert "mine" not in schedule


def test_a_restart_with_the_same_configuration_finds_that_the_runtime_entry_is_gone(valkey, beats):
    schedule = Schedule.from_url(valkey.url())
    schedule.add("mine", "mine", 60)
    release(valkey, beats, {"mine": HOUR})
    schedule.remove("mine")
    release(valkey, beats, {"mine": HOUR})
    assert schedule["mine"].origin == "config"


def test_a_configured_entry_that_is_replaced_and_run_at_once_stays_a_configured_one(valkey, beats):
    schedule = release(valkey, beats, {"a": HOUR})
    schedule.add("a", "t", 60, replace=True, run_now=True)
    release(valkey, beats, {"a": {**HOUR, "args": (1,)}})
    assert schedule["a"].args == (1,)


def test_thousands_that_are_left_out_are_counted_and_a_hundred_are_named(valkey, beats):
    schedule = release(valkey, beats, {f"e{i:04}": {"task": "t", "schedule": "soon"} for i in range(3_000)})
    status = schedule.status()
    assert status.left_out_total == 3_000
    assert len(status.left_out) == 100
    assert valkey.client().strlen(K.left_out) < 50_000


def test_policies_that_stand_apart_are_those_of_the_entry_and_part_of_its_digest(valkey, beats):
    entries = {"a": HOUR, "b": HOUR}
    schedule = release(valkey, beats, entries, redlock_beat_policies={"a": {"missed": "skip", "relative": True}})
    assert (schedule["a"].missed, schedule["a"].schedule.relative, schedule["b"].missed) == ("skip", True, "once")
    b = schedule["b"]
    release(valkey, beats, entries, redlock_beat_policies={"a": {"missed": "all", "expires": 5}})
    assert (schedule["a"].missed, schedule["a"].options["expires"]) == ("all", 5)
    assert schedule["b"] == b
    release(valkey, beats, entries)
    assert schedule["a"].missed == "once"


@pytest.mark.parametrize(
    ("policies", "words"),
    [
        ({"missd": "skip"}, "missd is not a policy"),
        ({"args": (1,)}, "args is not a policy"),
        ("skip", "must be a dictionary"),
        ({"missed": "maybe"}, "must be one of"),
        ({"jitter": 5}, "jitter is 1 in beat_schedule and 5 in redlock_beat_policies['a']"),
    ],
)
def test_a_wrong_policy_leaves_its_entry_out_by_name_and_the_others_in_force(valkey, beats, policies, words):
    entries = {"a": {**HOUR, "jitter": 1}, "b": HOUR}
    schedule = release(valkey, beats, entries, redlock_beat_policies={"a": policies})
    assert [one.name for one in schedule] == ["b"]
    assert words in schedule.status().left_out["a"]


def test_policies_of_an_entry_that_is_not_there_are_warned_of(valkey, beats, caplog):
    schedule = release(valkey, beats, {"nightly": HOUR}, redlock_beat_policies={"nightyl": {"missed": "skip"}})
    assert "redlock_beat_policies['nightyl'] has no effect" in caplog.text
    assert "Did you mean 'nightly'?" in caplog.text
    assert "nightly" in schedule
    assert schedule.status().left_out == {}


def test_what_celerys_own_beat_reads_holds_no_policy_of_ours(valkey):
    app = make_app(valkey.url(), {"a": HOUR}, redlock_beat_policies={"a": {"missed": "skip"}})
    celerys = Scheduler(app, lazy=True)
    celerys.merge_inplace(app.conf.beat_schedule)
    assert celerys.schedule["a"].task == "t"


def test_policies_reach_the_messages_of_an_entry_that_only_the_configuration_can_carry(valkey, beats):
    lazy = {"task": "tasks.add", "schedule": 0.1, "args": (BeatLazyFunc(int, "4"),), "expires": 77}
    apart = {**lazy, "options": {"queue": "other"}}
    del apart["expires"]
    client = valkey.client()
    beat = beats(valkey, {"a": lazy, "b": apart}, redlock_beat_policies={"b": {"expires": 77}})
    beat.until(lambda: messages(client) and messages(client, "other"))
    assert messages(client)[0]["headers"]["expires"]
    assert messages(client, "other")[0]["headers"]["expires"]
    assert messages(client)[0]["headers"]["argsrepr"] == "[4]"


def test_a_chain_whose_arguments_only_the_configuration_can_carry_is_sent_as_one(valkey, beats):
    app = make_app(valkey.url())
    add = app.tasks["tasks.add"]
    app.conf.beat_schedule = {"c": {"task": chain(add.s(1, 2), add.s(float("nan"))), "schedule": 0.1}}
    beat = beats(app)
    client = valkey.client()
    beat.until(lambda: len(messages(client)) >= 3)
    assert {one["headers"]["argsrepr"] for one in messages(client)} == {"(1, 2)"}
    links = [json.loads(b64decode(one["body"]))[2]["chain"] for one in messages(client)]
    assert [len(one) for one in links] == [1] * len(links)  # no occurrence adds to what the configuration says


def ruled(freq=HOURLY, dtstart=None, **more):
    return {"a": {"task": "t", "schedule": rrule(freq, dtstart=dtstart), **more}}


def a_moment_ago(tz=None):
    """The start of an rrule that another process has read a second before."""
    return datetime.now(tz) - timedelta(seconds=1)


def test_an_rrule_without_a_start_keeps_its_phase_in_every_process(server, beats, caplog):
    schedule = release(server, beats, ruled())
    before = (schedule["a"].schedule, schedule["a"].state.nominal)
    mark = server.client().get(K.config)
    release(server, beats, ruled(dtstart=a_moment_ago()))
    release(server, beats, ruled(dtstart=a_moment_ago(UTC)))
    assert server.client().get(K.config) == mark  # one configuration, whoever reads it
    release(server, beats, ruled(dtstart=a_moment_ago(), args=(1,)))
    assert schedule["a"].args == (1,)
    assert (schedule["a"].schedule, schedule["a"].state.nominal) == before
    assert "its rrule has no dtstart of its own" in caplog.text
    release(server, beats, ruled(freq=MINUTELY))
    assert schedule["a"].schedule.rule == "FREQ=MINUTELY"


def test_a_start_that_was_written_down_is_taken_as_it_is_written(valkey, beats, caplog):
    schedule = release(valkey, beats, ruled(dtstart=datetime(2026, 1, 1, 9, 10)))
    release(valkey, beats, ruled(dtstart=datetime(2026, 1, 1, 9, 20)))
    assert schedule["a"].schedule.start == datetime(2026, 1, 1, 9, 20)
    assert schedule["a"].next_due.minute == 20
    assert "dtstart" not in caplog.text


def test_an_rrule_without_a_start_that_comes_back_keeps_its_phase(valkey, beats):
    schedule = release(valkey, beats, {**ruled(), "b": HOUR})
    before = (schedule["a"].schedule, schedule["a"].state.nominal)
    release(valkey, beats, {"b": HOUR})
    release(valkey, beats, {**ruled(dtstart=a_moment_ago(), args=(1,)), "b": HOUR})
    assert (schedule["a"].schedule, schedule["a"].state.nominal) == before
    assert not edited(schedule["a"], schedule.ask(digests(K, ["a"]))["a"])


MANY = {f"e{i:04d}": HOUR for i in range(1_500)}


@pytest.fixture
def kept(own_server):
    """A server that keeps what it had when it was last told to, and no more."""
    return own_server("valkey", "--dbfilename", "kept.rdb")


def falls_back(server) -> None:
    """The server is killed, and comes back with what it has kept."""
    server.stop(signal.SIGKILL)
    server.start()


def test_what_redis_lost_of_the_configuration_in_mid_term_is_written_again(kept, beats):
    client = kept.client()
    beat = beats(kept, MANY, redlock_beat_lease_ttl=5.0, redlock_beat_render_limit=5.0)
    beat.until(lambda: client.hlen(K.entries) >= 500, "a page is written")
    client.save()
    beat.lead()
    epoch = beat.epoch
    assert client.hlen(K.entries) == len(MANY)
    falls_back(kept)
    assert client.hlen(K.entries) < len(MANY)
    beat.until(lambda: client.hlen(K.entries) == len(MANY), "all are there again")
    beat.lead()
    assert beat.epoch == epoch


def test_what_redis_lost_while_the_configuration_is_being_written_is_written_again(kept, beats):
    client = kept.client()
    beat = beats(kept, MANY, redlock_beat_lease_ttl=5.0, redlock_beat_render_limit=5.0)
    beat.until(lambda: client.get(K.lease), "it leads")
    client.save()
    beat.until(lambda: client.hlen(K.entries) >= 1_000, "two pages are written")
    falls_back(kept)
    beat.lead()
    assert client.hlen(K.entries) == len(MANY)
    mark = client.get(K.config)
    other = beats(kept, MANY)
    beat.close()
    other.lead()
    assert client.get(K.config) == mark


def test_a_configuration_that_somebody_deletes_is_written_again(valkey, beats):
    beat, client = beats(valkey, {"a": HOUR, "b": HOUR}).lead(), valkey.client()
    client.delete(K.entries, K.state, K.due, K.digests, K.config)
    beat.until(lambda: client.hlen(K.entries) == 2)
    assert beat.epoch == 1


def test_what_redis_lost_just_before_the_configuration_is_marked_as_synced_is_written_again(valkey, beats):
    beat, client = beats(valkey, {"a": HOUR, "b": HOUR}), valkey.client()
    beat.until(lambda: beat.term)
    store, lost = beat.parts.store, []
    mark = store.config_mark

    def late(*args):
        if not lost:
            lost.append(client.delete(K.entries, K.state, K.due, K.digests, K.config))
        return mark(*args)

    store.config_mark = late
    beat.lead()
    assert lost
    assert set(client.hkeys(K.entries)) == {"a", "b"}


def test_a_configured_entry_that_others_change_again_and_again_is_in_force_all_the_same(valkey, beats):
    beats(valkey, {"a": HOUR, "b": HOUR}).lead().close()
    schedule = Schedule.from_url(valkey.url())
    beat = beats(valkey, {"a": {**HOUR, "args": (1,)}, "b": {**HOUR, "args": (1,)}})
    beat.until(lambda: beat.term)
    store, changes = beat.parts.store, []
    edit = store.edit

    def contested(edits, **kwargs):
        if any(one.name == "a" for one in edits) and len(changes) < 7:
            changes.append(schedule.update("a", kwargs={"x": len(changes)}, missed="all"))
        return edit(edits, **kwargs)

    store.edit = contested
    beat.lead()
    assert len(changes) == 7
    assert (schedule["a"].args, schedule["b"].args) == ((1,), (1,))
