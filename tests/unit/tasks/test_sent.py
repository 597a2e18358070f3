"""The word that calls were sent, which a process says behind their back."""

from __future__ import annotations

import multiprocessing

from redlock_beat.store.locks import Who
from redlock_beat.tasks.sent import Sent


def test_a_process_that_was_forked_meanwhile_ends_and_says_nothing_of_its_parents():
    """At its end it calls what its parent has registered, whose lock a thread of the parent may have held."""
    sent = Sent(None)  # a store that is asked would be an error
    sent._waiting.append((Who("d", "1", "t"), 1000))
    with sent._saying:
        child = multiprocessing.get_context("fork").Process(target=sent.say)
        child.start()
        child.join(10)
        if child.is_alive():
            child.kill()
            child.join()
    assert child.exitcode == 0
