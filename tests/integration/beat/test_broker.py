"""Whether the broker is the schedule's Redis: no answer is no answer, and asking holds up nothing."""

from __future__ import annotations

import threading
import time

from redlock_beat.store.keys import Keys
from tests.beats import duplicates, flows, ledger
from tests.proxy import Proxy

K = Keys("redlock-beat")


ENTRY = {"a": {"task": "tasks.add", "schedule": 0.1}}


def test_a_lost_answer_of_the_broker_sends_nothing_through_the_outbox(valkey, beats, caplog):
    proxy, own = Proxy(valkey.port), Proxy(valkey.port)
    beat = beats(f"redis://127.0.0.1:{proxy.port}/0", ENTRY, redlock_beat_url=f"redis://127.0.0.1:{own.port}/0")
    client = valkey.client()
    flows(beat, client)
    proxy.lose_reply("proof:")
    own.lose_reply("EVALSHA")  # the connection to the schedule's Redis is lost, so all is proved anew
    beat.until(lambda: proxy.lost, "an answer is lost")
    flows(beat, client, 10)
    assert beat.parts.renderer.direct
    assert not beat.parts.publisher.started
    assert duplicates(client) == 0
    assert "it is not known whether it is the schedule's Redis" in caplog.text
    proxy.close()
    own.close()


def test_a_broker_that_hangs_from_the_start_holds_up_nothing_and_is_no_entrys_fault(valkey, own_server, beats):
    other, client = own_server("valkey"), valkey.client()
    proxy = Proxy(other.port)
    proxy.freeze()
    conf = {"redlock_beat_url": valkey.url(), "redlock_beat_publish_timeout": 8.0, "redlock_beat_socket_timeout": 8.0}
    beat = beats(f"redis://127.0.0.1:{proxy.port}/0", ENTRY, **conf)
    longest, tick = [0.0], beat.scheduler.tick

    def timed():
        began = time.monotonic()
        try:
            return tick()
        finally:
            longest[0] = max(longest[0], time.monotonic() - began)

    beat.scheduler.tick = timed
    beat.until(lambda: client.hlen(K.outbox) >= 10, "messages wait for the broker")
    assert longest[0] < 6
    assert client.hlen(K.quarantine) == 0
    assert ledger(client, "failed") == []
    proxy.thaw()
    flows(beat, other.client(), 12)
    proxy.close()


def test_what_was_asked_before_the_last_doubt_says_nothing(valkey, beats):
    beat = beats(valkey).lead()
    broker, store = beat.parts.broker, beat.parts.store
    asked, go, prove = threading.Event(), threading.Event(), store.prove

    def slowly(*args):
        asked.set()
        go.wait(10)
        return prove(*args)

    store.prove = slowly
    broker.doubt()
    assert not broker.known(0)
    assert asked.wait(10)
    broker.doubt()  # another server may be at its address since
    go.set()
    assert not broker.known(10)
    assert broker.known(10)


def test_a_broker_that_goes_while_a_message_is_rendered_is_no_entrys_fault(valkey, beats):
    client = valkey.client()
    proxy = Proxy(valkey.port)
    routed = {"task": "tasks.add", "schedule": 0.1, "options": {"exchange": "ex", "routing_key": "celery"}}
    client.sadd("_kombu.binding.ex", "celery\x06\x16\x06\x16celery")
    conf = {"redlock_beat_url": valkey.url(), "redlock_beat_socket_timeout": 0.3}
    beat = beats(f"redis://127.0.0.1:{proxy.port}/0", {"routed": routed}, **conf)
    flows(beat, client)
    proxy.upstream = 1  # nobody answers there
    for each in client.client_list():
        if each["cmd"] == "smembers":
            client.client_kill_filter(_id=each["id"])
    beat.until(lambda: beat.parts.broker.unproved, "it is not known where messages go")
    for _ in range(5):
        beat.tick()
    assert client.hlen(K.quarantine) == client.hlen(K.outbox) == 0
    proxy.upstream = valkey.port
    flows(beat, client)
    assert ledger(client, "failed") == []
    assert duplicates(client) == 0
    proxy.close()


def test_several_broker_urls_keep_capturing_after_a_switch(valkey, beats):
    proxy = Proxy(valkey.port)
    urls = f"redis://127.0.0.1:{proxy.port}/0;{valkey.url()}"
    beat = beats(urls, ENTRY, redlock_beat_url=valkey.url())
    client = valkey.client()
    flows(beat, client)
    channel = beat.parts.renderer.channel()
    connection = channel.connection.client
    connection.maybe_switch_next()
    assert type(connection.default_channel) is type(channel)
    flows(beat, client)
    assert beat.parts.renderer.direct  # proved again
    proxy.close()


def test_another_redis_as_broker_goes_through_the_outbox(valkey, own_server, beats):
    other = own_server("valkey")
    beat = beats(other.url(), {"a": {"task": "t", "schedule": 0.1}}, redlock_beat_url=valkey.url())
    beat.until(lambda: other.client().llen("celery") >= 3)
    assert not beat.parts.renderer.direct
    assert valkey.client().llen("celery") == 0


def test_a_broker_that_is_away_at_the_start_is_proved_later(valkey, beats):
    proxy = Proxy(1)
    conf = {"redlock_beat_url": valkey.url(), "redlock_beat_socket_timeout": 0.3}
    beat = beats(f"redis://127.0.0.1:{proxy.port}/0", {"a": {"task": "t", "schedule": 0.1}}, **conf)
    beat.lead()
    assert not beat.parts.renderer.direct
    proxy.upstream = valkey.port
    client = valkey.client()
    beat.until(lambda: client.llen("celery") >= 2)
    proxy.close()
