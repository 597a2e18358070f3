"""Which Celery app is the project's, and its schedule in this process."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from celery import Celery, current_app
from celery.app.utils import find_app
from django.conf import settings

from ..errors import InvalidSetting

if TYPE_CHECKING:
    from .schedules import Schedule

#: The setting that names the app, for projects with several.
SETTING = "CELERY_REDLOCK_BEAT_APP"
#: Seconds that a page or a commit waits for Redis before it says that it is away.
PATIENCE = 3.0

_lock = threading.Lock()
_schedule: Schedule | None = None


def celery_app() -> Celery:
    """The project's Celery app.

    It is the one that ``CELERY_REDLOCK_BEAT_APP`` names, else the one that ``@shared_task`` uses, else the one that
    ``celery -A`` finds in the project's package. InvalidSetting says what to write when there is none.

    >>> celery_app()   # doctest: +SKIP
    <Celery proj at 0x7f...>
    """
    named = getattr(settings, SETTING, None)
    if named is not None:
        return _named(str(named))
    app = current_app._get_current_object()
    if not is_fallback(app):
        return app
    package = str(getattr(settings, "SETTINGS_MODULE", None) or "").split(".")[0]
    try:
        found = find_app(package) if package else None
    except (ImportError, AttributeError, ValueError):
        found = None
    if isinstance(found, Celery):
        return found
    raise InvalidSetting(
        "this project has no Celery app yet: nothing has made one, and "
        + (f"the package {package!r} has none. " if package else "no package could be looked at. ")
        + f"Make one in {package or 'proj'}/celery.py and import it in {package or 'proj'}/__init__.py, or name it: "
        f'{SETTING} = "proj.celery:app".'
    )


def is_fallback(app: Any) -> bool:
    """Whether it is the app that Celery makes up when there is none."""
    return app.main == "default" and not app.configured and app._config_source is None


def _named(name: str) -> Celery:
    try:
        found = find_app(name)
    except Exception as exc:
        raise InvalidSetting(
            f"{SETTING} is {name!r}, which cannot be imported ({type(exc).__name__}: {exc}). It must name the "
            'project\'s Celery app, such as "proj.celery:app".'
        ) from exc
    if not isinstance(found, Celery):
        raise InvalidSetting(
            f"{SETTING} is {name!r}, which is a {type(found).__name__}. It must name the project's Celery app, such "
            'as "proj.celery:app".'
        )
    return found


def schedule() -> Schedule:
    """The schedule of the project's app: one for the whole process, so that its connections are shared.

    >>> schedule()   # doctest: +SKIP
    <Schedule at redis://localhost:6379/0, prefix redlock-beat>
    """
    from .schedules import Schedule

    global _schedule
    app = celery_app()
    with _lock:
        if _schedule is None or _schedule.app is not app:
            _schedule = Schedule(app, retry_for=PATIENCE)
        return _schedule


def forget() -> None:
    """Close the schedule of this process; the next call makes another, with the settings of then."""
    global _schedule
    with _lock:
        old, _schedule = _schedule, None
    if old is not None:
        old.close()
