"""The one room that speaks to the schedule's Redis.

``keys``      every key name, with the data model
``client``    a client for a URL; the subscription; pauses between attempts
``lua/``      one atomic step a file
``requests``  what to ask and how to read the answer: one function a script, without a network
``locks``     the same for the locks and cooldowns of tasks; ``holds``: for the hold of everything
``values``    what goes into requests and what comes out
``store``     sends requests; one method for each that a leader sends
``pipeline``  requests sent ahead, their answers read later
``server``    what the server lets its user do, and what it keeps; for the doctor
``item``      one message in the outbox, as a value and as its text in Redis

A leader calls the methods of its store (``store.renew(fence)``), which add the keys and the settings, and read in pages
what is long. What users do is written once for the synchronous and the asynchronous store: it yields requests, and
``run`` sends them. Either way a request is sent as it stands in ``requests``, and ``Request.answer`` reads what comes
back, so that a term that is over becomes an error in one place.
"""
