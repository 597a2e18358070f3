"""What: an entry, its policies and its state, as values.

``entry``, ``state``  the values, checked as they are made
``policies``          which slots are sent, which are missed: a pure function
``build``             what users write becomes an entry; the one place that checks it
``codec``             an entry as the JSON in Redis, and back
``document``          an entry as people read and edit it, and back
``waiting``           triggers, backfills and settled slots that wait to be sent
"""
