"""The example project in this process, on two databases and an empty schedule."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import django_project
from tests.servers import Server


@pytest.fixture(scope="session")
def migrated() -> Any:
    """The project, with its tables in both databases."""
    project = django_project.set_up()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    shutil.copy(Path(django_project.directory(), "default.sqlite3"), Path(django_project.directory(), "other.sqlite3"))
    project.celery_app.loader.import_default_modules()
    return project


@pytest.fixture
def configured(app: Any) -> Iterator[Callable[..., None]]:
    """Settings of the app for one test, as Celery spells them."""
    before = dict(app.conf.changes)

    def configure(**conf: Any) -> None:
        for name, value in conf.items():
            # In Celery 5.5 what the settings say wins over it, unless it has their spelling.
            app.conf.changes[f"CELERY_{name}".upper()] = app.conf.changes[name] = value

    yield configure
    app.conf.changes.clear()
    app.conf.changes.update(before)


@pytest.fixture
def app(migrated: Any, valkey: Server) -> Iterator[Any]:
    """The project's Celery app; tables, queue and schedule are empty."""
    from django.contrib.auth.models import User
    from django.db import connections

    from orders.models import Order
    from redlock_beat.django import project

    for alias in connections:
        Order.objects.using(alias).all().delete()
    User.objects.all().delete()
    app = migrated.celery_app
    before = django_project.set_current(app)
    yield app
    django_project.set_current(before)
    project.forget()
    for connection in connections.all():
        assert not connection.in_atomic_block
        connection.close()
