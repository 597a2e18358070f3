"""Reports for tenants. ``celery -A reports`` finds the application here."""

from .celery import app

__all__ = ["app"]
