"""The message of an occurrence: filled into a template where there is one, else rendered by Celery.

Nobody else knows which of the two. A template is about fifteen times as quick, so the log says once why an occurrence
has none, and a counter counts it. Where there are instruments, a filled message passes by them.
"""

from __future__ import annotations

import json
import traceback
import uuid
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from .. import hooks
from ..clock import MICROS, monotonic
from ..entries.codec import read_data
from ..entries.entry import Entry
from ..entries.occurrence import Occurrence
from ..errors import BrokerAway, Deposed, InvalidSchedule, traceback_of
from ..log import log
from ..store.client import TROUBLE
from .capturing import Rendered
from .instrumented import Sender
from .instruments import Foreign, Instruments, instruments_of
from .reasons import Reasons
from .refusals import app_refusal, fingerprint
from .renderer import Renderer
from .template import PROVE_MESSAGES, PROVE_SECONDS, Filled, Template, prove, template_of
from .trials import Unfillable, Unfit

#: Seconds until the next attempt to make a template that could not be made.
REFUSED_FOR = 60.0
#: Templates kept.
TEMPLATES = 1_000
#: Entries of a task and options that may fail one after the other before all of them are rendered.
TRIES = 5

#: The list ('' for the outbox) and its one message; or, when it is not one message for one list, what was rendered.
Message = tuple[str, "bytes | str | Filled | None", "Rendered | None"]
T = TypeVar("T")


class _NoTemplate(Exception):
    """There is no template for messages of this task and options; its text says why."""


class Run(Protocol):
    """Runs the code of an entry; what that raises comes out as an error of the entry's own."""

    def __call__(self, kind: Any, name: str, work: Callable[[], T]) -> T: ...


