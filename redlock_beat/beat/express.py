"""The quick way from due to sent: messages filled in, many at a time, Redis and Python both at work.

"Sent" is in the queue, or behind another broker in the outbox.

For an entry whose messages have a :class:`~redlock_beat.messages.template.Shape` and of which one slot is due,
everything comes out of what ``due`` brought along: nothing is kept an entry, so a hundred thousand
entries are as quick as a thousand. Where there is no shape (a receiver of a publish signal, say) the
message is rendered, and takes the same way from there. All else (several slots due, failed attempts,
several messages, ...) is left to the dispatcher.

A burst is a pipeline. Two batches are at hand at first, and each that is sent asks for one more.
Two are under way, so that Redis has work while Python reads what became of the one before, and makes
the next::

    Python   make A | make B           | read A, make C   | read B, make D   | ...
    Redis           | commit A, due->C | commit B, due->D | commit C, due->E | ...

How many make a batch follows from how long Redis takes for one.
"""

from __future__ import annotations

import hashlib
import json
import logging
import traceback
import uuid
from collections import deque
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from redis.exceptions import NoScriptError

from ..clock import MICROS, from_score, monotonic, score
from ..entries.codec import VERSION, decode, decoded
from ..entries.entry import Entry
from ..entries.policies import SKIP_GRACE, Plan, act_at, only_slot
from ..entries.state import State
from ..errors import BrokerAway, Deposed, traceback_of
from ..messages.reasons import Reasons
from ..messages.renderer import Rendered, Renderer
from ..messages.template import (
    PROVE_MESSAGES,
    PROVE_SECONDS,
    Refused,
    Shape,
    Unfit,
    fingerprint,
    prove,
    shape_of,
    whole_refusal,
)
from ..recurrence import Crontab, Once, Rules
from ..settings import Settings
from ..store import requests
from ..store.client import TROUBLE
from ..store.item import Item, stamp
from ..store.pipeline import Wire
from ..store.store import Store
from ..store.values import Due, DueItem, Many
from .cache import Cache
from .lease import Lease, Term
from .usercode import UserError

logger = logging.getLogger("redlock_beat")

#: Seconds one run may take before the loop looks at everything else again.
SPAN = 0.4
#: Seconds one commit should take Redis, and the fewest occurrences in one.
AIM, FEWEST = 0.004, 25
#: Bytes of messages in one commit, about.
BYTES = 1_000_000
#: Every so many batches one is timed, which means waiting for it.
TIMED = 16
#: Seconds after which a refused shape is tried again.
REFUSED_FOR = 60.0
#: Seconds after which nothing more is rendered into a batch: what is ready should not wait for it.
RENDER_SPAN = 0.1
#: Entries that one run leaves to the dispatcher before it looks no further.
PASSED = 10_000
#: Seconds after which an occurrence is tried again whose queue took nothing; see commit_many.lua.
REFUSED_PAUSE = 1.0
#: Shapes kept.
SHAPES = 1_000
#: Entries of a task and options that may be tried in vain, one after the other, before all of them are rendered.
TRIES = 5

#: What a definition may hold and still be dealt with here without becoming an Entry first.
_PLAIN = frozenset(
    ("v", "uid", "rev", "task", "kind", "s_every", "s_cron", "s_at", "at", "tz", "from", "args", "kwargs", "options",
     "missed")
)  # fmt: skip
#: Kinds whose slots are computed in microseconds, by code of ours alone: no watch is needed.
_QUICK = frozenset(("interval", "crontab", "once"))
_RUBBISH = "its definition or its state cannot be read"
_NOTHING: list[Any] = []
_VARIANT = {c: "89ab"[int(c, 16) & 3] for c in "0123456789abcdef"}


class _Left(Exception):
    """An entry is left to the dispatcher; its text says why."""


@dataclass(slots=True)
class _Batch:
    """Occurrences made ready, by the list they go to."""

    groups: dict[str, Many] = field(default_factory=dict)
    #: What the publisher gets of it once it is claimed; then everything is in the one group of the outbox.
    items: list[Item] = field(default_factory=list)
    size: int = 0


@dataclass(slots=True)
class _Sent:
    """A batch whose answer is not read yet."""

    batch: _Batch
    started: float
    #: How many it asks for that are due next; 0 when it does not ask.
    asked: int
    timed: bool


