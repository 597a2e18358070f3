"""When: kinds of schedule, and the next slot of each as a pure function.

Nothing here knows what an entry is, what time it is, or that there is a Redis.

``schedules``  the kinds: interval, crontab, solar, rrule, one shot, and classes of a user's own
``zones``      time zones as segments of one offset each, and the two kinds of clock change
"""
