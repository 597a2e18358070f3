"""What the command line prints with --json, held to the schema that the package carries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema

import redlock_beat

SCHEMA = json.loads((Path(redlock_beat.__file__).parent / "schemas" / "output.json").read_text("utf-8"))


def fits(found: Any, what: str) -> None:
    """What a verb has printed is what the schema says."""
    jsonschema.validate(found, {"$ref": f"#/$defs/{what}", "$defs": SCHEMA["$defs"]})
