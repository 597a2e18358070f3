"""The page of redlock_beat.web under the admin's authentication."""

from __future__ import annotations

import re

import pytest
from django.utils.http import urlencode

from redlock_beat.django import Schedule
from tests.integration.django.test_admin import Person, change, text

PAGE = "/admin/beat/"
SAME = {"HTTP_SEC_FETCH_SITE": "same-origin", "HTTP_ACCEPT": "text/html"}


@pytest.fixture
def schedule(app):
    made = Schedule()
    made.add("a", "tasks.add", 60)
    return made


def test_who_has_not_logged_in_is_sent_to_the_login(schedule):
    from django.test import Client

    got = Client().get(PAGE, headers={"accept": "text/html"})
    assert (got.status_code, got["Location"]) == (303, f"/admin/login/?next={PAGE}")


def test_the_permissions_of_the_admin_are_those_of_the_page(schedule):
    ann = Person("view", "change")
    page = ann.client.get(f"{PAGE}entry", {"name": "a"}, **SAME).content.decode()
    assert "Pause" in page
    form = re.search(r'action="([^"]*pause[^"]*)"(.*?)</form>', page, re.DOTALL)
    fields = dict(re.findall(r'type="hidden" name="([^"]*)" value="([^"]*)"', form[2]))
    sent = {"data": urlencode(fields), "content_type": "application/x-www-form-urlencoded"}
    done = ann.client.post(form[1], **sent, **SAME)
    assert done.status_code == 303
    assert schedule["a"].paused_by == "ann (admin)"
    assert "redlock_beat_said" in done.cookies
    refused = ann.client.post(form[1], **sent, **{**SAME, "HTTP_SEC_FETCH_SITE": "cross-site"})
    assert refused.status_code == 403
    assert ann.client.post(form[1].replace("pause", "run"), **sent, **SAME).status_code == 403
    assert schedule.waiting() == []


@pytest.mark.parametrize("permissions", [(), ("run",)])
def test_who_may_not_look_at_periodic_tasks_is_not_let_in(schedule, permissions):
    assert Person(*permissions).client.get(PAGE, **SAME).status_code == 403


def test_a_request_that_is_too_large_is_refused(schedule, settings_of_django):
    ann = Person("view", "change")
    for size in (1_100_000, 3_000_000):
        got = ann.client.post(f"{PAGE}pause", "x" * size, content_type="application/x-www-form-urlencoded", **SAME)
        assert got.status_code == 413


@pytest.fixture
def settings_of_django(monkeypatch):
    from django.conf import settings

    monkeypatch.setattr(settings, "DATA_UPLOAD_MAX_MEMORY_SIZE", 2_000_000)


def test_the_admin_leads_to_the_page(schedule):
    root = Person(superuser=True)
    assert f'href="{PAGE}"' in root.get()
    assert f'href="{PAGE}entry?name=a"' in root.get(change("a"))
    assert "every minute" in text(root.client.get(PAGE, **SAME).content.decode())
