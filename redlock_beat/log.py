"""The log: each record says what happened in words for people, and in fields for programs.

``event`` names what happened and stays when the words change. The fields fill in the message and are attributes of
the record, too (logging's ``extra``), so that a JSON formatter has them. ``docs/logging.md`` lists both.
"""

from __future__ import annotations

import logging

from .errors import Lines
from .words import one_line

#: The one logger of this package.
logger = logging.getLogger("redlock_beat")

#: The fields that a record may have, besides ``event``. None is a name that logging itself uses.
FIELDS = {
    "entry": "the name of an entry",
    "task": "the name of a task",
    "task_id": "the id of an occurrence's task",
    "epoch": "the number of a term",
    "source": "trigger, backfill, settled or buffered for a manual item, countdown for a call that is kept",
    "step": "what failed: decode, compute, render, enqueue or publish",
    "why": "the reason in words",
    "lateness_ms": "milliseconds from when it was to be sent to when it was",
    "count": "how many",
    "pause": "seconds until the next attempt",
    "attempt": "the number of the attempt that follows",
    "role": "what this beat is",
    "holder": "host and process of the beat that held a lease",
    "application": "the application that this beat runs",
    "owner": "the application that a schedule belongs to",
    "layout": "how the schedule is stored, a number",
    "known": "the number that this release knows",
    "prefix": "the prefix of the schedule's keys",
    "server": "the address of the schedule's Redis",
    "broker": "the address of the broker",
    "delivery": "commit or outbox",
    "version": "the version of this package, or of this beat's configuration",
    "schedule_version": "the version of the configuration that the schedule has",
    "redis_version": "the version of the Redis server",
    "scheduler": "the name of another scheduler",
    "suggestion": "what was perhaps meant",
    "path": "a local file",
    "address": "where something is served, or where it is sent",
    "item": "the id, or the text, of an item in Redis",
    "option": "the name of an option or a setting",
    "entries": "how many entries",
    "number": "the number of an error, which the page has shown to its visitor",
    "names": "the names of some entries",
    "actor": "who did it",
    "until": "until when",
    "command": "the name of a management command of Django",
    "output": "a line that a command has written",
}


class Log:
    """Writes records that have a name and fields.

    >>> log.debug("term.ended", "Term %(epoch)d is over.", epoch=7)
    """

    def debug(self, event: str, words: str, **fields: object) -> None:
        """For whoever works on this package."""
        self._write(logging.DEBUG, event, words, fields)

    def info(self, event: str, words: str, **fields: object) -> None:
        """What a healthy beat does."""
        self._write(logging.INFO, event, words, fields)

    def warning(self, event: str, words: str, **fields: object) -> None:
        """Something that a person should know of, and beat goes on."""
        self._write(logging.WARNING, event, words, fields)

    def error(self, event: str, words: str, **fields: object) -> None:
        """Something that a person has to mend."""
        self._write(logging.ERROR, event, words, fields)

    def critical(self, event: str, words: str, **fields: object) -> None:
        """Beat cannot run, or data is lost."""
        self._write(logging.CRITICAL, event, words, fields)

    def at(self, level: int, event: str, words: str, **fields: object) -> None:
        """The same at a level that is computed."""
        self._write(level, event, words, fields)

    def _write(self, level: int, event: str, words: str, fields: dict[str, object]) -> None:
        if logger.isEnabledFor(level):  # the caller is two frames above
            for name, value in fields.items():  # nobody's name or note writes lines of its own
                if isinstance(value, str) and not isinstance(value, Lines) and not value.isprintable():
                    fields[name] = one_line(value)
            logger.log(level, words, *((fields,) if fields else ()), extra={"event": event, **fields}, stacklevel=3)


log = Log()
