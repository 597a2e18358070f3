"""The Celery application, and the task that makes a report."""

from __future__ import annotations

import logging
import os

from celery import Celery

logger = logging.getLogger(__name__)

app = Celery("reports", broker=os.environ.get("REDIS_URL", "redis://localhost:6379/0"))
app.conf.beat_scheduler = "redlock"
app.conf.task_ignore_result = True
app.conf.redlock_beat_metrics_label = "tenant"


@app.task(name="reports.make")
def make(tenant: str, report: str) -> None:
    """Make a report of a tenant, and mail it."""
    logger.info("the report %s of %s is made", report, tenant)
