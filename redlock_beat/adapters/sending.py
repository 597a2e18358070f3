"""A thread that asks for URLs, one after the other, so that nobody else waits for them.

Everything has a bound: the pings that wait, the time that each may wait, the time for an answer and the attempts. A
host that does not answer gets one attempt a ping until it does. URLs are secrets, so no log has more of them than the
host.
"""

from __future__ import annotations

import http.client
import threading
import urllib.error
import urllib.request
from collections import deque
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from .. import __version__
from ..clock import monotonic
from ..log import log

#: Pings that wait, at most; and the seconds after which one is of no use any more.
LIMIT, AGE = 1_000, 60.0
#: Seconds between the attempts with one ping.
PAUSES = (1.0, 3.0)
#: Answers other than a server's fault after which another attempt has a use: it is busy.
_BUSY = (408, 425, 429)


@dataclass(slots=True)
class Ping:
    """A URL to ask for."""

    #: What it is about, for the log.
    entry: str
    what: str
    url: str = field(repr=False)
    #: When it came (monotonic).
    at: float = field(default_factory=monotonic)


class Sender:
    """Asks for the URLs of pings, in their order."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self._waiting: deque[Ping] = deque()
        self._wake = threading.Event()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._opener = _opener()
        self._dropped = 0
        # The hosts that did not answer last time; and of what the log has said that it fails.
        self._silent: set[str] = set()
        self._failing: set[str] = set()

    def put(self, ping: Ping) -> None:
        """Ask for a URL soon; where too many wait, never."""
        if self._over.is_set():
            return
        if len(self._waiting) >= LIMIT:
            self._dropped += 1
            return
        self._waiting.append(ping)
        self._wake.set()
        if self._thread is None or not self._thread.is_alive():  # not yet, or not in this process, which was forked
            self._start()

    def close(self, seconds: float = 1.0) -> None:
        """Ask for what still waits, for so long at most, and for nothing more."""
        self._over.set()
        self._wake.set()
        thread = self._thread
        if thread is not None and thread.is_alive():
            thread.join(seconds)
        self._waiting.clear()

    # --- the thread ---

    def _start(self) -> None:
        with self._starting:  # the loop and a publisher's thread may both come
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="redlock_beat pings", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            self._wake.clear()
            while self._waiting:
                self._send(self._waiting.popleft())
                self._say_dropped()
            if self._over.is_set():
                return
            self._wake.wait()

    def _send(self, ping: Ping) -> None:
        if monotonic() - ping.at > AGE:
            self._failed(ping, "it waited for too long")
            return
        host = urlsplit(ping.url).netloc
        attempts = 1 if host in self._silent else len(PAUSES) + 1
        for attempt in range(attempts):
            why, again = self._ask(ping.url)
            if not why:
                self._silent.discard(host)
                self._well(ping)
                return
            if not again or attempt + 1 == attempts or self._over.wait(PAUSES[attempt]):
                break
        if again:
            self._silent.add(host)
        self._failed(ping, why)

    def _ask(self, url: str) -> tuple[str, bool]:
        """Why an attempt failed ('' when it did not), and whether another has a use. No text of it holds the URL."""
        words = urllib.request.Request(url, headers={"User-Agent": f"redlock_beat/{__version__}"})  # noqa: S310 - checked
        try:
            self._opener.open(words, timeout=self.timeout).close()
        except urllib.error.HTTPError as exc:
            exc.close()
            return f"HTTP status {exc.code}", exc.code >= 500 or exc.code in _BUSY
        except (OSError, http.client.HTTPException) as exc:
            reason = getattr(exc, "reason", exc)
            return (reason.strerror if isinstance(reason, OSError) else "") or type(reason).__name__, True
        except Exception as exc:  # noqa: BLE001 - what its text says may be the URL
            return type(exc).__name__, False
        return "", False

    # --- the log ---

    def _well(self, ping: Ping) -> None:
        if ping.entry in self._failing:
            self._failing.discard(ping.entry)
            log.info("pings.recovered", "The check of entry %(entry)r gets its pings again.", entry=ping.entry)

    def _failed(self, ping: Ping, why: str) -> None:
        words = f"The {ping.what} ping of entry %(entry)r to %(address)s was lost: %(why)s."
        host = urlsplit(ping.url).hostname or ""
        if ping.entry in self._failing or len(self._failing) >= LIMIT:
            log.debug("pings.lost", words, entry=ping.entry, address=host, why=why)
        else:
            self._failing.add(ping.entry)
            words += " The log has it once until one arrives."
            log.warning("pings.lost", words, entry=ping.entry, address=host, why=why)

    def _say_dropped(self) -> None:
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            log.warning("pings.dropped", "%(count)d pings were dropped, because too many waited.", count=dropped)


def _opener() -> urllib.request.OpenerDirector:
    """What opens HTTP and HTTPS, and nothing else wherever a server redirects to."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener
