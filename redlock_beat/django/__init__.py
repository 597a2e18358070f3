"""At home in Django: ``INSTALLED_APPS += ["redlock_beat.django"]``, with the extra ``[django]``.

``apps``       the app itself: checks and commands are set up when Django is
``project``    which Celery app is the project's, and its schedule in this process
``committed``  what is done when the open transactions have committed, on whatever databases they are
``schedules``  :class:`Schedule` with ``on_commit()``: edits that a roll-back takes with it
``task``       :class:`DjangoTask`: the base class of tasks with ``delay_on_commit`` and ``apply_async_on_commit``
``commands``   management commands as tasks: ``CELERY_REDLOCK_BEAT_COMMANDS``, and :func:`get_command_task`
``defaults``   entries that apps bring along: ``schedule.py`` and ``fixtures/*.json``
``tables``     what django-celery-beat has in its tables
``verbs``      ``manage.py redlock``: the whole command line, and what only a project has
``side_by_side``  a verb that compares with django-celery-beat while that one sends
``models``     the model of an entry, without a table; ``entries``: what it needs of a queryset, answered by Redis
``admin``      "Periodic tasks": ``listing`` and ``columns`` of the change list, ``forms`` and ``fields`` of an entry,
               ``actions`` on many and buttons on one, ``away``: a message while Redis is
``urls``       the page of ``redlock_beat.web``, for users of the admin
``checks``     Django's system checks of the settings; ``caches`` what a cache may do to the schedule

Nothing here is imported by the rest of the package, and Django is imported by nobody else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# Names are loaded when used: settings.py and celery.py may import this package before Django is set up.
_HOMES = {
    "DjangoTask": "task",
    "Schedule": "schedules",
    "get_command_task": "commands",
    "command_task_name": "commands",
    "celery_app": "project",
}

__all__ = ["DjangoTask", "Schedule", "celery_app", "command_task_name", "get_command_task"]

if TYPE_CHECKING:
    from .commands import command_task_name, get_command_task
    from .project import celery_app
    from .schedules import Schedule
    from .task import DjangoTask


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    try:
        value = getattr(import_module(f"{__name__}.{home}"), name)
    except ModuleNotFoundError as exc:
        if exc.name != "django":
            raise
        raise ModuleNotFoundError(
            f"redlock_beat.django.{name} needs Django, which is not installed: pip install 'redlock-beat[django]'",
            name="django",
        ) from None
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
