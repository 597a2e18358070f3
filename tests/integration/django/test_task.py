"""DjangoTask: calls that wait for the commit of whatever is open, with the options of this package."""

from __future__ import annotations

import asyncio

import celery.contrib.django.task
import pytest
from asgiref.sync import sync_to_async
from django.db import transaction

from redlock_beat.tasks import TaskMixin
from tests.beats import messages


@pytest.fixture
def queue(app, valkey):
    """The tasks in the queue."""
    return lambda: [one["headers"]["task"] for one in messages(valkey.client())]


@pytest.fixture
def confirm(app):
    return app.tasks["reminders.tasks.confirm"]


def test_it_is_celerys_own_with_the_options_of_this_package(confirm):
    assert isinstance(confirm, celery.contrib.django.task.DjangoTask)
    assert isinstance(confirm, TaskMixin)
    assert confirm.rules.unique


def test_calls_are_sent_by_the_commit_and_never_by_a_roll_back(confirm, queue):
    with transaction.atomic():
        confirm.delay_on_commit(1)
        confirm.apply_async_on_commit((2,))
        assert queue() == []
    assert queue() == ["reminders.tasks.confirm"] * 2
    for alias in ("default", "other"):
        with pytest.raises(KeyError), transaction.atomic(using=alias):
            confirm.delay_on_commit(3)
            confirm.apply_async_on_commit((4,), using=alias)
            raise KeyError
    assert len(queue()) == 2


def test_calls_take_options_and_one_database(confirm, queue, valkey):
    with transaction.atomic():
        confirm.apply_async_on_commit((1,), using="other", headers={"of": "other"})
    (one,) = messages(valkey.client())
    assert one["headers"]["of"] == "other"


def test_a_duplicate_is_found_by_the_commit(confirm, queue):
    with transaction.atomic():
        confirm.delay_on_commit(1)
        confirm.delay_on_commit(1)
    assert len(queue()) == 1


def test_an_async_view_sends(confirm, queue):
    async def view():
        confirm.delay_on_commit(1)
        await sync_to_async(confirm.delay_on_commit)(2)

    asyncio.run(view())
    assert len(queue()) == 2


def test_a_view_under_atomic_requests(app, queue, valkey):
    from django.test import Client

    from orders.models import Order
    from redlock_beat.django import Schedule

    browser = Client(raise_request_exception=False)
    assert browser.post("/orders/", {"email": "ann@example.com"}).status_code == 201
    order = Order.objects.get()
    assert queue() == ["reminders.tasks.confirm"]
    entry = Schedule()[f"remind order {order.pk}"]
    assert (entry.args, entry.labels) == ((order.pk,), {"kind": "reminder"})
    assert (entry.next_due - order.placed).total_seconds() == pytest.approx(3 * 86400, abs=5)
    for _ in range(2):
        assert browser.post(f"/orders/{order.pk}/paid/").status_code == 204
    assert len(Schedule()) == 0
    assert browser.post("/orders/", {}).status_code in (400, 500)  # it raises, and the request is rolled back
    assert (Order.objects.count(), len(queue()), len(Schedule())) == (1, 1, 0)
