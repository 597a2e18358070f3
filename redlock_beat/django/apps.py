"""The Django app."""

from __future__ import annotations

from django.apps import AppConfig


class RedlockBeatConfig(AppConfig):
    """Periodic tasks, kept by redlock_beat: ``INSTALLED_APPS += ["redlock_beat.django"]``."""

    name = "redlock_beat.django"
    label = "redlock_beat"
    verbose_name = "Periodic tasks"

    def ready(self) -> None:
        """Set up the system checks, and the management commands that are tasks."""
        from . import checks, commands

        checks.install()
        commands.install()
