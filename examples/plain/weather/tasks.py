"""What the workers do."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from .celery import app

logger = logging.getLogger(__name__)


@app.task(bind=True)
def measure(self: Any) -> str:
    """Measure for the slot that was due, however late the worker comes to it."""
    due = getattr(self.request, "redlock_beat_due", None)  # not there when it is called by hand
    slot = datetime.now(UTC) if due is None else datetime.fromtimestamp(due, UTC)
    logger.info("measured for %s", slot.isoformat())
    return slot.isoformat()


@app.task
def report() -> None:
    """Write the report."""
    logger.info("the report is written")


@app.task
def remind(text: str) -> None:
    """Remind somebody."""
    logger.warning("remember: %s", text)
