"""What users do to a schedule.

``schedule``        Schedule and Batch, as users call them; ``base`` and ``batch`` hold what they share with ``aio``
``aio``             AsyncSchedule and AsyncBatch, which ``scripts/make_async.py`` makes from ``schedule``
``operations``      each of their calls, written once, without a network
``describing``      entries as they describe them
``changes``         the edits that they ask for, as values; ``answers``: what they get, as values
``countdowns``, ``task_locks``  what they do with calls that are kept, and with locks of unique tasks
``hold``            to hold everything, and to release it
``edits``           what an edit does to an entry: pure functions
``calendars``       ``redlock_beat_calendars``, read
``edit_log``        who edited what, when and why, as values
``filters``         which entries somebody means; ``bulk``: edits of all of them
``outlines``        a line of each entry, for lists of many
``configuration``   ``beat_schedule``, read and checked
``turns``           callers take turns at Redis; one of them reads the ledger for all who follow it
``status``, ``health``  who leads, what waits, what is wrong; the answers to probes
``defaults``        entries that come with an application, loaded once and then left to whoever edits them
``django_fixture``  the schedule as django-celery-beat's fixture
``transfer``, ``migrate``  export and import; the way here from other schedulers
``compare``         what django-celery-beat sends, held against the slots here
"""
