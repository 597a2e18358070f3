"""Every key name, and the data model.

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
``digests``    hash           what the configuration last said of each name, which outlives the entry; several
                              names in a field, see ``digest.lua``
``configured`` hash           the same as releases before wrote it: name -> digest; goes as it is written anew
``config``     string         version and digest of the whole configuration as last synced
``left_out``   string         how many configured entries are not in force, and why (JSON; it
                              names a hundred); not there when all are in force
``application`` string        whose schedule it is: the name of the application that led here first
``layout``     string         which keys there are and what they mean, where a later release has changed that: a
                              release that does not know the layout does not lead. None is written so far
``loss``       string         what Redis has lost, for an hour or until somebody acknowledges it
``loaded``     hash           name -> digest of what a default said when it was last loaded; outlives the entry
``archive``    hash           name -> definition, state and digest of an entry that left the
                              configuration, revived when it comes back
``lease``      string         who holds the term: ``token epoch seen owner``
``epoch``      counter        which term it is; only grows
``hold``       hash           ``id at until actor note seen``: until it is removed, or ``until`` (empty: no end)
                              is past, nothing is sent; ``seen`` is the term whose leader has stopped
``manual``     sorted set     triggers, backfills and settled slots waiting to be sent (JSON -> when)
``ledger``     stream         what became of each occurrence; capped
``edit_log``   stream         who edited what, when and why; capped
``outbox``     hash           id -> ``epoch item``: claimed, not yet handed to a foreign broker; ``epoch taken item``:
                              at most once, and on its way
``countdowns`` sorted set     task id -> when a call with a countdown or eta is sent
``countdown_items`` hash      task id -> ``token head`` and the messages of the call
``request:*``  string         request id -> first answer, five minutes; of what a worker last told or looked for, a day
``beats``      hash           token -> heartbeat of a replica (JSON)
``quarantine`` hash           name -> why it does not decode, compute or render, and the definition
``slow``       hash           name -> how often rendering overran; such an entry renders alone
``workers``    sorted set     token of a Celery worker -> when its lease lapses, unless it renews it
``runs``       hash           task id -> `token began nominal worker entry`: what runs, as workers tell it
``claims``     hash           name of an entry with one run at a time -> `id until token limit` (``claims.lua``)
``buffered``   hash           name -> what waits until its claim is free (JSON)
``cancelling`` hash           id of a run that another has taken the place of -> `1` to terminate it, else empty
``failures``   hash           entry name -> how many of its runs have failed in a row
``begun``      sorted set     `id:tries` of a run that may begin once -> when it did
``locks``      hash           digest of a task and its key -> who holds its lock (JSON, see ``lua/lock.lua``)
``lock_ends``  sorted set     the same digest -> when the lock lapses, unix milliseconds
``aside``      sorted set     task ids that must not run: superseded, or (after ``ran``) run already -> until when
``cooldowns``  sorted set     digest -> until when a call like it is ignored
``wake``       channel        "look again": an edit, a release. Channels cross database numbers in
                              Redis, so its name carries the number
``beat:*``     channel        one per process, named after its token: subscribed while it lives
=============  =============  ====================================================================

On a cluster the channels are sharded ones (Redis 7, Valkey).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields


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
    digests: str = field(init=False)
    configured: str = field(init=False)
    config: str = field(init=False)
    left_out: str = field(init=False)
    application: str = field(init=False)
    layout: str = field(init=False)
    loss: str = field(init=False)
    loaded: str = field(init=False)
    archive: str = field(init=False)
    lease: str = field(init=False)
    epoch: str = field(init=False)
    hold: str = field(init=False)
    manual: str = field(init=False)
    ledger: str = field(init=False)
    edit_log: str = field(init=False)
    outbox: str = field(init=False)
    beats: str = field(init=False)
    quarantine: str = field(init=False)
    slow: str = field(init=False)
    workers: str = field(init=False)
    countdowns: str = field(init=False)
    countdown_items: str = field(init=False)
    runs: str = field(init=False)
    claims: str = field(init=False)
    buffered: str = field(init=False)
    cancelling: str = field(init=False)
    failures: str = field(init=False)
    begun: str = field(init=False)
    locks: str = field(init=False)
    lock_ends: str = field(init=False)
    aside: str = field(init=False)
    cooldowns: str = field(init=False)
    wake: str = field(init=False)

    def __post_init__(self) -> None:
        for name in (one.name for one in fields(self) if not one.init):
            object.__setattr__(self, name, f"{{{self.prefix}}}:{name}")
        object.__setattr__(self, "wake", f"{{{self.prefix}}}:wake@{self.db}")

    def request(self, request_id: str) -> str:
        """The key that keeps the first answer to a request."""
        return f"{{{self.prefix}}}:request:{request_id}"

    def proof(self, nonce: str) -> str:
        """The key that proves broker and schedule to be one server."""
        return f"{{{self.prefix}}}:proof:{nonce}"

    def beat(self, token: str) -> str:
        """The channel to which a process is subscribed while it lives; ``presence.lua`` makes its name, too."""
        return f"{{{self.prefix}}}:beat:{token}"
