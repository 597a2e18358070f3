"""What callers give, checked: a wrong one is named, and raises nothing of Python's."""

from __future__ import annotations

from typing import Any

from ..errors import InvalidSchedule, NoSuchEntry


def whole(value: Any, what: str, least: int, most: int) -> int:
    """A whole number within bounds.

    >>> whole(3, "n", 1, 10)
    3
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidSchedule(f"{what} is {value!r}, but must be a whole number from {least} to {most}.")
    return value


def is_number(value: Any) -> bool:
    """Whether something is a number.

    >>> is_number(1.5), is_number("1"), is_number(True)
    (True, False, False)
    """
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def as_text(value: Any, what: str) -> Any:
    """A text that UTF-8 can carry, or None.

    >>> as_text("mail.*", "task")
    'mail.*'
    """
    if value is not None and not is_text(value):
        raise InvalidSchedule(f"{what} is {value!r}, but must be a text.")
    return value


def is_text(value: Any) -> bool:
    r"""Whether something is a text that UTF-8 can carry: no half characters.

    >>> is_text("é"), is_text(5), is_text("\ud800")
    (True, False, False)
    """
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def named(name: Any) -> str:
    """The name of an entry that there may be; NoSuchEntry for what none is called.

    >>> named("mail")
    'mail'
    """
    if not is_text(name):
        raise NoSuchEntry(name if isinstance(name, str) else repr(name))
    assert isinstance(name, str)
    return name
