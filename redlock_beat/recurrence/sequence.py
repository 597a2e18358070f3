"""More than one slot of a schedule of any kind: those that follow, the newest, and how many there are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from ..clock import MICROS, monotonic
from .interval import Interval
from .spec import Rules, Spec


def newest(spec: Spec, rules: Rules, known: int, until: int) -> int:
    """The newest slot not after *until*, given a *known* slot that is not after it.

    The search halves the time in between, so three days of a one-second entry cost no more than three days of a daily
    one.
    """
    if isinstance(spec, Interval) and not spec.relative:
        return known + (until - known) // spec.every * spec.every
    low, high, width = known, until, 60 * MICROS
    while until - width > known:  # gallop back from the end: the newest slot is mostly near it
        ahead = spec.next(until - width, rules)
        if ahead is not None and ahead <= until:
            low = ahead
            break
        high = until - width
        width *= 4
    else:
        low = known
    while True:
        ahead = spec.next(low, rules)
        if ahead is None or ahead > high:
            return low
        low = ahead
        middle = (low + high) // 2
        ahead = spec.next(middle, rules)
        if ahead is not None and ahead <= high:
            low = ahead
        else:
            high = middle


@dataclass(frozen=True, slots=True)
class Count:
    """A number of slots; with *at_least* there are more, which were not counted."""

    slots: int
    at_least: bool = False


def count(spec: Spec, rules: Rules, first: int, last: int, limit: int = 100_000, seconds: float = math.inf) -> Count:
    """How many slots there are from slot *first* to slot *last*, both counted.

    Counting ends after *limit* slots or *seconds*: there may be millions, and each may be costly to compute.
    """
    if isinstance(spec, Interval) and not spec.relative:
        return Count((last - first) // spec.every + 1)
    until = monotonic() + seconds
    found, at = 1, first
    while at < last:
        if found >= limit or monotonic() >= until:
            return Count(found + 1, at_least=True)  # *last* is one of them, too
        ahead = spec.next(at, rules)
        if ahead is None:
            break
        at = ahead
        found += 1
    return Count(found)


def slots(spec: Spec, rules: Rules, after: int) -> Iterator[int]:
    """The slots after an instant, one after the other."""
    at = spec.next(after, rules)
    while at is not None:
        yield at
        at = spec.next(at, rules)
