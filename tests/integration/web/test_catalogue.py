"""What is known of all entries: whole for a small schedule, growing for a large one, and following the edits."""

from __future__ import annotations

import threading

import pytest

from redlock_beat import Schedule
from redlock_beat.web import catalogue
from redlock_beat.web.catalogue import Catalogue, Walk
from tests.servers import eventually


def known(one, search="", wanted=None):
    return [place.name for place in one.known().find(search, wanted)]


def never_again(monkeypatch):
    """No second walk: what is known then comes from the edit log alone."""
    monkeypatch.setattr(catalogue, "LEAST", 3600.0)


def test_a_small_schedule_is_known_at_once_and_edits_are_followed(schedule, monkeypatch):
    never_again(monkeypatch)
    with schedule.batch() as batch:
        for i in range(400):
            batch.add(f"entry-{i:03d}", "tasks.mail", 3600)
    one = Catalogue(schedule)
    assert known(one) == [f"entry-{i:03d}" for i in range(400)]
    schedule.add("new", "tasks.other", 30, labels={"team": "a"})
    schedule.remove("entry-000")
    schedule.pause("entry-001")
    schedule.rename("entry-002", "other")
    names = known(one)
    assert names[:2] == ["entry-001", "entry-003"]
    assert names[-2:] == ["new", "other"]
    assert known(one, wanted=lambda facts: facts.state == "paused") == ["entry-001"]
    assert one.known().count("entry-0", None) == 98
    assert one.known().count("", lambda facts: facts.task == "tasks.other") == 1
    assert one.known().complete


def test_what_no_edit_tells_is_seen_by_the_next_walk(schedule, valkey, monkeypatch):
    monkeypatch.setattr(catalogue, "LEAST", 0.0)
    monkeypatch.setattr(catalogue, "RESTS", 0.0)
    schedule.add("mail", "tasks.mail", 3600)
    one = Catalogue(schedule)
    assert known(one) == ["mail"]
    valkey.client().hdel(schedule.keys.entries, "mail")
    assert known(one) == []


def test_more_edits_than_are_followed_begin_a_new_walk(schedule, monkeypatch):
    never_again(monkeypatch)
    monkeypatch.setattr(catalogue, "ROWS", 5)
    schedule.add("mail", "tasks.mail", 3600)
    one = Catalogue(schedule)
    assert known(one) == ["mail"]
    with schedule.batch() as batch:
        for i in range(8):
            batch.add(f"new-{i}", "tasks.mail", 3600)
    known(one)
    assert len(known(one)) == 9


def test_a_large_schedule_is_read_in_the_background_and_shown_as_far_as_it_is_known(schedule, monkeypatch):
    monkeypatch.setattr(catalogue, "PATIENCE", 0.0)
    monkeypatch.setattr(catalogue, "FIRST", 2)
    monkeypatch.setattr(catalogue, "PAGE", 50)
    go_on, walking = threading.Event(), Walk.go

    def when_told(walk, seconds):
        if threading.current_thread().name == "redlock-beat-catalogue":
            assert go_on.wait(30)
        return walking(walk, seconds)

    monkeypatch.setattr(Walk, "go", when_told)
    with schedule.batch() as batch:
        for i in range(1500):
            batch.add(f"entry-{i:04d}", "tasks.mail", 3600)
    one = Catalogue(schedule)
    first = one.known()
    assert not first.complete
    assert 0 < len(first.index) < 1500
    assert not one.known().complete  # one walk at a time
    go_on.set()
    eventually(lambda: one.known().complete)
    assert len(known(one)) == 1500


def test_a_walk_that_redis_ends_begins_anew(own_server, monkeypatch):
    monkeypatch.setattr(catalogue, "PATIENCE", 0.0)
    monkeypatch.setattr(catalogue, "FIRST", 1)
    monkeypatch.setattr(catalogue, "PAGE", 10)
    server = own_server("valkey")
    with Schedule.from_url(server.url(), retry_for=0.2, socket_timeout=30.0) as schedule:
        with schedule.batch() as batch:
            for i in range(1000):
                batch.add(f"entry-{i:04d}", "tasks.mail", 3600)
        stopped, walking = threading.Event(), Walk.go

        def after_the_stop(walk, seconds):
            if threading.current_thread().name == "redlock-beat-catalogue":
                assert stopped.wait(30)
            return walking(walk, seconds)

        monkeypatch.setattr(Walk, "go", after_the_stop)
        one = Catalogue(schedule)
        assert not one.known().complete
        server.stop()
        stopped.set()
        eventually(lambda: one._walk is None, "the walk has ended")
        server.start()
        eventually(lambda: one.known().complete, "another is complete")


def test_the_most_common_tasks_queues_and_labels_are_offered(schedule):
    for i in range(3):
        schedule.add(f"a{i}", "tasks.mail", 3600, labels={"team": "x"}, options={"queue": "slow"})
    schedule.add("b", "tasks.other", 3600)
    one = Catalogue(schedule)
    one.known()
    assert one.suggestions() == {"task": ["tasks.mail", "tasks.other"], "queue": ["slow"], "labels": ["team=x"]}
    assert one.known().common("task", 1) == ["tasks.mail"]


@pytest.mark.parametrize("size", [0, 1, 250, 251])
def test_a_walk_sees_every_entry_once(schedule, size):
    with schedule.batch() as batch:
        for i in range(size):
            batch.add(f"entry-{i}", "tasks.mail", 3600)
    walk = Walk(schedule)
    assert walk.go(60.0)
    assert len(walk.so_far()) == size
    assert all(one.state == "active" for one in walk.so_far().kinds[1:])
