"""What differs between the supported releases of Celery. No other module asks which release it runs on.

Nothing here compares versions: each function looks at what the release has.
"""

from __future__ import annotations

from typing import Any


def repr_levels(app: Any) -> int:
    """How deep Celery shows arguments in ``argsrepr``: a setting since 5.7, before that the default of ``saferepr``.

    >>> from celery import Celery
    >>> repr_levels(Celery())
    3
    """
    from celery.app.defaults import DEFAULTS

    # The configuration may have the setting where Celery does not know it; Celery ignores it then.
    return int(app.conf.task_repr_maxlevels) if "task_repr_maxlevels" in DEFAULTS else 3
