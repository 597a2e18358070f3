"""A server of checks: it notes who asks for which URL, and answers as it is told."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Checks:
    """An HTTP server of one's own."""

    def __init__(self) -> None:
        #: What was asked for, in order.
        self.asked: list[str] = []
        #: The status of the next answers, the first first; then 200. A text is where it redirects to.
        self.answers: list[int | str] = []
        #: Cleared, nobody gets an answer.
        self.answering = threading.Event()
        self.answering.set()
        checks = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                checks.asked.append(self.path)
                checks.answering.wait(30)
                answer = checks.answers.pop(0) if checks.answers else 200
                self.send_response(answer if isinstance(answer, int) else 302)
                if isinstance(answer, str):
                    self.send_header("Location", answer)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.answering.set()
        self._server.shutdown()
        self._server.server_close()
