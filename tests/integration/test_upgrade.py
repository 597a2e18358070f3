"""What the first release stored is read, sent and edited by this one; and how far the way back goes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from redlock_beat import Entry, InvalidSchedule, Schedule, register_schedule
from redlock_beat.clock import MICROS
from redlock_beat.store.keys import Keys
from tests.beats import ledger, make_app, messages
from tests.servers import Server
from tests.stored.configured import LATER_SCHEDULE, Twice, beat_schedule

STORED = Path(__file__).parents[1] / "stored"
KEYS = Keys("redlock-beat")
#: What neither 0.1.0 nor this release can read.
UNREADABLE = {"no json", "of a later release"}


def load(server: Server, release: str = "0.1.0") -> dict[str, Any]:
    """Put back what a release stored; what it said of that."""
    head, *commands = (STORED / f"{release}.jsonl").read_text("utf-8").splitlines()
    pipe = server.client().pipeline(transaction=False)
    for command in commands:
        pipe.execute_command(*json.loads(command))
    pipe.execute()
    said: dict[str, Any] = json.loads(head)
    for entry in said.get("entries", {}).values():
        del entry["schedule"]  # words, which may change; the slots are compared
    return said


def app_on(server: Server, *, left: bool = False) -> Any:
    register_schedule("twice", Twice, dump=lambda _: {})
    return make_app(server.url(), beat_schedule(left=left), result_backend=server.url(1))


def says(entry: Entry) -> dict[str, Any]:
    """What this release says of an entry, as the file has it of 0.1.0."""
    names = "uid revision task origin enabled note paused_by timezone dst_gap dst_fold missed grace jitter starts ends"
    found = {name: getattr(entry, name) for name in (*names.split(), "max_runs", "keep", "delivery", "reference")}
    found |= {name: repr(getattr(entry, name)) for name in ("args", "kwargs", "options")}
    return found | {"canvas": entry.canvas is not None, "anchor": entry.anchor, "state": entry.state.text()}


def slots_of(sent: list[dict[str, Any]]) -> dict[str, set[int]]:
    """The slots of messages, by entry."""
    found: dict[str, set[int]] = {}
    for message in sent:
        headers = message["headers"]
        found.setdefault(headers["redlock_beat_entry"], set()).add(round(headers["redlock_beat_due"] * MICROS))
    return found


def test_what_the_first_release_stored_is_read_sent_and_edited(valkey, beats, caplog):
    said = load(valkey)
    entries, plans = said["entries"], said["plans"]
    client, schedule = valkey.client(), Schedule(app_on(valkey))

    # Read.
    assert {name: says(schedule[name]) for name in entries} == entries
    assert len(schedule) == len(entries) + len(UNREADABLE)
    for name in UNREADABLE:
        with pytest.raises(InvalidSchedule, match=r"cannot be read|its schema version is 99, and this release reads 1"):
            schedule.entry(name)
    assert len(schedule.history(n=100_000)) == said["ledger"]
    assert schedule.status().outbox == client.hlen(KEYS.outbox) > 5

    # Sent: what waits, and of each entry the slot that 0.1.0 would have sent.
    outbox = [json.loads(text.split("\n")[0].split(" ", 1)[1]) for text in client.hvals(KEYS.outbox)]
    waiting = [json.loads(item) for item in client.zrange(KEYS.manual, 0, -1)]
    beat = beats(schedule.app).lead()
    assert beat.epoch == 3  # the terms of 0.1.0 were 1 and 2

    def rows(what: str) -> list[dict[str, str]]:
        return [row for row in ledger(client, what) if row.get("epoch") == "3"]

    ending = {name for name, plan in plans.items() if plan["sends"]} - {"once, to come", "without a route"}
    beat.until(lambda: ending <= {row["entry"] for row in rows("sent") if "how" not in row}, "all entries are sent")
    beat.until(lambda: not client.hlen(KEYS.outbox) and not client.zcard(KEYS.manual), "nothing waits any more")
    sent = [one for queue in client.keys("celery*") for one in messages(client, queue)]  # a priority has its own
    found = slots_of(sent)
    for name in ending:
        assert found[name] >= set(plans[name]["sends"]), name
    assert {one["headers"]["id"] for one in sent} >= {id_ for _, _, id_, *_ in outbox}
    for item in waiting:
        assert item["nominal"] in found[item["entry"]], item
    missed = {row["entry"]: [int(row[key]) for key in ("from", "to", "count")] for row in rows("missed")}
    for name in {*ending, "skipped when missed"}:
        assert missed.get(name) == plans[name]["missed"], name
    anchor = entries["interval, for ever"]["anchor"]
    assert all((slot - anchor) % (7.5 * MICROS) == 0 for slot in found["interval, for ever"])
    assert not found.keys() & {"paused", "configured, paused", "once, to come", "once, finished", "three times"}
    typed = next(one for one in sent if one["headers"]["redlock_beat_entry"] == "interval, with all")
    assert (typed["properties"]["priority"], typed["headers"]["tenant"]) == (3, "a")
    assert "Decimal('1.50')" in typed["headers"]["argsrepr"]

    # Edits of the configuration at runtime stay, and what cannot be used stays aside.
    assert (schedule["configured, edited"].args, schedule["configured, paused"].paused_by) == ((7, 8), "anna")
    assert "configured, removed" not in schedule
    assert "configured, left" not in schedule
    beat.until(lambda: set(client.hkeys(KEYS.quarantine)) == {*UNREADABLE, "without a route"}, "the others work again")
    beat.close()
    assert "fault of redlock_beat" not in caplog.text

    # Edited: each entry, which writes it in the form of today.
    for name in entries:
        revision = schedule[name].revision
        assert schedule.update(name, revision=revision, labels={"team": "a"}).revision == revision + 1
        assert schedule[name].uid == entries[name]["uid"]
    forms = {name: json.loads(client.hget(KEYS.entries, name))["v"] for name in entries}
    assert forms == {name: 2 if "crontab" in name or name == "configured, for ever" else 1 for name in entries}

    # An entry that comes back to the configuration is the one that left.
    archived = json.loads(json.loads(client.hget(KEYS.archive, "configured, left"))["definition"])
    beats(app_on(valkey, left=True)).lead().close()
    assert schedule["configured, left"].uid == archived["uid"]
    assert "configured, removed" not in schedule
    assert schedule["configured, edited"].args == (7, 8)


def test_what_0_2_0_stored_is_held_and_then_sent(valkey, beats):
    said = load(valkey, "0.2.0")
    app = make_app(valkey.url(), LATER_SCHEDULE)
    client, schedule = valkey.client(), Schedule(app)
    assert {entry.name: entry.uid for entry in schedule} == said["uids"]
    assert {entry.name for entry in schedule.entries(labels={"team": "a"})} == {"labelled"}
    assert [[row.what, row.entry, row.actor] for row in schedule.log()] == said["log"]
    assert [call.id for call in schedule.countdowns()] == [said["call"]]
    assert [(lock.task, lock.holder) for lock in schedule.locks()] == [("tasks.add", "lock-id")]
    assert schedule["one at a time, buffer_one"].overlap == "buffer_one"
    assert client.hlen(KEYS.claims) == 3
    skipped = schedule["skips"].skip
    assert skipped.why == "not this one"

    beat = beats(app).lead()
    assert [schedule.held().note, schedule.held().actor] == said["hold"]
    beat.tick(3)
    assert client.llen("celery") == 0
    schedule.release()

    def found() -> dict[str, set[int]]:
        return slots_of([one for one in messages(client) if "redlock_beat_due" in one["headers"]])

    beat.until(lambda: {"skips", *said["plans"]} <= found().keys(), "all is sent")
    beat.until(lambda: said["call"] in {one["headers"]["id"] for one in messages(client)}, "the countdown is over")
    for name, slots in said["plans"].items():
        assert found()[name] == set(slots), name
    assert skipped.first not in found()["skips"]
    assert "configured, removed" not in schedule
    assert not schedule["configured, paused"].enabled
    assert not schedule.status().quarantined
    for name in said["uids"]:
        assert schedule.update(name, labels={"team": "b"}).uid == said["uids"][name]


#: Runs in a checkout of 0.1.0: a beat of it leads, and says what it can use.
OLD = """
import json, sys
from redlock_beat import Schedule, register_schedule
from redlock_beat.keys import Keys
from tests.beats import Beat, ledger, make_app
from tests.stored.configured import Twice, beat_schedule

