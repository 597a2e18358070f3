"""Where the releases of Celery that are supported differ: here one looks for what is there, and nowhere else.

Nothing asks for a version: what a release has is seen from its own tables.
"""

from __future__ import annotations

from typing import Any


def repr_levels(app: Any) -> int:
    """How deep Celery shows arguments in ``argsrepr``: a setting since 5.7, and before what ``saferepr`` does itself.

    >>> from celery import Celery
    >>> repr_levels(Celery())
    3
    """
    from celery.app.defaults import DEFAULTS

    # A setting that Celery does not know may still stand in the configuration; Celery does not heed it then.
    return int(app.conf.task_repr_maxlevels) if "task_repr_maxlevels" in DEFAULTS else 3
