"""Labels: short texts by name on an entry, to find it by and to hold many at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from ..errors import InvalidSchedule

#: Labels of one entry, and characters of a value.
MOST, MOST_CHARACTERS = 20, 200
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,62}", re.ASCII)


def labels_of(value: Any, what: str) -> dict[str, str]:
    """The labels that a user gives; one that is None is taken away. InvalidSchedule names *what*.

    >>> labels_of({"team": "billing", "tenant": None}, "it")
    {'team': 'billing'}
    """
    if not isinstance(value, Mapping):
        raise InvalidSchedule(
            f"{what} is {str(value)[:100]!r}, but must be a dictionary, such as {{'team': 'billing'}}."
        )
    labels = {name: text for name, text in value.items() if text is not None}
    if len(labels) > MOST:
        raise InvalidSchedule(f"{what} has {len(labels)} labels, more than the {MOST} allowed.")
    for name, text in labels.items():
        if not isinstance(name, str) or _NAME.fullmatch(name) is None:
            raise InvalidSchedule(
                f"{what}: {str(name)[:100]!r} cannot be the name of a label: use up to 63 letters, digits, '_', '-' "
                "and '.', beginning with a letter."
            )
        if not isinstance(text, str) or not 0 < len(text) <= MOST_CHARACTERS or not text.isprintable():
            raise InvalidSchedule(
                f"{what}: the label {name} is {str(text)[:100]!r}, but must be a text of 1 to {MOST_CHARACTERS} "
                "characters on one line."
            )
    return labels


def bears(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether labels are those that are *wanted*, whose values may have wildcards.

    >>> bears({"team": "billing", "tenant": "42"}, {"tenant": "4*"}), bears({}, {"tenant": "*"})
    (True, False)
    """
    return all(name in labels and fnmatchcase(labels[name], text) for name, text in wanted.items())
