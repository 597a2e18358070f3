"""A small shop: orders are placed on a page, and a reminder is sent for those that are not paid."""

from .celery import app as celery_app

__all__ = ["celery_app"]