@dataclass
class Express:
    """The quick way, for one dispatcher."""

    settings: Settings
    store: Store
    lease: Lease
    renderer: Renderer
    #: Redis's time now.
    now: Callable[[], int]
    #: Told of each occurrence that is sent: name, task, nominal, id, the score it was due at.
    sent: Callable[[str, str, int, str, str, Term], None]
    #: Told of each occurrence whose commit was not answered: name, state it leaves behind, what to do if it took place.
    unanswered: Callable[[str, str, Callable[[], None], Term], None]
    #: Told of each answer that says what is due.
    looked: Callable[[Due, Term], None]
    #: The text of the heartbeat that a commit carries along.
    heartbeat: Callable[[Term], str]
    #: Renders one occurrence, renewing the term and watching the time; told why it is not filled in.
    render: Callable[[Term, Entry, int, str, str], Rendered]
    #: The row of the ledger of an occurrence, for the outbox.
    row: Callable[[str, str, int, str, Term], list[Any]]
    #: Told what was claimed for another broker.
    claimed: Callable[[list[Item]], None]
    cache: Cache
    #: Runs the code of an entry (its rrule, say) under watch.
    code: Callable[[Term, str, Callable[[], Any]], Any]
    #: Told of each whose queue took nothing: name, why, and the seconds until it is tried again.
    refused: Callable[[str, str, float], None]
    size: int = 200
    broker_db: int = 0
    wire: Callable[[Any, set[str], str], Wire] = Wire
    #: What was rendered here and has to go the other way: (name, slot) -> messages, or what rendering raised.
    kept: dict[tuple[str, int], Rendered | Exception] = field(default_factory=dict)
    #: Why each entry that is left is, by its name; and how often anything was rendered for what reason.
    why: dict[str, str] = field(default_factory=dict)
    reasons: Reasons = field(default_factory=Reasons)
    #: Whether messages go to this Redis itself; else to the outbox, and for how many there is room.
    direct: bool = False
    room: int | None = None
    #: How long the outbox may become.
    outbox_limit: int = 0
    _shapes: dict[Any, Shape | tuple[str, float]] = field(default_factory=dict)
    _print: Any = None
    _whole: str | None = None
    _unfit: dict[Any, int] = field(default_factory=dict)
    #: Attempts in vain to render one of a task and options, one after the other in this run: others are looked past.
    _vain: dict[Any, int] = field(default_factory=dict)
    #: Microseconds of lateness that are on time for every plain entry.
    _patience: int = 0
    _count: int = 0
    _typed: bool = False
    _forgotten: bool = False
    _more: bool = False
    _loaded: set[str] = field(default_factory=set)

    # --- the pipeline ---

    @property
    def fetch(self) -> int:
        """How many due entries to ask for: two batches."""
        return 2 * self.size

    def prepare(self) -> None:
        """Look whether the broker is this Redis at this moment, and whether messages can be filled in."""
        self.direct = self.renderer.still_direct()
        cron_grace = self.settings.cron_grace
        self._patience = round((SKIP_GRACE if cron_grace is None else min(SKIP_GRACE, cron_grace)) * MICROS)
        seen = (fingerprint(self.renderer.app), self.direct, self.renderer.proof)
        if seen != self._print:
            self._print = seen
            self._shapes.clear()
            self._unfit.clear()
            self._whole = whole_refusal(self.renderer.app)
            if self._whole:
                words = "Each message is rendered by itself, which is slower: %s."
                self.reasons.say(self._whole, logging.INFO, words, self._whole)

    def run(self, term: Term, due: Due, aside: Container[str]) -> list[DueItem]:
        """Send what is due and is one message for one list; what is left goes the other way."""
        left: list[DueItem] = []
        until = monotonic() + SPAN
        self._typed, self._forgotten = due.typed, False
        self.kept.clear()
        self.why.clear()
        self._vain.clear()
        self._has_room(due, 0)
        self._more = due.backlog > len(due.entries) + len(due.manual)
        hand = deque(part for part in (due.entries[: self.size], due.entries[self.size :]) if part)
        under_way: deque[_Sent] = deque()
        wire = self.wire(self.store.client, self._loaded, self.store.keys.lease)
        try:
            wire.load("commit_many", "due")
            while hand or under_way:
                if hand:
                    batch = self._make(term, hand.popleft()[: self.room], aside, left)
                    more = self._more and len(left) < PASSED and not self._forgotten and monotonic() < until
                    timed = batch.size > 0 and ((not hand and not under_way) or self._count % TIMED == 0)
                    # When all was left there is nothing to commit, but perhaps something behind it.
                    if batch.size or (more and not hand and not under_way and self.room != 0):
                        while timed and under_way:
                            self._arrived(wire, term, under_way, hand, left)
                        coming = sum(len(part) for part in hand) + sum(sent.asked for sent in under_way) + len(left)
                        under_way.append(self._send(wire, term, batch, coming, more, timed))
                        if timed:
                            self._arrived(wire, term, under_way, hand, left)
                if under_way and (len(under_way) > 1 or not hand):
                    self._arrived(wire, term, under_way, hand, left)
        except Deposed:
            raise
        except BaseException:
            for sent in under_way:
                self._unanswered(sent.batch, term)
            raise
        finally:
            wire.close()
        if self._forgotten:
            logger.debug("Redis has forgotten the scripts; they are loaded again, and the turn is taken again.")
        return left

    def _send(self, wire: Wire, term: Term, batch: _Batch, coming: int, more: bool, timed: bool) -> _Sent:
        """Commit a batch and, if *more* may be due, look what is after all that is at hand, *coming* or left."""
        if self.room is not None:
            self.room = max(0, self.room - batch.size)
        asked = (self.size if self.room is None else min(self.size, self.room)) if more else 0
        sent = _Sent(batch, monotonic(), asked, timed)
        commands = [self._commit(wire, term, batch)] if batch.size else []
        if asked:
            commands.append(self._look(wire, term, coming, asked))
        wire.send(*commands)
        self._count += 1
        return sent

    def _arrived(
        self, wire: Wire, term: Term, under_way: deque[_Sent], hand: deque[list[DueItem]], left: list[DueItem]
    ) -> None:
        """Read what became of the batch that was sent first, and what is due since; that is at hand then."""
        sent = under_way[0]
        results = self._read(wire) if sent.batch.size else None
        under_way.popleft()
        if sent.timed:
            self._timed(sent.batch.size, monotonic() - sent.started)
        try:
            found = self._read(wire) if sent.asked else None
        except BaseException:
            if results is not None:
                self._account(sent.batch, results, term)
            raise
        if results is not None or found is not None:  # else nothing has run, and nothing was renewed
            self.lease.trust(term, sent.started)
        if found is not None:
            self.looked(found, term)
            self._typed = self._typed or found.typed
            self._has_room(found, sum(one.batch.size for one in under_way))
            self._more = self._more and not found.manual
            fresh = self._fresh(found, under_way, hand, left)
            if fresh:
                hand.append(fresh)
        if results is not None:
            self._account(sent.batch, results, term)
        if self._forgotten:
            hand.clear()

    def _read(self, wire: Wire) -> Any:
        """The next answer; None when Redis had forgotten the script, and has done nothing."""
        try:
            return wire.read()
        except NoScriptError:
            self._forgotten = True
            return None

    def _commit(self, wire: Wire, term: Term, batch: _Batch) -> bytes:
        return wire.request(
            requests.commit_many(
                self.store.keys, term.fence, batch.groups, self.settings.ledger_size, self.broker_db, self.lease.token,
                self.heartbeat(term), self.lease.owner,
            )
        )  # fmt: skip

    def _look(self, wire: Wire, term: Term, skip: int, limit: int) -> bytes:
        return wire.request(requests.due(self.store.keys, term.fence, limit, self.lease.token, "", skip))

    def _timed(self, size: int, took: float) -> None:
        """Redis took so long for so many: how many it shall be from now on."""
        if size < FEWEST:
            return
        aim = max(0.5, min(1.5, AIM / max(took, 1e-6) * size / self.size))
        self.size = max(FEWEST, min(self.settings.batch_size, round(self.size * aim)))

    def _has_room(self, due: Due, ready: int) -> None:
        """How many more the outbox takes: it is so long, and will be so much longer with what is ready."""
        self.room = None if self.direct else max(0, self.outbox_limit - due.outbox - ready)

    def _fresh(
        self, due: Due, sent: Iterable[_Sent], hand: Iterable[list[DueItem]], left: list[DueItem]
    ) -> list[DueItem]:
        """What is due and not at hand or under way already."""
        known = {item.name for item in left}
        known.update(item.name for part in hand for item in part)
        for one in sent:
            for many in one.batch.groups.values():
                known.update(row[0] for row in many.rows)
        return [item for item in due.entries if item.name not in known]

    def _unanswered(self, batch: _Batch, term: Term) -> None:
        for many in batch.groups.values():
            for name, due, _, _, then, id_, nominal, task in many.rows:
                self.unanswered(name, then, partial(self.sent, name, task, int(nominal), id_, due, term), term)

    def _account(self, batch: _Batch, outcome: tuple[str, str], term: Term) -> None:
        results, why = outcome
        rows = (row for many in batch.groups.values() for row in many.rows)
        for (name, due, *_, id_, nominal, task), result in zip(rows, results, strict=True):
            if result in "oc":
                self.sent(name, task, int(nominal), id_, due, term)
            elif result == "f":
                self.refused(name, why, REFUSED_PAUSE)
        claimed = [item for item, result in zip(batch.items, results, strict=False) if result == "c"]
        if claimed:
            self.claimed(claimed)

    # --- making messages ready ---

    def _make(self, term: Term, items: list[DueItem], aside: Container[str], left: list[DueItem]) -> _Batch:
        batch = _Batch()
        if not items:
            return batch
        now, moment = self.now(), monotonic()
        tags = str(uuid.uuid4())[:24]  # the rest is counted
        # What the id of each occurrence begins with is hashed once; see render.task_id.
        start = b"%bredlock-beat\n%b\n" % (
            uuid.NAMESPACE_OID.bytes,
            self.settings.prefix.encode("utf-8", "surrogatepass"),
        )
        begun = hashlib.sha1(start, usedforsecurity=False)
        shapes = self._shapes
        room = BYTES
        for number, item in enumerate(items):
            if room < 0:
                break  # what is not taken is still due, and first at the next look
            try:
                data, name = item.data, item.name
                uid, rev, slot, _, count, attempts = item.state.split(" ")  # type: ignore[union-attr]
                if data["uid"] != uid or data["rev"] != int(rev) or data["v"] != VERSION:
                    raise _Left("it was edited meanwhile")
                if attempts != "0":
                    raise _Left("an attempt of it has failed")
                if name in aside:
                    raise _Left("it renders slowly, or was in quarantine")
                nominal, task, options = int(slot), data["task"], data.get("options")
                following, gone = self._following(term, item, data, nominal, int(count), now, moment)
                digest = begun.copy()
                digest.update(b"%b\n%d\n" % (uid.encode(), nominal))
                id_ = _uuid5(digest.hexdigest())
                shape: Any = None
                if not self._whole:
                    kind = task if options is None else (task, json.dumps(options))
                    shape = shapes.get(kind)
                    if shape is None or (
                        shape.prove_at < moment or shape.messages > PROVE_MESSAGES
                        if type(shape) is Shape else shape[1] < moment
                    ):  # fmt: skip
                        shape = self._shape(kind, item, now)
                if type(shape) is Shape:
                    args, kwargs = data.get("args", _NOTHING), data.get("kwargs")
                    tag = f"{tags}{number:012x}"
                    message: Any = shape.fill(args, kwargs, name, id_, nominal, tag, now)
                    shape.messages += 1
                    key = shape.key
                else:
                    why = self.why[name] = self._whole or shape[0]
                    kind = task if options is None else (task, json.dumps(options))
                    if monotonic() - moment > RENDER_SPAN or self._vain.get(kind, 0) >= TRIES:
                        left.append(item)
                        continue
                    key, message = self._render(term, item, nominal, id_, why, kind)
                    if not message:
                        left.append(item)
                        continue
                if not key:
                    once = data.get("delivery") == "at_most_once"
                    # A one-shot's definition goes in this commit: there is no entry any more to compare with.
                    who = "" if following is None and gone else uid
                    claimed = self._claim(term, name, nominal, id_, once, message, who, int(rev), now)
                    claimed.due, claimed.task = from_score(item.score), task
                    batch.items.append(claimed)
                    message = claimed.stamped
            except (Deposed, BrokerAway, *TROUBLE):
                raise
            except (_Left, Refused) as exc:
                self._leave(item, str(exc), left)
                continue
            except Exception as exc:  # noqa: BLE001 - rubbish in Redis; or a fault of this code, which is said
                self._leave(item, self._unexpected(item, exc), left)
                continue
            many = batch.groups.get(key)
            if many is None:
                many = batch.groups[key] = Many()
            if following is None:
                when, then = "", "" if gone else f"{uid} {rev} - {now} {int(count) + 1} 0"
            else:
                when = score(following if gone is None else gone)
                then = f"{uid} {rev} {following} {now} {int(count) + 1} 0"
            many.rows.append((name, item.score, item.state, when, then, id_, slot, task))  # type: ignore[arg-type]
            many.messages.append(message)
            room -= len(message)
            batch.size += 1
        return batch

    def _leave(self, item: DueItem, why: str, left: list[DueItem]) -> None:
        """This one goes the other way, which is slower."""
        words = "Entry %r is rendered by itself, which is slower: %s. Each reason is logged once."
        self.reasons.say(why, logging.INFO, words, item.name, why)
        self.why[item.name] = why
        left.append(item)

    def _unexpected(self, item: DueItem, exc: Exception) -> str:
        """Why an entry is left about which something was raised that nobody foresaw; said in full."""
        if item.data is None:
            return "its definition could not be read along with the others"
        try:
            decode(item.name, json.dumps(item.data), State.parse(item.state or ""))
        except Exception:  # noqa: BLE001 - so it is rubbish: the dispatcher sets it aside, and says so
            return _RUBBISH
        why = _fault(exc)
        self.reasons.say(
            why, logging.WARNING,
            "Entry %r cannot take the quick way and is rendered by itself, which is slower: %s. That is a fault of "
            "redlock_beat, please report it. It is logged once.\n%s", item.name, why, traceback_of(exc),
        )  # fmt: skip
        return why

    def _render(self, term: Term, item: DueItem, nominal: int, id_: str, why: str, kind: Any) -> tuple[str, Any]:
        """A message that has no shape, and its list; no message when it is not one message for one list."""
        state = State.parse(item.state or "")
        entry = self.cache.get(item.name, state)
        if entry is None:
            data = item.data
            entry = decode(item.name, json.dumps(data), state) if self._typed else decoded(item.name, data, state)
            self.cache.put(entry)
        if entry.reference or entry.canvas is not None:
            return "", None  # several messages, or of a form of their own
        try:
            rendered = self.render(term, entry, nominal, id_, why)
        except UserError as exc:  # the dispatcher deals with it
            self.kept[item.name, nominal] = exc.cause
            self._vain[kind] = self._vain.get(kind, 0) + 1
            return "", None
        self._vain.pop(kind, None)
        one = rendered.single()
        if one is None or rendered.direct is not self.direct:
            self.kept[item.name, nominal] = rendered
            return "", None
        return one

    def _claim(
        self, term: Term, name: str, nominal: int, id_: str, once: bool, message: bytes | str, uid: str, rev: int,
        now: int,
    ) -> Item:  # fmt: skip
        """The item that an occurrence is in the outbox."""
        call = message if isinstance(message, str) else message.decode()
        row = self.row("sent", name, nominal, id_, term)
        text = stamp(term.epoch, name, nominal, id_, once, row, call, uid, rev, now)
        return Item(f"{id_}:0", text, name, nominal, id_, once, row, call, uid, rev, now)

    def _following(
        self, term: Term, item: DueItem, data: dict[str, Any], nominal: int, count: int, now: int, moment: float
    ) -> tuple[int | None, int | None]:
        """The slot after this one and when to act on it (None: then); or, after the last, whether the entry goes."""
        kind = data["kind"]
        following: int | None
        if _PLAIN.issuperset(data):
            if now - nominal > self._patience and self._too_late(kind, data, now - nominal):
                raise _Left("it is too late for its grace")
            if kind == "interval":
                every, anchor = round(data["s_every"] * MICROS), data["at"]
                following = anchor + (max(nominal - anchor, 0) // every + 1) * every
            elif kind == "crontab":
                following = _after(data["s_cron"], data.get("tz", "UTC"), nominal)
            elif kind == "once":
                return None, 1
            else:
                return self._planned(term, item, data, nominal, count, now, moment)
            if following is None or following <= now:
                raise _Left("several of its slots are due")
            return following, None
        return self._planned(term, item, data, nominal, count, now, moment)

    def _too_late(self, kind: str, data: dict[str, Any], late: int) -> bool:
        """Whether a plain entry is later than :func:`~redlock_beat.entries.policies.grace_of` allows."""
        if kind == "crontab" and self.settings.cron_grace is not None:
            return late > self.settings.cron_grace * MICROS
        return data.get("missed") == "skip" and late > SKIP_GRACE * MICROS

    def _planned(
        self, term: Term, item: DueItem, data: dict[str, Any], nominal: int, count: int, now: int, moment: float
    ) -> tuple[int | None, int | None]:
        """The same for an entry with policies, as the dispatcher plans it."""
        if data.get("canvas") is not None:
            raise _Left("it is a canvas")
        if data.get("ref"):
            raise _Left("it is rendered from the configuration")
        if data["kind"] == "custom":
            raise _Left("its schedule is a class of the project's own")
        quick = data["kind"] in _QUICK
        if not quick and monotonic() - moment > RENDER_SPAN:
            raise _Left("computing others took long")
        entry = decode(item.name, json.dumps(data))
        compute = partial(_only_slot, entry, nominal, count, now, self.settings.cron_grace)
        try:
            found: tuple[Plan, int | None] | None = compute() if quick else self.code(term, item.name, compute)
        except UserError:
            raise _Left("its slots cannot be computed") from None
        if found is None:
            raise _Left("several of its slots are due, or it is not sent")
        todo, when = found
        if todo.pending is None:
            return None, 1 if isinstance(entry.schedule, Once) and not entry.keep else None
        return todo.pending, when

    # --- shapes ---

    def _shape(self, kind: Any, item: DueItem, now: int) -> Shape | tuple[str, float]:
        """The shape for a task and its options, made or proved anew; or why there is none."""
        found = self._shapes.get(kind)
        shape: Shape | tuple[str, float]
        try:
            entry: Entry = decode(item.name, json.dumps(item.data), State.parse(item.state or ""))
        except Exception:  # noqa: BLE001 - rubbish: the dispatcher sets it aside, and others of its kind go on
            raise _Left(_RUBBISH) from None
        try:
            if isinstance(found, Shape):
                prove(self.renderer, found, entry, now)
                found.prove_at, found.messages = monotonic() + PROVE_SECONDS, 0
                shape = found
            else:
                shape = shape_of(self.renderer, entry, now, monotonic() + PROVE_SECONDS)
        except (Deposed, BrokerAway, *TROUBLE):
            raise
        except Unfit as exc:
            tries = self._unfit[kind] = self._unfit.get(kind, 0) + 1
            if tries < TRIES:
                raise  # another entry of the kind may do
            shape = self._refused(item, str(exc))
        except Refused as exc:
            shape = self._refused(item, str(exc))
        except Exception as exc:  # noqa: BLE001 - a fault of this code: it is said, and what is due is sent all the same
            shape = (self._unexpected(item, exc), monotonic() + REFUSED_FOR)
        else:
            self._unfit.pop(kind, None)
        if len(self._shapes) >= SHAPES:
            self._shapes.clear()
            self._unfit.clear()
        self._shapes[kind] = shape
        return shape

    def _refused(self, item: DueItem, why: str) -> tuple[str, float]:
        """No shape for a while, and why."""
        task = item.data["task"]
        words = "Messages of %s are rendered one by one, which is slower: %s."
        self.reasons.say(f"{task} {why}", logging.INFO, words, task, why)
        return why, monotonic() + REFUSED_FOR


def _only_slot(
    entry: Entry, nominal: int, count: int, now: int, cron_grace: float | None
) -> tuple[Plan, int | None] | None:
    """The plan of an entry of which one slot is due, and when to act on the slot after it; None for all others."""
    todo = only_slot(entry, nominal, count, now, cron_grace)
    return None if todo is None else (todo, None if todo.pending is None else act_at(entry, todo.pending))


def _uuid5(digits: str) -> str:
    """The UUID of a digest's hexadecimal digits, as ``uuid.uuid5`` makes it."""
    return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-{_VARIANT[digits[16]]}{digits[17:20]}-{digits[20:32]}"


@lru_cache(maxsize=16_384)
def _after(cron: str, zone: str, nominal: int) -> int | None:
    """The slot of a crontab after another; the same for every entry that has it."""
    return Crontab.parse(cron).next(nominal, Rules(zone, 0, "after", "auto"))


def _fault(exc: Exception) -> str:
    """What an error that nobody foresaw is counted under: its kind and place, not its text, which may be any."""
    last = traceback.extract_tb(exc.__traceback__)[-1]
    return f"an unexpected {type(exc).__name__} in {Path(last.filename).name}, line {last.lineno}"
