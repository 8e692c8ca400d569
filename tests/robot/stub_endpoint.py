"""A language model's endpoint that answers what it is told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Model(ThreadingHTTPServer):
    """An endpoint that answers what it is told to, in order."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.replies: list[str] = []
        self.heard: list[dict[str, Any]] = []
        self.authorised: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Answer(BaseHTTPRequestHandler):
    server: Model

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.server.authorised.append(self.headers["Authorization"])
        self.server.heard.append(json.loads(self.rfile.read(length)))
        reply = self.server.replies.pop(0)
        body = json.dumps({"choices": [{"message": {"content": reply}}]}).encode()
        self.send_response(200 if reply != "500" else 500)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextmanager
def stub_endpoint() -> Iterator[Model]:
    with Model() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
