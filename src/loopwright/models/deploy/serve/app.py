"""The routes: what is asked where, and by which model it is answered."""

from __future__ import annotations

import base64
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from loopwright.core.errors import DamagedData, InvalidConfig, LoopwrightError, UnknownName
from loopwright.models.deploy.opening import AnyModel
from loopwright.models.deploy.pictures import png_of
from loopwright.models.deploy.serve.answers import (
    ClientGone,
    EventStream,
    every,
    read_body,
    unless_gone,
)
from loopwright.models.deploy.serve.config import ServeConfig
from loopwright.models.deploy.serve.fields import Fields, parse_object
from loopwright.models.deploy.serve.guard import Guard
from loopwright.models.deploy.serve.metrics import Metrics
from loopwright.models.deploy.serve.painting import caption, paint, read_caption, read_painting
from loopwright.models.deploy.serve.refusal import Refused
from loopwright.models.deploy.serve.speaking import (
    Form,
    Said,
    SpeechAsk,
    Usage,
    read_chat,
    read_completion,
    speak,
)
from loopwright.models.deploy.serve.worker import Task, Worker
from loopwright.models.language import LanguageModel
from loopwright.models.wudao.sample import TextPictureModel


@dataclass(frozen=True, slots=True)
class Served:
    """A model and what it is called."""

    model: AnyModel
    name: str
    digest: str


def make_app(served: Served, config: ServeConfig) -> Starlette:
    """Return the application that serves a model."""
    worker = Worker(waiting=config.waiting, together=config.together)
    metrics = Metrics(
        {
            "waiting": ("Requests that wait for their first step.", lambda: worker.waiting),
            "sharing": ("Requests that the model works on.", lambda: worker.sharing),
        }
    )
    desk = _Desk(served, config, worker, metrics)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        worker.start()
        yield
        worker.stop()

    return Starlette(
        routes=[
            Route("/health", desk.health),
            Route("/metrics", desk.counts),
            Route("/v1/models", desk.models),
            Route("/v1/models/{name:path}", desk.one_model),
            Route("/v1/chat/completions", desk.chat, methods=["POST"]),
            Route("/v1/completions", desk.completion, methods=["POST"]),
            Route("/v1/images/generations", desk.images, methods=["POST"]),
        ],
        middleware=[
            Middleware(Guard, token=config.token, hosts=config.names, metrics=metrics),
        ],
        exception_handlers={
            LoopwrightError: _answer_error,
            HTTPException: _answer_http_error,
            Exception: _answer_fault,
        },
        lifespan=lifespan,
    )


