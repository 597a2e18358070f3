"""The project's Celery app is found, or an error says what to write."""

from __future__ import annotations

import subprocess
import sys

import pytest

from redlock_beat import InvalidSetting
from tests.django_project import environment


def test_the_setting_names_it(app, monkeypatch):
    from django.conf import settings

    from redlock_beat.django import celery_app

    assert celery_app() is app
    for name, words in (
        ("nowhere.celery:app", "cannot be imported"),
        ("shopfront.settings:STATIC_URL", "which is a str"),
    ):
        monkeypatch.setattr(settings, "CELERY_REDLOCK_BEAT_APP", name)
        with pytest.raises(InvalidSetting, match=words):
            celery_app()


def test_one_schedule_serves_the_whole_process(app):
    from redlock_beat.django import project

    first = project.schedule()
    assert project.schedule() is first
    project.forget()
    assert project.schedule() is not first


def test_without_the_setting_it_is_that_of_the_package_and_then_the_current_one(tmp_path):
    """As `celery -A` finds it in the package of the settings; once somebody has imported that, as `shared_task` does."""
    code = (
        "from celery import current_app\n"
        "from redlock_beat.django import celery_app\n"
        "print(current_app.main, celery_app().main, current_app.main, celery_app() is current_app._get_current_object())"
    )
    env = environment("redis://localhost:1/0", tmp_path, DJANGO_SETTINGS_MODULE="shopfront.settings")
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["default", "shopfront", "shopfront", "True"]


def test_the_example_has_the_migrations_of_its_models(app, capsys):
    from django.core.management import call_command

    call_command("makemigrations", "--check", "--dry-run")
    assert "No changes detected" in capsys.readouterr().out


def test_a_project_without_one_is_told_what_to_write(tmp_path):
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "__init__.py").touch()
    (tmp_path / "bare" / "settings.py").write_text("INSTALLED_APPS = ['redlock_beat.django']\n")
    code = "from redlock_beat.django import celery_app\ncelery_app()"
    env = environment("redis://localhost:1/0", tmp_path, DJANGO_SETTINGS_MODULE="bare.settings")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 1
    assert "the package 'bare' has none. Make one in bare/celery.py" in done.stderr
