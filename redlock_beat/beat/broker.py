"""Which way messages go: by commit where the broker is the schedule's Redis, else through the outbox.

A nonce is written through the broker's connection, and a script reads it through the schedule's. A thread does so: a
broker that hangs must not hold up the loop. A broker that does not answer proves nothing.

A proof holds until there is a doubt: after each trouble with Redis or the broker, and before each term, another server
may be at its address.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ..clock import monotonic
from ..errors import BrokerAway, mask
from ..log import log
from ..messages.capturing import capturing_connection
from ..messages.connections import bounded_connection, is_redis
from ..messages.renderer import Renderer
from ..settings import Settings
from ..store.client import Pauses
from ..store.store import Store
from .troubles import level_of


@dataclass(frozen=True, slots=True)
class Proof:
    """The result of one proof."""

    #: Whether the broker is the schedule's Redis; None when there was no answer.
    same: bool | None
    why: str
    #: The number that the proof was asked for with.
    number: int
    #: The broker's connection and its channel; None unless it is the same server.
    connection: Any = None
    channel: Any = None
    #: The broker's database number.
    db: int = 0


class Prover:
    """Makes one proof at a time, in a thread."""

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
        """The proof, if it is made within so long."""
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
        except Exception as exc:  # noqa: BLE001 - whatever a transport raises, it proves nothing
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
    """What beat knows of the broker: whether it is the schedule's Redis, and which of its databases."""

    def __init__(self, app: Any, settings: Settings, store: Store, renderer: Renderer) -> None:
        self.renderer = renderer
        #: Why beat does not know which way messages go; then it sends nothing. None when it knows.
        self.unproved: str | None = "beat has not asked it yet"
        #: The number of the broker's database, where the broker is this Redis.
        self.db = 0
        #: How many doubts there were; a proof from before the last one says nothing any more.
        self.doubts = 0
        #: The doubt that the last proof removed; -1 before the first.
        self.proved = -1
        self._prover = Prover(app, store, settings.socket_timeout)
        self._one_address = _one_address(app, settings)
        self._presumed_after = settings.lease_ttl
        self._asked_at = float("inf")
        self._again_at = float("-inf")
        self._pauses = Pauses()
        self._announced = False

    def known(self, seconds: float) -> bool:
        """Whether beat knows which way messages go, perhaps after waiting so long."""
        if self.proved != self.doubts or self.renderer.stale:
            now = monotonic()
            if now >= self._again_at:
                self._prover.ask(self.doubts)
                self._asked_at = min(self._asked_at, now)
            proof = self._prover.answer(seconds if self.unproved else 0)
            if proof is not None and proof.number == self.doubts:
                self._settle(proof)
            elif proof is not None and proof.connection is not None:
                proof.connection.release()  # from before the last doubt: it says nothing any more
            self._presume()
        return self.unproved is None

    def doubt(self) -> None:
        """Another server may be at the broker's address now, or at the schedule's: a new proof is needed."""
        self.doubts += 1
        if self.renderer.direct:
            self.unproved = "beat has to prove again that it is this Redis"

    def away(self, exc: BrokerAway) -> None:
        """The broker went away while a message was rendered: no entry is at fault, and each is still due."""
        log.debug("broker.away", "The broker went away while a message was rendered: %(why)s", why=mask(exc))
        self.doubt()
        self.unproved = str(exc)
        self.renderer.close()
        self._again_at = monotonic() + self._pauses.next()

    def delivery(self) -> str:
        """Which way messages go, in words; the log tells of every change after that."""
        self._announced = True
        if self.renderer.direct:
            return "commit (the broker is this Redis: each occurrence is enqueued once, in one atomic step)"
        if self.unproved is None:
            return "outbox (the broker is another server)"
        return "commit or outbox, as soon as the broker answers"

    def _settle(self, proof: Proof) -> None:
        if proof.same is None:
            self._unanswered(proof.why)
            return
        was = (self.proved >= 0, self.renderer.direct)
        self.proved, self.unproved = proof.number, None
        self._pauses.reset()
        self.renderer.adopt(proof.connection, proof.channel)
        self.db = proof.db
        if proof.why.startswith("refused"):
            log.warning(
                "broker.database_denied",
                "The broker may be the schedule's Redis, but a script cannot reach its database (%(why)s). Messages "
                "go through the outbox. Allow SELECT to this user, or use one database number for both.",
                why=mask(proof.why),
            )
        if self._announced and was != (True, self.renderer.direct):
            delivery = "commit" if self.renderer.direct else "outbox"
            log.warning("delivery.changed", "Delivery is by %(delivery)s now.", delivery=delivery)

    def _unanswered(self, why: str) -> None:
        """A broker that does not answer proves nothing: what beat knew still holds, and it asks again."""
        pause = self._pauses.next()
        self._again_at = monotonic() + pause
        if self.unproved is None:
            return
        self.unproved = why
        log.at(
            level_of(self._pauses.attempts),
            "broker.no_answer",
            "The broker at %(broker)s does not answer (%(why)s), so it is not known whether it is the schedule's "
            "Redis. Nothing is sent until it answers; what is due stays due. Attempt %(attempt)d follows in "
            "%(pause).2f s.",
            broker=self.renderer.where(),
            why=why,
            attempt=self._pauses.attempts,
            pause=pause,
        )

    def _presume(self) -> None:
        """Take a broker for another server that never answered, and is at another address than the schedule's."""
        never = self.proved < 0 and self.unproved is not None
        if never and not self._one_address and monotonic() - self._asked_at > self._presumed_after:
            self.unproved = None
            words = "The broker at %(broker)s does not answer. Messages wait for it in the outbox."
            log.warning("broker.presumed_other", words, broker=self.renderer.where())


def _one_address(app: Any, settings: Settings) -> bool:
    """Whether broker and schedule have one address: then a broker that does not answer is most likely this Redis."""
    conf = app.conf.broker_write_url
    brokers = [conf] if isinstance(conf, str) else list(conf or ())
    return not {_address(one) for url in brokers for one in url.split(";")}.isdisjoint(
        {_address(one) for one in settings.url.split(";")}
    )


def _address(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return (host, "") if host else ("", parts.path)
