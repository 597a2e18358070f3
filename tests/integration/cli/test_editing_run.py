"""Sending once from the command line, with others than the entry's own arguments."""

from __future__ import annotations

import json

from redlock_beat.store.keys import Keys
from tests.schemas import fits

K = Keys("redlock-beat")


def test_run_with_other_arguments(cli, valkey):
    cli.schedule.add("m", "tasks.add", 3600, (1,), options={"queue": "q", "priority": 5})
    id_ = cli("run", "m", "--args", "[2]", "--kwargs", '{"y": 3}', "--queue", "slow", "--why", "again").strip()
    (item,) = valkey.client().zrange(K.manual, 0, -1)
    call = {"args": [2], "kwargs": {"y": 3}, "options": {"queue": "slow", "priority": 5}}
    assert json.loads(item)["call"] == call
    assert f"m triggered ({id_}) by " in cli("log", "m")
    assert "args: [1] -> [2]" in cli("log", "m")
    rows = json.loads(cli("log", "m", "--json"))
    fits(rows, "log")
    assert (rows[0]["task_id"], rows[0]["why"]) == (id_, "again")
    cli("run", "m")
    assert any("call" not in json.loads(one) for one in valkey.client().zrange(K.manual, 0, -1))


def test_run_warns_of_arguments_that_do_not_fit_and_refuses_them_if_told_so(cli, valkey):
    cli.schedule.add("m", "tasks.add", 3600)
    cli("run", "m", "--args", "[1, 2, 3]")
    assert "Warning" in cli.err
    cli("run", "m", "--args", "[1, 2, 3]", "--strict", code=2)
    cli("run", "m", "--options", '{"task_id": "x"}', code=2)
    assert valkey.client().zcard(K.manual) == 1
