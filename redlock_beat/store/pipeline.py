"""One connection on which commands are sent ahead and their answers read later.

redis-py packs arguments one by one and waits for each answer; for a burst both cost more than Redis
itself does. Here a command is packed in one go, and the next is made while Redis works on the last.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from redis.exceptions import NoScriptError

from . import lua
from .client import node_of
from .requests import Request


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


@cache
def _sha(name: str) -> str:
    return hashlib.sha1(lua.source(name).encode(), usedforsecurity=False).hexdigest()


class Wire:
    """A connection of a client's, taken out of its pool until :meth:`close`.

    An answer that is an error is raised where it is read, and so is a lost connection; either way the
    connection is dropped, and nobody reads the answer of another.
    """

    def __init__(self, client: Any, loaded: set[str], key: str) -> None:
        #: On Cluster the node that has the key; all keys of a schedule are in one slot.
        self._pool = node_of(client, key).connection_pool
        self._connection: Any = None
        self._readers: deque[Callable[[Any], Any]] = deque()
        #: Scripts the server has, as far as is known; kept by the caller from one wire to the next.
        self._loaded = loaded

    def _open(self) -> Any:
        if self._connection is None:
            try:
                self._connection = self._pool.get_connection()
            except TypeError:  # redis-py before 5.3 wants a command's name
                self._connection = self._pool.get_connection("EVALSHA")
        return self._connection

    def load(self, *names: str) -> None:
        """Load scripts that the server may not have; before anything is sent, since it waits for the answers."""
        for name in names:
            if _sha(name) not in self._loaded:
                connection = self._open()
                connection.send_packed_command([packed(["SCRIPT", "LOAD", lua.source(name)])], check_health=False)
                connection.read_response()
                self._loaded.add(_sha(name))

    def request(self, request: Request[Any]) -> bytes:
        """A script's call, packed; its answer will be read as the request says. Send it with :meth:`send`."""
        self._readers.append(request.answer)
        return packed(["EVALSHA", _sha(request.script), len(request.keys), *request.keys, *request.args])

    def send(self, *commands: bytes) -> None:
        """Send commands; their answers wait in order."""
        self._open().send_packed_command([b"".join(commands)], check_health=False)

    def read(self) -> Any:
        """The next answer, as its reader reads it."""
        read = self._readers.popleft()
        try:
            return read(self._connection.read_response())
        except NoScriptError:  # SCRIPT FLUSH, or another server behind this address
            self._loaded.clear()
            raise

    @property
    def waiting(self) -> int:
        """Answers not yet read."""
        return len(self._readers)

    def close(self) -> None:
        """Give the connection back; one that still has answers under way is dropped first."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._readers:
            self._readers.clear()
            connection.disconnect()
        self._pool.release(connection)
