"""What: an entry, its policies and its state, as values. Nothing here reads a clock or asks Redis.

``entry``     an entry, checked as it is made, and the names of its policies
``labels``    short texts by name, to find entries by
``state``     how far an entry has come, and the text that every commit and edit compares
``policies``  which slots are sent and when, and which are missed: pure functions
``timing``    the same for most entries that are due, at once: a value that entries share
``occurrence`` one slot to be sent, and the id that it has whoever sends it
``waiting``   manual items: triggers, backfilled and settled slots that wait to be sent
``build``     makes an entry of what users write, and checks it, for every way in
``codec``     an entry as the JSON in Redis, and back
``document``  an entry as people read and edit it, and back
"""
