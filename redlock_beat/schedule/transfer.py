"""Export and import: the whole schedule with its state, as JSON lines.

The first line says what the file is, the last how many lines there are: a file that is cut off is refused before
anything is written. Importing a file again changes nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from ..clock import score
from ..entries.codec import MAX_DEFINITION, encode, read_data
from ..entries.document import differences
from ..entries.entry import Entry
from ..entries.policies import act_at
from ..entries.state import State, parse_state
from ..errors import InvalidSchedule
from ..store import requests
from ..store.digests import digest_page, digests
from ..store.keys import Keys
from ..store.requests import PAGE, Operation
from ..store.values import ABSENT, ANY, DROP, KEEP, Edit, Stored
from .changes import Change, ChangeMaker
from .edits import readable, updated
from .filters import ALL, Filter
from .schedule import Schedule

VERSION = 1
#: The longest line that is read.
MAX_LINE = 4 * MAX_DEFINITION
_DIGEST = re.compile(r"[0-9a-f]{1,64}")


@dataclass(frozen=True, slots=True)
class Arrival:
    """An entry that an import brings, with its state."""

    entry: Entry
    state: State
    #: Its digest, when it is a configured entry.
    configured: str = KEEP
    #: Whether it replaces an entry of its name that is there already, or leaves that alone.
    renews: bool = True


@dataclass(frozen=True, slots=True)
class Difference:
    """What an arrival changes, or would: ``added``, ``changed``, ``unchanged`` or ``kept``."""

    name: str
    what: str
    fields: tuple[tuple[str, Any, Any], ...] = ()


# --- out -------------------------------------------------------------------------------------------


def export(schedule: Schedule, which: Filter = ALL) -> Iterator[str]:
    """The lines of an export, read in pages: a million entries are never in memory at once.

    With a filter it holds the entries that fit, and nothing of what was removed.
    """
    keys, count = schedule.keys, 0
    head = {"redlock_beat": "export", "version": VERSION, "at": datetime.now(UTC).isoformat(), "prefix": keys.prefix}
    yield _line(head)
    cursor = "0"
    while True:
        cursor, now, page = schedule.ask(_page_of_entries(keys, cursor))
        for stored, digest in page:
            if which is not ALL and not ((entry := readable(stored, now)) is not None and which.fits(entry)):
                continue
            count += 1
            yield _line(_entry_line(stored, digest))
        if cursor == "0":
            break
    cursor = "0"
    while which is ALL:  # configured entries that were removed at runtime stay removed
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


def _page_of_entries(keys: Keys, cursor: str) -> Operation[tuple[str, int, list[tuple[Stored, str | None]]]]:
    now = 0
    cursor, names = yield requests.names(keys, cursor, None, PAGE)
    found: list[tuple[Stored, str | None]] = []
    for i in range(0, len(names), PAGE):
        page = names[i : i + PAGE]
        now, stored = yield requests.read(keys, page)
        known = yield digests(keys, page)
        found += [(one, known.get(one.name)) for one in stored if one.definition is not None]
    return cursor, now, found


def _page_of_removed(keys: Keys, cursor: str) -> Operation[tuple[str, list[tuple[str, str]]]]:
    cursor, known = yield digest_page(keys, cursor)
    pairs, removed = list(known.items()), list[tuple[str, str]]()
    for i in range(0, len(pairs), PAGE):
        page = pairs[i : i + PAGE]
        there = yield requests.some(keys.entries, [name for name, _ in page])
        removed += [pair for pair, text in zip(page, there, strict=True) if text is None]
    return cursor, removed


# --- in --------------------------------------------------------------------------------------------


def check(lines: Iterable[str]) -> int:
    """Read an export to its end without writing anything; how many lines it has."""
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
                raise InvalidSchedule(f"the export has {count} lines and says {data['end']}: it is damaged.")
        else:
            count += 1
            _arrival(data, number)
    if not ended:
        raise InvalidSchedule(
            f"the export ends after line {number} without its last line: the file is cut off, and nothing was imported."
        )
    return count


def load(
    schedule: Schedule,
    lines: Iterable[str],
    *,
    dry_run: bool = False,
    progress: Callable[[int], None] | None = None,
    actor: str | None = None,
) -> Iterator[Difference]:
    """Bring in the entries of a checked export, page by page; what each of them changes."""
    page: list[Arrival | tuple[str, str]] = []
    for number, text in enumerate(lines, 1):
        data = _read_line(text, number)
        if number == 1 or "end" in data:
            continue
        arrival = _arrival(data, number)
        if arrival is not None:
            page.append(arrival)
        if len(page) >= PAGE:
            yield from _bring_in_page(schedule, page, dry_run, progress, actor)
            page = []
    if page:
        yield from _bring_in_page(schedule, page, dry_run, progress, actor)


def _read_line(text: str, number: int) -> dict[str, Any]:
    if len(text) > MAX_LINE:
        raise InvalidSchedule(f"line {number} is longer than {MAX_LINE} characters.")
    try:
        data = _decoder.decode(text)
    except (ValueError, RecursionError) as exc:
        raise InvalidSchedule(f"line {number} is not JSON ({exc}); nothing was imported.") from None
    if not isinstance(data, dict):
        raise InvalidSchedule(f"line {number} is not an object; nothing was imported.")
    return data


def _no_constant(name: str) -> None:
    raise ValueError(f"it holds {name}")


_decoder = json.JSONDecoder(parse_constant=_no_constant)


def _arrival(data: dict[str, Any], number: int) -> Arrival | tuple[str, str] | None:
    try:
        if "removed" in data:
            return str(data["removed"]), _digest(data["configured"])
        name = data["entry"]
        if "unreadable" in data:
            return None  # nobody could read it where it came from, either
        state = parse_state(data.get("state"))
        entry = read_data(name, data["definition"], state)
        if state is None or (state.uid, state.revision) != (entry.uid, entry.revision):
            raise InvalidSchedule("its state does not belong to its definition")
        return Arrival(entry, state, _digest(data["configured"]) if "configured" in data else KEEP)
    except InvalidSchedule as exc:
        raise InvalidSchedule(f"line {number}: {exc} Nothing was imported.") from None
    except (KeyError, TypeError, ValueError) as exc:
        raise InvalidSchedule(f"line {number} is not a line of an export ({exc!r}); nothing was imported.") from None


def _digest(value: Any) -> str:
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise InvalidSchedule(f"its digest is {str(value)[:100]!r}, which is none.")
    return value


def _bring_in_page(
    schedule: Schedule,
    page: list[Arrival | tuple[str, str]],
    dry_run: bool,
    progress: Callable[[int], None] | None,
    actor: str | None,
) -> list[Difference]:
    arrivals = [one for one in page if isinstance(one, Arrival)]
    removed = [Change(one[0], _stays_removed(one[1]), _no_answer) for one in page if not isinstance(one, Arrival)]
    found = bring_in(schedule, arrivals, dry_run=dry_run, actor=actor)
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


def bring_in(
    schedule: Schedule, arrivals: list[Arrival], *, dry_run: bool = False, actor: str | None = None
) -> list[Difference]:
    """Bring in entries (a page at most); what each of them changes."""
    found: list[Difference] = []
    if dry_run:
        now, stored = schedule.ask(requests.read(schedule.keys, [one.entry.name for one in arrivals]))
        return [difference(arrival, there, now) for arrival, there in zip(arrivals, stored, strict=True)]
    maker = schedule.operations
    changes = [maker.signed(_bringing_in(arrival, maker, found), actor, None) for arrival in arrivals]
    schedule.ask(schedule.operations.many(changes))
    # After a conflict the edit was made again: the last difference counts.
    last = {one.name: one for one in found}
    return [last[one.entry.name] for one in arrivals]


def _bringing_in(arrival: Arrival, maker: ChangeMaker, said: list[Difference]) -> Change:
    settings, calendars = maker.settings, maker.calendars
    arrival = replace(arrival, entry=arrival.entry.with_calendars(calendars))

    def make(stored: Stored, now: int) -> Edit:
        what = difference(arrival, stored, now)
        said.append(what)
        if what.what in ("unchanged", "kept"):
            return Edit(stored.name, ANY)
        known = readable(stored, now, calendars)
        if known is None or known.state is None:
            return placed(arrival, stored.state or (ANY if stored.definition else ABSENT))
        new = replace(arrival.entry.as_of(now), origin=known.origin)
        return updated(known, new, now, stored.state or ANY, settings.catchup_limit, settings.cron_grace)

    return Change(arrival.entry.name, make, _no_answer, "imported")


def placed(arrival: Arrival, expected: str) -> Edit:
    """A new entry with its state: its policy `missed` decides about what came due meanwhile."""
    entry, state = arrival.entry, arrival.state
    when = DROP
    if entry.enabled and state.nominal is not None:
        when = score(act_at(entry, state.nominal))
    edit = Edit(entry.name, expected, definition=encode(entry), state=state.text(), score=when)
    if arrival.configured != KEEP:
        edit.configured, edit.archive = arrival.configured, DROP
    return edit


def difference(arrival: Arrival, stored: Stored, now: int) -> Difference:
    """What an arrival changes of what is stored."""
    name = arrival.entry.name
    known = readable(stored, now)
    if known is None:
        return Difference(name, "added")
    if not arrival.renews:
        return Difference(name, "kept")
    changed = differences(known, arrival.entry.as_of(now))
    return Difference(name, "changed" if changed else "unchanged", changed)
