"""The Django project of examples/django, set up in this process or run in others."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from .servers import shared

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "django"
_directory = ""


def directory() -> str:
    """Where the databases of this process are."""
    global _directory
    if not _directory:
        _directory = tempfile.mkdtemp(prefix="redlock-beat-django-")
        atexit.register(shutil.rmtree, _directory, True)
    return _directory


def environment(url: str, where: str | Path, **more: str) -> dict[str, str]:
    """What processes of the project need; *where* is the directory of their databases."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.django_settings",
        "DJANGO_TEST_DIRECTORY": str(where),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(EXAMPLE)]),
        "REDIS_URL": url,
        **more,
    }


def set_up() -> ModuleType:
    """Set Django up in this process, once, with a schedule at the server that its tests share; the project."""
    if str(EXAMPLE) not in sys.path:
        sys.path.insert(0, str(EXAMPLE))
    if "shopfront" not in sys.modules:
        before = dict(os.environ)
        os.environ.update(environment(shared("valkey").url(), directory()))
        try:
            import django

            django.setup()
        finally:
            os.environ.clear()  # apps of other tests are none of Django's
            os.environ.update(before)
    import shopfront

    return shopfront


def manage(url: str, where: str | Path, *args: str, code: int = 0, **env: str) -> subprocess.CompletedProcess[str]:
    """Run ``manage.py``, and expect an exit code."""
    command = [sys.executable, str(EXAMPLE / "manage.py"), *args]
    done = subprocess.run(
        command, cwd=EXAMPLE, env=environment(url, where, **env), capture_output=True, text=True, timeout=90
    )
    assert done.returncode == code, (done.stdout, done.stderr)
    return done


def set_current(app: Any) -> Any:
    """Make an app the one that ``shared_task`` means in this thread; the one that it was before."""
    from celery import _state

    before = _state._tls.current_app
    _state._set_current_app(app)
    return before
