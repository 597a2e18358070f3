"""Which way messages go: by commit where the broker is the schedule's Redis, else through the outbox.

A nonce is written through the broker's connection and read by a script through the schedule's. A
thread connects and asks: a broker that hangs must not hold up the loop. No answer is no answer; it
says nothing about which server it is.

What was proved holds until there is a doubt: after each trouble with Redis or with the broker, and before each
term, another server may be at its address.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ..clock import monotonic
from ..errors import BrokerAway, mask
from ..messages.renderer import Renderer, bounded_connection, capturing_connection, is_redis
from ..settings import Settings
from ..store.client import Pauses
from ..store.store import Store
from .troubles import level_of

logger = logging.getLogger("redlock_beat")


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


class Broker:
    """What is known of the broker: whether it is the schedule's Redis, and which of its databases."""

    def __init__(self, app: Any, settings: Settings, store: Store, renderer: Renderer) -> None:
        self.renderer = renderer
        #: Why it is not known which way messages go; then nothing is sent.
        self.unproved: str | None = "it has not been asked yet"
        #: The number of its database, where it is this Redis.
        self.db = 0
        #: Doubts there have been; what was proved before the last one says nothing of now.
        self.doubts = 0
        #: The doubt that the last proof has settled; -1 before the first.
        self.proved = -1
        self._prover = Prover(app, store, settings.socket_timeout)
        self._one_address = _one_address(app, settings)
        self._presumed_after = settings.lease_ttl
        self._asked_at = float("inf")
        self._again_at = float("-inf")
        self._pauses = Pauses(settings.retry_pause)
        self._announced = False

    def known(self, seconds: float) -> bool:
        """Whether it is known which way messages go, perhaps after so long."""
        if self.proved != self.doubts or self.renderer.stale:
            now = monotonic()
            if now >= self._again_at:
                self._prover.ask(self.doubts)
                self._asked_at = min(self._asked_at, now)
            proof = self._prover.answer(seconds if self.unproved else 0)
            if proof is not None and proof.number == self.doubts:
                self._take(proof)
            elif proof is not None and proof.connection is not None:
                proof.connection.release()  # asked for before the last trouble: it says nothing of now
            self._presume()
        return self.unproved is None

    def doubt(self) -> None:
        """Another server may be at the broker's address now, or at the schedule's: it has to be proved again."""
        self.doubts += 1
        if self.renderer.direct:
            self.unproved = "it has to be proved again that it is this Redis"

    def away(self, exc: BrokerAway) -> None:
        """It went while a message was rendered: no entry is at fault, and each is still due."""
        logger.debug("Rendering was broken off: %s", mask(exc))
        self.doubt()
        self.unproved = str(exc)
        self.renderer.close()
        self._again_at = monotonic() + self._pauses.next()

    def delivery(self) -> str:
        """Which way messages go, in words; when it changes after that, the log says so."""
        self._announced = True
        if self.renderer.direct:
            return "commit (the broker is this Redis: each occurrence is enqueued once, in one atomic step)"
        if self.unproved is None:
            return "outbox (the broker is another server)"
        return "commit or outbox, as soon as the broker answers"

    def _take(self, proof: Proof) -> None:
        if proof.same is None:
            self._unanswered(proof.why)
            return
        was = (self.proved >= 0, self.renderer.direct)
        self.proved, self.unproved = proof.number, None
        self._pauses.reset()
        self.renderer.adopt(proof.connection, proof.channel)
        self.db = proof.db
        if proof.why.startswith("refused"):
            logger.warning(
                "The broker may be the schedule's Redis, but a script cannot reach its database (%s), so messages go "
                "through the outbox. Allow SELECT to this user, or use one database number for both.", mask(proof.why),
            )  # fmt: skip
        if self._announced and was != (True, self.renderer.direct):
            logger.warning("Delivery is by %s now.", "commit" if self.renderer.direct else "outbox")

    def _unanswered(self, why: str) -> None:
        """No answer is no answer: what was known of another server still holds, and this one is asked again."""
        pause = self._pauses.next()
        self._again_at = monotonic() + pause
        if self.unproved is None:
            return
        self.unproved = why
        logger.log(
            level_of(self._pauses.attempts),
            "The broker at %s does not answer (%s), so it is not known whether it is the schedule's Redis. Nothing is "
            "sent until that is known; what is due stays due. Attempt %d follows in %.2f s.",
            self.renderer.where(), why, self._pauses.attempts, pause,
        )  # fmt: skip

    def _presume(self) -> None:
        """A broker that never answered, at another address than the schedule's Redis, is taken for another server."""
        never = self.proved < 0 and self.unproved is not None
        if never and not self._one_address and monotonic() - self._asked_at > self._presumed_after:
            self.unproved = None
            logger.warning(
                "The broker at %s does not answer. Messages wait for it in the outbox.", self.renderer.where()
            )


def _one_address(app: Any, settings: Settings) -> bool:
    """Whether broker and schedule are reached at one address: then an unanswered broker is most likely this Redis."""
    conf = app.conf.broker_write_url
    brokers = [conf] if isinstance(conf, str) else list(conf or ())
    return not {_address(one) for url in brokers for one in url.split(";")}.isdisjoint(
        {_address(one) for one in settings.url.split(";")}
    )


def _address(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return (host, "") if host else ("", parts.path)
