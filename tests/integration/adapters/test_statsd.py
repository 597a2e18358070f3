"""Events as metrics in datagrams, received by a socket."""

from __future__ import annotations

import pytest

from redlock_beat import hooks
from redlock_beat.adapters.statsd import StatsD
from redlock_beat.errors import InvalidSetting
from tests.servers import eventually, free_port

RUN = (1.0, "mail", "tasks.mail", 0.5, "id", "w@h")
#: An event, and its metrics without and with tags.
EVENTS = [
    (hooks.Sent(10.5, "mail", "tasks.mail", 10.0, "id", 1), ["sent:1|c", "lateness:500.000|ms"], None),
    (
        hooks.Sent(10.5, "mail", "tasks.mail", 10.0, "id", 1, "trigger"),
        ["sent:1|c", "sent_manual.trigger:1|c"],
        ["sent:1|c|#a:b", "sent_manual:1|c|#a:b,source:trigger"],
    ),
    (hooks.Skipped(1.0, "mail", "a|b: c"), ["skipped.a_b_c:1|c"], ["skipped:1|c|#a:b,reason:a_b:_c"]),
    (hooks.Missed(1.0, "mail", 1.0, 9.0, 7, "grace"), ["missed.grace:7|c"], ["missed:7|c|#a:b,reason:grace"]),
    (hooks.Failed(1.0, "mail", "render", "x"), ["failures.render:1|c"], ["failures:1|c|#a:b,step:render"]),
    (hooks.Rendered(1.0, "mail", "why"), ["rendered.why:1|c"], ["rendered:1|c|#a:b,reason:why"]),
    (
        hooks.Turned(1.0, "leader", 3, 5, 0, None, 1, held=True),
        ["entries:5|g", "backlog:0|g", "quarantined:1|g", "held:1|g"],
        ["entries:5|g|#a:b", "backlog:0|g|#a:b", "quarantined:1|g|#a:b", "held:1|g|#a:b"],
    ),
    (hooks.TermBegan(1.0, 3), ["leader:1|g", "terms:1|c", "epoch:3|g"], None),
    (hooks.TermEnded(1.0, 3), ["leader:0|g"], ["leader:0|g|#a:b"]),
    (hooks.DataLost(1.0, "x", None, 0, 1, 0), ["data_losses:1|c"], ["data_losses:1|c|#a:b"]),
    (hooks.EntryPaused(1.0, "mail", "x"), ["entries_paused:1|c"], ["entries_paused:1|c|#a:b"]),
    (hooks.RunStarted(*RUN), ["runs.started:1|c"], ["runs:1|c|#a:b,outcome:started,task:tasks.mail"]),
    (
        hooks.RunSucceeded(*RUN, 1.5),
        ["runs.succeeded:1|c", "run_time:1500.000|ms"],
        ["runs:1|c|#a:b,outcome:succeeded,task:tasks.mail", "run_time:1500.000|ms|#a:b,task:tasks.mail"],
    ),
    (
        hooks.RunFailed(*RUN, None, "lost", "x"),
        ["runs.lost:1|c"],
        ["runs:1|c|#a:b,outcome:lost,task:tasks.mail"],
    ),
]


def received(udp):
    return udp.recv(2_000).decode().splitlines()


@pytest.mark.parametrize(("event", "plain", "tagged"), EVENTS, ids=lambda value: type(value).__name__)
def test_each_event_is_a_datagram(udp, event, plain, tagged):
    address = f"127.0.0.1:{udp.getsockname()[1]}"
    for tags, expected in ((None, plain), (["a:b"], tagged or [f"{line}|#a:b" for line in plain])):
        statsd = StatsD(address, "beat", tags)
        statsd(event)
        assert received(udp) == [f"beat.{line}" for line in expected]
        statsd.close()


def test_names_and_tags_have_only_what_the_protocol_takes(udp):
    statsd = StatsD(f"127.0.0.1:{udp.getsockname()[1]}", "a b.", ["x:1|c", "y\nz,#"])
    statsd(hooks.Skipped(1.0, "mail", "over\nlap"))
    assert received(udp) == ["a_b.skipped:1|c|#x:1_c,y_z_,reason:over_lap"]
    statsd.close()


def test_what_no_metric_says_sends_nothing_and_a_closed_one_neither(udp):
    statsd = StatsD(f"127.0.0.1:{udp.getsockname()[1]}", "")
    statsd(hooks.Released(1.0, by_itself=True))
    statsd(hooks.TermEnded(1.0, 1))
    assert received(udp) == ["leader:0|g"]
    statsd.close()
    statsd(hooks.TermEnded(1.0, 1))
    udp.setblocking(False)
    with pytest.raises(BlockingIOError):
        udp.recv(100)


def test_nobody_who_listens_is_no_error():
    statsd = StatsD(f"127.0.0.1:{free_port()}")
    for _ in range(20):
        statsd(hooks.TermEnded(1.0, 1))
    statsd.close()


def test_a_name_is_looked_up_meanwhile(udp):
    udp_port = udp.getsockname()[1]
    udp.settimeout(0.05)
    statsd = StatsD(f"localhost:{udp_port}")

    def arrives():
        statsd(hooks.TermEnded(1.0, 1))
        try:
            return received(udp)
        except TimeoutError:
            return None

    eventually(arrives)
    statsd.close()


def test_a_name_that_is_not_found_is_said_once_and_stops_nothing(caplog):
    statsd = StatsD("nowhere.invalid:8125")
    eventually(lambda: "nowhere.invalid is not found" in caplog.text, "it is said", 30)
    statsd(hooks.TermEnded(1.0, 1))
    statsd.close()


@pytest.mark.parametrize("address", ["localhost", "localhost:0", "localhost:70000", "udp://localhost:1", "", ":8125"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(InvalidSetting, match="redlock_beat_statsd"):
        StatsD(address)
