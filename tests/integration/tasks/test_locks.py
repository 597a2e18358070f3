"""Each step of a lock, against each kind of server: who may take it, who may free it, and when it is over by itself."""

from __future__ import annotations

import pytest

from redlock_beat.settings import Settings
from redlock_beat.store import locks
from redlock_beat.store.client import Target
from redlock_beat.store.keys import Keys
from redlock_beat.store.locks import Answer, Who
from redlock_beat.store.store import Store
from tests.servers import eventually

K = Keys("redlock-beat")
A, B, C = (Who("digest", id_, "task", "[1]") for id_ in "abc")


class Calls:
    """Calls and runs of one key, on one server."""

    def __init__(self, url: str) -> None:
        self.store = Store(Target(Settings(url=url)))

    def take(
        self,
        who: Who,
        call: str = "",
        *,
        cools: bool = False,
        takes: bool = True,
        replaces: bool = False,
        sending: int = 60_000,
        remember: int = 60_000,
    ) -> Answer:
        return self.store.run(
            locks.take(
                K,
                who,
                call or who.id,
                cools=cools,
                takes=takes,
                replaces=replaces,
                sending_ms=sending,
                remember_ms=remember,
            )
        )

    def start(self, who: Who, run: str = "", *, ends_here: bool = False, looks: bool = False, ttl: int = 60_000) -> str:
        run = run or f"run of {who.id}"
        return self.store.run(locks.start(K, who, run, ends_here=ends_here, looks=looks, ttl_ms=ttl, worker="w")).word

    def end(self, who: Who, run: str | None = None, cooldown: int = 0) -> bool:
        return self.store.run(locks.end(K, who, f"run of {who.id}" if run is None else run, cooldown))

    def retry(self, who: Who, run: str | None = None, wait: int = 60_000) -> bool:
        return self.store.run(locks.retry(K, who, f"run of {who.id}" if run is None else run, wait))

    def renew(self, *whose: Who, ttl: int = 60_000, worker: str = "w") -> int:
        return self.store.run(locks.renew(K, whose, ttl_ms=ttl, worker=worker))

    def holder(self) -> str | None:
        lock, _ = self.store.run(locks.look(K, "digest"))
        return None if lock is None else f"{lock.holder} {lock.phase}"

    def nothing_is_left(self) -> bool:
        client = self.store.client
        return not client.exists(K.locks, K.lock_ends)


@pytest.fixture
def calls(server):
    made = Calls(server.url())
    yield made
    made.store.close()


def test_one_of_several_calls_takes_the_lock_and_the_others_learn_whose_it_is(calls):
    assert calls.take(A) == Answer("taken", "")
    assert calls.take(B) == Answer("held", "a")
    calls.store.run(locks.sent(K, [(A, 60_000)]))
    assert calls.holder() == "a waiting"
    assert calls.start(A) == "run"
    assert calls.holder() == "a running"
    assert calls.take(B) == Answer("held", "a")
    assert calls.end(A)
    assert calls.nothing_is_left()
    assert calls.take(B) == Answer("taken", "")


def test_a_call_whose_answer_was_lost_asks_again_and_has_the_lock(calls):
    assert calls.take(A, "one") == calls.take(A, "one") == Answer("taken", "")


def test_a_second_call_that_is_given_the_same_id_is_a_duplicate(calls):
    calls.take(A, "one")
    assert calls.take(A, "two") == Answer("held", "a")


def test_a_publisher_that_dies_before_it_sends_holds_the_lock_for_a_moment_only(calls):
    calls.take(A)
    assert calls.take(B).word == "held"
    calls.end(A, "")
    calls.take(A, sending=100)
    eventually(lambda: calls.take(B).word == "taken", "the lock has lapsed")


def test_what_was_sent_waits_longer_than_sending_may_take(calls):
    calls.take(A, sending=60_000)
    assert calls.store.run(locks.sent(K, [(A, 600_000)])) == 1
    lock, _ = calls.store.run(locks.look(K, "digest"))
    assert lock.ends - lock.since > 500


def test_what_lapsed_before_it_was_said_to_be_sent_takes_no_lock_from_another(calls):
    calls.take(A, sending=50)
    eventually(lambda: calls.take(B).word == "taken", "the lock has lapsed")
    assert calls.store.run(locks.sent(K, [(A, 60_000)])) == 0
    assert calls.holder() == "b taken"


def test_a_call_that_was_not_sent_frees_its_lock_and_no_other(calls):
    calls.take(A)
    assert not calls.end(B, "")
    assert calls.holder() == "a taken"
    assert calls.end(A, "")
    assert calls.nothing_is_left()


