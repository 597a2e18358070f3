"""A page, as a value: its path, what it takes, what its visitor must be allowed, and what it answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .guard import Refused

#: The kinds of parameters; each has a reader below.
KINDS = ("text", "integer", "choice", "flag", "instant", "json", "texts")


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter of a page: in the query of a GET, in the body of a POST.

    >>> Param("n", "integer", "How many.", default=50, most=500).read("20")
    20
    """

    name: str
    kind: str = "text"
    #: What it is, in a sentence.
    words: str = ""
    default: Any = None
    required: bool = False
    choices: tuple[str, ...] = ()
    #: Characters of a text, or the largest number.
    most: int = 1_000
    least: int = 0

    def read(self, given: Any) -> Any:
        """The value of what was sent; None or '' is the default."""
        if given is None or given == "" or given == []:
            if self.required:
                raise Refused(422, f"{self.name} is missing.")
            return self.default
        return _READERS[self.kind](self, given)


@dataclass(frozen=True, slots=True)
class Route:
    """A page, or an edit that one offers."""

    #: Below the place where it is mounted: ``/entry``. The name of an entry is a parameter: it may be anything.
    path: str
    view: Callable[[Any], Any]
    #: What it is, in a few words: the title of the page.
    title: str
    #: What it does, in a sentence, for programs.
    words: str = ""
    method: str = "GET"
    #: The verb that a visitor must be allowed; None for a page to look at.
    verb: str | None = None
    params: tuple[Param, ...] = ()
    #: The template of the page; '' for what has no page of its own.
    template: str = ""
    #: JSON schema of the data, for programs; ``{"$ref": "#/components/schemas/entry"}`` is shared with the CLI.
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "object"})
    #: The types of text in which it answers besides.
    texts: tuple[str, ...] = ()
    #: Whether the navigation shows it.
    nav: bool = False
    #: Whether it is described to programs.
    described: bool = True
    #: Whether a form of it that is sent twice is refused the second time.
    once: bool = True


@dataclass(frozen=True, slots=True)
class Shown:
    """What a page shows: data, which a program gets as JSON, and what only the template needs besides."""

    data: Any
    extra: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200
    #: Another template than the route's.
    template: str = ""

    def refusal(self) -> dict[str, Any]:
        """What a program gets of a form that is shown again: the errors by field (``extra["errors"]``), and the data.

        >>> Shown({}, {"errors": {"until": "It is past."}}, 422).refusal()["error"]
        'until: It is past.'
        """
        errors = dict(self.extra.get("errors") or {})
        words = " ".join(f"{name}: {why}" for name, why in errors.items()) or "This was refused."
        return {"error": words, "status": self.status, "errors": errors, "data": self.data}


@dataclass(frozen=True, slots=True)
class Done:
    """An edit is in force: a browser goes on to a page that says so, a program gets the data."""

    #: The path and query of that page: ``visit.url("/entry", name=name)``.
    to: str
    #: What was done, in a sentence.
    said: str
    data: Mapping[str, Any] = field(default_factory=dict)


def found(routes: tuple[Route, ...], method: str, path: str) -> Route:
    """The route of a request; :class:`Refused` when there is none."""
    method = "GET" if method == "HEAD" else method
    there = [one for one in routes if one.path == path]
    for one in there:
        if one.method == method:
            return one
    if there:
        allowed = ", ".join(sorted({one.method for one in there}))
        raise Refused(405, f"This is done with {allowed}, not with {method}.", ("Allow", allowed))
    raise Refused(404, "There is no such page.")


# --- readers ---------------------------------------------------------------------------------------


def _text(param: Param, given: Any) -> str:
    if not isinstance(given, str):
        raise Refused(422, f"{param.name} must be one text.")
    if len(given) > param.most:
        raise Refused(422, f"{param.name} has {len(given)} characters, more than the {param.most} allowed.")
    if "\0" in given:
        raise Refused(422, f"{param.name} must not hold the character NUL.")
    if not given.isascii() and any("\ud800" <= one <= "\udfff" for one in given):
        raise Refused(422, f"{param.name} must not hold half a character, which UTF-8 cannot carry.")
    return given


def _integer(param: Param, given: Any) -> int:
    try:
        number = int(str(given)[:30])
    except ValueError:
        number = param.least - 1
    if isinstance(given, bool) or not param.least <= number <= param.most:
        raise Refused(422, f"{param.name} must be a whole number from {param.least} to {param.most}.")
    return number


def _choice(param: Param, given: Any) -> str:
    if given not in param.choices:
        raise Refused(422, f"{param.name} must be one of {', '.join(param.choices)}.")
    return str(given)


def _flag(param: Param, given: Any) -> bool:
    if given in (True, "1", "true", "yes", "on"):
        return True
    if given in (False, "0", "false", "no", "off"):
        return False
    raise Refused(422, f"{param.name} must be yes or no.")


def _instant(param: Param, given: Any) -> datetime:
    try:
        at = datetime.fromisoformat(str(given)[:64])
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise Refused(422, f"{param.name} must be a time with an offset, such as 2027-01-01T07:00:00+00:00.")
    return at


def _json(param: Param, given: Any) -> Any:
    if not isinstance(given, str):
        return given
    try:
        return json.loads(_text(param, given))
    except (ValueError, RecursionError):
        raise Refused(422, f"{param.name} is not JSON.") from None


def _texts(param: Param, given: Any) -> list[str]:
    found = given if isinstance(given, list) else [given]
    return [_text(param, one) for one in found]


_READERS: dict[str, Callable[[Param, Any], Any]] = {
    "text": _text,
    "integer": _integer,
    "choice": _choice,
    "flag": _flag,
    "instant": _instant,
    "json": _json,
    "texts": _texts,
}
