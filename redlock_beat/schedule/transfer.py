"""Export and import: the whole schedule with its state, as JSON lines.

The first line says what the file is, the last how many lines there are: a file that ends early is
refused whole, before anything is written. Importing it again changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from ..clock import score
from ..entries.codec import MAX_DEFINITION, decode, encode
from ..entries.document import editable
from ..entries.entry import Entry
from ..entries.policies import act_at
from ..entries.state import State, parse_state
from ..errors import InvalidSchedule
from ..settings import Settings
from ..store import requests
from ..store.keys import Keys
from ..store.requests import PAGE, Asking
from ..store.values import ABSENT, ANY, DROP, KEEP, Edit, Stored
from .changes import Change
from .edits import readable, updated
from .schedule import Schedule

VERSION = 1
#: The longest line that is read.
MAX_LINE = 4 * MAX_DEFINITION


@dataclass(frozen=True, slots=True)
class Arrival:
    """An entry on its way in, with how far it has come."""

    entry: Entry
    state: State
    #: Its digest, when it is one of the configuration's.
    configured: str = KEEP
    #: Whether an entry that is already there is brought to what this one says, or left alone.
    renews: bool = True


@dataclass(frozen=True, slots=True)
class Difference:
    """What an arrival changes, or would: ``added``, ``changed``, ``unchanged`` or ``kept``."""

    name: str
    what: str
    fields: tuple[tuple[str, Any, Any], ...] = ()


# --- out -------------------------------------------------------------------------------------------


def export(schedule: Schedule) -> Iterator[str]:
    """The lines of an export, in pages: a million entries are never held at once."""
    keys, count = schedule.keys, 0
    head = {"redlock_beat": "export", "version": VERSION, "at": datetime.now(UTC).isoformat(), "prefix": keys.prefix}
    yield _line(head)
    cursor = "0"
    while True:
        cursor, page = schedule.ask(_page_of_entries(keys, cursor))
        for stored, digest in page:
            count += 1
            yield _line(_entry_line(stored, digest))
        if cursor == "0":
            break
    cursor = "0"
    while True:  # removed at runtime, and still in the configuration: they stay removed
        cursor, pairs = schedule.ask(_page_of_removed(keys, cursor))
        for name, digest in pairs:
            count += 1
            yield _line({"removed": name, "configured": digest})
        if cursor == "0":
            break
    yield _line({"end": count})


def _line(data: dict[str, Any]) -> str:
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False)


def _entry_line(stored: Stored, digest: str | None) -> dict[str, Any]:
    assert stored.definition is not None
    line: dict[str, Any] = {"entry": stored.name}
    try:
        line["definition"] = json.loads(stored.definition)
    except ValueError:
        line["unreadable"] = stored.definition
    if stored.state:
        line["state"] = stored.state
    if digest is not None:
        line["configured"] = digest
    return line


def _page_of_entries(keys: Keys, cursor: str) -> Asking[tuple[str, list[tuple[Stored, str | None]]]]:
    cursor, names = yield requests.names(keys, cursor, None, PAGE)
    found: list[tuple[Stored, str | None]] = []
    for i in range(0, len(names), PAGE):
        page = names[i : i + PAGE]
        _, stored = yield requests.read(keys, page)
        digests = yield requests.some(keys.configured, page)
        found += [pair for pair in zip(stored, digests, strict=True) if pair[0].definition is not None]
    return cursor, found


def _page_of_removed(keys: Keys, cursor: str) -> Asking[tuple[str, list[tuple[str, str]]]]:
    cursor, pairs = yield requests.pairs(keys.configured, cursor, PAGE)
    there = (yield requests.some(keys.entries, list(pairs))) if pairs else []
    return cursor, [pair for pair, text in zip(pairs.items(), there, strict=True) if text is None]


# --- in --------------------------------------------------------------------------------------------


def check(lines: Iterable[str]) -> int:
    """Read an export to its end without writing anything; how many lines it holds."""
    count, ended = 0, False
    number = 0
    for number, text in enumerate(lines, 1):
        data = _read_line(text, number)
        if number == 1:
            if data.get("redlock_beat") != "export":
                raise InvalidSchedule("this is not an export of redlock_beat: its first line is another.")
            if data.get("version") != VERSION:
                raise InvalidSchedule(
                    f"this export is of version {data.get('version')!r}; this release reads {VERSION}."
                )
        elif ended:
            raise InvalidSchedule(f"line {number}: there is more after the end.")
        elif "end" in data:
            ended = True
            if data["end"] != count:
                raise InvalidSchedule(f"the export holds {count} lines and says it has {data['end']}: it is damaged.")
        else:
            count += 1
            _arrival(data, number)
    if not ended:
        raise InvalidSchedule(
            f"the export ends after line {number} without its last line: the file is cut off, and nothing was imported."
        )
    return count


def load(
    schedule: Schedule, lines: Iterable[str], *, dry_run: bool = False, progress: Callable[[int], None] | None = None
) -> Iterator[Difference]:
    """Bring the entries of a checked export in, page by page; what each one changed (or would)."""
    page: list[Arrival | tuple[str, str]] = []
    for number, text in enumerate(lines, 1):
        data = _read_line(text, number)
        if number == 1 or "end" in data:
            continue
        arrival = _arrival(data, number)
        if arrival is not None:
            page.append(arrival)
        if len(page) >= PAGE:
            yield from _taken(schedule, page, dry_run, progress)
            page = []
    if page:
        yield from _taken(schedule, page, dry_run, progress)


def _read_line(text: str, number: int) -> dict[str, Any]:
    if len(text) > MAX_LINE:
        raise InvalidSchedule(f"line {number} is longer than {MAX_LINE} characters.")
    try:
        data = json.loads(text, parse_constant=_no_constant)
    except ValueError as exc:
        raise InvalidSchedule(f"line {number} is not JSON ({exc}); nothing was imported.") from None
    if not isinstance(data, dict):
        raise InvalidSchedule(f"line {number} is not an object; nothing was imported.")
    return data


def _no_constant(name: str) -> None:
    raise ValueError(f"it holds {name}")


def _arrival(data: dict[str, Any], number: int) -> Arrival | tuple[str, str] | None:
    try:
        if "removed" in data:
            return str(data["removed"]), str(data["configured"])
        name = data["entry"]
        if "unreadable" in data:
            return None  # kept in the file; it could not be read where it came from, either
        text = json.dumps(data["definition"], ensure_ascii=False)
        state = parse_state(data.get("state"))
        entry = decode(name, text, state)
        if state is None or (state.uid, state.revision) != (entry.uid, entry.revision):
            raise InvalidSchedule("its state does not belong to its definition")
        return Arrival(entry, state, str(data.get("configured", KEEP)))
    except InvalidSchedule as exc:
        raise InvalidSchedule(f"line {number}: {exc} Nothing was imported.") from None
    except (KeyError, TypeError, ValueError) as exc:
        raise InvalidSchedule(f"line {number} is not a line of an export ({exc!r}); nothing was imported.") from None


def _taken(
    schedule: Schedule, page: list[Arrival | tuple[str, str]], dry_run: bool, progress: Callable[[int], None] | None
) -> list[Difference]:
    arrivals = [one for one in page if isinstance(one, Arrival)]
    removed = [Change(one[0], _stays_removed(one[1]), _no_answer) for one in page if not isinstance(one, Arrival)]
    found = take(schedule, arrivals, dry_run=dry_run)
    if removed and not dry_run:
        schedule.ask(schedule.operations.many(removed))
    if progress is not None:
        progress(len(page))
    return found


def _no_answer(edit: Edit) -> None:
    return None


def _stays_removed(digest: str) -> Callable[[Stored, int], Edit]:
    def make(stored: Stored, now: int) -> Edit:
        return Edit(stored.name, ANY, configured=digest if stored.definition is None else KEEP)

    return make


def take(schedule: Schedule, arrivals: list[Arrival], *, dry_run: bool = False) -> list[Difference]:
    """Bring entries in (a page at most); what each one changed, or would."""
    found: list[Difference] = []
    if dry_run:
        _, stored = schedule.ask(requests.read(schedule.keys, [one.entry.name for one in arrivals]))
        return [difference(arrival, there) for arrival, there in zip(arrivals, stored, strict=True)]
    changes = [_taking(arrival, schedule.settings, found) for arrival in arrivals]
    schedule.ask(schedule.operations.many(changes))
    # An attempt that met a conflict was made again: the last word counts.
    last = {one.name: one for one in found}
    return [last[one.entry.name] for one in arrivals]


def _taking(arrival: Arrival, settings: Settings, said: list[Difference]) -> Change:
    def make(stored: Stored, now: int) -> Edit:
        what = difference(arrival, stored)
        said.append(what)
        if what.what in ("unchanged", "kept"):
            return Edit(stored.name, ANY)
        known = readable(stored)
        if known is None or known.state is None:
            return placed(arrival, stored.state or (ANY if stored.definition else ABSENT))
        new = replace(arrival.entry, origin=known.origin)
        return updated(known, new, now, stored.state or ANY, settings.catchup_limit, settings.cron_grace)

    return Change(arrival.entry.name, make, _no_answer)


def placed(arrival: Arrival, expected: str) -> Edit:
    """A new entry, as far as it has come already: what came due meanwhile falls under its policy."""
    entry, state = arrival.entry, arrival.state
    when = DROP
    if entry.enabled and state.nominal is not None:
        when = score(act_at(entry, state.nominal))
    return Edit(
        entry.name, expected, definition=encode(entry), state=state.text(), score=when, configured=arrival.configured,
        archive=KEEP if arrival.configured == KEEP else DROP,
    )  # fmt: skip


def difference(arrival: Arrival, stored: Stored) -> Difference:
    """What an arrival would change where *stored* stands."""
    name = arrival.entry.name
    known = readable(stored)
    if known is None:
        return Difference(name, "added")
    if not arrival.renews:
        return Difference(name, "kept")
    before, after = editable(known), editable(arrival.entry)
    changed = tuple(
        (key, before.get(key), after.get(key)) for key in {**before, **after} if before.get(key) != after.get(key)
    )
    return Difference(name, "changed" if changed else "unchanged", changed)
