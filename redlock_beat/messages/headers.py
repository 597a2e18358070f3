"""The headers by which a message tells the worker that runs it what it is."""

from __future__ import annotations

#: Of an entry that has one run at a time: for how long (microseconds) a run may wait for a worker.
HEADER_CLAIM = "redlock_beat_claim"
#: Of an entry's message: the number of the term that has sent it.
HEADER_EPOCH = "redlock_beat_epoch"
#: True where an occurrence may begin once.
HEADER_ONCE = "redlock_beat_once"
#: Of a call of a unique task: the digest of its lock.
HEADER_LOCK = "redlock_beat_lock"
#: The id of the call whose outcome this one shares.
HEADER_JOINS = "redlock_beat_joins"
#: How often a message has been put off, because it might not run yet.
HEADER_WAITED = "redlock_beat_waited"
#: True in a canvas where one like it has succeeded lately: it says that it is done, and does not run.
HEADER_IGNORED = "redlock_beat_ignored"
HEADER_ENTRY = "redlock_beat_entry"
#: The same name where django-celery-beat puts it, and django-celery-results looks for it.
HEADER_NAME = "periodic_task_name"
HEADER_DUE = "redlock_beat_due"
#: When a call with a countdown or eta was to run, which the schedule has kept until then.
HEADER_ETA = "redlock_beat_eta"
