"""The running beat: one leads and sends, the others stand by.

``scheduler``   Celery's face: tick, close, signals
``replica``     one beat of several: its turns, and what goes wrong in them; ``parts``: what it consists of
``standby``     the standby's role; ``leader``: the leader's, a term; ``pages``: its configuration, between turns
``lease``       who leads
``broker``      whether the broker is the schedule's Redis, found out beside the loop
``losses``      Redis has less than it had; ``troubles``: the pauses when it does not serve us
``dispatch``    a turn: what is due -> sent; ``reader``: what is due; ``lookahead``: what a burst has at hand
``due_entries`` an entry's slots -> commit items; ``manual``: the same for manual items
``making``      the message of a commit item; ``commits``: batches on their way to Redis; ``unanswered``: lost answers
``overlap``     entries that have one run at a time; runs that others take the place of are revoked
``recorder``    outcomes -> log, hooks, counters; ``failures``: attempts that failed, logged together
``quarantine``  entries that failed, and their second chance; ``usercode``: the code of entries, run under watch
``holding``     a hold of everything, as the leader sees it
``outbox``      the outbox as a leader finds it; ``refusing``: entries of which the broker refuses a message
``publisher``   the outbox -> another broker: the thread; ``backlog``: what is in hand; ``faults``: what is refused
``delivery``    one message or many at a time; ``outcomes``: what became of them, and of the broker
``senders``     the connection to it, a plain and a confirming sender; ``confirms``: how an AMQP broker answers
``config_sync`` the configuration -> Redis, by the leader alone
``metrics``     the hook that feeds Prometheus (an extra)
"""
