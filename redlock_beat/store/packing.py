"""Commands as Redis reads them, also with names that are no text: such a byte is half a character in Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis import connection
from redis.utils import HIREDIS_AVAILABLE


def packed(words: Sequence[Any]) -> bytes:
    r"""A command as Redis reads it.

    >>> packed(["GET", "a"])
    b'*2\r\n$3\r\nGET\r\n$1\r\na\r\n'
    """
    out = [b"*%d" % len(words)]
    for word in words:
        data = word if type(word) is bytes else str(word).encode("utf-8", "surrogateescape")
        out += (b"\r\n$%d\r\n" % len(data), data)
    out.append(b"\r\n")
    return b"".join(out)


class Packer:
    """redis-py's packer of commands with hiredis, which by itself refuses half characters."""

    def __init__(self) -> None:
        self._inner = connection.HiredisRespSerializer()

    def pack(self, *words: Any) -> list[bytes]:
        """A command in the parts that are sent."""
        try:
            return list(self._inner.pack(*words))
        except UnicodeEncodeError:
            return [packed([*str(words[0]).split(), *words[1:]])]


def pack_bytes(client: Any) -> None:
    """Have a client send names that are no text, too; without hiredis it does."""
    if HIREDIS_AVAILABLE and hasattr(client, "connection_pool"):
        client.connection_pool.connection_kwargs["command_packer"] = Packer()