class _Desk:
    """Takes requests, has the worker do them, and hands out the answers."""

    def __init__(
        self, served: Served, config: ServeConfig, worker: Worker, metrics: Metrics
    ) -> None:
        self._served, self._config = served, config
        self._worker, self._metrics = worker, metrics
        self._began_s = int(time.time())

    async def health(self, _: Request) -> Response:
        """Say that the server lives."""
        return JSONResponse({"status": "ok", "model": self._served.name})

    async def counts(self, _: Request) -> Response:
        """Say what it did so far."""
        return PlainTextResponse(self._metrics.render(), media_type="text/plain; version=0.0.4")

    async def models(self, _: Request) -> Response:
        """List the one model."""
        return JSONResponse({"object": "list", "data": [self._described()]})

    async def one_model(self, request: Request) -> Response:
        """Describe the model, asked for by name."""
        self._check_name(request.path_params["name"])
        return JSONResponse(self._described())

    async def chat(self, request: Request) -> Response:
        """Answer a conversation, or write about the picture in it."""
        fields = await self._fields(request)
        if isinstance(self._served.model, TextPictureModel):
            return await self._caption(request, fields, self._served.model)
        return await self._speak(request, read_chat(fields), self._served.model, chat=True)

    async def completion(self, request: Request) -> Response:
        """Continue a text."""
        fields = await self._fields(request)
        if not isinstance(self._served.model, LanguageModel):
            raise self._cannot("continues texts", "/v1/images/generations, /v1/chat/completions")
        return await self._speak(request, read_completion(fields), self._served.model, chat=False)

    async def images(self, request: Request) -> Response:
        """Paint pictures."""
        fields = await self._fields(request, needs_name=False)
        model = self._served.model
        if not isinstance(model, TextPictureModel):
            raise self._cannot("paints", "/v1/chat/completions, /v1/completions")
        ask = read_painting(fields, model)
        task = self._worker.submit(paint(model, ask))
        pictures = await self._whole(request, task)
        self._metrics.add("pictures_total", len(pictures))
        pngs = [base64.b64encode(png_of(p, factor=ask.factor)).decode() for p in pictures]
        side = ask.factor * model.pictures.config.px
        return JSONResponse(
            {
                "created": int(time.time()),
                "data": [{"b64_json": png} for png in pngs],
                "output_format": "png",
                "size": f"{side}x{side}",
            }
        )

    async def _caption(self, request: Request, fields: Fields, model: TextPictureModel) -> Response:
        task = self._worker.submit(caption(model, read_caption(fields, model)))
        text = (await self._whole(request, task))[0]
        form, usage = (
            self._form(chat=True),
            Usage(
                prompt=model.pictures.config.tokens, completion=len(model.words.encode(text)) + 1
            ),
        )
        self._count(usage)
        if not fields.flag("stream"):
            return JSONResponse(form.whole({0: text}, {0: "stop"}, usage))

        async def chunks() -> AsyncIterator[dict[str, Any]]:
            yield form.opening(0)
            yield form.piece(0, text)
            yield form.ending(0, "stop")

        return EventStream(chunks(), lambda: None)

    async def _speak(
        self, request: Request, ask: SpeechAsk, model: LanguageModel, *, chat: bool
    ) -> Response:
        task, form = self._worker.submit(speak(model, ask)), self._form(chat=chat)
        if ask.streams:
            # Whether it can be answered at all must be known before the status is sent.
            first = await self._heard(unless_gone(request, task.first(), task))
            return self._stream(task, first, ask, form)
        texts: dict[int, str] = {}
        ends: dict[int, str] = {}
        usage = Usage()
        for said in await self._whole(request, task):
            usage.add(said)
            texts[said.choice] = texts.get(said.choice, "") + said.piece.text
            ends[said.choice] = said.piece.finish or "length"
        self._count(usage)
        return JSONResponse(form.whole(texts, ends, usage))

    def _stream(self, task: Task[Said], first: Said, ask: SpeechAsk, form: Form) -> Response:
        usage, whole = Usage(), False

        async def chunks() -> AsyncIterator[dict[str, Any]]:
            nonlocal whole
            choice = -1
            async for said in _joined(first, task):
                usage.add(said)
                if said.choice != choice and form.chat:
                    yield form.opening(said.choice)
                choice = said.choice
                if said.piece.text:
                    yield form.piece(choice, said.piece.text)
                if said.piece.finish is not None:
                    yield form.ending(choice, said.piece.finish)
            if ask.counts_usage:
                yield form.counted(usage)
            whole = True

        def closed() -> None:
            task.cancel()
            self._count(usage)
            if not whole:
                self._metrics.add("cancelled_total", 1)

        return EventStream(chunks(), closed)

    async def _whole(self, request: Request, task: Task[Any]) -> list[Any]:
        return await self._heard(unless_gone(request, every(task), task))

    async def _heard(self, answer: Any) -> Any:
        try:
            return await answer
        except ClientGone:
            self._metrics.add("cancelled_total", 1)
            raise

    async def _fields(self, request: Request, *, needs_name: bool = True) -> Fields:
        fields = Fields(parse_object(await read_body(request, self._config.most_body_bytes)))
        if needs_name or fields.any("model") is not None:
            self._check_name(fields.text("model"))
        return fields

    def _check_name(self, name: str) -> None:
        if name != self._served.name:
            raise Refused(
                f"there is no model {name[:200]!r} here; expected {self._served.name!r}",
                status=404,
                code="model_not_found",
                field="model",
            )

    def _cannot(self, does: str, others: str) -> Refused:
        return Refused(
            f"the model {self._served.name!r} is none that {does}; it answers at {others}",
            code="unsupported_endpoint",
        )

    def _described(self) -> dict[str, Any]:
        return {
            "id": self._served.name,
            "object": "model",
            "created": self._began_s,
            "owned_by": "loopwright",
            "digest": self._served.digest,
        }

    def _form(self, *, chat: bool) -> Form:
        return Form(chat, self._served.name, f"fp_{self._served.digest[:12]}")

    def _count(self, usage: Usage) -> None:
        self._metrics.add("prompt_tokens_total", usage.prompt)
        self._metrics.add("completion_tokens_total", usage.completion)


async def _joined(first: Said, task: Task[Said]) -> AsyncIterator[Said]:
    yield first
    async for said in task.rest():
        yield said


async def _answer_error(_: Request, error: Exception) -> Response:
    if isinstance(error, Refused):
        refused = error
    elif isinstance(error, (InvalidConfig, UnknownName)):
        refused = Refused(str(error), code="invalid_value")
    else:
        told = str(error) if isinstance(error, DamagedData) else "the model could not answer"
        refused = Refused(told, status=500, code="internal_error")
    return JSONResponse(refused.to_json(), refused.status, refused.headers)


async def _answer_http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    refused = Refused(error.detail, status=error.status_code)
    return JSONResponse(refused.to_json(), refused.status, error.headers)


async def _answer_fault(_: Request, __: Exception) -> Response:
    refused = Refused("something went wrong inside", status=500, code="internal_error")
    return JSONResponse(refused.to_json(), refused.status)
