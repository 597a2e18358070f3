"""The Celery app of the project."""

import os

from celery import Celery

import redlock_beat

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shopfront.settings")

# Every task is a DjangoTask: delay_on_commit, unique, cooldown, default_retry_delays.
app = Celery("shopfront", task_cls="redlock_beat.django:DjangoTask")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
redlock_beat.watch(app)  # workers tell what became of each run
