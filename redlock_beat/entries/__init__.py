"""What: an entry, its policies and its state, as values. Nothing here asks for the time or for Redis.

``entry``     an entry, checked as it is made, and the names of its policies
``state``     how far an entry has come, and the text that every commit and edit compares
``policies``  which slots are sent and when, and which are missed: pure functions
``waiting``   triggers, backfills and settled slots that wait to be sent
``build``     what users write becomes an entry: the one place that checks it, for every way in
``codec``     an entry as the JSON in Redis, and back
``document``  an entry as people read and edit it, and back
"""
