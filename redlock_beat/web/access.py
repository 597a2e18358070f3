"""Who may do what."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Any

from ..errors import InvalidSetting
from .http import Request, Response

#: What a visitor may be allowed to do, besides looking.
VERBS = (
    "add", "edit", "copy", "rename", "remove", "pause", "resume", "skip",
    "run", "backfill", "cancel", "hold", "release", "import", "acknowledge", "unlock",
)  # fmt: off


@dataclass(frozen=True, slots=True)
class Grant:
    """What a visitor may do, and who that is in the edit log.

    >>> Grant({"pause", "resume"}, actor="ann@example.org").may("remove")
    False
    """

    #: ``"all"``, ``"read_only"``, or verbs out of :data:`VERBS`.
    verbs: Any = "all"
    #: Who signs the edits; None: the user that the server knows, or the visitor's address.
    actor: str | None = None

    def __post_init__(self) -> None:
        if self.verbs in ("all", "read_only"):
            return
        verbs = self.verbs if isinstance(self.verbs, (Set, list, tuple)) else None
        if verbs is None or not set(verbs) <= set(VERBS):
            raise InvalidSetting(
                f"access gave {self.verbs!r}, but must give 'all', 'read_only', None, or a set of {', '.join(VERBS)}."
            )

    def may(self, verb: str) -> bool:
        """Whether it allows a verb."""
        return self.verbs == "all" or (self.verbs != "read_only" and verb in self.verbs)


#: What an ``access=`` callable may return: see :class:`Grant`; a response is what the visitor gets instead.
Answer = Grant | Response | str | Set[str] | None
Access = Callable[[Request], Answer]

#: Headers that a proxy adds: behind one, the address that connects says nothing of the visitor.
_FORWARDED = (
    "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-prefix", "x-real-ip", "via",
    "cf-connecting-ip", "true-client-ip",
)  # fmt: off


def granted(answer: Answer) -> Grant | Response | None:
    """The grant in what an ``access=`` callable returned."""
    if answer is None or isinstance(answer, (Grant, Response)):
        return answer
    return Grant(answer)


def local(request: Request) -> Grant | None:
    """Without ``access=``: everything for a visitor of this machine, nothing for any other.

    A request that came through a proxy is not of this machine, and a host name that is not this machine's is another
    page's attempt to have the browser ask here (DNS rebinding).

    >>> local(Request("GET", "/", headers={"host": "localhost:5000"}, peer="127.0.0.1")).verbs
    'all'
    >>> local(Request("GET", "/", headers={"host": "evil.example"}, peer="127.0.0.1"))
    """
    if any(name in request.headers for name in _FORWARDED):
        return None
    return Grant("all") if is_loopback(request.peer) and is_local_name(request.host) else None


def is_loopback(address: str | None) -> bool:
    """Whether an address is this machine's own."""
    try:
        found = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return bool((mapped or found).is_loopback)


def is_local_name(host: str) -> bool:
    """Whether a Host header names this machine.

    >>> is_local_name("[::1]:80"), is_local_name("localhost.evil.example")
    (True, False)
    """
    name = name_of(host)
    return name == "localhost" or name.endswith(".localhost") or is_loopback(name)


def name_of(host: str) -> str:
    """The name in a Host header, without port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower().rstrip(".")
