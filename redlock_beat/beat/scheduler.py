"""RedisScheduler: lead, due, dispatch, wait.

``tick()`` waits inside itself and returns 0 at least each third of the TTL, so that Celery's own
staleness check stays truthful, and it never raises for anything the world outside did. Nothing is
connected before the first tick: Celery builds a second scheduler only to show a banner.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from celery.beat import Scheduler
from celery.utils.log import get_logger
from redis.exceptions import ReadOnlyError
from redis.exceptions import TimeoutError as RedisTimeout

from .. import hooks
from ..clock import MICROS, moment, monotonic
from ..errors import (
    BrokerAway,
    Deposed,
    InvalidSetting,
    RedlockBeatError,
    Replaced,
    UnsupportedServer,
    mask,
    traceback_of,
)
from ..liveness import Heartbeat
from ..messages.renderer import Renderer
from ..schedule.configuration import Configuration, read_configuration
from ..schedule.status import epoch_of, owner_of
from ..settings import Settings, check_broker, settings_of
from ..store import requests as steps
from ..store.client import TROUBLE, Listener, Pauses, Target, drop_connections
from ..store.requests import Census
from ..store.store import Store
from .broker import Proof, Prover
from .configured import ConfigSync
from .dispatch import Dispatcher, prune_beats
from .lease import LOOK, Lease, Term
from .metrics import Served
from .publisher import Publisher

logger = get_logger("redlock_beat")

#: Seconds a SIGTERM waits for the one message that is being published.
FINISH = 1.0

#: Seconds before its time at which a wait on the socket ends and a precise one begins, and past it: it has come then.
EARLY, PAST = 0.002, 0.0001

#: Seconds until the next look while the outbox is full and the broker takes messages.
SOON = 0.01

#: Seconds after which configured entries that were left out are tried again.
AGAIN = 10.0

TIMED_OUT = (RedisTimeout, TimeoutError)

#: Seconds between two complaints about another application's schedule; and for which a loss is shown by `health`.
STRANGE, LOSS_KEPT = 60.0, 3600

#: Seconds a leader waits for the proof that the broker is its Redis before it looks at everything else.
PROOF = 0.05


class RedisScheduler(Scheduler):
    """The scheduler for ``celery -A proj beat -S redlock_beat.RedisScheduler``.

    Any number of replicas may run; one of them, the leader, sends. See :mod:`redlock_beat.beat.lease`.

    >>> # celery -A proj beat -S redlock_beat.RedisScheduler
    """

    #: RedBeat's receiver of ``beat_init`` is connected wherever its package is imported, and takes each
    #: scheduler for its own; it goes away where there is no lock to acquire.
    lock_key = None

    def __init__(self, app: Any, *args: Any, lazy: bool = False, **kwargs: Any) -> None:
        #: Started by Celery's service, above which nobody catches an error; not by somebody who could.
        self._serving = "schedule_filename" in kwargs
        self._failed = False
        try:
            self.settings: Settings = settings_of(app)
            check_broker(app)
            self.target = Target(self.settings)
            self.target.check()
        except InvalidSetting as exc:
            self._give_up(exc)
            raise
        self._ready = False
        self._closed = False
        self._ticking = False
        self._term: Term | None = None
        self._config: ConfigSync | None = None
        self._sync: Iterator[None] | None = None
        self._sync_at = 0.0
        self._generation = 0
        # The proof that holds; -1 before the first.
        self._proved = -1
        self._prove_again_at = float("-inf")
        self._asked_at = float("inf")
        self._strange_again_at = float("-inf")
        self._set_back_from = 0
        self._loss: str | None = None
        # Entries a standby has seen.
        self._entries: int | None = None
        self._proof_pauses = Pauses(self.settings.retry_pause)
        self._said: str | None = None
        self._pauses = Pauses(self.settings.retry_pause)
        self._beaten_at = float("-inf")
        self._begun = False
        self._parent = _embedding_process()
        self._heartbeat = Heartbeat(self.settings.heartbeat_file, self.settings.silence)
        self._metrics: Served | None = None
        super().__init__(app, *args, lazy=True, **kwargs)

    # --- Celery's face ---

    @property
    def info(self) -> str:
        """Where the schedule lives, for Celery's banner."""
        return (
            f"    . redis -> {self.target}\n    . lease -> {self.settings.lease_ttl:g} s, prefix {self.settings.prefix}"
        )

    def setup_schedule(self) -> None:
        """Nothing: the configuration is the leader's to write, and only once it leads."""

    def get_schedule(self) -> Any:
        """The schedule, as a mapping of name to :class:`~redlock_beat.Entry`, read from Redis when used."""
        from ..schedule.schedule import Schedule

        return Schedule(self.app)

    def set_schedule(self, schedule: Any) -> None:
        """Celery assigns an empty one at start; there is nothing to keep."""

    schedule = property(get_schedule, set_schedule)

    def should_sync(self) -> bool:
        """Never: every change is in Redis the moment it is made."""
        return False

    def sync(self) -> None:
        """Nothing: see :meth:`should_sync`."""

    # --- the loop ---

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """One turn: lead or stand by, send what is due, wait. Returns 0, so that Celery never sleeps deaf."""
        if self._closed:
            # The SystemExit of the signal handler was lost (raised inside a destructor, say): end now.
            raise SystemExit(0)
        self._end_if_orphaned()
        self._heartbeat.touch()
        self._ticking = True
        try:
            self._turn()
        except Deposed:
            self._demoted()
        except (UnsupportedServer, InvalidSetting) as exc:  # what no waiting can mend
            self._ticking, self._failed = False, True
            self._give_up(exc)
            raise
        except BrokerAway as exc:
            self._broker_away(exc)
        except Replaced as exc:
            self._replaced(exc)
        except TROUBLE as exc:
            self._trouble(exc)
        except Exception as exc:  # noqa: BLE001 - a beat that dies sends nothing at all
            self._pause("The scheduler met an error it did not expect and goes on: %s", exc, traceback=True)
        self._ticking = False
        return 0

    def _turn(self) -> None:
        if not self._ready:
            self._prepare()
        self._note_loss()
        if self._term is None:
            self._stand_by()
        else:
            self._lead(self._term)
        if self._pauses.attempts:
            logger.info("All is well again; beat goes on.")
            self._pauses.reset()

    def _prepare(self) -> None:
        """The slow things, before standing for election: connect, read the configuration, prove the broker."""
        if not hasattr(self, "store"):
            self._build()
        asked = monotonic()
        hello = self.store.hello()
        self.lease.clock.told(hello.now, asked)
        if hello.maxmemory and hello.policy not in ("", "noeviction"):
            logger.warning(
                "The Redis at %s may evict keys when it is full (maxmemory-policy %s): parts of the schedule could "
                "disappear. Set maxmemory-policy noeviction, or keep the schedule on a server of its own.",
                self.target, hello.policy,
            )  # fmt: skip
        if not hasattr(self, "configuration"):
            self.configuration: Configuration = read_configuration(self.app)
            self.renderer.configuration = {name: one.entry for name, one in self.configuration.entries.items()}
        self._prove(LOOK)
        if not self.listener.subscribe():
            logger.info("The wake-up subscription is not confirmed (is pub/sub denied?); a takeover waits for the TTL.")
        self._adopt_signals()
        self._ready = True
        logger.info(
            "redlock_beat %s: schedule at %s (%s), broker %s, delivery by %s.",
            _version(), self.target, hello.version or "version unknown", self.renderer.where(),
            "commit (the broker is this Redis: each occurrence is enqueued once, in one atomic step)"
            if self.renderer.direct else "outbox (the broker is another server)" if self.dispatcher.unproved is None
            else "commit or outbox, as soon as the broker answers",
        )  # fmt: skip

    def _build(self) -> None:
        if self.settings.metrics_port is not None and self._metrics is None:
            self._metrics = Served(self.settings.metrics_port, self.settings.metrics_host)
        token = secrets.token_urlsafe(12)
        owner = f"{socket.gethostname()}:{os.getpid()}"
        self.renderer = Renderer(self.app, self.settings.socket_timeout)
        # For the signal handler alone: the loop's own client may be in the middle of a reply.
        self._exit_store = Store(self.target, self.target.client(min(self.settings.socket_timeout, 1.0)))
        self.listener = Listener(self.target, token)
        store = Store(self.target)
        self.lease = Lease(store, self.listener, self.settings, owner)
        self.publisher = Publisher(self.app, store, self.settings.publish_timeout, self.settings.retry_pause)
        self.dispatcher = Dispatcher(self.settings, store, self.lease, self.renderer, self.publisher)
        self._prover = Prover(self.app, store, self.settings.socket_timeout)
        self._one_address = _one_address(self.app, self.settings)
        self.dispatcher.unproved = "it has not been asked yet"
        self.store = store

    # --- the broker: which of the two ways ---

    def _prove(self, seconds: float) -> bool:
        """Whether it is known which way messages go, perhaps after so long: by commit or through the outbox."""
        if self._proved != self._generation or self.renderer.stale:
            now = monotonic()
            if now >= self._prove_again_at:
                self._prover.ask(self._generation)
                self._asked_at = min(self._asked_at, now)
            proof = self._prover.answer(seconds if self.dispatcher.unproved else 0)
            if proof is not None and proof.number == self._generation:
                self._take(proof)
            elif proof is not None and proof.connection is not None:
                proof.connection.release()  # asked for before the last trouble: it says nothing of now
            self._presume()
        return self.dispatcher.unproved is None

    def _doubt(self) -> None:
        """Another server may be at the broker's address now, or at the schedule's: it has to be proved again."""
        self._generation += 1
        if hasattr(self, "dispatcher") and self.renderer.direct:
            self.dispatcher.unproved = "it has to be proved again that it is this Redis"

    def _take(self, proof: Proof) -> None:
        if proof.same is None:
            self._unanswered(proof.why)
            return
        was = (self._proved >= 0, self.renderer.direct)
        self._proved, self.dispatcher.unproved = proof.number, None
        self._proof_pauses.reset()
        self.renderer.adopt(proof.connection, proof.channel)
        self.dispatcher.broker_db = proof.db
        if proof.why.startswith("refused"):
            logger.warning(
                "The broker may be this very Redis, but a script may not reach its database (%s), so messages go "
                "through the outbox. Allow SELECT to this user, or use one database number for both.", mask(proof.why),
            )  # fmt: skip
        if self._ready and was != (True, self.renderer.direct):
            logger.warning("Delivery is by %s now.", "commit" if self.renderer.direct else "outbox")

    def _unanswered(self, why: str) -> None:
        """No answer is no answer: what was known of another server still holds, and this one is asked again."""
        pause = self._proof_pauses.next()
        self._prove_again_at = monotonic() + pause
        if self.dispatcher.unproved is None:
            return
        self.dispatcher.unproved = why
        many = self._proof_pauses.attempts
        logger.log(
            logging.ERROR if many <= 3 or many % 30 == 0 else logging.DEBUG,
            "Whether the broker at %s is the schedule's Redis is not known: no answer (%s). Nothing is sent until it "
            "is; what is due stays due. Attempt %d follows in %.2f s.", self.renderer.where(), why, many, pause,
        )  # fmt: skip

    def _presume(self) -> None:
        """A broker that never answered, at another address than the schedule's Redis, is taken for another server."""
        never = self._proved < 0 and self.dispatcher.unproved is not None
        if never and not self._one_address and monotonic() - self._asked_at > self.settings.lease_ttl:
            self.dispatcher.unproved = None
            logger.warning(
                "The broker at %s does not answer. Messages wait for it in the outbox.", self.renderer.where()
            )

    # --- standby ---

    def _stand_by(self) -> None:
        self.lease.stay_subscribed()
        now = monotonic()
        heartbeat = ""
        if now - self._beaten_at > self.settings.lease_ttl:
            heartbeat = self.dispatcher.heartbeat("standby", None)
            self._beaten_at = now
            census = self.store.run(steps.census(self.store.keys))
            self._is_ours(census)
            if census.epoch >= self.lease.lowest_epoch:
                self._entries = census.entries
        newest = self.lease.lowest_epoch
        seen, free = self.lease.look(heartbeat)
        if (epoch := epoch_of(seen.held)) and epoch < newest:
            self._set_back(newest, epoch)
        if hooks.listening():
            hooks.emit(hooks.Turned(self.dispatcher.now() / MICROS, "standby"))
        role = f"standby; {owner_of(seen.held) or 'another beat'} leads"
        if free:
            if self.renderer.direct and self.dispatcher.unproved is None:
                self._doubt()  # it is proved once a term
            census = self.store.run(steps.census(self.store.keys))
            if not self._is_ours(census):
                role = "standby; the schedule is another application's"
            elif self._prove(LOOK):
                steal = seen.held if seen.held and not seen.held.startswith(self.lease.token + " ") else ""
                term = self.lease.acquire(steal)
                if term is not None:
                    self._promoted(term, seen.held if steal else "")
                    if census.epoch < newest:
                        self._set_back(newest, census.epoch, census.entries)
                    return
            else:
                role = "standby until it is known whether the broker is the schedule's Redis"
        self._say_role(role)
        # An edit is the leader's business; a release is ours.
        deadline = monotonic() + min(LOOK, self.settings.lease_ttl / 3)
        while (left := deadline - monotonic()) > 0 and self.listener.wait(left) != "release":
            pass

    def _promoted(self, term: Term, stolen_from: str) -> None:
        self._term = term
        if stolen_from:
            logger.warning("The leader %s is gone; its term is taken over.", owner_of(stolen_from))
        self._say_role(f"leader, term {term.epoch}")
        self._begun = False
        hooks.emit(hooks.TermBegan(self.dispatcher.now() / MICROS, term.epoch))

    # --- whose schedule it is, and whether Redis still has it ---

    def _is_ours(self, census: Census) -> bool:
        """Whether this beat may lead here: not where another application's schedule is."""
        ours, theirs = self.settings.application, census.application
        ok = not ours or not theirs or ours == theirs
        if not ok and monotonic() >= self._strange_again_at:
            self._strange_again_at = monotonic() + STRANGE
            logger.error(
                "The schedule at %s with prefix %r is that of the application %r, and this one is %r: this beat does "
                "not lead, and nothing of its schedule is sent. Set redlock_beat_prefix to a name of this "
                "application's own; or, if it is the same application renamed, redlock_beat_application = %r.",
                self.target, self.settings.prefix, theirs, ours, theirs,
            )  # fmt: skip
        return ok

    def _set_back(self, before: int, now: int, entries: int | None = None) -> None:
        """The counter of terms stands lower than it once did: what Redis had is gone, all of it or the newest."""
        if before <= self._set_back_from:
            return  # it has been said
        if entries is None:
            entries = self.store.run(steps.census(self.store.keys)).entries
        self._set_back_from = before
        known = self._entries
        were = "" if known is None else f", {known} before"
        self._lost(
            f"Redis has lost data: it counted {before} terms, and counts {now} now; {entries} entries were left in the "
            f"schedule{were}. What was added or edited at runtime and is not there is lost unless a backup has it; the "
            f"entries of beat_schedule are written again.", known, entries, before, now,
        )  # fmt: skip

    def _replaced(self, exc: Replaced) -> None:
        """Everything that is known of Redis is read again, from the outbox to the configuration."""
        self._doubt()
        self._begun = False
        term, entries = self._term, self.dispatcher.entries
        if exc.older is None:
            logger.info("Redis at %s is another process than before; what is known of it is read again.", self.target)
        elif term is not None:
            span = f"at least {exc.older:.1f} s older" if exc.older else "without what this beat had written"
            self._lost(
                f"Redis has come back {span}: edits of that time are lost, and what was sent in it may be sent again.",
                None, entries or 0, term.epoch, term.epoch,
            )  # fmt: skip

    def _lost(self, why: str, entries_before: int | None, entries_now: int, epoch_before: int, epoch_now: int) -> None:
        """Say it loudly: in the log, to hooks, and for an hour to whoever asks for the health."""
        logger.critical("%s", why)
        at = self.dispatcher.now()
        hooks.emit(hooks.DataLost(at / MICROS, why, entries_before, entries_now, epoch_before, epoch_now))
        self._loss = f"{moment(at):%Y-%m-%d %H:%M:%S} UTC: {why}"

    def _note_loss(self) -> None:
        if self._loss is None:
            return
        try:
            self.store.note_loss(self._loss, LOSS_KEPT)
        except TROUBLE as exc:  # kept until Redis takes it; one that is full still has a leader
            logger.debug("What Redis has lost could not be noted yet: %s", mask(exc))
        else:
            self._loss = None

    def _begin(self, term: Term) -> None:
        """What a new term begins with; repeated from the start when Redis fails in the middle of it."""
        application = self.settings.application
        if application and self.store.introduce(term.fence, application) != application:
            # Another one came in between our look and our term.
            self.store.release(term.fence, self.lease.token)
            raise Deposed
        self.dispatcher.begin(term)
        self._config = ConfigSync(self.settings, self.store, self.lease, self.configuration, self.dispatcher.code)
        self._sync = self._config.run(term)
        prune_beats(self.store, self.store.now())
        self._begun = True

    def _configure(self, term: Term) -> bool:
        """Write a page of the configuration, between two turns: dispatch never waits for it. Whether there was one."""
        config = self._config
        assert config is not None
        if self._sync is None and config.lost(self.dispatcher.mark):
            logger.warning("Redis no longer has the configuration as this beat has written it; it is written again.")
            self._sync = config.run(term)
        if self._sync is None:
            if not config.unfinished or monotonic() < self._sync_at:
                return False
            self._sync = config.again(term)
        try:
            next(self._sync)
        except StopIteration:
            self._sync, self._sync_at = None, monotonic() + AGAIN
        except (Deposed, *TROUBLE):
            self._sync = config.run(term)  # an iterator that raised is over; what is done is done
            raise
        except Exception as exc:  # noqa: BLE001 - whatever it is, what is in force is sent, and the rest tried again
            self._sync, self._sync_at = None, monotonic() + AGAIN
            logger.error(  # noqa: TRY400 - the traceback may hold a URL
                "The configuration is not all in force; the rest is tried again in %.0f s:\n%s",
                AGAIN,
                traceback_of(exc),
            )
        return True

    def _demoted(self) -> None:
        term, self._term, self._sync, self._begun = self._term, None, None, False
        self.publisher.lead(None)
        self._entries = self.dispatcher.entries or self._entries
        self._beaten_at = float("-inf")
        if term is not None:
            logger.warning("Term %d is over: another beat leads, or will. This one stands by.", term.epoch)
            self._said = None
            hooks.emit(hooks.TermEnded(self.dispatcher.now() / MICROS, term.epoch))

    def _say_role(self, role: str) -> None:
        if role != self._said:
            self._said = role
            logger.info("This beat is %s.", role)

    # --- leader ---

    def _lead(self, term: Term) -> None:
        proved = self._prove(PROOF)
        self.listener.glance()  # a busy leader does not wait, and would not notice that it is lost
        self.lease.stay_subscribed()
        if not self._begun:
            self._begin(term)
        turn = self.dispatcher.turn(term) if proved else self.dispatcher.hold(term)
        if self._configure(term):
            return
        if turn.busy:
            return
        third = self.settings.lease_ttl / 3
        left = third - (monotonic() - term.renewed_at)
        if not proved:
            left = min(left, PROOF)
        if turn.blocked:  # the outbox is full: while the broker takes messages there is room in a moment
            left = min(left, LOOK if self.publisher.failing else SOON)
        if turn.next_at is not None:
            left = min(left, (turn.next_at - self.dispatcher.now()) / MICROS)
        if left > 0:
            self._wait(left)

    def _wait(self, seconds: float) -> None:
        """Wait for a wake-up, and to the end precisely: a socket's timeout is a millisecond late or more."""
        deadline = monotonic() + seconds + PAST
        if self.listener.wait(max(0.0, seconds - EARLY)) is None:
            rest = deadline - monotonic()
            if rest > 0:
                time.sleep(min(rest, EARLY + PAST))

    # --- when the world outside is not as it should be ---

    def _trouble(self, exc: BaseException) -> None:
        # A promotion or a restart may have brought another server to this address.
        self._doubt()
        readonly = isinstance(exc, ReadOnlyError) or "READONLY" in str(exc)
        if readonly:
            drop_connections(self.store.client)
        if (readonly or isinstance(exc, TIMED_OUT)) and hasattr(self, "listener"):
            # The subscription goes to the same server: it may be open at this end only.
            self.listener.close()
        where = str(self.target).replace("%", "%%")
        self._pause(f"Redis at {where} does not serve us (%s)", exc)

    def _broker_away(self, exc: BrokerAway) -> None:
        """While a message was rendered: no entry is at fault, and each is still due."""
        logger.debug("Rendering was broken off: %s", mask(exc))
        self._doubt()
        self.dispatcher.unproved = str(exc)
        self.renderer.close()
        self._prove_again_at = monotonic() + self._proof_pauses.next()

    def _pause(self, words: str, exc: BaseException, traceback: bool = False) -> None:
        pause = self._pauses.next()
        # Each attempt is a line at first; later only now and then.
        many = self._pauses.attempts
        level = logging.ERROR if many <= 3 or many % 30 == 0 else logging.DEBUG
        said = traceback_of(exc) if traceback and many <= 3 else mask(f"{type(exc).__name__}: {exc}")
        logger.log(level, words + ". What is due stays due. Attempt %d follows in %.2f s.", said, many, pause)
        listener = getattr(self, "listener", None)
        if listener is not None and listener.confirmed:
            listener.wait(pause)
        else:
            threading.Event().wait(pause)

    # --- the end ---

    def close(self) -> None:
        """Give the term back and let the others know. Called in a signal handler, and again afterwards.

        It may interrupt the loop in the middle of a reply, so it uses a connection of its own, waits
        for nothing longer than a second or so, and does its work once.
        """
        if not self._closed:
            self._closed = True
            with contextlib.suppress(Exception):
                self._hand_over()
            self._heartbeat.close()
        if not self._ticking:
            # Not inside the loop: nothing is in use any more.
            with contextlib.suppress(Exception):
                self._dispose()
        super().close()
        if self._failed and self._serving:
            # Celery's service takes the SystemExit of a tick for an end as it should be; what its last call raises
            # becomes the exit code.
            self._failed = False
            raise SystemExit(1)

    def _give_up(self, exc: RedlockBeatError) -> None:
        """End a beat that can never work: with one line that says what to do, and without a traceback."""
        if not self._serving:
            return
        if _heard(logger):
            logger.critical("Beat cannot run: %s", mask(exc))
        else:  # Celery sets up logging after the banner, which is where a setting is first looked at
            print(f"CRITICAL: Beat cannot run: {mask(exc)}", file=sys.stderr)
        raise SystemExit(1) from None

    def _hand_over(self) -> None:
        if not hasattr(self, "store"):
            return
        if self.publisher.finish(FINISH):
            self.publisher.close()  # what was accepted is removed from the outbox before another leads
        else:
            logger.warning("A message is still on its way to the broker after %.0f s; beat ends all the same.", FINISH)
        term, self._term = self._term, None
        self._exit_store.release(term.fence if term else None, self.lease.token)
        if term is not None:
            logger.info("Term %d is given back.", term.epoch)
            hooks.emit(hooks.TermEnded(self.dispatcher.now() / MICROS, term.epoch))

    def _dispose(self) -> None:
        if self._metrics is not None:
            self._metrics.close()
        if hasattr(self, "store"):
            self.listener.close()
            self.renderer.close()
            self._exit_store.client.close()
            self.store.client.close()

    def _end_if_orphaned(self) -> None:
        """Under ``worker -B``: when the worker is gone, end. An orphan must not lead."""
        if self._parent is not None and os.getppid() != self._parent:
            logger.warning("The worker this beat was embedded in is gone; ending.")
            self.close()
            raise SystemExit(0)

    def _terminated(self, *args: object) -> None:
        self.close()
        sys.exit(0)

    def _adopt_signals(self) -> None:
        # An embedded beat gets SIGTERM's default action, which would leave the lease to its TTL.
        if self._parent is None or threading.current_thread() is not threading.main_thread():
            return
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._terminated)


def _heard(log: logging.Logger) -> bool:
    """Whether what is logged here reaches anybody."""
    while not any(not isinstance(one, logging.NullHandler) for one in log.handlers):
        if not log.propagate or log.parent is None:
            return False
        log = log.parent
    return True


def _embedding_process() -> int | None:
    from billiard.process import current_process

    parent = getattr(current_process(), "_parent_pid", None)
    return parent if isinstance(parent, int) else None


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


def _version() -> str:
    from .. import __version__

    return __version__
