"""The verbs that show what runs."""

from __future__ import annotations

import json

from redlock_beat.store.keys import Keys
from tests.beats import LASTING, messages

K = Keys("redlock-beat")


def test_status_says_who_leads_and_what_is_wrong(cli, valkey, beats):
    assert "NOBODY" in cli("status", code=1)
    cli.schedule.add("bad", "t", 0.1)
    client = valkey.client()
    client.hset(K.entries, "bad", "rubbish")
    client.hset(K.beats, "other", "rubbish")
    beat = beats(valkey, **LASTING).lead()
    beat.until(lambda: client.hexists(K.quarantine, "bad"))
    out = cli("status")
    assert "term 1" in out
    assert "commit" in out
    assert "bad: the definition of 'bad'" in out
    assert "in quarantine: bad" in cli("list")
    data = json.loads(cli("status", "--json"))
    assert data["leader"].endswith(str(data["replicas"][0]["pid"]))


def test_status_says_why_messages_are_rendered_one_by_one(cli, valkey, beats):
    beat = beats(valkey, task_compression="gzip", **LASTING).lead()
    cli.schedule.add("a", "tasks.add", 3600, run_now=True)
    beat.until(lambda: messages(valkey.client()))
    beat.until(lambda: "one by one  1 of 1 sent were rendered so, which is slower" in cli("status"))
    assert "1: its body is compressed, or no text" in cli("status")
    rendered = json.loads(cli("status", "--json"))["replicas"][0]["rendered"]
    assert list(rendered.values()) == [1]


def test_running_and_history(cli, valkey, beats):
    beat = beats(valkey).lead()
    cli.schedule.add("a", "t", 3600)
    id_ = cli("run", "a").strip()
    client = valkey.client()
    beat.until(lambda: messages(client))
    assert id_[:20] in cli("history", "a")
    assert json.loads(cli("history", "--json"))[0]["task_id"] == id_
    assert "trigger" in cli("history")


def test_numbers_of_a_status_do_not_contradict_each_other(cli, valkey, beats):
    """Messages are counted as rendered before they are counted as sent; and there is no time of -0.000 s."""
    beat, client = beats(valkey, **LASTING).lead(), valkey.client()
    token = beat.parts.lease.token
    for skew, shown in ((-100, "+0.000 s"), (-1_200, "-0.001 s")):
        row = {**json.loads(client.hget(K.beats, token)), "rendered": {"it is a canvas": 4}, "sent": 3, "skew": skew}
        client.hset(K.beats, token, json.dumps(row))
        out = cli("status")
        assert "4 of 4 sent" in out
        assert shown in out
