"""Every key name, and the model they make up.

All keys share one hash tag, so that each script also runs on Redis Cluster. With the default
prefix, ``{redlock-beat}:due`` and so on:

=============  =============  ====================================================================
key            type           holds
=============  =============  ====================================================================
``due``        sorted set     entry name -> when to act: nominal + jitter, or a retry time;
                              unix seconds with microseconds
``entries``    hash           entry name -> definition (JSON, see ``codec``)
``state``      hash           entry name -> ``uid revision nominal last count attempts``, instants
                              in microseconds, ``-`` for none. Every change of an entry changes
                              this text, so comparing it compares uid, revision and progress at once
``configured`` hash           name -> digest of what the configuration last said; outlives the entry
``config``     string         version and digest of the whole configuration as last synced
``left_out``   string         how many configured entries are not in force, and why (JSON; a
                              hundred are named); not there when all are
``application`` string        whose schedule it is: the name of the application that led here first
``loss``       string         what Redis has lost, for an hour or until somebody has taken note of it
``archive``    hash           name -> definition, state and digest of an entry that left the
                              configuration, revived when it comes back
``lease``      string         who holds the term: ``token epoch seen owner``
``epoch``      counter        which term it is; only grows
``manual``     sorted set     triggers, backfills and settled slots waiting to be sent (JSON -> when)
``ledger``     stream         what became of each occurrence; capped
``outbox``     hash           id -> ``epoch item``: claimed, not yet handed to a foreign broker
``request:*``  string         request id -> first answer, five minutes
``beats``      hash           token -> heartbeat of a replica (JSON)
``quarantine`` hash           name -> why it does not decode, compute or render, and the definition
``slow``       hash           name -> how often rendering overran; such an entry renders alone
``wake``       channel        "look again": an edit, a release. Channels cross database numbers in
                              Redis, so its name carries the number
``beat:*``     channel        one per process, named after its token: subscribed while it lives
=============  =============  ====================================================================

On a cluster the channels are sharded ones (Redis 7, Valkey).
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Keys:
    """The key names under one prefix, in one database.

    >>> Keys("redlock-beat").due
    '{redlock-beat}:due'
    """

    prefix: str
    db: int = 0
    due: str = field(init=False)
    entries: str = field(init=False)
    state: str = field(init=False)
    configured: str = field(init=False)
    config: str = field(init=False)
    left_out: str = field(init=False)
    application: str = field(init=False)
    loss: str = field(init=False)
    archive: str = field(init=False)
    lease: str = field(init=False)
    epoch: str = field(init=False)
    manual: str = field(init=False)
    ledger: str = field(init=False)
    outbox: str = field(init=False)
    beats: str = field(init=False)
    quarantine: str = field(init=False)
    slow: str = field(init=False)
    wake: str = field(init=False)

    def __post_init__(self) -> None:
        for name in (
            "due", "entries", "state", "configured", "config", "application", "loss", "left_out", "archive", "lease",
            "epoch", "manual", "ledger", "outbox", "beats", "quarantine", "slow",
        ):  # fmt: skip
            object.__setattr__(self, name, f"{{{self.prefix}}}:{name}")
        object.__setattr__(self, "wake", f"{{{self.prefix}}}:wake@{self.db}")

    def request(self, request_id: str) -> str:
        """The key that remembers the first answer to a request."""
        return f"{{{self.prefix}}}:request:{request_id}"

    def proof(self, nonce: str) -> str:
        """The key through which broker and schedule are proved to be one server."""
        return f"{{{self.prefix}}}:proof:{nonce}"

    def beat(self, token: str) -> str:
        """The channel a process stays subscribed to for as long as it lives; ``presence.lua`` makes its name, too."""
        return f"{{{self.prefix}}}:beat:{token}"
