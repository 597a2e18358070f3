"""The admin, as people use it: the change list, the forms, the actions, the buttons, the permissions."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.test import override_settings

from redlock_beat import Schedule as PlainSchedule
from redlock_beat.django import Schedule, project

LIST = "/admin/redlock_beat/periodictask/"
VALID = {
    "name": "nightly",
    "task": "reminders.tasks.report",
    "enabled": "on",
    "kind": "crontab",
    "crontab": "0 3 * * *",
    "timezone": "Europe/Berlin",
    "args": "[]",
    "kwargs": "{}",
    "headers": "{}",
    "options": "{}",
}


class Person:
    """Somebody with a browser, who has logged in."""

    def __init__(self, *permissions: str, superuser: bool = False) -> None:
        from django.contrib.auth.models import Permission, User
        from django.test import Client

        name = "root" if superuser else "ann"
        self.user = User.objects.create_user(name, is_staff=True, is_superuser=superuser)
        for one in permissions:
            self.user.user_permissions.add(Permission.objects.get(codename=f"{one}_periodictask"))
        self.client = Client()
        self.client.force_login(self.user)

    def get(self, path: str = LIST, code: int = 200, **query: object) -> str:
        got = self.client.get(path, query)
        assert got.status_code == code, got.content.decode()[-3000:]
        return got.content.decode()

    def post(self, path: str, code: int = 302, **form: object) -> str:
        got = self.client.post(path, form)
        text = got.content.decode()
        assert got.status_code == code, re.findall(r"errorlist.*?</ul>", text, re.DOTALL) or text[-2000:]
        return text

    def names(self, **query: object) -> list[str]:
        """The names in the change list."""
        return [html.unescape(one) for one in re.findall(r'class="field-name"><a[^>]*>([^<]*)<', self.get(**query))]


def text(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def change(name: str) -> str:
    from django.contrib.admin.utils import quote

    return f"{LIST}{quote(name)}/change/"


@pytest.fixture
def schedule(app):
    return Schedule()


@pytest.fixture
def root(app):
    return Person(superuser=True)


def values(page: str) -> dict[str, str]:
    """What a browser would send of a form: the values of its fields."""
    found = {}
    for tag in re.findall(r"<input[^>]*>", page):
        name, kind = re.search(r'name="([^"]*)"', tag), re.search(r'type="([^"]*)"', tag)
        value = re.search(r'value="([^"]*)"', tag)
        if name and kind and kind[1] not in ("submit", "checkbox"):
            found[name[1]] = html.unescape(value[1]) if value else ""
        elif name and kind and kind[1] == "checkbox" and "checked" in tag:
            found[name[1]] = "on"
    for name, inside in re.findall(r'<textarea name="([^"]*)"[^>]*>(.*?)</textarea>', page, re.DOTALL):
        found[name] = html.unescape(inside).lstrip("\n")
    for name, inside in re.findall(r'<select name="([^"]*)"[^>]*>(.*?)</select>', page, re.DOTALL):
        chosen = re.search(r'<option value="([^"]*)" selected', inside)
        found[name] = html.unescape(chosen[1]) if chosen else ""
    found.pop("csrfmiddlewaretoken", None)
    return found


# --- the change list ---


def test_the_index_has_periodic_tasks(root):
    assert "Periodic tasks" in text(root.get("/admin/"))


def test_the_list_says_when_and_what(root, schedule):
    schedule.add("a", "tasks.add", "0 7 * * 1-5", timezone="Europe/Berlin")
    schedule.add("b", "tasks.mail", 60)
    schedule.pause("b")
    page = text(root.get())
    assert "at 07:00, Monday to Friday, Europe/Berlin" in page
    assert "every minute" in page
    assert "paused" in page
    assert "No beat runs, so nothing is sent" in page
    assert "2 periodic tasks" in page


def test_the_list_says_that_everything_is_held(root, schedule):
    schedule.hold(note="new database", actor="bob")
    page = text(root.get())
    assert "Everything is held by bob since" in page
    assert "(new database)" in page
    schedule.release()
    assert "held" not in text(root.get())


def test_words_filters_and_orders(root, schedule, beats, app, valkey):
    beats(valkey, {"settings": {"task": "tasks.add", "schedule": 7200}}).lead()
    schedule.add("a", "tasks.mail", 3600, labels={"team": "accounts"})
    schedule.add("b", "tasks.mail", 60)
    schedule.add("c", "tasks.add", datetime.now(UTC) + timedelta(days=1))
    schedule.pause("b")
    assert root.names() == ["a", "b", "c", "settings"]
    assert root.names(q="MAIL") == ["a", "b"]
    assert root.names(q="mail team=acc*") == ["a"]
    assert root.names(state="paused") == ["b"]
    assert root.names(state="active", q="add") == ["c", "settings"]
    assert root.names(state="finished") == []
    assert root.names(origin="config") == ["settings"]
    assert root.names(o="-1") == ["settings", "c", "b", "a"]
    assert root.names(o="4") == ["a", "settings", "c", "b"]  # the next run; those without one come last
    assert root.names(o="6.1") == ["c", "settings", "a", "b"]
    assert root.get(code=302, nonsense="1") == ""


def test_pages_of_many(root, schedule):
    with schedule.batch() as batch:
        for number in range(250):
            batch.add(f"entry {number:03d}", "tasks.add", 3600)
    assert root.names() == [f"entry {number:03d}" for number in range(100)]
    assert root.names(p=3) == [f"entry {number:03d}" for number in range(200, 250)]
    assert "250 periodic tasks" in text(root.get(p=2))
    assert len(root.names(all="")) == 250
    assert root.names(q="24 y") == ["entry 024", "entry 124", "entry 224", *(f"entry 24{i}" for i in range(10))]


def test_an_entry_that_cannot_be_read_is_shown_as_such_and_may_be_removed(root, schedule, valkey):
    schedule.add("good", "tasks.add", 60)
    valkey.client().hset(schedule.keys.entries, "bad", "nonsense")
    assert root.names() == ["bad", "good"]
    assert "cannot be read by this release" in text(root.get())
    assert root.names(state="unreadable") == ["bad"]
    root.post(LIST, action="remove_selected", _selected_action=["bad"], index=0)
    assert root.names() == ["good"]


# --- actions and buttons ---


def test_actions_on_many(root, schedule):
    from django.contrib.admin.models import LogEntry

    for name in ("a", "b", "c"):
        schedule.add(name, "tasks.add", 60)
    root.post(LIST, action="disable", _selected_action=["a", "b", "gone"], index=0)
    assert [one.name for one in schedule.entries(enabled=False)] in (["a", "b"], ["b", "a"])
    assert schedule["a"].paused_by == "root (admin)"
    assert "2 periodic tasks were disabled." in text(root.get())
    root.post(LIST, action="enable", _selected_action=["a"], index=0)
    assert schedule["a"].enabled
    due = schedule["a"].next_due
    root.post(LIST, action="skip_next", _selected_action=["a"], index=0)
    assert schedule["a"].next_due > due
    root.post(LIST, action="run_now", _selected_action=["a", "c"], index=0)
    assert {one.entry for one in schedule.waiting()} == {"a", "c"}
    root.post(LIST, action="remove_selected", _selected_action=["c"], select_across=1, index=0)
    assert len(schedule) == 0  # all of them, on whatever page
    said = [one.change_message for one in LogEntry.objects.filter(user=root.user, object_id="a").order_by("pk")]
    assert said == ["disabled", "enabled", "told to skip the next run", "sent once, now", "removed"]


def test_buttons_on_one(root, schedule):
    schedule.add("a/b c", "tasks.add", 60)
    page = root.get(change("a/b c"))
    (pause, run, skip) = sorted(re.findall(r'action="([^"]*/do/[^"]*)"', page))
    slots = [slot.nominal for slot in schedule.preview("a/b c", 2)]
    root.post(skip)
    assert schedule["a/b c"].next_due == slots[1]
    root.post(pause)
    assert not schedule["a/b c"].enabled
    assert "Enable" in root.get(change("a/b c"))
    root.post(pause.replace("pause", "resume"))
    root.post(run)
    assert [one.source for one in schedule.waiting()] == ["trigger"]
    root.get(run, code=405)
    root.post(run.replace("run", "nonsense"), code=403)
    root.post(f"{LIST}gone/do/run/")
    assert "doesn’t exist" in text(root.get("/admin/"))


# --- the forms ---


def test_without_use_tz_times_are_on_the_projects_clock(root, schedule):
    """They are shown as they were written: a form that is saved again moves nothing."""
    times = {"start_0": "2098-06-01", "start_1": "05:00:00", "end_0": "2101-01-01", "end_1": "00:00:00"}
    form = {**VALID, "kind": "once", "at_0": "2099-01-01", "at_1": "07:00:00", **times}
    with override_settings(USE_TZ=False):
        root.post(f"{LIST}add/", **form)
        before = schedule["nightly"]
        page = root.get(change("nightly"))
        for name in ("at_0", "at_1", *times):
            assert re.search(rf'name="{name}" value="{form[name]}"', page)
        root.post(change("nightly"), **form, revision=1, description="seen")
        assert "Jan. 1, 2099, 7 a.m." in root.get()
    after = schedule["nightly"]
    assert before.next_due == datetime(2099, 1, 1, 6, tzinfo=UTC)
    assert (after.next_due, after.starts, after.ends) == (before.next_due, before.starts, before.ends)
    assert (after.note, after.revision) == ("seen", 2)


def test_an_entry_whose_name_begins_with_a_space_can_be_edited(root, schedule):
    schedule.add(" a", "tasks.add", 60)
    root.post(change(" a"), **VALID | {"name": " a", "revision": 1})
    assert schedule[" a"].words.startswith("at 03:00")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "at 03:00, every day, Europe/Berlin"),
        ({"kind": "interval", "every": "90", "period": "minutes"}, "every 90 min"),
        ({"kind": "once", "at_0": "2099-01-01", "at_1": "07:00:00"}, "once, at 2099-01-01 07:00:00, Europe/Berlin"),
        ({"kind": "solar", "event": "sunset", "latitude": "52.5", "longitude": "13.4"}, "sunset"),
        ({"kind": "rrule", "rrule": "DTSTART:20270104T070000\nRRULE:FREQ=MONTHLY;BYDAY=-1FR"}, "last Friday"),
    ],
)
def test_every_kind_of_entry_can_be_added_and_is_shown_as_it_was_written(root, schedule, fields, words):
    form = {
        **VALID,
        **fields,
        "args": '["paid"]',
        "kwargs": "{}",
        "queue": "slow",
        "priority": "3",
        "headers": '{"a": 1}',
    }
    form |= {"expire_seconds": "30", "description": "why", "labels": "team=billing, tenant=4", "missed": "skip"}
    form |= {"grace": "60", "jitter": "5", "not_on": "sat, 12-24..12-26", "pause_on_failure": "3"}
    root.post(f"{LIST}add/", **form)
    entry = schedule["nightly"]
    assert words in entry.words
    assert (entry.args, entry.options["queue"], entry.options["priority"]) == (("paid",), "slow", 3)
    assert (entry.options["headers"], entry.options["expires"]) == ({"a": 1}, 30)
    assert (entry.labels, entry.missed, entry.grace) == ({"team": "billing", "tenant": "4"}, "skip", 60)
    assert (entry.note, entry.exclude, entry.pause_on_failure) == ("why", ("sat", "12-24..12-26"), 3)
    page = root.get(change("nightly"))
    root.post(change("nightly"), **values(page))  # nothing is changed
    assert schedule["nightly"].revision == 1
    (row,) = schedule.log("nightly")
    assert (row.what, row.actor) == ("added", "root (admin)")


def test_an_edit_changes_what_was_changed_and_nothing_else(root, schedule):
    schedule.add("a", "tasks.add", 60, args=(1, b"x"), options={"queue": "q", "time_limit": 5}, expires=30)
    due = schedule["a"].next_due
    form = values(root.get(change("a")))
    assert form["options"] == '{"time_limit": 5}'
    root.post(change("a"), **{**form, "queue": "other", "kwargs": '{"to": 7}'})
    entry = schedule["a"]
    assert (entry.options, entry.kwargs) == ({"queue": "other", "time_limit": 5, "expires": 30}, {"to": 7})
    assert (entry.args, entry.next_due, entry.revision) == ((1, b"x"), due, 2)
    form = values(root.get(change("a")))
    root.post(change("a"), **{**form, "expire_seconds": "", "every": "2", "one_off": "on"})
    entry = schedule["a"]
    assert ("expires" in entry.options, entry.max_runs, entry.keep) == (False, 1, True)
    assert entry.words.startswith("every 2 min")
    form = values(root.get(change("a")))
    form.pop("enabled")
    root.post(change("a"), **form)
    assert not schedule["a"].enabled


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"crontab": "61 * * * *"}, "61"),
        ({"crontab": ""}, "Crontab needs this."),
        ({"kind": "interval", "every": "0", "period": "minutes"}, "greater than or equal to 1"),
        ({"kind": "once", "at_0": "2001-01-01", "at_1": "07:00"}, "would never be sent"),
        ({"kind": "rrule", "rrule": "FREQ=NONSENSE"}, "cannot be read"),
        ({"args": "[" * 100_000}, "is not JSON"),
        ({"args": "[1,"}, "This is not JSON"),
        ({"args": "{}"}, "must be a list"),
        ({"kwargs": '{"a": NaN}'}, ""),
        ({"labels": "team"}, "has no value"),
        ({"timezone": "Mars/Olympus"}, "Mars/Olympus"),
        ({"not_on": "someday"}, "someday"),
        ({"options": '{"task_id": "x"}'}, "given by the scheduler"),
        ({"kwargs": '{"a": "' + "x" * 300_000 + '"}'}, "bytes as JSON"),
        ({"name": "taken"}, "exists already"),
        ({"name": ""}, "This field is required."),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_added(root, schedule, fields, words):
    schedule.add("taken", "tasks.add", 60)
    page = text(root.post(f"{LIST}add/", code=200, **{**VALID, **fields}))
    assert "Please correct the error" in page
    assert words in page
    assert len(schedule) == 1


def test_an_edit_of_something_that_was_edited_meanwhile_is_refused(root, schedule):
    schedule.add("a", "tasks.add", 60)
    form = values(root.get(change("a")))
    schedule.update("a", args=(7,))
    page = text(root.post(change("a"), code=200, **{**form, "every": "2"}))
    assert "was edited since you read revision 1" in page
    assert schedule["a"].schedule.every == 60_000_000


def test_a_preview_saves_nothing(root, schedule):
    page = text(root.post(f"{LIST}add/", code=200, _preview="1", **VALID))
    assert "Nothing is saved yet: at 03:00, every day, Europe/Berlin" in page
    assert len(re.findall(r"03:00:00", page)) == 10
    assert "Please correct" not in page
    assert len(schedule) == 0
    schedule.add("a", "tasks.add", 60)
    page = text(root.post(change("a"), code=200, _preview="1", **{**values(root.get(change("a"))), "every": "7"}))
    assert "Nothing is saved yet: every 7 min" in page


def test_a_page_shows_what_is_to_come_what_was_and_who_edited(root, schedule, beats, valkey):
    schedule.add("a", "tasks.add", 3600)
    schedule.trigger("a")
    beat = beats(valkey).lead()
    beat.until(lambda: schedule.history("a"))
    schedule.update("a", args=(1,), actor="bob", why="month's end")
    page = text(root.get(change("a")))
    assert "Next runs: every hour" in page
    assert "sent (trigger)" in page
    assert "bob month's end" in page


def test_what_only_the_configuration_has_is_not_edited_here(root, schedule, beats, valkey):
    from celery import chain, signature
    from celery.beat import BeatLazyFunc

    beats(valkey, {"lazy": {"task": "tasks.add", "schedule": 60, "args": (BeatLazyFunc(int), 1)}}).lead()
    schedule.add("chain", chain(signature("tasks.add", (1,)), signature("tasks.mail")), 60)
    for name, words in (("lazy", "beat_schedule alone has it"), ("chain", "a chain, group or chord has it")):
        page = root.get(change(name))
        assert words in text(page)
        root.post(change(name), **{**values(page), "every": "2"})
        assert schedule[name].schedule.every == 120_000_000


def test_removing_asks_first(root, schedule):
    from django.contrib.admin.models import LogEntry

    schedule.add("a", "tasks.add", 60)
    assert "Are you sure" in text(root.get(f"{LIST}a/delete/"))
    root.post(f"{LIST}a/delete/", post="yes")
    assert len(schedule) == 0
    assert LogEntry.objects.get(object_id="a").is_deletion()
    root.get(change("a"), code=302)
    root.get(f"{LIST}a/history/", code=302)


# --- permissions ---


def test_who_may_only_look_sees_no_button(schedule):
    schedule.add("a", "tasks.add", 60, kwargs={"to": 7})
    ann = Person("view")
    assert ann.names() == ["a"]
    page = ann.get(change("a"))
    assert '{"to": 7}' in text(page)
    assert "Every:" in text(page)
    assert "Latitude:" not in text(page)  # of another kind of schedule
    assert not re.search(r'type="submit"(?! value="(?:Log out|Toggle))[^>]*value=', page.replace("logout", ""))
    for verb in ("run", "pause", "resume", "skip"):
        ann.post(f"{LIST}a/do/{verb}/", code=403)
    ann.post(change("a"), code=403, **VALID)
    ann.get(f"{LIST}add/", code=403)
    ann.post(f"{LIST}a/delete/", code=403, post="yes")
    ann.post(LIST, code=200, action="remove_selected", _selected_action=["a"], index=0)
    assert schedule["a"].enabled
    assert schedule.waiting() == []


def test_each_permission_allows_what_it_says(schedule):
    schedule.add("a", "tasks.add", 60)
    ann = Person("view", "run")
    ann.post(f"{LIST}a/do/run/")
    ann.post(f"{LIST}a/do/pause/", code=403)
    assert [one.source for one in schedule.waiting()] == ["trigger"]
    page = ann.get()
    assert "run_now" in page
    assert "disable" not in page.split('name="action"')[1].split("</select>")[0]


def test_who_has_no_permission_sees_nothing(schedule):
    nobody = Person()
    nobody.get(code=403)
    assert "Periodic tasks" not in text(nobody.get("/admin/"))


# --- when Redis is away, and what databases know ---


def test_a_message_while_redis_is_away(root, schedule, own_server, monkeypatch, app):
    schedule.add("a", "tasks.add", 60)
    server = own_server("valkey")
    gone = Schedule(app, settings=PlainSchedule.from_url(server.url()).settings, retry_for=0.1)
    monkeypatch.setattr(project, "_schedule", gone)
    server.stop()
    for path in (LIST, change("a"), f"{LIST}a/delete/", f"{LIST}add/"):
        if path.endswith("add/"):
            assert "Add periodic task" in text(root.get(path))
            page = root.post(path, code=503, **VALID)
        else:
            page = root.get(path, code=503)
        assert "did not answer" in text(page)
        assert "Try again" in text(page)
    root.post(f"{LIST}a/do/run/", code=503)
    root.get("/admin/")  # the rest of the admin is as ever


def test_databases_know_nothing_of_it(schedule, capsys):
    from django.core.management import call_command

    schedule.add("a", "tasks.add", 60)
    call_command("dumpdata", exclude=["contenttypes", "auth", "sessions", "admin"])
    assert "periodictask" not in capsys.readouterr().out
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
    from redlock_beat.django.models import PeriodicTask

    assert [one.name for one in PeriodicTask.objects.all()] == ["a"]
    assert PeriodicTask.objects.get(pk="a").entry.task == "tasks.add"
    assert PeriodicTask.objects.count() == len(schedule)
    with pytest.raises(TypeError, match=r"Schedule\(\)\.add"):
        PeriodicTask.objects.create(name="b")
    with pytest.raises(TypeError, match="has no table"):
        PeriodicTask(name="b").save()
