"""Messages of one leader, from one term to the next."""

from __future__ import annotations

import pytest

from redlock_beat import Schedule
from redlock_beat.store.keys import Keys
from tests.beats import messages

K = Keys("redlock-beat")


@pytest.mark.parametrize("conf", [{}, {"task_compression": "gzip"}], ids=["filled", "rendered"])
def test_the_first_message_of_a_term_has_the_number_of_that_term(valkey, beats, conf):
    """A template of the term before is not filled in: with its epoch a store would refuse the run as outdated."""
    client = valkey.client()
    beat = beats(valkey, **conf).lead()
    schedule = Schedule(beat.app)
    schedule.add("a", "tasks.add", 3600, run_now=True)
    beat.until(lambda: client.llen("celery") == 1)
    before = beat.epoch
    client.delete(K.lease)
    client.incr(K.epoch)
    schedule.add("b", "tasks.add", 3600, run_now=True)  # so that the first turn of the next term has something to send
    beat.until(lambda: client.llen("celery") == 2)
    assert [one["headers"]["redlock_beat_epoch"] for one in messages(client)] == [before, beat.epoch]
    assert beat.epoch > before
