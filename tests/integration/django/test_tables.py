"""Moving to this schedule with the database at hand: every entry arrives with the phase it had there.

django-celery-beat itself fills the tables and is asked what it would send: slot by slot over 48 hours.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from importlib.util import find_spec

import celery
import pytest
from django.core.management import CommandError, call_command

from tests.beats import messages
from tests.django_project import EXAMPLE, environment
from tests.servers import eventually

pytestmark = pytest.mark.skipif(not find_spec("django_celery_beat"), reason="django-celery-beat is not for this Django")

THEIRS = {"DJANGO_TEST_APPS": "django_celery_beat"}


def database(kind: str, name: str) -> dict[str, str]:
    """The environment of a database of its own on a server, or a skip."""
    port = {"postgresql": 5432, "mysql": 3306}.get(kind)
    if port is None:
        return {}
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        pytest.skip(f"no {kind} answers on port {port}")
    user = {"postgresql": "postgres", "mysql": "root"}[kind]
    return {"DB_ENGINE": f"django.db.backends.{kind}", "DB_NAME": name, "DB_HOST": "127.0.0.1", "DB_USER": user}


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
def env(request, worker_id):
    """The environment of an empty database for django-celery-beat's tables."""
    name = f"redlock_beat_{worker_id}"
    env = {**THEIRS, **database(request.param, name)}
    if "DB_NAME" in env:
        server(request.param, f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name}")
    yield env
    if "DB_NAME" in env:
        server(request.param, f"DROP DATABASE {name}")


def server(kind: str, *statements: str) -> None:
    if kind == "postgresql":
        import psycopg

        with psycopg.connect("host=127.0.0.1 user=postgres dbname=postgres", autocommit=True) as connection:
            for one in statements:
                connection.execute(one)
    else:
        import pymysql

        connection = pymysql.connect(host="127.0.0.1", user="root")
        for one in statements:
            connection.cursor().execute(one)
        connection.close()


def test_a_project_moves_here(env, valkey, tmp_path):
    """All of it in one process of the project for each database, since a process costs more than what it does here."""
    rows = 60 if "DB_ENGINE" in env else 500  # the slots are the same, whichever database it is
    code = f"import django; django.setup(); from tests.django_moving import main; main({rows})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(valkey.url(), tmp_path, **env),
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    arrives_with_its_phase_and_arguments(found, rows)
    shows_differences_alone(found["beside"])
    assert found["back"]["said"] == {"out": "", "err": "", "code": 0}
    assert found["back"]["before"] == found["back"]["after"]
    if "redbeat" in found:
        assert "3 added" in found["redbeat"]["said"]["out"]
        theirs, ours = found["redbeat"]["theirs"], found["redbeat"]["ours"]
        for name, (task, args, due) in theirs.items():
            assert ours[name] == [task, args, pytest.approx(due, abs=1)]  # RedBeat looks at the clock twice
    sent = found["locked"]["sent"]
    assert {args for args, _ in sent} == {"['paid']"}
    slots = [slot for _, slot in sent]
    assert (slots[:2], found["locked"]["lock"]) == ([None, None], 0)
    assert None not in slots[2:]
    assert len(set(slots[2:])) == len(slots[2:]) == 2
    assert found["locked"]["nightly"] == "at 03:30, every day, Europe/Berlin"


def arrives_with_its_phase_and_arguments(found, rows):
    theirs, ours = found["theirs"]["entries"], found["ours"]
    unfit = found["theirs"]["unfit"]
    assert len(theirs) + len(unfit) == rows
    assert json.loads(found["dry"]["out"])["added"] == len(theirs)
    assert found["dry"]["entries"] == 0
    assert sorted(line.split(": ")[1] for line in found["done"]["err"].splitlines()) == unfit
    assert [found[one]["code"] for one in ("dry", "done", "again")] == [1, 1, 1]
    assert "already here and left alone" in found["again"]["out"]
    assert ours.keys() == theirs.keys()
    for name, one in theirs.items():
        slots = ours[name]["slots"]
        if celery.VERSION >= (5, 6):  # before, its crontabs leave out a slot now and then
            assert len(one["slots"]) == len(slots), name
        for slot in one["slots"]:
            assert any(abs(slot - mine) < 0.2 for mine in slots), (name, slot)  # two tenths: each of them is rounded
        one["slots"] = slots
    assert {name: (one, ours[name]) for name, one in theirs.items() if one != ours[name]} == {}
    assert sum(len(one["slots"]) for one in ours.values()) > 10 * rows


