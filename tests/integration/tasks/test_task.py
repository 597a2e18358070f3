"""What else the base class of tasks does, in real workers: cooldowns, pauses between retries, the life of a call."""

from __future__ import annotations

from typing import Any

import pytest
from celery import chain, chord
from celery.exceptions import TimeoutError as CeleryTimeout

from redlock_beat import LedgerRow, Schedule
from redlock_beat.errors import InvalidTask
from redlock_beat.store.keys import Keys
from tests.servers import eventually

K = Keys("redlock-beat")


def test_after_a_success_calls_are_ignored_for_a_while_and_after_a_failure_they_are_not(project, valkey):
    p = project()
    p.worker()
    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            p.cools.delay("a", fail=True).get(timeout=20)
    assert p.cools.delay("a").get(timeout=20) == "a"
    ignored = p.cools.delay("a")
    assert (ignored.state, ignored.get(), ignored.successful(), ignored.failed()) == ("IGNORED", None, False, False)
    assert 0 < ignored.left <= 60
    assert p.cools.delay("b").get(timeout=20) == "b"
    assert len(p.begun("a")) == 3
    p.cools.set_cooldown(0, args=("a",))
    assert p.cools.delay("a").get(timeout=20) == "a"
    assert p.cools.apply_async(("a",), ignore_task_after_success=False).get(timeout=20) == "a"


def test_a_run_says_itself_for_how_long_it_is_not_wanted(project):
    p = project()
    p.worker()
    p.sets_cooldown.delay("a", 60).get(timeout=20)
    assert p.sets_cooldown.delay("a", 60).state == "IGNORED"
    p.sets_cooldown.delay("b", 0).get(timeout=20)
    assert p.sets_cooldown.delay("b", 0).get(timeout=20) is None
    assert len(p.begun("b")) == 2
    with pytest.raises(InvalidTask, match="cooldown=0"):
        p.once.set_cooldown(5, args=("a",))


@pytest.mark.parametrize("seconds", [60, 0])
def test_what_a_run_says_of_it_goes_before_the_tasks_own_cooldown(project, seconds):
    p = project()
    p.worker()
    p.cools_longer.delay("a", seconds).get(timeout=20)
    again = p.cools_longer.delay("a", seconds)
    assert 10 < again.left <= 60 if seconds else not hasattr(again, "left"), "its own is five seconds"
    assert again.get(timeout=20) is None


def test_a_step_of_a_canvas_that_is_ignored_counts_as_done(project):
    p = project()
    p.worker()
    p.cools.delay("a").get(timeout=20)
    assert chain(p.cools.s("a"), p.collect.s()).apply_async().get(timeout=20) is None
    assert chord([p.cools.s("a"), p.cools.s("b")])(p.collect.s()).get(timeout=20) == [None, "b"]
    assert len(p.begun("a")) == 1


def test_a_cooldown_holds_for_eager_calls_too(project):
    p = project(PROJECT_CONF='{"task_always_eager": true}')
    assert p.cools.delay("a").get() == "a"
    assert p.cools.delay("a").state == "IGNORED"
    assert len(p.begun("a")) == 1


def test_redis_away_ignores_nothing(project, own_server, valkey):
    schedule = own_server()
    p = project(valkey, PROJECT_SCHEDULE=schedule.url())
    p.worker()
    p.cools.delay("a").get(timeout=20)
    schedule.stop()
    assert p.cools.delay("a").get(timeout=20) == "a"


def test_retries_come_after_the_pauses_of_the_list_and_end_with_it(project):
    p = project()
    p.worker()
    p.again.delay("a").get(timeout=20)
    first, second, third = (line.at for line in p.lines("begin", "a"))
    assert second - first >= 0.3
    assert third - second >= 0.3
    result = p.heard.delay("a", failures=5)
    with pytest.raises(ValueError, match="not yet"):
        result.get(timeout=20)
    assert len([line for line in p.lines("start") if line.id == result.id]) == 2


def life(p, id_: str) -> list[str]:
    return [f"{line.what} {line.key}" if line.key != "life" else line.what for line in p.lines() if line.id == id_]


def test_the_life_of_a_call_is_told_with_one_id(project):
    p = project()
    first = p.heard.delay("a", 1)
    second = p.heard.delay("a", 2)
    assert second.id == first.id
    (duplicate,) = (line.id for line in p.lines("unique", first.id))
    p.worker()
    first.get(timeout=20)
    eventually(lambda: p.lines("success"), "it has succeeded")
    ignored = p.heard.delay("a")
    assert life(p, first.id) == ["apply", "trigger", "start", "retry ValueError", "start", "success done"]
    assert life(p, duplicate) == ["apply", f"unique {first.id}"]
    assert life(p, ignored.id) == ["apply", "ignored"]
    failing = p.heard.delay("b", 9)
    with pytest.raises(ValueError, match="not yet"):
        failing.get(timeout=20)
    eventually(lambda: p.lines("failure"), "it has failed")
    assert life(p, failing.id) == ["apply", "trigger", "start", "retry ValueError", "start", "failure ValueError"]


def test_a_call_that_waits_for_its_result_tells_when_it_gives_up(project):
    p = project()
    with pytest.raises(CeleryTimeout):
        p.heard.apply_async_and_get_result(("a",), timeout=0.1)
    (late,) = p.lines("timeout")
    assert life(p, late.id) == ["apply", "trigger", "timeout"]
    with pytest.raises(CeleryTimeout):
        p.heard.apply_async_and_get_result(("a",), timeout=0)
    p.worker()
    assert p.heard.apply_async_and_get_result(("b",), timeout=20) == "done"
    assert p.heard.apply_async_and_get_result(("b",), timeout=0) is None, "it is ignored: there is nothing to wait for"
    with pytest.raises(ValueError, match="no c"):
        p.fails.apply_async_and_get_result(("c",), timeout=20)
    assert isinstance(p.fails.apply_async_and_get_result(("c",), timeout=20, propagate=False), ValueError)


def test_a_task_without_options_is_sent_as_celery_sends_it_and_asks_nothing(project, own_server, valkey):
    schedule = own_server()
    p = project(valkey, PROJECT_SCHEDULE=schedule.url())
    p.worker()
    schedule.stop()
    assert p.plain.delay("a").get(timeout=20) == "a"
    assert not schedule.started or p.begun("a")


def test_a_run_of_an_entry_knows_its_occurrence_and_any_other_has_none(project, beats):
    p = project()
    p.worker()
    assert p.occurs.delay().get(timeout=20) is None
    schedule = Schedule(p.app)
    schedule.add("often", "occurs", 0.5)
    beats(p.app).start()

    def told() -> list[tuple[LedgerRow, list[Any]]]:
        rows = [row for row in schedule.history("often") if row.what == "sent"]
        return [(row, p.app.AsyncResult(row.task_id).get(timeout=20)) for row in rows]

    eventually(lambda: any(row.outcome == "succeeded" for row in schedule.history("often")), "a run is reported")
    row, (entry, nominal, lateness, task_id, epoch, _) = told()[0]
    assert (entry, task_id, epoch) == ("often", row.task_id, row.epoch)
    assert nominal == pytest.approx(row.nominal.timestamp())
    assert 0 <= lateness < 30
    eventually(lambda: any(found[-1] == "succeeded" for _, found in told()), "one knows how the one before has ended")
