"""Defaults: `manage.py redlock load` brings them in, and never overwrites what was edited since."""

from celery.schedules import crontab

beat_schedule = {
    "count open orders": {
        "task": "reminders.tasks.report",
        "schedule": crontab(hour=7, minute=0, day_of_week="mon-fri"),
        "args": ("open",),
        "missed": "skip",
        "grace": "10m",
        "labels": {"team": "orders"},
    },
}
