"""``loopwright serve``: answer requests with a model, in the words of OpenAI's API."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro


def main(
    model: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")],
    /,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token_file: Path | None = None,
    name: str | None = None,
    waiting: int = 32,
    together: int = 4,
) -> int:
    """Serve a model in the foreground until interrupted.

    Language models answer /v1/chat/completions and /v1/completions, also as a stream; models that
    paint answer /v1/images/generations, and write about a picture at /v1/chat/completions.

    Args:
        model: Folder of a candidate, or of a language model as Hugging Face writes it.
        host: Address to listen on; others than this machine's need a token.
        port: Port to listen on; 0 takes a free one.
        token_file: File with the token that clients must send (Authorization: Bearer TOKEN).
        name: What clients call the model; by default the name of its folder.
        waiting: Most requests that wait; more are told when to come back.
        together: Most requests that the model works on by turns.
    """
    from loopwright.models.deploy.serve.config import ServeConfig, read_token
    from loopwright.models.deploy.serve.run import serve  # here: it needs torch

    config = ServeConfig(
        host=host,
        port=port,
        token=None if token_file is None else read_token(token_file),
        waiting=waiting,
        together=together,
    )
    serve(model, config, name=name, ready=_say)
    return 0


def _say(name: str, url: str) -> None:
    print(f"{name} at {url}/v1 (stop with Ctrl-C)", flush=True)
