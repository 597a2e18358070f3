"""Schedules that a beat must not lead: of another application on one prefix, or stored by a later release."""

from __future__ import annotations

from redlock_beat import Schedule
from redlock_beat.store.keys import Keys
from tests.beats import Beat

K = Keys("redlock-beat")


ENTRY = {"one's": {"task": "tasks.add", "schedule": 3600.0}}


OTHER = {"two's": {"task": "tasks.add", "schedule": 3600.0}}


def stands_by(beat: Beat) -> None:
    for _ in range(4):
        beat.tick()
    assert beat.term is None


def test_a_beat_of_another_application_leads_nothing_and_archives_nothing(server, beats, caplog):
    client = server.client()
    beats(server, ENTRY, redlock_beat_application="one").lead().close()
    stands_by(beats(server, OTHER, redlock_beat_application="two"))
    assert client.hkeys(K.entries) == ["one's"]
    assert client.hlen(K.archive) == 0
    assert caplog.text.count("belongs to the application 'one', and this beat runs 'two'") == 1
    assert "redlock_beat_prefix" in caplog.text
    beats(server, ENTRY, redlock_beat_application="one").lead()


def test_it_says_so_at_once_while_the_other_application_leads(valkey, beats, caplog):
    beats(valkey, ENTRY, redlock_beat_application="one").lead()
    beats(valkey, OTHER, redlock_beat_application="two").tick()
    assert "belongs to the application 'one'" in caplog.text


def test_what_a_later_release_has_laid_out_anew_is_left_alone(valkey, beats, caplog):
    client = valkey.client()
    client.set(K.layout, "2")
    beat = beats(valkey, ENTRY)
    stands_by(beat)
    assert "is stored in layout 2, and this release of redlock_beat knows layout 1" in caplog.text
    assert "Upgrade this beat" in caplog.text
    assert not client.exists(K.entries)
    client.set(K.layout, "1")
    beat.lead()


def test_an_application_that_comes_in_between_the_look_and_the_term_is_found_out(valkey, beats):
    client = valkey.client()
    beat = beats(valkey, OTHER, redlock_beat_application="two")
    beat.until(lambda: beat.term)
    client.set(K.application, "one")
    stands_by(beat.tick())
    assert client.hlen(K.entries) == 0
    assert not client.get(K.lease)


def test_a_schedule_without_a_name_and_an_application_without_one_work(valkey, beats):
    beats(valkey, ENTRY, redlock_beat_application="").lead().close()  # a script's, or a release before names
    assert valkey.client().get(K.application) is None
    beats(valkey, ENTRY, redlock_beat_application="one").lead().close()
    assert valkey.client().get(K.application) == "one"
    beat = beats(valkey, ENTRY, redlock_beat_application="").lead()
    assert Schedule(beat.app).health().ok


def test_a_standby_writes_nothing_but_its_heartbeat(valkey, beats):
    long = {"redlock_beat_lease_ttl": 60.0, "redlock_beat_render_limit": 60.0}
    a = beats(valkey, {"a": {"task": "tasks.add", "schedule": 3600}}, **long).lead()
    b = beats(valkey, {"b": {"task": "tasks.add", "schedule": 3600}})
    client = valkey.client()
    a.start()
    b.tick()
    watched = [K.due, K.entries, K.state, K.digests, K.configured, K.config, K.lease, K.epoch, K.archive]
    before = [client.dump(key) for key in watched]
    b.tick(8)
    assert [client.dump(key) for key in watched] == before
    assert client.hlen(K.beats) >= 1
