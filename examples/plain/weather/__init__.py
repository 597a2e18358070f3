"""A weather station. ``celery -A weather`` finds the application here."""

from .celery import app

__all__ = ["app"]
