"""The running beat: one leads and sends, the others stand by.

``scheduler``   Celery's face: tick, close, signals
``replica``     one beat of several: its turns, and what goes wrong in them; ``parts``: what it consists of
``standing``    the standby's role; ``leading``: the leader's, a term; ``pages``: its configuration, between turns
``lease``       who leads
``broker``      whether the broker is the schedule's Redis, found out beside the loop
``losses``      Redis has less than it had; ``troubles``: the pauses when it does not serve us
``dispatch``    due entries -> messages -> commits; ``express`` is its quick way
``usercode``    the code of entries, run under watch; ``failures``: attempts that failed
``publisher``   the outbox -> another broker: the thread; ``backlog``: what is in hand; ``faults``: what is refused
``delivery``    one message or many at a time; ``outcomes``: what became of them, and of the broker
``senders``     the connection to it, a plain and a confirming sender; ``confirms``: how an AMQP broker answers
``configured``  the configuration -> Redis, by the leader alone
``metrics``     the hook that feeds Prometheus (an extra); ``cache``: decoded entries
"""
