"""Whether the broker is the schedule's Redis.

A nonce is written through the broker's connection and read by a script through the schedule's. A
thread connects and asks: a broker that hangs must not hold up the loop. No answer is no answer; it
says nothing about which server it is.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from dataclasses import dataclass
from typing import Any

from ..errors import mask
from ..messages.renderer import bounded_connection, capturing_connection, is_redis
from ..store.store import Store


@dataclass(frozen=True, slots=True)
class Proof:
    """What came of asking once."""

    #: Whether the broker is the schedule's Redis; None when there was no answer.
    same: bool | None
    why: str
    #: Of the proof that was asked for with this number.
    number: int
    #: The connection that was proved, and its channel; None unless it is the same server.
    connection: Any = None
    channel: Any = None
    #: The broker's database number.
    db: int = 0


class Prover:
    """Asks, in a thread of its own, one proof at a time."""

    def __init__(self, app: Any, store: Store, timeout: float) -> None:
        self.app = app
        self.store = store
        self.timeout = timeout
        self._asked = False
        self._done = threading.Event()
        self._proof: Proof | None = None

    def ask(self, number: int) -> None:
        """Begin a proof, unless one is under way."""
        if not self._asked:
            self._asked = True
            self._done.clear()
            threading.Thread(target=self._run, args=(number,), name="redlock-beat-proof", daemon=True).start()

    def answer(self, seconds: float) -> Proof | None:
        """What came of it, if that is known within so long."""
        if not self._asked or not self._done.wait(seconds):
            return None
        self._asked = False
        return self._proof

    def _run(self, number: int) -> None:
        connection = None
        try:
            plain = self.app.connection_for_write()
            if is_redis(plain):
                connection = bounded_connection(self.app, self.timeout, capturing_connection(plain.__class__))
                self._proof = self._prove(connection, number)
            else:
                self._proof = Proof(False, "the broker is not a Redis", number)
        except Exception as exc:  # noqa: BLE001 - whatever a transport raises, it is no answer
            self._proof = Proof(None, mask(f"{type(exc).__name__}: {exc}"), number)
        if connection is not None and not self._proof.same:
            with contextlib.suppress(Exception):  # it is gone either way
                connection.release()
        self._done.set()

    def _prove(self, connection: Any, number: int) -> Proof:
        connection.ensure_connection(max_retries=1, timeout=self.timeout)
        channel = connection.default_channel
        nonce = secrets.token_hex(16)
        name = self.store.keys.proof(nonce)
        db = int(channel._connparams()["db"])
        with channel.conn_or_acquire() as client:
            client.set(name, nonce, px=30_000)
            why = self.store.prove(str(channel.global_keyprefix) + name, nonce, db)
            client.delete(name)
        if why != "same":
            return Proof(False, why, number)
        return Proof(True, why, number, connection, channel, db)
