"""The one room that speaks to the schedule's Redis.

``keys``      every key name, with the data model
``client``    a URL becomes a client; the subscription; pauses between attempts
``lua/``      one atomic step a file
``requests``  what is asked and how its answer reads, as values without a network
``store``     sends requests; one method for each script of the leader's
``pipeline``  requests sent ahead, their answers read later
``server``    what the server lets its user do, and what it keeps: the commands the doctor tries
``item``      one message in the outbox, as a value and as its text in Redis
"""
