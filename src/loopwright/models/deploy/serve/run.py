"""A server in the foreground, from its address to its end."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from loopwright.core.errors import InvalidConfig, MissingExtra
from loopwright.models.deploy.opening import digest_of, name_of, open_model
from loopwright.models.deploy.serve.config import ServeConfig


def serve(
    folder: Path,
    config: ServeConfig,
    *,
    name: str | None = None,
    ready: Callable[[str, str], None] = lambda _name, _url: None,
) -> None:
    """Serve the model of a folder until SIGINT or SIGTERM.

    Args:
        folder: A candidate or Hugging Face folder.
        config: Where and how.
        name: What clients call the model; by default, what the folder is called.
        ready: Told the name and the address as soon as requests are answered.

    Raises:
        InvalidConfig: The folder holds no model that can be served, or the address is taken.
        UnsafeCandidate: The folder holds a pickle.
        DamagedData: A file is corrupt or truncated.
        MissingExtra: A library is not installed.
    """
    try:
        import uvicorn

        from loopwright.models.deploy.serve.app import Served, make_app
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "starlette", "serve", "serving a model") from error
    # The address first: a large model is not read for nothing.
    with _bound(config) as listener:
        model = open_model(folder)
        served = Served(model, name or name_of(folder), digest_of(folder))
        server = uvicorn.Server(
            uvicorn.Config(
                make_app(served, config),
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=config.stop_within_s,
                lifespan="on",
            )
        )
        with _stopped_by_signals(server):
            listener.listen()
            ready(served.name, _url(listener))
            server.run(sockets=[listener])


@contextlib.contextmanager
def _bound(config: ServeConfig) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    # Named as TCP, or asyncio leaves Nagle's algorithm on and streamed words wait 40 ms.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((config.host, config.port))
        except OSError as error:
            raise InvalidConfig(
                f"cannot listen on {config.host}:{config.port}: {error.strerror or error}; "
                "choose another --port (0 takes a free one)"
            ) from error
        yield listener


@contextlib.contextmanager
def _stopped_by_signals(server: object) -> Iterator[None]:
    """Let a signal end the server, and not the process behind it.

    The server catches signals while it runs and raises them again afterwards; what is installed
    here is what they meet then, and before it runs.
    """

    def stop(_number: int, _frame: FrameType | None) -> None:
        server.should_exit = True  # type: ignore[attr-defined]

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