def test_nobody_frees_the_lock_of_another(calls):
    calls.take(A)
    calls.start(A, ttl=50)
    eventually(lambda: calls.take(B).word == "taken", "the worker of a is gone")
    assert calls.start(B) == "run"
    assert not calls.end(A), "the lost worker comes back and ends its run"
    assert not calls.end(A, "*")
    assert not calls.retry(A)
    assert calls.renew(A) == 0
    assert calls.holder() == "b running"


def test_what_runs_is_not_freed_because_a_copy_of_its_message_is_dropped(calls):
    calls.take(A)
    calls.start(A)
    assert not calls.end(A, "")
    assert calls.holder() == "a running"


def test_a_retry_takes_no_lock_from_another_call_nor_from_another_run(calls):
    calls.take(A)
    calls.start(A, "first", ttl=50)
    eventually(lambda: calls.start(A, "second") == "run", "the first has lapsed")
    assert not calls.retry(A, "first")
    assert calls.holder() == "a running"
    calls.end(A, "second")
    calls.take(B)
    assert not calls.retry(A, "second")
    assert calls.holder() == "b taken"


def test_a_worker_frees_any_run_of_its_own_and_none_of_another(calls):
    calls.take(A)
    assert calls.start(A) == "run"
    assert not calls.end(A, "@another")
    assert calls.holder() == "a running"
    assert calls.end(A, "@w")
    assert calls.nothing_is_left()


def test_a_run_of_the_same_id_that_was_given_up_frees_nothing(calls):
    calls.take(A)
    calls.start(A, "first", ttl=50)
    eventually(lambda: calls.start(A, "second") == "run", "the first has lapsed")
    assert not calls.end(A, "first")
    assert calls.holder() == "a running"
    assert calls.end(A, "second")


def test_a_start_whose_answer_was_lost_asks_again_and_runs(calls):
    calls.take(A)
    assert calls.start(A, "one") == calls.start(A, "one") == "run"


def test_a_copy_of_a_message_whose_run_goes_on_waits_and_does_not_run_after_it(calls):
    calls.take(A)
    calls.start(A, "first")
    assert calls.start(A, "copy") == "again"
    assert calls.end(A, "first")
    assert calls.start(A, "copy") == "ran"
    assert calls.take(A, "a new call of this id").word == "taken"
    assert calls.start(A, "new") == "run"


def test_a_copy_of_a_message_whose_worker_is_gone_runs(calls):
    calls.take(A)
    calls.start(A, "first", ttl=50)
    calls.start(A, "copy")
    eventually(lambda: calls.start(A, "copy") == "run", "the first has lapsed")


def test_what_runs_keeps_its_lock_while_it_is_renewed(calls, server):
    calls.take(A)
    calls.start(A, ttl=60_000)
    begun, _ = calls.store.run(locks.look(K, "digest"))
    for ttl in (600_000, 6_000_000):
        assert calls.renew(A, ttl=ttl) == 1
        lock, _ = calls.store.run(locks.look(K, "digest"))
        assert lock.ends > begun.ends + 0.8 * ttl / 1000
        assert server.client().zscore(K.lock_ends, "digest") == lock.ends * 1000, "nobody forgets it before"
        assert calls.take(B) == Answer("held", "a")


def test_a_worker_renews_nothing_that_only_waits(calls):
    calls.take(A)
    assert calls.renew(A) == 0
    assert calls.holder() == "a taken"


def test_locks_that_redis_has_forgotten_are_written_anew_and_only_then(calls, server):
    client = server.client()
    calls.take(A)
    calls.start(A)
    client.zadd(K.workers, {"w": 1e12})
    calls.end(A)
    assert calls.renew(A) == 0, "it has just ended; its worker does not know yet"
    assert calls.nothing_is_left()
    client.flushall()
    assert calls.renew(A) == 1, "the worker is not there either: Redis has lost both"
    assert calls.take(B) == Answer("held", "a")
    assert calls.end(A, "the run it had")
    assert calls.nothing_is_left()


def test_a_retry_waits_with_its_lock_and_the_next_run_has_it(calls):
    calls.take(A)
    calls.start(A, "first")
    assert calls.retry(A, "first")
    assert calls.holder() == "a waiting"
    assert calls.take(B).word == "held"
    assert calls.start(A, "second") == "run", "quicker than the first run is over"
    assert not calls.end(A, "first")
    assert calls.holder() == "a running"


def test_a_retry_that_was_not_sent_is_over(calls):
    calls.take(A)
    calls.start(A, "first")
    calls.retry(A, "first")
    assert calls.end(A, "first")
    assert calls.nothing_is_left()


