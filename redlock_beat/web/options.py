"""What :func:`~redlock_beat.web.wsgi` and :func:`~redlock_beat.web.asgi` take, checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from ..errors import InvalidSetting
from ..recurrence.zones import zone
from .access import Access, local
from .proxies import networks

#: Takes a task's name, its args and kwargs; gives the args and kwargs that may be shown.
Redact = Callable[[str, Sequence[Any], Mapping[str, Any]], tuple[Any, Any]]


@dataclass(frozen=True, slots=True)
class Options:
    """How the page is served.

    >>> Options(task_url="https://flower.example/task/{id}").link("7")
    'https://flower.example/task/7'
    """

    #: Who may do what: a function of the request that returns ``"all"``, ``"read_only"``, a set of verbs, None, or a
    #: :class:`~redlock_beat.web.Grant`. Without it only visitors of this machine are served.
    access: Access | None = None
    #: What of a task's arguments may be shown: a function of the task's name, its args and kwargs.
    redact: Redact | None = None
    #: Where a task's id leads: a URL with ``{id}`` in it, of Flower or of a log system.
    task_url: str | None = None
    #: The zone in which times are shown. Default: the app's.
    timezone: str | None = None
    #: Addresses or networks of proxies whose ``X-Forwarded-For, -Proto, -Host, -Prefix`` are believed.
    proxies: Sequence[str] = ()
    #: Host names under which the page answers; any when there are none.
    hosts: Sequence[str] = ()
    #: Origins (``https://beat.example.org``) that changes may come from, besides the page's own.
    origins: Sequence[str] = ()
    #: What stands at the top of every page. Default: the prefix of the schedule.
    title: str | None = None
    #: Seconds that a request waits for Redis at most.
    patience: float = 2.0
    #: Entries in one listing at most.
    page_size: int = 50
    #: The networks of *proxies*.
    trusted: tuple[Any, ...] = field(init=False, repr=False, default=())

    def __post_init__(self) -> None:
        for name in ("access", "redact"):
            value = getattr(self, name)
            if value is not None and not callable(value):
                raise InvalidSetting(f"{name} is {value!r}, but must be a function.")
        if not 0.1 <= self.patience <= 60:
            raise InvalidSetting(f"patience is {self.patience!r}, but must be seconds from 0.1 to 60.")
        if not 1 <= self.page_size <= 500:
            raise InvalidSetting(f"page_size is {self.page_size!r}, but must be from 1 to 500.")
        if self.task_url is not None and (
            "{id}" not in self.task_url or urlsplit(self.task_url).scheme not in ("http", "https", "")
        ):
            raise InvalidSetting(f"task_url is {self.task_url!r}, but must be an http or https URL with {{id}} in it.")
        if self.timezone is not None:
            zone(self.timezone)
        for name in ("proxies", "hosts", "origins"):
            if isinstance(getattr(self, name), str):
                raise InvalidSetting(f"{name} is a text, but must be a list of texts.")
        if "*" in self.proxies and self.access is None:
            raise InvalidSetting(
                "proxies is '*', so that any visitor may say to be of this machine: give access= a function that says "
                "who may do what, or name the proxies."
            )
        object.__setattr__(self, "trusted", networks(self.proxies))

    @property
    def asked(self) -> Access:
        """Who is asked what a visitor may do."""
        return self.access or local

    def link(self, task_id: str) -> str | None:
        """Where a task's id leads."""
        return None if self.task_url is None else self.task_url.replace("{id}", quote(task_id, safe=""))
