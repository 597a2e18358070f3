"""Options of a task: what makes two calls the same, and what cannot work is said when the task is made."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from celery import Celery
from celery import Task as CeleryTask
from celery.utils.time import maybe_iso8601, maybe_make_aware

from redlock_beat.errors import DuplicateCall, InvalidTask
from redlock_beat.tasks import Task, TaskMixin
from redlock_beat.tasks.retries import pause
from redlock_beat.tasks.spans import left, wait_of


@pytest.fixture
def app():
    return Celery("options", broker="redis://localhost/0", set_as_current=False)


def make(app, function, **options):
    task = app.task(function, base=Task, shared=False, lazy=False, name=f"t{len(app.tasks)}", **options)
    app.finalize()
    return app.tasks[task.name]


def digest(task, *args, **kwargs):
    return task.rules.keyed.of(args, kwargs)[0]


def test_calls_are_the_same_however_their_arguments_are_given(app):
    def mail(to, subject="hi", *copies, when=None, **more): ...

    task = make(app, mail, unique=True)
    assert digest(task, 7) == digest(task, to=7) == digest(task, 7, "hi") == digest(task, 7, when=None)
    assert digest(task, 7, "hi", 1, 2) == digest(task, 7, "hi", 1, 2, when=None) != digest(task, 7, "hi", 2, 1)
    assert digest(task, 7, a=1, b={"x": (1, 2), "y": 3}) == digest(task, 7, b={"y": 3, "x": [1, 2]}, a=1)
    assert len({digest(task, 7), digest(task, "7"), digest(task, 8), digest(task, 7, "ho"), digest(task, 7, a=1)}) == 5


def test_arguments_are_the_same_before_and_after_their_way_through_the_broker(app):
    from kombu.utils.json import dumps, loads

    def f(value): ...

    task = make(app, f, unique=True)
    for value in (datetime(2026, 1, 1, tzinfo=UTC), Decimal("1.50"), (1, (2,)), {1: "a"}, "ü\ud800", None, 1.5, True):
        assert digest(task, value) == digest(task, loads(dumps(value)))


def test_a_bound_task_counts_its_arguments_without_itself(app):
    def f(self, a, b=2): ...

    task = make(app, f, unique=True, bind=True, autoretry_for=(ValueError,))
    assert digest(task, 1) == digest(task, 1, 2) == digest(task, b=2, a=1)
    with pytest.raises(TypeError):
        digest(task)


def test_a_task_of_a_class_counts_the_arguments_of_its_run(app):
    class Report(Task):
        name = "report"
        unique = True
        unique_on = ("month",)

        def run(self, month, detail=False): ...

    task = app.register_task(Report())
    assert digest(task, 7) == digest(task, 7, detail=True) != digest(task, 8)


def test_some_arguments_count_or_none_of_them(app):
    def f(user, why="", **more): ...

    on = make(app, f, unique=True, unique_on=("user", "region"))
    assert digest(on, 7, "a") == digest(on, 7, "b") == digest(on, 7, region=None)
    assert digest(on, 7, region="eu") not in (digest(on, 7), digest(on, 8, region="eu"))
    one = make(app, f, unique=True, unique_on="user")
    assert digest(one, 7) == digest(one, 7, "b") != digest(one, 8)
    nothing = make(app, f, unique=True, unique_on=[])
    assert digest(nothing, 7) == digest(nothing, 8, "b", c=3)


def test_a_function_makes_the_key(app):
    def f(user, why=""): ...

    task = make(app, f, unique=True, unique_key=lambda user, why="": user.lower())
    assert digest(task, "Ann") == digest(task, "ann", "b") != digest(task, "bob")
    theirs = make(app, f, unique=True, unique_key_generator=lambda task, prefix, args, kwargs: f"{task.name}{args[0]}")
    assert digest(theirs, "Ann", "a") == digest(theirs, "Ann", "b") != digest(theirs, "bob")


def test_the_same_arguments_of_two_tasks_are_two_locks(app):
    def f(a): ...

    assert digest(make(app, f, unique=True), 1) != digest(make(app, f, unique=True), 1)


def test_arguments_that_json_cannot_say_are_an_error_that_says_what_to_do(app):
    def f(a): ...

    task = make(app, f, unique=True)
    for value in (object(), {1: 2, "a": 3}, float):
        with pytest.raises(InvalidTask, match="unique_key"):
            digest(task, value)
    with pytest.raises(InvalidTask, match="1000000"):
        digest(task, "x" * 1_000_001)


def test_names_of_django_celery_extensions_are_taken(app):
    def f(): ...

    task = make(
        app,
        f,
        unique=True,
        stale_time_limit=60,
        ignore_task_after_success=True,
        ignore_task_timedelta=timedelta(hours=1),
    )
    assert (task.rules.wait, task.rules.cools, task.rules.cooldown) == (60.0, True, 3600.0)
    manual = make(app, f, ignore_task_timedelta=timedelta(hours=1))
    assert (manual.rules.cools, manual.rules.cooldown) == (True, 0.0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"unique_until": "ended"}, "unique_until is 'ended', but must be one of 'start', 'done'"),
        ({"unique_duplicate": "drop"}, "unique_duplicate"),
        ({"unique_without_redis": "no"}, "unique_without_redis"),
        ({"unique_for": -1}, "unique_for is -1"),
        ({"unique_for": True}, "unique_for is True"),
        ({"cooldown": "1h"}, "cooldown is '1h'"),
        ({"cooldown": float("nan")}, "cooldown is nan"),
        ({"ignore_task_after_success": True}, "needs ignore_task_timedelta"),
        ({"unique_on": ("nobody",)}, "unique_on names 'nobody', which is not one of its arguments: a, b"),
        ({"unique_on": 5}, "unique_on is 5, but must be a name of its arguments, or a list of them"),
        ({"unique_on": ("a",), "unique_key": lambda a: a}, "unique_on and unique_key are both given"),
        ({"unique_key": "a"}, "unique_key is 'a', but must be a function"),
        ({"default_retry_delays": 60}, "default_retry_delays is 60, but must be a list"),
        ({"default_retry_delays": ("1m",)}, "default_retry_delays is '1m'"),
        ({"default_retry_jitter": 11}, "default_retry_jitter"),
    ],
)
def test_what_cannot_work_is_said_when_the_task_is_made(app, options, words):
    def f(a, b=1): ...

    with pytest.raises(InvalidTask, match=words):
        make(app, f, unique=True, **options)


def test_how_long_a_call_may_wait_by_its_own_options():
    now = datetime.now(UTC)
    assert left(now + timedelta(hours=1)) == pytest.approx(3600, abs=5)
    assert left((now + timedelta(hours=1)).isoformat()) == pytest.approx(3600, abs=5)
    assert wait_of({"eta": now + timedelta(hours=1), "expires": None}, 60) == pytest.approx(3660, abs=5)
    assert wait_of({"countdown": 10, "expires": 5}, 60) == 5
    assert wait_of({"expires": -5}, 60) > 0


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
@pytest.mark.parametrize("option", ["expires", "eta"])
def test_an_instant_without_a_zone_is_read_as_the_worker_reads_it(app, zone, option):
    """Else the lock of a call ends hours before the call may run, or at once."""
    app.conf.timezone = zone
    said = (datetime.now(UTC) + timedelta(hours=1)).replace(tzinfo=None)
    headers = app.amqp.as_task_v2("id", "t", **{option: said}).headers
    read = maybe_make_aware(maybe_iso8601(headers[option]), app.timezone)
    assert left(said) == pytest.approx((read - datetime.now(UTC)).total_seconds(), abs=5)


def test_pauses_are_longer_by_chance_and_by_so_much_at_most():
    pauses = {pause((60,), 0, 0.5) for _ in range(50)}
    assert len(pauses) > 1
    assert 60 <= min(pauses) <= max(pauses) <= 90


def test_a_call_of_the_task_as_a_function_runs_it(app):
    def double(a):
        return 2 * a

    assert make(app, double, unique=True, cooldown=60)(4) == 8


def test_the_error_of_a_duplicate_survives_its_way_through_a_result_backend():
    error = pickle.loads(pickle.dumps(DuplicateCall("tasks.mail", "7")))
    assert (error.task, error.task_id) == ("tasks.mail", "7")
    assert "AsyncResult('7')" in str(error)


def test_a_base_class_of_ones_own_keeps_its_call(app):
    """The base class of Flask's documentation: it replaces ``__call__``, and never calls ours."""
    calls = []

    class ContextTask(CeleryTask):
        abstract = True

        def __call__(self, *args, **kwargs):
            calls.append(self.request.id)
            return self.run(*args, **kwargs)

    class Below(TaskMixin, ContextTask):
        abstract = True

    class Above(Task):
        abstract = True

        def __call__(self, *args, **kwargs):
            calls.append(self.request.id)
            return self.run(*args, **kwargs)

    seen = []

    def f(self, a):
        seen.append((self.request.id, self.invocation_id))
        return a

    for base in (Below, Above):
        app.task(f, base=base, shared=False, name=base.__name__, bind=True)
        app.finalize()
        task = app.tasks[base.__name__]
        task.on_task_start = lambda *args: seen.append("started")
        assert task.apply((1,), task_id="7").get() == 1
        assert calls == ["7"]
        assert seen == ["started", ("7", "7")]
        calls.clear()
        seen.clear()