def test_a_lock_that_ends_at_the_start_is_free_then_and_that_of_another_is_not(calls):
    calls.take(A)
    assert calls.start(A, ends_here=True) == "run"
    assert calls.take(B).word == "taken"
    assert calls.start(A, "late copy", ends_here=True) == "run"
    assert calls.holder() == "b taken"


def test_a_message_that_waited_too_long_runs_and_the_call_after_it_waits_on(calls):
    calls.take(A, sending=50)
    eventually(lambda: calls.take(B).word == "taken", "its time to wait is over")
    assert calls.start(A) == "run"
    assert calls.start(B) == "held"
    assert calls.take(C) == Answer("held", "a")
    assert calls.end(A)
    assert calls.holder() == "b waiting"
    assert calls.start(B) == "run"


def test_a_call_replaces_one_that_waits_which_then_does_not_run(calls):
    calls.take(A)
    assert calls.take(B, replaces=True) == Answer("taken", "a")
    assert calls.start(A) == "superseded"
    assert calls.start(B) == "run"


def test_a_call_that_was_replaced_is_remembered_for_so_long_and_no_longer(calls):
    calls.take(A)
    calls.take(B, replaces=True)
    assert calls.start(A) == "superseded"
    calls.end(B, "")
    calls.take(A, "anew")
    calls.take(B, replaces=True, remember=200)
    eventually(lambda: calls.start(A) == "run", "nobody knows of it any more")


def test_a_call_that_replaces_waits_for_one_that_runs_and_the_lock_passes_to_it(calls):
    calls.take(A)
    calls.start(A)
    assert calls.take(B, replaces=True) == Answer("taken", "")
    assert calls.take(C, replaces=True) == Answer("taken", "b"), "the last one is the next"
    assert calls.store.run(locks.sent(K, [(B, 60_000), (C, 60_000)])) == 1
    assert calls.start(C) == "held"
    assert calls.end(A)
    assert calls.holder() == "c waiting"
    assert calls.start(B) == "superseded"
    assert calls.start(C) == "run"


def test_a_call_that_waits_for_one_whose_worker_dies_has_the_lock_then(calls):
    calls.take(A)
    calls.start(A)
    calls.take(B, replaces=True)
    assert calls.start(B) == "held"
    calls.renew(A, ttl=50)
    eventually(lambda: calls.holder() == "b waiting", "the lock has passed on")
    assert calls.take(C).word == "held"
    assert calls.start(B) == "run"


def test_the_next_call_that_was_not_sent_is_forgotten(calls):
    calls.take(A)
    calls.start(A)
    calls.take(B, replaces=True)
    assert calls.end(B, "")
    assert calls.end(A)
    assert calls.nothing_is_left()


def test_one_that_joins_takes_nothing_while_another_has_it(calls):
    calls.take(A)
    assert calls.start(B, looks=True) == "held"
    calls.start(A)
    assert calls.start(B, looks=True) == "held"
    calls.end(A)
    assert calls.start(B, looks=True) == "free"
    assert calls.nothing_is_left()


def test_a_cooldown_is_over_by_itself_and_holds_for_calls_that_look(calls):
    calls.take(A)
    calls.start(A)
    calls.end(A, cooldown=60_000)
    assert calls.take(B, cools=True).word == "cooling"
    assert calls.take(B, cools=False).word == "taken"
    calls.start(B)
    calls.end(B, cooldown=300)
    eventually(lambda: calls.take(C, cools=True, takes=False).word == "taken", "it is over")
    assert calls.nothing_is_left()


def test_what_is_written_by_somebody_else_is_no_lock_and_stops_nothing(calls, server):
    for rubbish in ("no json", "[]", '"a"', '{"id": 7}', '{"id": "a", "ends": "soon"}', "null"):
        server.client().hset(K.locks, "digest", rubbish)
        assert calls.holder() is None
        assert calls.take(A).word == "taken"
        assert calls.end(A, "")


def test_locks_that_nobody_asks_for_are_forgotten_bit_by_bit(calls, server):
    for i in range(20):
        calls.take(Who(f"other {i}", "x", "task"), sending=1)
        calls.take(Who(f"other {i}", "y", "task"), replaces=True, sending=1)
    eventually(lambda: [calls.take(A), calls.end(A, "")] and server.client().hlen(K.locks) == 0, "they are gone")
    assert server.client().zcard(K.lock_ends) == 0


def test_a_lock_is_freed_by_hand(calls):
    calls.take(A)
    calls.start(A)
    assert calls.store.run(locks.free(K, "digest")) == "a"
    assert calls.store.run(locks.free(K, "digest")) == ""
    assert calls.take(B).word == "taken"
    assert not calls.end(A)
