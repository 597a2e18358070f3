"""Backups. ``celery -A backups`` finds the application here."""

from .celery import app

__all__ = ["app"]
