"""A TCP proxy that can lose a reply: the command arrives, its answer does not.

An address that moves is one, too: set `upstream` to another port, and new connections go there.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading


class Proxy:
    """Forwards to a server. Once armed, the next command that contains a word loses its reply."""

    def __init__(self, port: int) -> None:
        self.upstream = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self._word: bytes | None = None
        self._skip = 0
        self._for_good = False
        self.lost = 0
        self._open = True
        self._frozen = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def lose_reply(self, word: str = "EVALSHA", skip: int = 0, *, for_good: bool = False) -> None:
        """The reply of the command after *skip* others that contain *word* is lost, and its connection cut.

        With *for_good*, nothing is forwarded afterwards.
        """
        self._skip, self._word, self._for_good = skip, word.encode(), for_good

    def freeze(self) -> None:
        """Forward nothing any more, and close nothing: a machine that has vanished."""
        self._frozen.set()

    def thaw(self) -> None:
        """Serve new connections again; those that were frozen stay so."""
        self._frozen.clear()

    def close(self) -> None:
        self._open = False
        self._server.close()

    def _accept(self) -> None:
        while self._open:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            upstream = socket.create_connection(("127.0.0.1", self.upstream))
            with upstream:
                lose = False
                while self._open:
                    for sock in select.select([client, upstream], [], [], 0.1)[0]:
                        if self._frozen.is_set():
                            threading.Event().wait(60)
                            return
                        data = sock.recv(1 << 20)
                        if not data:
                            return
                        if sock is client:
                            lose = lose or self._hit(data)
                            upstream.sendall(data)
                        elif lose and not data.startswith(b"-NOSCRIPT"):
                            self.lost += 1
                            if self._for_good:
                                self.freeze()
                            return
                        else:
                            if lose:  # the script is loaded and called again: that reply is the one to lose
                                self._word = self._word or b"EVALSHA"
                            lose = False
                            client.sendall(data)

    def _hit(self, data: bytes) -> bool:
        if self._word is None or self._word not in data:
            return False
        if self._skip:
            self._skip -= 1
            return False
        self._word = None
        return True
