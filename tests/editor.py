"""One of many editors: ``python -m tests.editor URL SECONDS SEED``; prints what it did, a JSON line each."""

from __future__ import annotations

import json
import random
import sys
import time

from redlock_beat import EntryExists, NoSuchEntry, Schedule, StaleRevision

ENTRIES = 50


def main() -> None:
    url, seconds, seed = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    chance = random.Random(seed)
    schedule = Schedule.from_url(url)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        name = f"entry-{chance.randrange(ENTRIES)}"
        try:
            what = chance.random()
            entry = schedule.entry(name)
            if what < 0.85:
                # Read, change, write: with the revision, nobody's change is lost.
                changes = {"kwargs": {"y": entry.kwargs.get("y", 0) + 1}}
                if what < 0.3:
                    changes["when"] = chance.choice([0.2, 0.5, 1.0])
                schedule.update(name, revision=entry.revision, **changes)
                print(json.dumps({"did": "changed", "uid": entry.uid}))
            elif what < 0.9:
                schedule.pause(name, revision=entry.revision)
            elif what < 0.95:
                schedule.resume(name)
            else:
                schedule.remove(name, revision=entry.revision)
                print(json.dumps({"did": "removed", "uid": entry.uid}))
        except StaleRevision:
            print(json.dumps({"did": "stale"}))
        except NoSuchEntry:
            try:
                schedule.add(name, "tasks.add", 0.2, kwargs={"y": 0})
            except EntryExists:
                print(json.dumps({"did": "exists"}))


if __name__ == "__main__":
    main()
