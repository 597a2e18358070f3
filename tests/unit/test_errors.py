"""No secret is said."""

from __future__ import annotations

import pytest

from redlock_beat.errors import mask


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("redis://:s3cret@h/0", "redis://:***@h/0"),
        ("x amqp://u:s3c:ret@h// and redis://u:s3cret@k", "x amqp://u:***@h// and redis://u:***@k"),
        ("redis+socket:///x?password=s3cret&db=1", "redis+socket:///x?password=***&db=1"),
        ("redis://h/0", "redis://h/0"),
        ("redis://u:p@ss@h/0", "redis://u:***@h/0"),
    ],
)
def test_passwords_are_masked(text, hidden):
    assert mask(text) == hidden


def test_half_characters_are_masked_for_a_script_that_reads_the_text_would_fail():
    """The report of one run would take those of all others with it."""
    assert mask("no \udc80\ud800 at redis://u:p@h/0") == "no ?? at redis://u:***@h/0"
