"""What users do to a schedule.

``schedule``        Schedule and Batch, as users call them; ``base`` and ``batch`` are what they are made of
``aio``             AsyncSchedule and AsyncBatch, made from ``schedule`` by ``scripts/make_async.py``
``operations``      each of their calls, written once, without a network
``changes``         the edits they ask for, as values; ``answers``: what they are told, as values
``edits``           what an edit does to an entry: pure functions
``configuration``   ``beat_schedule``, read and checked
``turns``           who asks Redis when; one reader for all who follow the ledger
``status``, ``health``  who leads, what waits, what is wrong; the two questions of probes
``transfer``, ``migrate``  export and import; the way here from other schedulers
"""
