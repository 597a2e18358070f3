"""One beat of several: its two roles, and what it does about what goes wrong."""

from __future__ import annotations

import contextlib

from redlock_beat.errors import Deposed
from redlock_beat.store.keys import Keys
from tests.beats import before_commit, duplicates, ledger
from tests.proxy import Proxy

K = Keys("redlock-beat")


ENTRY = {"a": {"task": "tasks.add", "schedule": 0.1}}


def test_an_error_nobody_expected_is_logged_once_in_full_and_the_beat_goes_on(valkey, beats, caplog):
    beat = beats(valkey, ENTRY).lead()
    turn, calls = beat.parts.dispatcher.turn, []

    def broken(term):
        calls.append(1)
        if len(calls) < 3:
            raise ZeroDivisionError("redis://u:secret@h")
        return turn(term)

    beat.parts.dispatcher.turn = broken
    client = valkey.client()
    before = client.llen("celery")
    beat.until(lambda: client.llen("celery") > before)
    assert "did not expect" in caplog.text
    assert "Traceback" in caplog.text
    assert "secret" not in caplog.text.replace('ZeroDivisionError("redis://u:secret@h")', "")  # the line of this test


def test_two_beats_that_both_believe_in_themselves_send_nothing_twice(server, beats):
    entries = {f"e{i}": {"task": "tasks.add", "schedule": 0.1} for i in range(5)}
    a, b = beats(server, entries), beats(server, entries)
    client = server.client()
    a.lead()
    old = a.term
    client.delete(K.lease)
    b.lead()
    for _ in range(20):
        with contextlib.suppress(Deposed):
            a.parts.dispatcher.turn(old)  # it has not learnt yet
        b.tick()
    assert client.llen("celery") > 5
    assert duplicates(client) == 0
    a.tick()
    assert a.term is None


def test_a_term_stolen_between_due_and_commit_commits_nothing(server, beats, way, candidate):
    a = beats(server, {"a": {"task": "tasks.add", "schedule": 0.1}})
    client = server.client()
    a.lead()
    thief = candidate(server, "thief", ttl=1)

    def late():
        client.delete(K.lease)
        assert thief.acquire() is not None
        client.delete("celery")

    before_commit(a, late)
    a.until(lambda: a.term is None)
    assert client.llen("celery") == 0


def test_a_clean_stop_hands_over(server, beats):
    entries = {"a": {"task": "tasks.add", "schedule": 0.1}}
    a, b = beats(server, entries, redlock_beat_lease_ttl=60.0, redlock_beat_render_limit=60.0), None
    a.lead()
    b = beats(server, entries, redlock_beat_lease_ttl=60.0, redlock_beat_render_limit=60.0)
    b.tick(2)
    assert b.term is None
    a.close()
    b.lead()
    assert b.epoch > 1
    a.close()  # once more does no harm
    b.tick()
    assert b.term is not None


def test_a_machine_that_vanishes_with_open_connections_is_replaced_after_the_ttl(server, beats):
    proxy = Proxy(server.port)
    entries = {"a": {"task": "tasks.add", "schedule": 0.1}}
    gone = beats(
        server.url(),
        entries,
        redlock_beat_url=f"redis://127.0.0.1:{proxy.port}/0",
        redlock_beat_lease_ttl=1.0,
        redlock_beat_socket_timeout=0.3,
    )
    gone.lead()
    other = beats(server, entries, redlock_beat_lease_ttl=1.0)
    other.tick(2)
    proxy.freeze()
    other.lead()
    gone.tick(3)
    client = server.client()
    other.until(lambda: len(ledger(client, "sent")) > 3)
    assert duplicates(client) == 0
    proxy.close()


def test_a_server_of_its_own_for_each_prefix(valkey, beats):
    first = beats(valkey, ENTRY, redlock_beat_prefix="one").lead()
    second = beats(valkey, {"b": ENTRY["a"]}, redlock_beat_prefix="two").lead()
    assert first.term is not None
    assert second.term is not None
    client = valkey.client()
    second.until(lambda: client.llen("celery"))
