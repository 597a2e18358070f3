"""Many processes edit the same entries while a beat sends them."""

from __future__ import annotations

import collections
import json
import subprocess
import sys

from redlock_beat import Schedule
from tests.beats import ROOT, Process, duplicates, ledger, messages


def test_no_edit_is_lost_no_entry_is_resurrected_and_nothing_is_sent_twice(own_server):
    server = own_server("valkey")
    beat = Process(server.url(), PROJECT_ENTRIES="0", PROJECT_CONF='{"redlock_beat_ledger_size": 1000000}')
    beat.says("This beat is leader")
    editors = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.editor", server.url(), "10", str(seed)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in range(8)
    ]
    did: collections.Counter[str] = collections.Counter()
    changed: collections.Counter[str] = collections.Counter()
    removed = set()
    try:
        for editor in editors:
            out, _ = editor.communicate(timeout=60)
            assert editor.returncode == 0
            for line in out.splitlines():
                row = json.loads(line)
                did[row["did"]] += 1
                if row["did"] == "changed":
                    changed[row["uid"]] += 1
                elif row["did"] == "removed":
                    removed.add(row["uid"])
        there = list(Schedule.from_url(server.url()).entries(prefix="entry-"))
        assert there
        for entry in there:
            assert entry.uid not in removed, entry.name
            assert entry.kwargs["y"] == changed[entry.uid], entry.name
        assert did["stale"]  # they did get in each other's way
        assert did["removed"]
        beat.end()
        client = server.client()
        assert messages(client)
        assert duplicates(client) == 0
        assert sorted(row["id"] for row in ledger(client, "sent")) == sorted(
            m["headers"]["id"] for m in messages(client)
        )
        assert "Traceback" not in beat.said()
    finally:
        for editor in editors:
            editor.kill()
        beat.close()