class Messages:
    """Makes the messages of occurrences."""

    def __init__(self, renderer: Renderer, run: Run, now: Callable[[], int]) -> None:
        self.renderer = renderer
        #: Why messages were rendered one by one, and how often.
        self.reasons = Reasons()
        self._run = run
        self._now = now
        # By task and options: the templates; why there is none, and until when; and failed attempts.
        self._templates: dict[Any, Template] = {}
        self._none: dict[Any, tuple[str, float]] = {}
        self._unfit: dict[Any, int] = {}
        self._print: Any = None
        self._app_refusal: str | None = None
        self._moment = 0.0
        self._tags, self._number = "", 0
        self._sender = Sender(renderer, Instruments())

    def prepare(self) -> bool:
        """Begin a turn: forget templates that may be outdated. Whether messages go to this Redis, not to the outbox."""
        direct = self.renderer.still_direct()
        self._moment = monotonic()
        self._tags, self._number = str(uuid.uuid4())[:24], 0  # of a delivery tag; the rest is counted
        seen = (fingerprint(self.renderer.app), direct, self.renderer.proof, self.renderer.epoch)
        if seen != self._print:
            self._print = seen
            self._forget()
            self._app_refusal = app_refusal(self.renderer.app)
            self._look_for_instruments()
            if self._app_refusal and self.reasons.first(self._app_refusal):
                words = "Celery renders each message by itself, which is slower: %(why)s."
                log.info("messages.rendered", words, why=self._app_refusal)
        return direct

    @property
    def filled(self) -> int:
        """Messages that the templates of this moment have made."""
        return sum(one.messages for one in self._templates.values())

    def of(self, occurrence: Occurrence, now: int) -> Message:
        """The message of one occurrence, at Redis's time *now*.

        What the entry's own code raises comes out as *run* raises it; InvalidSchedule says that the definition cannot
        be used.
        """
        definition = occurrence.definition
        task, options = definition["task"], definition.get("options")
        kind = task if options is None else (task, json.dumps(options))
        if "overlap" in definition:
            kind = kind, definition.get("wait")
        why = self._app_refusal
        try:
            if why is not None:
                raise _NoTemplate(why)
            if "canvas" in definition or "ref" in definition:
                raise Unfillable(_own_way(definition))
            template = self._templates.get(kind)
            if template is None or template.messages > PROVE_MESSAGES or template.prove_at < self._moment:
                template = self._template(kind, occurrence, now)
            if template.parts is None:
                args, kwargs = definition.get("args", _NOTHING), definition.get("kwargs")
                values = template.values(args, kwargs, occurrence.name, occurrence.id, occurrence.nominal, now)
                text = template.write(values, self._tag())
                template.messages += 1
                if template.key:
                    return template.key, text, None
                return "", Filled(text.decode(), template, values), None
        except (Deposed, BrokerAway, InvalidSchedule, *TROUBLE):
            raise
        except _NoTemplate as exc:
            why = str(exc)
        except Unfillable as exc:
            why = self._of_entry(occurrence.name, str(exc))
        except Exception as exc:  # noqa: BLE001 - a fault of this code: log it, and send what is due all the same
            why = self.unexpected(occurrence.name, exc)
        else:
            passed = self._made(kind, occurrence, partial(self._sent, occurrence, template, now))
            if not isinstance(passed, Unfit):
                template.messages += 1
                return passed
            why = self._of_entry(occurrence.name, str(passed))
        message = self._made(kind, occurrence, partial(self._rendered, occurrence))
        assert not isinstance(message, Unfit)
        reason = self.reasons.count(why)
        if hooks.listening():
            hooks.emit(hooks.Rendered(self._now() / MICROS, occurrence.name, reason))
        return message

    def _tag(self) -> str:
        """A delivery tag that no other message has."""
        self._number += 1
        return f"{self._tags}{self._number:012x}"

    def _made(
        self, kind: Any, occurrence: Occurrence, work: Callable[[], Rendered | InvalidSchedule | Unfit]
    ) -> Message | Unfit:
        """What code of the user, of Celery or of instruments makes; in a hurry that may not run now (see *run*)."""
        if self.renderer.instruments:
            # What an instrument leaves in its context is not there for the next message.
            work = partial(copy_context().run, work)
        rendered = self._run(kind, occurrence.name, work)
        if isinstance(rendered, InvalidSchedule):
            raise rendered
        if isinstance(rendered, Unfit):
            return rendered
        one = rendered.single()
        return (*one, None) if one is not None and rendered.direct is bool(one[0]) else ("", None, rendered)

    def _sent(self, occurrence: Occurrence, template: Template, now: int) -> Rendered | InvalidSchedule | Unfit:
        """A template's message, past the instruments."""
        assert template.parts is not None
        renderer, entry, definition = self.renderer, None, occurrence.definition
        args, kwargs = definition.get("args", _NOTHING), definition.get("kwargs")
        try:
            call = template.call(args, kwargs, occurrence.name, occurrence.id, occurrence.nominal, now)
            if renderer.scheduled is not None:
                entry = read_data(occurrence.name, definition)
        except (InvalidSchedule, Unfit) as exc:
            return exc
        call.tags = self._tag(), self._tag()
        call.headers = renderer.headers(occurrence.name, occurrence.nominal, template.parts.claim)
        return renderer.captured(partial(self._sender.send, template, call, entry, now))

    def _rendered(self, occurrence: Occurrence) -> Rendered | InvalidSchedule:
        try:  # only now: thousands of entries may be put off, which costs no more than finding out
            entry = read_data(occurrence.name, occurrence.definition)
        except InvalidSchedule as exc:
            return exc  # not a fault of what it runs
        return self.renderer.render(entry, occurrence.nominal, occurrence.id, self._now())

    # --- templates ---

    def _look_for_instruments(self) -> None:
        """Learn which instruments there are."""
        try:
            instruments = instruments_of(self.renderer.app)
        except Foreign:
            instruments = Instruments()
        self.renderer.use(instruments)
        self._sender = Sender(self.renderer, instruments)

    def _template(self, kind: Any, occurrence: Occurrence, now: int) -> Template:
        """The template of a task and its options, made or proved anew; :class:`_NoTemplate` when there is none."""
        none = self._none.get(kind)
        if none is not None and none[1] >= self._moment:
            raise _NoTemplate(none[0])
        entry = read_data(occurrence.name, occurrence.definition)
        if len(self._templates) + len(self._none) >= TEMPLATES:
            self._forget()
        try:
            template = self._templates[kind] = self._proved(self._templates.pop(kind, None), entry, now)
        except Unfit as exc:
            tries = self._unfit[kind] = self._unfit.get(kind, 0) + 1
            if tries < TRIES:
                raise  # another entry of the kind may do
            raise self._refused(kind, entry.task, str(exc)) from None
        except Unfillable as exc:
            raise self._refused(kind, entry.task, str(exc)) from None
        except (Deposed, BrokerAway, *TROUBLE):
            raise
        except Exception as exc:  # noqa: BLE001 - a fault of this code: log it, and send what is due all the same
            why = self.unexpected(entry.name, exc)
            self._none[kind] = why, monotonic() + REFUSED_FOR
            raise _NoTemplate(why) from None
        self._unfit.pop(kind, None)
        self._none.pop(kind, None)
        return template

    def _forget(self) -> None:
        self._templates.clear()
        self._none.clear()
        self._unfit.clear()

    def _proved(self, found: Template | None, entry: Entry, now: int) -> Template:
        until = monotonic() + PROVE_SECONDS
        if found is None:
            return template_of(self.renderer, entry, now, until)
        prove(self.renderer, found, entry, now)
        found.prove_at, found.messages = until, 0
        return found

    # --- why there is none ---

    def _refused(self, kind: Any, task: str, why: str) -> _NoTemplate:
        """Note that there is no template for a while, and why."""
        if self.reasons.first(f"{task} {why}"):
            words = "Celery renders the messages of %(task)s one by one, which is slower: %(why)s."
            log.info("messages.of_task_rendered", words, task=task, why=why)
        self._none[kind] = why, monotonic() + REFUSED_FOR
        return _NoTemplate(why)

    def _of_entry(self, name: str, why: str) -> str:
        """Note why the template does not fit this very entry."""
        if self.reasons.first(why):
            words = "Celery renders entry %(entry)r by itself, which is slower: %(why)s. Beat logs each reason once."
            log.info("messages.of_entry_rendered", words, entry=name, why=why)
        return why

    def unexpected(self, name: str, exc: Exception) -> str:
        """Log an error that nobody foresaw, with its traceback; the reason under which it counts."""
        last = traceback.extract_tb(exc.__traceback__)[-1]
        # The kind and the place of the error: its text may differ each time.
        why = f"an unexpected {type(exc).__name__} in {Path(last.filename).name}, line {last.lineno}"
        if self.reasons.first(why):
            log.warning(
                "messages.fault",
                "Beat cannot fill in the message of entry %(entry)r, so Celery renders it, which is slower: %(why)s. "
                "That is a fault of redlock_beat, please report it. Beat logs it once.\n"
                + traceback_of(exc).replace("%", "%%"),
                entry=name,
                why=why,
            )
        return why


_NOTHING: list[Any] = []


def _own_way(definition: dict[str, Any]) -> str:
    """Why the messages of this very entry have a form of their own."""
    return "it is rendered from the configuration" if definition.get("ref") else "it is a canvas"
