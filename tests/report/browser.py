"""A real browser that looks at a page and tells what it found."""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")

NEEDS_BROWSER = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed (package chromium)"),
]


class Desk(ThreadingHTTPServer):
    """Hands out the files of a folder on loopback and takes what the probe found."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(Clerk, directory=str(folder)))
        self.found: queue.Queue[dict] = queue.Queue()


class Clerk(SimpleHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Desk)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()
        self.server.found.put(json.loads(body))

    def log_message(self, format: str, *args: object) -> None:
        pass


def visit(folder: Path, *, width: int, dark: bool = False) -> tuple[dict, str]:
    """Open ``probe.html`` of a folder; return what it posted to ``/found`` and the console's text.

    The probe runs beside the page, not in it: the page's own policy forbids foreign scripts.
    """
    log = folder / "browser.log"
    with Desk(folder) as desk, log.open("wb") as errors:
        threading.Thread(target=desk.serve_forever, daemon=True).start()
        browser = subprocess.Popen(
            [
                str(BROWSER),
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--enable-logging=stderr",
                f"--user-data-dir={folder / 'profile'}",
                f"--blink-settings=preferredColorScheme={0 if dark else 1}",
                f"--window-size={max(width, 500) + 40},1000",
                f"http://127.0.0.1:{desk.server_port}/probe.html",
            ],
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
        try:
            found = desk.found.get(timeout=120)
        except queue.Empty:
            pytest.fail("the browser told nothing: " + log.read_text(errors="replace")[-2000:])
        finally:
            browser.terminate()
            browser.wait(30)
            desk.shutdown()
    lines = log.read_text(errors="replace").splitlines()
    return found, "\n".join(line for line in lines if "CONSOLE" in line)
