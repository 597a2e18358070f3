"""What the server must allow: the smallest ACL rule."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from redlock_beat import Schedule
from redlock_beat.beat.lease import Lease
from redlock_beat.cli import doctor
from redlock_beat.cli.doctor import examine
from redlock_beat.settings import Settings
from redlock_beat.store import lua, requests
from redlock_beat.store.client import Listener, Target
from redlock_beat.store.server import UNTRIED, minimal_rule
from redlock_beat.store.store import Store
from tests.beats import flows, ledger
from tests.servers import shared_cluster

ENTRY = {"a": {"task": "tasks.add", "schedule": 0.1}}


def test_the_doctor_and_edits_by_the_smallest_rule_work_on_a_cluster():
    server = shared_cluster()
    client = server.client()
    client.acl_log_reset()
    found = {one.what: one for one in examine(Schedule.from_url(f"redis+cluster://127.0.0.1:{server.port}"))}
    assert found["permissions"].level == "ok"
    assert found["persistence"].level == "warning"
    rule = found["permissions"].why.rpartition("rule: ")[2].split()
    client.execute_command("ACL", "SETUSER", "small", "on", "nopass", *rule)
    url = f"redis+cluster://small:x@127.0.0.1:{server.port}"
    settings = Settings(url=url, lease_ttl=5.0)
    listener = Listener(Target(settings), "a")
    lease = Lease(Store(listener.target), listener, settings, "host:a")
    assert listener.subscribe()
    assert lease.acquire().fence.text.split()[2] == "seen"
    Schedule.from_url(url).add("x", "tasks.add", 60)
    assert listener.wait(5) == "edit"
    assert {one.what: one for one in examine(Schedule.from_url(url))}["permissions"].level == "ok"
    assert not [one for one in client.acl_log() if one["username"] == "small" and one["object"] != "latency"]
    listener.close()
    client.execute_command("ACL", "DELUSER", "small")


def test_each_command_of_a_script_is_in_the_acl_that_the_doctor_prints():
    allowed = {one.split("|")[0] for one in minimal_rule("redlock-beat", cluster=True, sharded=True).split()}
    scripts = list(Path(lua.__file__).parent.glob("*.lua"))
    assert len(scripts) > 10
    for path in scripts:
        used = set(re.findall(r"redis\.p?call\(\s*'(\w+)'", path.read_text()))
        assert {f"+{command.lower()}" for command in used} <= allowed, path.name
    plain = set(re.findall(r'[(\[]"([A-Z]+)", keys?\b', Path(requests.__file__).read_text()))
    assert {"ZCARD", "HSCAN"} <= plain
    assert {f"+{command.lower()}" for command in plain} <= allowed


def test_the_acl_that_the_doctor_prints_is_enough(server, beats, caplog):
    client = server.client()
    rule = minimal_rule("redlock-beat").split()
    client.execute_command("ACL", "SETUSER", "small", "on", "nopass", *rule, "~celery")  # and the queue's key
    try:
        beat = beats(server.url(), ENTRY, redlock_beat_url=server.url(user="small:x")).lead()
        assert beat.parts.listener.confirmed
        assert beat.parts.renderer.direct
        flows(beat, client)
        schedule = Schedule.from_url(server.url(user="small:x"))
        schedule.add("b", "tasks.add", 3600, run_now=True)
        schedule.trigger("b")
        schedule.remove("b")
        assert schedule.history()
        with contextlib.suppress(StopIteration):
            next(iter(schedule))
        assert not [one for one in caplog.records if one.levelname == "ERROR"]
    finally:
        client.execute_command("ACL", "DELUSER", "small")


def levels(schedule_, app=None):
    return {one.what: one for one in doctor.examine(schedule_, app)}


def test_the_smallest_acl_rule_is_enough_for_a_beat_and_for_edits(own_server, beats):
    server = own_server("valkey")
    rule = minimal_rule("redlock-beat", ["celery"]).split()
    server.client().execute_command("ACL", "SETUSER", "beat", "on", "nopass", *rule)
    url = server.url(user="beat")
    assert levels(Schedule.from_url(url))["permissions"].level == "ok"
    beat = beats(url, {"conf": {"task": "tasks.add", "schedule": 0.1}}).lead()
    edited = Schedule.from_url(url)
    edited.add("a", "tasks.add", 3600)
    edited.trigger("a")
    beat.until(lambda: len(ledger(server.client(), "sent")) > 3)
    edited.history()
    edited.status()
    assert beat.parts.renderer.direct
    assert beat.parts.listener.confirmed
    rule = minimal_rule("redlock-beat").split()
    for word in rule:
        if word.startswith("+") and word[1:].upper() not in UNTRIED:
            less = [one for one in rule if one != word]
            server.client().execute_command("ACL", "SETUSER", "less", "reset", "on", "nopass", *less)
            finding = levels(Schedule.from_url(server.url(user="less"), socket_timeout=1.0)).get("permissions")
            assert finding is None or finding.level == "error", word
