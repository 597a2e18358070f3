"""What stands in a Redis, as commands that put it back."""

from __future__ import annotations

import sys
from typing import Any


def commands(client: Any, key: str) -> list[list[Any]]:
    """The commands that make a key."""
    kind, found = client.type(key), []
    if kind == "string":
        found = [["SET", key, client.get(key)]]
    elif kind == "hash":
        found = [["HSET", key, name, value] for name, value in sorted(client.hgetall(key).items())]
    elif kind == "zset":
        found = [["ZADD", key, repr(when), name] for name, when in client.zrange(key, 0, -1, withscores=True)]
    elif kind == "stream":
        found = [["XADD", key, id_, *(x for pair in row.items() for x in pair)] for id_, row in client.xrange(key)]
    else:
        sys.exit(f"{key} is of kind {kind}: write it, too")
    left = client.pttl(key)
    return found + ([["PEXPIRE", key, left]] if left > 0 else [])
