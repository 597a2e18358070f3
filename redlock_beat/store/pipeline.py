"""A connection on which commands go ahead of the answers.

redis-py packs arguments one by one and waits for each answer; in a burst both cost more than Redis itself does. Here a
command is packed in one go, and beat makes the next while Redis works on the last.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from functools import cache
from typing import Any

from redis.exceptions import NoScriptError

from . import lua
from .client import node_of
from .packing import packed
from .requests import Request


@cache
def _sha(name: str) -> str:
    return hashlib.sha1(lua.source(name).encode(), usedforsecurity=False).hexdigest()


class Pipeline:
    """A connection of a client, taken out of the pool until :meth:`close`.

    Reading an answer raises when it is an error or the connection is lost; either way the connection is dropped, and
    nobody reads the answer of another.
    """

    def __init__(self, client: Any, loaded: set[str], key: str) -> None:
        #: On a cluster that of the node that has the key; all keys of a schedule are in one slot.
        self._pool = node_of(client, key).connection_pool
        self._connection: Any = None
        self._readers: deque[Callable[[Any], Any]] = deque()
        #: Scripts the server has, as far as is known; kept by the caller from one pipeline to the next.
        self._loaded = loaded

    def _open(self) -> Any:
        if self._connection is None:
            try:
                self._connection = self._pool.get_connection()
            except TypeError:  # redis-py before 5.3 wants a command's name
                self._connection = self._pool.get_connection("EVALSHA")
        return self._connection

    def load(self, *names: str) -> None:
        """Load scripts that the server may not have. It waits for the answers, so call it before anything is sent."""
        for name in names:
            if _sha(name) not in self._loaded:
                connection = self._open()
                connection.send_packed_command([packed(["SCRIPT", "LOAD", lua.source(name)])], check_health=False)
                connection.read_response()
                self._loaded.add(_sha(name))

    def request(self, request: Request[Any]) -> bytes:
        """The call of a script, packed for :meth:`send`; :meth:`read` reads its answer as the request says."""
        self._readers.append(request.answer)
        return packed(["EVALSHA", _sha(request.script), len(request.keys), *request.keys, *request.args])

    def send(self, *commands: bytes) -> None:
        """Send commands; the answers come in their order."""
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
        """How many answers are not read yet."""
        return len(self._readers)

    def close(self) -> None:
        """Put the connection back into the pool; one with answers under way is disconnected first."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._readers:
            self._readers.clear()
            connection.disconnect()
        self._pool.release(connection)
