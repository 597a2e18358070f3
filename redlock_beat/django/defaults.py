"""The defaults of a project: ``schedule.py`` and ``fixtures/*.json`` of its apps.

``schedule.py`` has a ``beat_schedule`` as Celery's is written. A fixture is what ``manage.py redlock dump`` writes, or
``manage.py dumpdata django_celery_beat``; other fixtures in the same folder are none of ours.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.apps import AppConfig, apps

from ..clock import micros
from ..entries.document import described, editable
from ..entries.entry import Entry
from ..errors import InvalidSchedule, RedlockBeatError
from ..schedule.defaults import Default, default_of
from ..schedule.migrate import NotImported, django_entries
from ..schedule.schedule import Schedule
from ..schedule.transfer import Arrival

#: The model of a row of ours.
MODEL = "redlock_beat.periodictask"
#: The app of rows of django-celery-beat.
THEIRS = "django_celery_beat."
#: Bytes of a fixture, at most.
MAX_FIXTURE = 256 * 1024 * 1024


def defaults(schedule: Schedule, labels: Iterable[str] = ()) -> Iterator[Default | NotImported]:
    """The defaults of some apps, or of all that are installed; and what cannot be loaded.

    InvalidSchedule for a name that has two, since neither could win.
    """
    seen: dict[str, str] = {}
    for config in _configs(labels):
        for found in (*_of_module(schedule, config), *_of_fixtures(schedule, config)):
            if isinstance(found, Default):
                name = found.entry.name
                if name in seen:
                    raise InvalidSchedule(
                        f"entry {name!r} has two defaults, in {seen[name]} and in {found.source}; nothing was loaded. "
                        "Remove or rename one of them."
                    )
                seen[name] = found.source
            yield found


def _configs(labels: Iterable[str]) -> list[AppConfig]:
    try:
        return [apps.get_app_config(label) for label in labels] or list(apps.get_app_configs())
    except LookupError as exc:
        raise InvalidSchedule(f"{exc} Give the labels of installed apps.") from None


def _of_module(schedule: Schedule, config: AppConfig) -> Iterator[Default | NotImported]:
    name = f"{config.name}.schedule"
    if find_spec(name) is None:
        return
    try:
        given = getattr(importlib.import_module(name), "beat_schedule", None)
    except Exception as exc:
        raise InvalidSchedule(f"{name} cannot be imported ({exc!r}); nothing was loaded.") from exc
    if given is None:
        return  # a module of that name for something else
    if not isinstance(given, Mapping):
        raise InvalidSchedule(f"{name}.beat_schedule must be a dictionary of names and entries; nothing was loaded.")
    for entry, one in given.items():
        try:
            yield default_of(schedule, str(entry), one, name)
        except RedlockBeatError as exc:
            yield NotImported(str(entry), str(exc))


def _of_fixtures(schedule: Schedule, config: AppConfig) -> Iterator[Default | NotImported]:
    for path in sorted(Path(config.path, "fixtures").glob("*.json")):
        yield from fixture(schedule, path.read_bytes()[:MAX_FIXTURE], f"{config.label}/fixtures/{path.name}")


def fixture(schedule: Schedule, text: bytes, source: str) -> Iterator[Default | NotImported]:
    """The entries of a fixture; none of one that is about other models."""
    if MODEL.encode() not in text and THEIRS.encode() not in text:
        return
    try:
        rows = json.loads(text)
        ours = [row for row in rows if row["model"].lower() == MODEL]
        theirs = [row for row in rows if row["model"].lower().startswith(THEIRS)]
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise InvalidSchedule(f"{source} is no fixture ({exc!r}); nothing was loaded.") from None
    for row in ours:
        name = str(row.get("pk"))
        try:
            entry = described(schedule.app, name, row["fields"], schedule.operations.calendars)
            yield Default.of(entry, source)
        except (RedlockBeatError, KeyError, TypeError) as exc:
            yield NotImported(name, str(exc) if isinstance(exc, RedlockBeatError) else f"it cannot be read: {exc!r}")
    if theirs:
        for found in django_entries(json.dumps(theirs), schedule.app, micros(schedule.now())):
            if isinstance(found, Arrival) and found.entry.origin == "config":
                yield NotImported(found.entry.name, "beat_schedule has an entry of its name")
            else:
                yield Default.of(found.entry, source) if isinstance(found, Arrival) else found


def rows(entries: Iterable[Entry]) -> Iterator[dict[str, Any]]:
    """The rows of a fixture that :func:`fixture` reads."""
    for entry in entries:
        parts = editable(entry)
        plain = {key: value for key, value in parts.items() if value not in (None, [], {}, "")}
        yield {"model": MODEL, "pk": entry.name, "fields": plain}
