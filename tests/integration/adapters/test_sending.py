"""Pings go out in their order, wait for nobody, and are bounded in number and time."""

from __future__ import annotations

import logging

import pytest

from redlock_beat.adapters import sending
from redlock_beat.adapters.sending import Ping, Sender
from tests.servers import eventually, free_port

SECRET = "0a1b-secret"


@pytest.fixture
def sender(monkeypatch):
    monkeypatch.setattr(sending, "PAUSES", (0.01, 0.01))
    one = Sender(5.0)
    yield one
    one.close()


def events(caplog):
    return [record.event for record in caplog.records if hasattr(record, "event")]


def test_pings_arrive_in_their_order(sender, checks):
    for i in range(50):
        sender.put(Ping("a", "start", f"{checks.url}/{i}"))
    eventually(lambda: len(checks.asked) == 50)
    assert checks.asked == [f"/{i}" for i in range(50)]


@pytest.mark.parametrize(("answers", "asked"), [([500, 503], 3), ([429], 2), ([404], 1), ([500] * 3, 3)], ids=repr)
def test_a_server_that_is_ill_or_busy_is_asked_again_and_one_that_says_no_is_not(sender, checks, answers, asked):
    checks.answers += answers
    sender.put(Ping("a", "success", f"{checks.url}/x"))
    sender.put(Ping("a", "success", f"{checks.url}/next"))
    eventually(lambda: "/next" in checks.asked)
    assert checks.asked.count("/x") == asked


def test_a_server_that_hangs_holds_up_nobody_and_what_waits_is_bounded(sender, checks, caplog, monkeypatch):
    monkeypatch.setattr(sending, "LIMIT", 20)
    checks.answering.clear()
    sender.put(Ping("a", "success", f"{checks.url}/first"))
    eventually(lambda: checks.asked)
    for i in range(100):
        sender.put(Ping("a", "success", f"{checks.url}/{i}"))
    assert checks.asked == ["/first"]
    checks.answering.set()
    eventually(lambda: len(checks.asked) == 21 and "pings.dropped" in events(caplog))
    (record,) = [record for record in caplog.records if getattr(record, "event", "") == "pings.dropped"]
    assert record.count == 80


def test_one_that_has_waited_for_too_long_is_given_up(sender, checks, caplog):
    sender.put(Ping("a", "start", f"{checks.url}/{SECRET}", at=-1e9))
    eventually(lambda: "pings.lost" in events(caplog))
    assert checks.asked == []


def test_a_host_that_does_not_answer_gets_one_attempt_a_ping_until_it_does(sender, checks):
    checks.answers += [500] * 4
    for i in range(3):
        sender.put(Ping("a", "start", f"{checks.url}/{i}"))
    eventually(lambda: "/2" in checks.asked)
    assert checks.asked == ["/0", "/0", "/0", "/1", "/2"]


def test_no_log_shows_a_url_and_each_trouble_is_said_once(sender, checks, caplog):
    caplog.set_level(logging.DEBUG, "redlock_beat")
    checks.answers += [404, "file:///etc/passwd", f"http://[::/{SECRET}", 500, 500, 500]
    for _ in range(4):
        sender.put(Ping("a", "fail", f"{checks.url}/{SECRET}?key={SECRET}"))
    for url in (f"http://127.0.0.1:{free_port()}/{SECRET}", f"http://nowhere.invalid/{SECRET}"):
        sender.put(Ping("b", "fail", url))
    sender.put(Ping("a", "success", f"{checks.url}/fine"))
    eventually(lambda: "pings.recovered" in events(caplog), "it says that it is well", 30)
    said = [record for record in caplog.records if getattr(record, "event", "") == "pings.lost"]
    assert [record.levelname for record in said].count("WARNING") == 2
    assert len(said) == 6
    assert "HTTP status 404" in caplog.text
    assert SECRET not in caplog.text
    assert all(SECRET not in repr(vars(record)) for record in caplog.records)


def test_at_the_end_what_waits_is_sent_and_nothing_after_it(sender, checks):
    for i in range(5):
        sender.put(Ping("a", "start", f"{checks.url}/{i}"))
    sender.close(20.0)
    sender.put(Ping("a", "start", f"{checks.url}/late"))
    assert checks.asked == [f"/{i}" for i in range(5)]


def test_a_server_that_hangs_does_not_hold_up_the_end(sender, checks):
    checks.answering.clear()
    sender.put(Ping("a", "start", f"{checks.url}/x"))
    eventually(lambda: checks.asked)
    sender.close(0.01)
    assert not checks.answering.is_set()
