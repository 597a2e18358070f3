"""JSON with the package orjson (extra ``speed``) where that is installed and gives the same, else with Python's own."""

from __future__ import annotations

import importlib
import json
from typing import Any


def _orjson() -> Any:
    try:
        return importlib.import_module("orjson")
    except ImportError:
        return None


orjson = _orjson()

#: Every digit as 0: so many of them in a row are a whole number that orjson may read as a float.
_DIGITS = bytes.maketrans(b"123456789", b"0" * 9)
_LONG = b"0" * 19


def read_text(text: str) -> Any:
    """What ``json.loads`` makes of a text.

    >>> read_text('[1, "a", 100000000000000000000]')
    [1, 'a', 100000000000000000000]
    """
    if orjson is not None:
        try:
            data = text.encode()
            if _LONG not in data.translate(_DIGITS):
                return orjson.loads(data)
        except ValueError:  # NaN, infinities, half characters, deep nesting: Python's own takes them, or says why not
            pass
    return json.loads(text)


def write_texts(columns: dict[str, list[Any]]) -> str | bytes:
    """Columns of texts and whole numbers, for a script: spaces and escapes do not matter to it.

    >>> json.loads(write_texts({"n": ["a"]}))
    {'n': ['a']}
    """
    if orjson is not None:
        try:
            return bytes(orjson.dumps(columns))
        except TypeError:  # half characters, or a number of more than 64 bits
            pass
    return json.dumps(columns, ensure_ascii=False)
