"""Django's system checks of the settings: each with an id and a hint. None of them asks Redis.

==== =======================================================================================
E001 there is no Celery app, or the one that is named cannot be imported
E002 a setting has a wrong value or does not exist
E003 the schedule's URL is a cache of Django's
W004 two Celery apps read Django's settings, and nothing says which is meant
W005 the schedule is in the database of a cache: ``cache.clear()`` would empty it
W006 Celery is told to run the scheduler of django-celery-beat or of RedBeat
E007 a command of ``CELERY_REDLOCK_BEAT_COMMANDS`` cannot be a task
E008 a command and an entry of the configured schedule have one name
==== =======================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from celery._state import _get_active_apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from ..errors import InvalidSetting, mask
from ..settings import Settings, settings_of
from .caches import cache_in, is_cache, schedule_place
from .commands import SETTING as COMMANDS
from .commands import read_commands
from .project import SETTING, celery_app, is_fallback

#: The package of another scheduler -> where it keeps entries, and the verb that moves them.
_OTHERS = {
    "django_celery_beat": ("django-celery-beat has in its tables", "import-django-celery-beat"),
    "redbeat": ("RedBeat has in its Redis", "import-redbeat"),
}


def install() -> None:
    """Register the check with Django."""
    register(check, "redlock_beat")


def check(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """All checks; those that need the Celery app are left out where there is none."""
    if app_configs is not None and all(one.label != "redlock_beat" for one in app_configs):
        return []
    try:
        app = celery_app()
        conf = app.conf
        conf.get("broker_url")  # the first look reads the whole of it
    except Exception as exc:  # noqa: BLE001 - celery.py of the project may raise anything
        why = str(exc) if isinstance(exc, InvalidSetting) else f"the project's Celery app raised {exc!r}."
        hint = 'Make it in celery.py beside settings.py, with app.config_from_object("django.conf:settings", '
        hint += 'namespace="CELERY"), and import it in the __init__.py beside them.'
        return [Error(mask(why), hint=hint, id="redlock_beat.E001")]
    return [*_apps(), *_settings(app), *_other_scheduler(app), *_commands(app)]


def _apps() -> Iterator[CheckMessage]:
    if getattr(settings, SETTING, None) is not None:
        return
    names = sorted(str(one.main) for one in _get_active_apps() if not is_fallback(one) and _reads_django(one))
    if len(names) > 1:
        yield Warning(
            f"{len(names)} Celery apps read Django's settings ({', '.join(names)}), and nothing says which of them "
            "the admin, the commands and the schedule belong to.",
            hint=f'Name it: {SETTING} = "proj.celery:app".',
            id="redlock_beat.W004",
        )


def _reads_django(app: Any) -> bool:
    source = app._config_source
    return source is settings or (isinstance(source, str) and source.startswith("django.conf"))


def _settings(app: Any) -> Iterator[CheckMessage]:
    url = app.conf.get("redlock_beat_url")
    if is_cache(url):
        yield Error(
            f"{_spelled(app, 'redlock_beat_url')} is {mask(repr(url))}, which is a cache of Django's.",
            hint="The schedule needs a Redis of its own: write its URL, such as redis://localhost:6379/0.",
            id="redlock_beat.E003",
        )
        return
    try:
        made = settings_of(app)
    except InvalidSetting as exc:
        yield Error(_translated(app, str(exc)), hint="docs/django.md lists the settings.", id="redlock_beat.E002")
        return
    yield from _cache(made)


def _cache(made: Settings) -> Iterator[CheckMessage]:
    place = schedule_place(made)
    name = None if place is None else cache_in(place)
    if name is not None:
        yield Warning(
            f"The schedule is in the Redis database of the cache {name!r}: cache.clear() empties the whole database, "
            "and the schedule with it.",
            hint="Give one of them another database number, such as redis://localhost:6379/1.",
            id="redlock_beat.W005",
        )


def _other_scheduler(app: Any) -> Iterator[CheckMessage]:
    scheduler = str(app.conf.get("beat_scheduler") or "")
    if scheduler == "django":  # its short name
        scheduler = "django_celery_beat.schedulers:DatabaseScheduler"
    for package, (where, verb) in _OTHERS.items():
        if package in scheduler:
            yield Warning(
                f"{_spelled(app, 'beat_scheduler')} is {scheduler!r}: celery beat sends what {where}, and not this "
                "schedule.",
                hint=f"Move its entries with `manage.py redlock {verb}`, then set "
                f"{_spelled(app, 'beat_scheduler')} = 'redlock'.",
                id="redlock_beat.W006",
            )


def _commands(app: Any) -> Iterator[CheckMessage]:
    commands, errors = read_commands(app)
    for why in errors.values():
        hint = "Each is the name of a command, with options of its task and, with a 'schedule', policies of its entry."
        yield Error(mask(why), hint=hint, id="redlock_beat.E007")
    there = app.conf.beat_schedule or {}
    for one in commands:
        known = there.get(one.name) if isinstance(there, dict) else None
        if one.entry is not None and known is not None and known != one.entry:
            yield Error(
                f"{COMMANDS}[{one.name!r}] has a schedule, and {_spelled(app, 'beat_schedule')} has an entry of that "
                "name, too.",
                hint="Leave one of them out, or give the entry another name.",
                id="redlock_beat.E008",
            )


def _spelled(app: Any, name: str) -> str:
    """A setting as the project spells it: ``CELERY_REDLOCK_BEAT_URL``."""
    return f"{app.namespace}_{name}".upper() if app.namespace else name


def _translated(app: Any, text: str) -> str:
    return mask(re.sub(r"\bredlock_beat_[a-z][a-z_]*", lambda found: _spelled(app, found[0]), text))
