"""The tables of django-celery-beat, read as they are: the package itself need not be installed.

Releases of it differ by columns, so each table is asked which it has.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.apps.registry import Apps
from django.db import DatabaseError, connections, models
from django.utils.connection import ConnectionDoesNotExist

from ..errors import InvalidSchedule
from ..schedule.migrate import NotImported, django_rows
from ..schedule.transfer import Arrival

_PREFIX = "django_celery_beat_"
_TASKS = "periodictask"
_TIMES = ("clocked_time", "expires", "start_time", "last_run_at", "date_changed")
_NUMBERS = ("id", "every", "priority", "expire_seconds", "total_run_count")
_FLAGS = ("enabled", "one_off")
_KINDS = ("interval", "crontab", "solar", "clocked")
#: Rows that are read at a time.
_PAGE = 1_000


def entries(database: str, app: Any, now: int) -> Iterator[Arrival | NotImported]:
    """The entries of django-celery-beat's tables, each as it would have gone on there.

    InvalidSchedule when the database or the tables are not there.
    """
    try:
        found = {
            f"{kind}schedule": {str(row["id"]): row for row in _rows(database, f"{kind}schedule")} for kind in _KINDS
        }
        yield from django_rows(_rows(database, _TASKS), found, app, now)
    except ConnectionDoesNotExist:
        known = ", ".join(connections)
        raise InvalidSchedule(f"there is no database {database!r} in DATABASES; there is {known}.") from None
    except DatabaseError as exc:
        raise InvalidSchedule(f"the tables of django-celery-beat in {database!r} cannot be read: {exc}") from None


def _rows(database: str, table: str) -> Iterator[dict[str, Any]]:
    """The rows of one table, as dumpdata would have them; none of a table that this release does not have."""
    connection = connections[database]
    name = _PREFIX + table
    with connection.cursor() as cursor:
        if name not in connection.introspection.table_names(cursor):
            if table == _TASKS:
                raise InvalidSchedule(
                    f"database {database!r} has no table {name}: is it the one of django-celery-beat?"
                )
            return
        columns = [one.name for one in connection.introspection.get_table_description(cursor, name)]
    model = _model(name, columns)
    for row in model.objects.using(database).order_by("id").iterator(_PAGE):
        yield {column.removesuffix("_id"): _plain(getattr(row, column)) for column in columns}


def _model(table: str, columns: list[str]) -> Any:
    """A model of the columns that there are: Django knows how each database writes times and truths."""
    fields: dict[str, Any] = {column: _field(column) for column in columns}
    meta = type("Meta", (), {"apps": Apps(), "app_label": "theirs", "db_table": table, "managed": False})
    return type("Theirs", (models.Model,), {"__module__": __name__, "Meta": meta, **fields})


def _field(column: str) -> Any:
    if column == "id":
        return models.BigAutoField(primary_key=True)
    if column in _TIMES:
        return models.DateTimeField(null=True)
    if column in _FLAGS:
        return models.BooleanField(null=True)
    if column in _NUMBERS or column.endswith("_id"):
        return models.BigIntegerField(null=True)
    if column in ("latitude", "longitude"):
        return models.DecimalField(max_digits=9, decimal_places=6)
    return models.TextField(null=True)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        if value.tzinfo is None:  # USE_TZ is off: it is on the wall clock of the project
            from django.utils.timezone import make_aware

            value = make_aware(value)
        return value.isoformat()
    return value