register_schedule("twice", Twice, dump=lambda _: {})
beat = Beat(make_app(sys.argv[1], beat_schedule(), result_backend=sys.argv[1]))
beat.until(lambda: beat.scheduler._begun and beat.scheduler._sync is None, "it leads", 60)
client, keys = beat.scheduler.store.client, Keys("redlock-beat")
client.zadd(keys.due, {"of today": 1}, xx=True)  # its minute has come
beat.until(lambda: client.hexists(keys.quarantine, "of today"), "it is met", 60)
beat.until(lambda: ledger(client, "sent")[-1]["entry"] == "plain", "an entry is sent", 60)
print(json.dumps(sorted(client.hkeys(keys.quarantine))))
beat.close()
"""


@pytest.fixture
def first_release(tmp_path):
    """The code of 0.1.0, out of the history of this repository."""
    command = [
        "git",
        "archive",
        "9499eb7da24c",
        "redlock_beat",
        "tests/__init__.py",
        "tests/beats.py",
        "tests/servers.py",
    ]
    done = subprocess.run(command, cwd=STORED.parents[1], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("the history of the repository is not here")
    with tarfile.open(fileobj=BytesIO(done.stdout)) as archive:
        archive.extractall(tmp_path, filter="data")
    shutil.copytree(STORED, tmp_path / "tests" / "stored")
    return tmp_path


def test_the_first_release_stands_by_and_carries_on_but_for_what_it_cannot_read(valkey, beats, first_release):
    load(valkey)
    client, schedule = valkey.client(), Schedule(app_on(valkey))
    beat = beats(schedule.app).lead()
    schedule.add("of today", "tasks.add", "* * * * *", labels={"team": "a"})  # crontabs have another form now
    schedule.add("plain", "tasks.add", 1.0, labels={"team": "a"})

    # Side by side: the old beat stands by, and follows when the new one ends.
    old = subprocess.Popen(
        [sys.executable, "-c", OLD, valkey.url()],
        cwd=first_release,
        env={**os.environ, "PYTHONPATH": str(first_release)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        beat.until(lambda: old.pid in {json.loads(row)["pid"] for row in client.hvals(KEYS.beats)}, "it stands by")
        beat.close()
        said, trouble = old.communicate(timeout=60)
    finally:
        old.kill()
    assert old.returncode == 0, trouble[-3000:]
    assert set(json.loads(said)) - {"without a route"} == {"of today", *UNREADABLE}

    beat = beats(schedule.app).lead()
    beat.until(lambda: client.zscore(KEYS.due, "of today"), "it has a slot again")
    assert schedule["plain"].labels == schedule["of today"].labels == {"team": "a"}
