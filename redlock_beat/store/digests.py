"""What the configuration last said of each name, as digests; ``digest.lua`` writes them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from .keys import Keys
from .requests import PAGE, Operation, Request

#: Fields in one page: a million names are four thousand fields of 250 names each.
FIELDS = 20
#: Before a cursor into what releases before wrote.
_OLD = "old:"


def digest_field(name: str) -> str:
    """The field that holds the digest of a name.

    >>> digest_field("a")
    '86f'
    """
    return hashlib.sha1(name.encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest()[:3]


def read_digests(text: str | None) -> dict[str, str]:
    """The names of a field with their digests; none of one that cannot be read.

    >>> read_digests(',"a":"408d5056","b":"77aa"')
    {'a': '408d5056', 'b': '77aa'}
    """
    try:
        found = json.loads("{" + (text or "")[1:] + "}")
        return {name: digest for name, digest in found.items() if isinstance(digest, str)}
    except (ValueError, RecursionError):
        return {}


def digests(keys: Keys, names: Sequence[str]) -> Request[dict[str, str]]:
    """The digests of some names; those that have none are left out."""
    fields = {name: digest_field(name) for name in names}
    asked = list(dict.fromkeys(fields.values())) or [""]

    def parse(got: Any) -> dict[str, str]:
        known = dict(zip(asked, map(read_digests, got[0]), strict=True))
        before = zip(names, got[1], strict=False)
        found = {name: digest for name, digest in before if digest is not None}
        found.update({name: known[field][name] for name, field in fields.items() if name in known[field]})
        return found

    commands = [("HMGET", keys.digests, *asked), ("HMGET", keys.configured, *(names or [""]))]
    return Request(parse, commands=commands)


def digest_page(keys: Keys, cursor: str) -> Request[tuple[str, dict[str, str]]]:
    """Some names with their digests, and where to go on ("0": that was all). A name may come twice.

    What releases before wrote comes last; of a name that comes twice the first digest counts.
    """
    if cursor.startswith(_OLD):
        cursor = cursor.removeprefix(_OLD)

        def old(got: Any) -> tuple[str, dict[str, str]]:
            after = str(got[0])
            return ("0" if after == "0" else _OLD + after), dict(got[1])

        return Request(old, commands=[("HSCAN", keys.configured, cursor, "COUNT", 500)])

    def parse(got: Any) -> tuple[str, dict[str, str]]:
        after = str(got[0])
        found: dict[str, str] = {}
        for text in dict(got[1]).values():
            found.update(read_digests(text))
        return (f"{_OLD}0" if after == "0" else after), found

    return Request(parse, commands=[("HSCAN", keys.digests, cursor, "COUNT", FIELDS)])


def said(keys: Keys, names: Sequence[str] | None = None) -> Operation[dict[str, str]]:
    """The digests of some names, or of all; read in pages."""
    found: dict[str, str] = {}
    if names is None:
        cursor = ""
        while cursor != "0":
            cursor, page = yield digest_page(keys, cursor or "0")
            for name, digest in page.items():
                found.setdefault(name, digest)
        return found
    for i in range(0, len(names), PAGE):
        found |= yield digests(keys, names[i : i + PAGE])
    return found
