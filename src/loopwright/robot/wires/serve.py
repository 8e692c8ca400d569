"""A server in a thread: from its address to its orderly end."""

from __future__ import annotations

import ipaddress
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from loopwright.core.errors import InvalidConfig, MissingExtra, StorageError

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette

_STARTS_WITHIN_S = 10.0
_SWITCH_INTERVAL_S = 0.0005
"""How long a thread may keep the interpreter from others: those that answer share it with the
coordinator, and every hand-over of a task waited up to ten times as long."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerSettings:
    """Where to listen."""

    host: str = "127.0.0.1"
    port: int = 0
    """0 takes a free one."""
    beyond_loopback: bool = False
    """Whether other machines are meant to reach it; tokens then travel in the clear, so put it
    behind a proxy that speaks TLS."""
    ends_within_s: float = 2.0
    """How long requests that run may take once the server is to end."""

    def __post_init__(self) -> None:
        """Refuse an address that others could reach unless that is meant."""
        if not 0 <= self.port <= 65535:
            raise InvalidConfig(f"port {self.port} is not between 0 and 65535")
        if not (self.beyond_loopback or _is_loopback(self.host)):
            raise InvalidConfig(
                f"{self.host} can be reached from other machines; use 127.0.0.1, "
                "or set beyond_loopback=True if that is meant"
            )


class Server:
    """A running server; also a context manager."""

    def __init__(
        self, server: uvicorn.Server, listener: socket.socket, end_streams: Callable[[], None]
    ) -> None:
        """Run in a thread of its own."""
        self._server, self._listener, self._end_streams = server, listener, end_streams
        self._thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listener]}, name="http", daemon=True
        )
        host, port = listener.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        """Where it answers, without a slash at the end."""
        self._thread.start()

    def __enter__(self) -> Server:
        """Return the server, which runs already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it."""
        self.close()

    def close(self) -> None:
        """Answer what was asked, end the streams, and give the port back; idempotent."""
        self._end_streams()  # they would never end by themselves
        self._server.should_exit = True
        self._thread.join(timeout=30.0)
        self._listener.close()

    def _await_start(self) -> None:
        step_s = 0.005
        for _ in range(int(_STARTS_WITHIN_S / step_s)):
            if self._server.started:
                return
            self._thread.join(timeout=step_s)
            if not self._thread.is_alive():
                break
        self.close()
        raise StorageError(f"the server at {self.url} did not start; its log says why")


def serve(app: Starlette, settings: ServerSettings | None = None) -> Server:
    """Answer requests to an application of :func:`~loopwright.robot.wires.http.make_app`.

    It runs in a thread, until the server is closed.

    Raises:
        InvalidConfig: The address is taken, or no address of this machine.
        MissingExtra: uvicorn is not installed.
    """
    try:
        import uvicorn
    except ModuleNotFoundError as error:
        raise MissingExtra("uvicorn", "robot", "the HTTP interface") from error
    settings = settings or ServerSettings()
    listener = _bound(settings)
    sys.setswitchinterval(min(_SWITCH_INTERVAL_S, sys.getswitchinterval()))
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=max(1, round(settings.ends_within_s)),
        lifespan="on",
    )
    server = Server(uvicorn.Server(config), listener, app.state.end_streams)
    server._await_start()
    return server


def _bound(settings: ServerSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # Named as TCP, or asyncio leaves Nagle's algorithm on and every answer waits 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise InvalidConfig(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error}; "
            "choose another port (0 takes a free one)"
        ) from error
    return listener


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
