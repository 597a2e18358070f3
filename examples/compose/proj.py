"""A project with two tasks, for the containers of compose.yaml."""

import os
import time

from celery import Celery
from celery.schedules import crontab

import redlock_beat

url = os.environ["REDIS_URL"]
app = Celery("proj", broker=url, backend=url)
app.conf.broker_connection_retry_on_startup = True
app.conf.redlock_beat_metrics_port = 9540
app.conf.beat_schedule = {
    "tick": {"task": "proj.tick", "schedule": 1.0},
    "report": {"task": "proj.report", "schedule": crontab(minute="*/5")},
}
redlock_beat.watch(app)  # workers say what became of each run


@app.task(name="proj.tick")
def tick():
    return time.time()


@app.task(name="proj.report")
def report():
    time.sleep(3)
