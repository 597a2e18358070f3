"""An entry is checked as it is made."""

from __future__ import annotations

import pytest

from redlock_beat import InvalidSchedule
from redlock_beat.entries.build import make_entry


def test_a_name_with_half_a_character_is_refused():
    with pytest.raises(InvalidSchedule, match="half a character"):
        make_entry(None, "a\ud800", "t", 60)