def shows_differences_alone(beside):
    """django-celery-beat goes on, and each of its sends has its slot here, but for what is wrong in the end."""

    def left_out(one):
        """Before Celery 5.6 crontabs leave out a slot now and then, or are late: another day in their zone than in UTC."""
        return celery.VERSION < (5, 6) and one["sent"] <= one["slots"]

    assert [one for one in beside["well"] if not one["same"] and not left_out(one)] == []
    assert sum(one["sent"] for one in beside["well"]) > 100
    assert beside["edited"] == []
    hourly, twice = beside["expected"]["hourly"], beside["expected"]["twice"]
    assert [one["sent"] for one in beside["unsent"] if one["name"] == hourly] == [0]
    assert [one for one in beside["unsent"] if one["name"] != hourly and not left_out(one)] == []
    ill = {name for name, one in beside["ill"].items() if name == hourly or not left_out(one)}
    assert ill == {hourly, twice}
    assert beside["ill"][hourly]["sent"] == 1
    assert (beside["ill"][twice]["sent"], beside["ill"][twice]["slots"]) == (1, 0)


def test_the_comparison_runs_beside_a_beat_and_sends_nothing(valkey, tmp_path):
    """A real beat of django-celery-beat, and the command beside it until it has seen something."""
    env = environment(valkey.url(), tmp_path, **THEIRS, DJANGO_CELERY_BEAT_TZ_AWARE="1")
    code = (
        "import django; django.setup()\n"
        "from django.core.management import call_command\n"
        "call_command('migrate', 'django_celery_beat', verbosity=0)\n"
        "from django_celery_beat.models import IntervalSchedule, PeriodicTask\n"
        "every = IntervalSchedule.objects.create(every=1, period='seconds')\n"
        "PeriodicTask.objects.create(name='poll', task='t', interval=every)\n"
        "from shopfront import celery_app\n"
        "celery_app.conf.update(beat_sync_every=1, beat_schedule={})\n"  # it writes at each send
        "celery_app.Beat(scheduler='django', loglevel='INFO', quiet=True).run()\n"
    )
    beat = subprocess.Popen([sys.executable, "-c", code], env=env, stderr=subprocess.PIPE)
    client = valkey.client()
    command = ["redlock", "compare-django-celery-beat", "--every", "1s", "--tolerance", "1m", "--json"]
    try:
        eventually(lambda: client.llen("celery") or beat.poll() is not None, "the other beat sends", 60)
        assert beat.poll() is None, beat.stderr.read().decode()
        compare = subprocess.Popen(
            [sys.executable, str(EXAMPLE / "manage.py"), *command], env=env, stdout=subprocess.PIPE, text=True
        )
        one = json.loads(compare.stdout.readline())
        compare.send_signal(signal.SIGINT)
        rest, _ = compare.communicate(timeout=60)
        assert compare.returncode == 0
    finally:
        beat.kill()
        beat.communicate()
    assert (one["name"], one["same"], one["sent"]) == ("poll", True, one["slots"])
    assert json.loads(rest.splitlines()[-1])["different"] == 0
    assert {message["headers"]["periodic_task_name"] for message in messages(client)} == {"poll"}
    assert list(client.scan_iter("*redlock*")) == []


def test_a_database_without_the_tables_is_said(app, capsys):
    for database, words in (("other", "has no table"), ("nowhere", "no database 'nowhere'")):
        for verb in ("import-django-celery-beat", "compare-django-celery-beat"):
            with pytest.raises(CommandError):
                call_command("redlock", "--", verb, "--database", database)
            assert words in capsys.readouterr().err
