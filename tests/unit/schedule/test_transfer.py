"""What an import refuses."""

from __future__ import annotations

import json

import pytest

from redlock_beat import InvalidSchedule
from redlock_beat.entries.codec import encode
from redlock_beat.schedule.transfer import check

from ..values import made


def test_an_import_refuses_numbers_that_json_does_not_have():
    head = json.dumps({"redlock_beat": "export", "version": 1})
    for number in ("NaN", "Infinity", "-Infinity"):
        definition = {**json.loads(encode(made())), "args": ["X"]}
        line = json.dumps({"entry": "a", "definition": definition, "state": f"{definition['uid']} 1 5 - 0 0"})
        with pytest.raises(InvalidSchedule, match="line 2 is not JSON"):
            check([head, line.replace('"X"', number), '{"end": 1}'])
