"""What makes two calls of a task the same: a key of their arguments, and its digest. Pure."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kombu.utils.json import dumps

from ..errors import InvalidTask

#: Characters of a key that people are shown.
SHOWN = 100
#: A key may be as long as this; a longer one says that something else is meant.
LONGEST = 1_000_000


def canonical(value: Any) -> str:
    """One text for a value, however its mappings are ordered and whether its lists are tuples.

    >>> canonical({"b": (1, 2), "a": None}) == canonical({"a": None, "b": [1, 2]})
    True
    """
    return str(dumps(value, sort_keys=True, separators=(",", ":")))


def bound(signature: inspect.Signature | None, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call by name, with the defaults of those that were not given.

    >>> def mail(to, subject="hi", *, copies=()): ...
    >>> bound(inspect.signature(mail), [7], {}) == bound(inspect.signature(mail), [], {"to": 7, "copies": ()})
    True
    """
    if signature is None:
        return {"args": list(args), "kwargs": dict(kwargs)}
    got = signature.bind(*args, **kwargs)
    got.apply_defaults()
    return dict(got.arguments)


def digest(task: str, text: str) -> str:
    """The digest of a task's name and a key.

    >>> digest("tasks.add", "[1]") == digest("tasks.add", "[1]") != digest("tasks.mul", "[1]")
    True
    """
    return hashlib.sha256(f"{task}\n{text}".encode("utf-8", "surrogatepass")).hexdigest()


class Keyed:
    """How the key of a call of one task is made.

    >>> def mail(to, subject="hi"): ...
    >>> keyed = Keyed("mail", inspect.signature(mail), on=("to",))
    >>> keyed.of([7], {"subject": "a"}) == keyed.of([], {"to": 7})
    True
    >>> keyed.of([7], {})[1]
    '{"to":7}'
    """

    def __init__(
        self,
        task: str,
        signature: inspect.Signature | None,
        on: Sequence[str] | None = None,
        key: Callable[..., Any] | None = None,
    ) -> None:
        self.task, self.signature, self.on, self.key = task, signature, on, key

    def of(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[str, str]:
        """The digest of a call, and its key in short, for people. What its signature refuses is a TypeError."""
        if self.key is not None:
            value: Any = self.key(*args, **kwargs)
        else:
            value = bound(self.signature, args, kwargs)
            if self.on is not None:
                value = {name: _argument(value, name, self.signature) for name in self.on}
        try:
            text = canonical(value)
        except (TypeError, ValueError, RecursionError) as exc:
            raise InvalidTask(
                f"a call of {self.task} makes no key: JSON cannot carry its arguments ({exc}). Nothing was sent. Name "
                "those that count in unique_on, or give unique_key a function that makes a text of them."
            ) from exc
        if len(text) > LONGEST:
            raise InvalidTask(
                f"the key of a call of {self.task} is {len(text)} characters long, more than {LONGEST}. Nothing was "
                "sent. Name the arguments that count in unique_on, or give unique_key a function."
            )
        return digest(self.task, text), text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def _argument(arguments: Mapping[str, Any], name: str, signature: inspect.Signature | None) -> Any:
    if name in arguments:
        return arguments[name]
    for parameter in signature.parameters.values() if signature is not None else ():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            return arguments.get(parameter.name, {}).get(name)
    return None
