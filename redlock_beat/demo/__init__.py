"""``redlock-beat demo`` and ``redlock-beat try``: beats to look at, on an embedded server, and to do harm to.

Both need ``pip install 'redlock-beat[demo]'``, and leave nothing behind.

=========  ============================================================================
command    what the command line takes
processes  the server, the beats, the worker and the page: started, killed, frozen, ended
cleaner    ends them when the demo itself is killed
project    the Celery project of the demo
runs       what workers got, written down by themselves
own        runs a project of the user's own on the embedded server instead
watch      what is seen: who leads, what was sent, how late, what ran twice
screen     that on a terminal, with keys
plain      that as lines, for a pipe
=========  ============================================================================
"""
