"""Pings: the beat tells what is sent, and workers tell how runs begin and end."""

from __future__ import annotations

import json

import pytest

from redlock_beat import Schedule
from redlock_beat.adapters.pings import Pings
from redlock_beat.errors import InvalidSetting
from tests.beats import make_app
from tests.servers import eventually
from tests.workers import Workers

SECRET = "0a1b-secret"


@pytest.mark.parametrize(
    ("entry", "what", "url"),
    [
        ("nightly", "start", "https://hc/0a1b/start"),
        ("nightly", "success", "https://hc/0a1b"),
        ("nightly", "fail", "https://hc/0a1b/fail"),
        ("nightly", "sent", None),
        ("billing-dé/1", "success", "https://push/billing-d%C3%A9%2F1?id=%7Bid%7D"),
        ("billing-x", "start", None),
        ("query", "fail", "http://hc/p/fail?create=1"),
        ("another", "fail", None),
    ],
)
def test_the_url_of_what_happened(entry, what, url):
    pings = Pings(
        {
            "billing-*": {"success": "https://push/{entry}?id={task_id}", "sent": "https://push/sent"},
            "nightly": "https://hc/0a1b",
            "n*": "https://never/asked",
            "query": "http://hc/p/?create=1",
        }
    )
    assert pings.url(entry, what, "{id}") == url


@pytest.mark.parametrize(
    ("check", "why"),
    [
        (f"ftp://host/{SECRET}", "http"),
        (f"file:///{SECRET}", "http"),
        (f"https:///{SECRET}", "host"),
        (f"https://user:{SECRET}@host/", "user and password"),
        (f"https://host/{SECRET}/{{0}}", "braces"),
        (f"https://host/{SECRET}/{{entry.__class__}}", "braces"),
        (f"https://host/{SECRET}/{{entry!r}}", "braces"),
        (f"https://host/{SECRET}/{{", "braces"),
        (f"https://{{entry}}.host/{SECRET}", "host"),
        (f"https://host:x/{SECRET}", "braces"),
        (f"https://host/{SECRET} x", "spaces"),
        (f"https://host/{SECRET}" + "x" * 2_000, "2000"),
        ({}, "dictionary"),
        (7, "dictionary"),
        ({"begin": f"https://host/{SECRET}"}, "sent, start, success and fail"),
        ({"fail": f"ftp://host/{SECRET}"}, "'fail'"),
        ({"fail": None}, "'fail'"),
    ],
    ids=repr,
)
def test_a_check_that_cannot_be_asked_for_is_refused_and_not_shown(check, why):
    with pytest.raises(InvalidSetting, match=why) as raised:
        Pings({"nightly": check})
    assert SECRET not in str(raised.value)


def test_a_beat_tells_what_it_has_sent(valkey, beats, checks):
    beat = beats(valkey, redlock_beat_pings={"*": {"sent": f"{checks.url}/{{entry}}/{{task_id}}"}}).lead()
    Schedule(beat.app).add("nightly", "tasks.add", 3600, run_now=True)
    beat.until(lambda: checks.asked)
    (row,) = Schedule(beat.app).history()
    assert checks.asked == [f"/nightly/{row.task_id}"]


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_a_worker_tells_how_runs_begin_and_end(valkey, tmp_path, checks, pool):
    pings = {"good": f"{checks.url}/good", "bad": f"{checks.url}/bad"}
    workers = Workers(valkey, tmp_path, RUNS_PINGS=json.dumps(pings))
    try:
        worker = workers.start(pool)
        app = make_app(valkey.url())
        workers.send(app, "runs.fail", "bad")
        eventually(lambda: "/bad/fail" in checks.asked)
        workers.send(app, "runs.sleep", "other")
        workers.send(app, "runs.hold", "good")  # the begin of a run that is over is not told
        eventually(lambda: "/good/start" in checks.asked)
        worker.terminate()  # a run that ends as the worker does is told, too
        workers.go()
        assert worker.wait(30) == 0
    finally:
        workers.close()
    assert [path for path in checks.asked if path != "/bad/start"] == ["/bad/fail", "/good/start", "/good"]
    assert checks.url not in workers.logs()
