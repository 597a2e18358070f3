"""The running beat: one leads and sends, the others stand by.

``scheduler``   Celery's face, and the loop: lead, send what is due, wait
``lease``       who leads
``broker``      whether the broker is the schedule's Redis, found out beside the loop
``dispatch``    due entries -> messages -> commits; ``express`` is its quick way
``usercode``    the code of entries, run under watch; ``failures``: attempts that failed
``publisher``   the outbox -> another broker; ``confirms``: how an AMQP broker answers
``configured``  the configuration -> Redis, by the leader alone
``metrics``     the hook that feeds Prometheus (an extra); ``cache``: decoded entries
"""
