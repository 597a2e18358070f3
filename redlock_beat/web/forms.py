"""The form of an entry: what stands in its fields, what is wrong with one, and what it makes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from ..clock import moment, span_of
from ..entries.codec import typed
from ..entries.document import editable, when_of
from ..entries.entry import Entry
from ..errors import InvalidSchedule
from ..recurrence import Crontab, RRule, Solar
from .times import instant

#: How people say when -> what stands in the field beside it.
WHENS = {
    "every": "a span: 30s, 10m, 1h30m",
    "cron": "minute, hour, day of month, month, day of week: 0 7 * * 1-5; with six fields the seconds come first",
    "at": "once, at a time in the zone of the entry: 2027-01-01T07:00",
    "rrule": "a recurrence rule: FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=9;BYMINUTE=0;BYSECOND=0",
    "solar": "event, latitude, longitude: sunset,52.5,13.4",
}
#: Policies with a choice -> what there is to choose; the first is the default.
CHOICES = {
    "missed": ("once", "skip", "all"),
    "overlap": ("allow", "skip", "buffer_one", "buffer_all", "cancel_previous"),
    "dst_gap": ("after", "skip"),
    "dst_fold": ("auto", "first", "both"),
    "shift": ("skip", "next", "previous"),
    "delivery": ("at_least_once", "at_most_once"),
}
_SPANS = ("grace", "jitter", "queue_limit")
_NUMBERS = ("max_runs", "pause_on_failure", "buffer_limit")
_INSTANTS = ("starts", "ends")
_DAYS = ("exclude", "only")
_FLAGS = ("keep", "terminate")
#: Fields of several lines.
_AREAS = ("when", "args", "kwargs", "options", "labels")
#: Every field, in the order of the form.
FIELDS = (
    "name", "task", "how", "when", "timezone", "args", "kwargs", "queue", "options", "expires", "labels", "note",
    *CHOICES, *_SPANS, *_NUMBERS, *_INSTANTS, *_DAYS, *_FLAGS,
)  # fmt: off


@dataclass
class EntryForm:
    """What stands in the fields, as texts; and what is wrong, field -> words ('' is for the form as a whole)."""

    values: dict[str, str] = field(default_factory=lambda: dict.fromkeys(FIELDS, ""))
    errors: dict[str, str] = field(default_factory=dict)

    @classmethod
    def blank(cls, zone: str) -> EntryForm:
        """The form of a new entry."""
        made = cls()
        made.values.update({name: choices[0] for name, choices in CHOICES.items()})
        made.values.update(how="cron", timezone=zone, args="[]", kwargs="{}")
        return made

    @classmethod
    def sent(cls, given: Mapping[str, Any]) -> EntryForm:
        """The form as a visitor has sent it."""
        return cls({name: str(given.get(name) or "").replace("\r\n", "\n") for name in FIELDS})

    @classmethod
    def of(cls, entry: Entry) -> EntryForm:
        """The form of an entry as it is."""
        data = editable(entry)
        options = dict(data["options"])
        queue = options.pop("queue") if isinstance(options.get("queue"), str) else ""
        # An instant has no place in a field for a span: it stays among the options.
        expires = options.pop("expires") if isinstance(options.get("expires"), (int, float)) else None
        how, when = _when_texts(data["when"])
        made = cls.blank(entry.timezone)
        made.values.update(
            name=entry.name,
            task=str(data["task"]),
            how=how,
            when=when,
            args=_json(data["args"]),
            kwargs=_json(data["kwargs"]),
            queue=queue,
            expires=_text(expires),
            options=_json(options) if options else "",
            labels="\n".join(f"{key}={text}" for key, text in sorted(data["labels"].items())),
            note=entry.note or "",
        )
        for name in (*CHOICES, *_SPANS, *_NUMBERS, *_INSTANTS):
            made.values[name] = _text(data[name])
        for name in _DAYS:
            made.values[name] = ", ".join(data[name])
        for name in _FLAGS:
            made.values[name] = "yes" if data[name] else ""
        return made

    def parts(self, only: set[str] | None = None) -> dict[str, Any]:
        """The keywords that the fields make, for ``add`` and ``update``; :attr:`errors` says what is wrong.

        With *only*, those that these fields have a part in.
        """
        found: dict[str, Any] = {}

        def put(part: str, fields: tuple[str, ...], make: Callable[[], Any]) -> None:
            if only is not None and not only & set(fields):
                return
            try:
                found[part] = make()
            except (InvalidSchedule, ValueError, TypeError, OverflowError) as exc:
                self.errors[fields[-1]] = _sentence(exc)

        value = self.values
        put("task", ("task",), lambda: _needed(value["task"].strip(), "Say which task is sent."))
        put("timezone", ("timezone",), lambda: _zone(value["timezone"].strip()))
        put("when", ("how", "when"), self._when)
        put("args", ("args",), lambda: _of_json(value["args"] or "[]", list, "args", "[1, 2]"))
        put("kwargs", ("kwargs",), lambda: _of_json(value["kwargs"] or "{}", dict, "kwargs", '{"to": 7}'))
        put("options", ("queue", "expires", "options"), self._options)
        put("labels", ("labels",), lambda: _labels(value["labels"]))
        put("note", ("note",), lambda: value["note"].strip() or None)
        for name in CHOICES:
            put(name, (name,), partial(_or, value[name], CHOICES[name][0]))
        for name in _SPANS:
            put(name, (name,), partial(_span, value[name], 0 if name == "jitter" else None))
        for name in _NUMBERS:
            put(name, (name,), partial(_number, value[name]))
        for name in _INSTANTS:
            put(name, (name,), partial(self._instant, value[name]))
        for name in _DAYS:
            put(name, (name,), partial(_words, value[name]))
        for name in _FLAGS:
            put(name, (name,), partial(str.__eq__, value[name], "yes"))
        for name in (*_SPANS, *_NUMBERS):  # left empty, a new entry has its default
            if found.get(name, 0) is None and only is None:
                del found[name]
        return found

    def blame(self, exc: InvalidSchedule) -> None:
        """Put an error at the field that it names, or at the top of the form."""
        words = str(exc)
        first = re.match(r"(?:entry '.*?': )?(\w+)", words)
        named = first[1] if first and first[1] in FIELDS else ""
        self.errors[named] = _sentence(exc)

    def _when(self) -> Any:
        text = _needed(self.values["when"].strip(), "Say when it is sent.")
        how = self.values["how"]
        if how == "every":
            return span_of(text)
        if how == "cron":
            return Crontab.parse(text)
        if how == "at":
            return self._instant(text)
        if how == "rrule":
            return RRule.parse(text, None if "DTSTART" in text.upper() else self._begin())
        if how == "solar":
            event, latitude, longitude = _three(text)
            return Solar(event, latitude, longitude)
        if how == "own":
            return when_of(_of_json(text, dict, "when", '{"kind": "interval", "every": 60, "relative": true}'))
        raise InvalidSchedule(f"choose one way to say when: {', '.join(WHENS)}.")

    def _begin(self) -> datetime:
        """When a rule begins that does not say it: with the entry, or on a day of the past."""
        return self._instant(self.values["starts"]) or datetime.fromisoformat("2026-01-01T00:00:00+00:00")

    def _instant(self, text: str) -> datetime | None:
        return instant(text, self.values["timezone"].strip() or "UTC") if text.strip() else None

    def _options(self) -> dict[str, Any]:
        options = _of_json(self.values["options"] or "{}", dict, "options", '{"priority": 3}')
        if self.values["queue"].strip():
            options["queue"] = self.values["queue"].strip()
        if self.values["expires"].strip():
            options["expires"] = _span(self.values["expires"], None)
        return dict(options)


def touched(name: str, before: str, sent: str) -> bool:
    """Whether a visitor has changed a field: browsers end lines in their own way, and have none in a field of one line.

    >>> touched("note", "a\\r\\nb", "ab"), touched("note", "a", "b")
    (False, True)
    """
    return _lines(name, before) != _lines(name, sent)


def _lines(name: str, text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text if name in _AREAS else text.replace("\n", "")


def _when_texts(when: Mapping[str, Any]) -> tuple[str, str]:
    """How a schedule is said in the form: the choice, and the field beside it; 'own' for what the form cannot say."""
    kind = when["kind"]
    if kind == "interval" and not when.get("relative"):
        return "every", f"{_text(when['every'])}s"
    if kind == "crontab":
        return "cron", when["cron"]
    if kind == "once":
        return "at", when["at"]
    if kind == "rrule":
        start = datetime.fromisoformat(when["start"])
        zone = "Z" if start.utcoffset() else ("Z" if start.tzinfo else "")
        shown = moment(int(start.timestamp() * 1_000_000)) if start.tzinfo else start
        return "rrule", f"DTSTART:{shown:%Y%m%dT%H%M%S}{zone}\n{when['rule']}"
    if kind == "solar":
        return "solar", f"{when['event']},{when['lat']},{when['lon']}"
    return "own", _json(dict(when))


def _or(text: str, default: str) -> str:
    return text or default


def _words(text: str) -> list[str]:
    return [one for one in re.split(r"[,\s]+", text) if one]


def _needed(text: str, words: str) -> str:
    if not text:
        raise InvalidSchedule(words)
    return text


def _zone(name: str) -> str:
    from ..recurrence.zones import zone

    zone(_needed(name, "Say in which zone."))
    return name


def _of_json(text: str, kind: type, what: str, example: str) -> Any:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise InvalidSchedule(f"this is not JSON ({exc}). Write it as in {example}.") from None
    if not isinstance(data, kind):
        raise InvalidSchedule(f"write a JSON {'list' if kind is list else 'object'}, as in {example}.")
    return typed(data, what)


def _labels(text: str) -> dict[str, str]:
    found = {}
    for one in re.split(r"\n|,(?=[^,\n=]*=)", text):
        if not one.strip():
            continue
        name, sign, label = one.partition("=")
        if not sign:
            raise InvalidSchedule(f"{one.strip()!r} is not a label: write team=billing, one a line.")
        found[name.strip()] = label.strip()
    return found


def _span(text: str, empty: float | None) -> float | None:
    return span_of(text).total_seconds() if text.strip() else empty


def _number(text: str) -> int | None:
    if not text.strip():
        return None
    if not text.strip().isdecimal():
        raise InvalidSchedule(f"{text.strip()!r} is not a whole number.")
    return int(text)


def _three(text: str) -> tuple[str, float, float]:
    try:
        event, latitude, longitude = text.split(",")
        return event.strip(), float(latitude), float(longitude)
    except ValueError:
        raise InvalidSchedule(f"{text!r} is not event,latitude,longitude, as in sunset,52.5,13.4.") from None


def _sentence(exc: Exception) -> str:
    words = str(exc) or type(exc).__name__
    return words[0].upper() + words[1:]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else str(value)
