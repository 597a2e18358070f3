"""The configuration is read and written between turns: what is due never waits for it."""

from __future__ import annotations

from celery.beat import BeatLazyFunc

from redlock_beat import Schedule
from redlock_beat.schedule.configuration import Reading
from redlock_beat.store.keys import Keys
from tests.beats import messages

K = Keys("redlock-beat")
HOUR = {"task": "tasks.add", "schedule": 3600.0}
LAZY = {"task": "tasks.add", "schedule": 0.05, "args": (BeatLazyFunc(lambda: 7),)}


def never_done(monkeypatch):
    """Let no beat read to the end; what lets them again."""
    read = Reading.read_for
    monkeypatch.setattr(Reading, "read_for", lambda self, seconds: False)
    return lambda: monkeypatch.setattr(Reading, "read_for", read)


def test_what_is_due_is_sent_before_the_configuration_is_read(valkey, beats, monkeypatch):
    entries = {"lazy": LAZY, "hour": HOUR, "gone": HOUR}
    beats(valkey, entries).lead().close()
    client = valkey.client()
    mark = client.get(K.config)
    client.delete("celery")
    del entries["gone"]
    entries["hour"] = {**HOUR, "args": (1,)}
    go_on = never_done(monkeypatch)
    beat = beats(valkey, entries)
    beat.until(lambda: len(messages(client)) > 3, "what Redis has is sent, also what only the configuration can carry")
    schedule = Schedule(beat.app)
    assert not beat.settled
    assert beat.parts.reading.configuration is None
    assert (client.get(K.config), "gone" in schedule, schedule["hour"].args) == (mark, True, ())
    go_on()
    beat.lead()
    assert ("gone" in schedule, schedule["hour"].args) == (False, (1,))
    assert client.get(K.config) != mark


def test_an_entry_that_changed_meanwhile_is_rendered_as_this_release_has_it(valkey, beats, monkeypatch):
    beats(valkey, {"lazy": LAZY}).lead().close()
    client = valkey.client()
    client.delete("celery")
    never_done(monkeypatch)
    beat = beats(valkey, {"lazy": {**LAZY, "args": (BeatLazyFunc(lambda: 8),)}})
    sent = beat.until(lambda: messages(client))
    assert sent[0]["headers"]["argsrepr"] == "[8]"


def test_a_standby_reads_while_it_waits_and_hears_the_leader_go(valkey, beats, monkeypatch):
    first = beats(valkey, {"a": HOUR}).lead()
    go_on = never_done(monkeypatch)
    second = beats(valkey, {"a": {**HOUR, "args": (1,)}}).tick(2)
    go_on()
    second.until(lambda: second.parts.reading.configuration is not None, "it is read")
    assert not second.leader
    first.close()
    second.lead()
    assert Schedule(second.app)["a"].args == (1,)


def test_a_standby_that_still_reads_takes_over_at_once(valkey, beats, monkeypatch):
    first = beats(valkey, {"a": HOUR}).lead()
    never_done(monkeypatch)
    second = beats(valkey, {"a": HOUR}).tick(2)
    turned = second.parts.reading.read_for
    calls = []

    def read_for(seconds):
        calls.append(seconds)
        if len(calls) == 2:
            first.close()
        return turned(seconds)

    monkeypatch.setattr(second.parts.reading, "read_for", read_for)
    second.tick()  # a wait of a quarter of a second, ended by the word
    assert 2 <= len(calls) < 10
    second.tick()
    assert second.epoch > 1
