"""A real server in a process of its own, asked by a real client, well and badly."""

from __future__ import annotations

import base64
import io
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from tiny_language import make_folder
from tiny_text_picture import make_text_picture_folder

TOKEN = "a-token-of-some-length"
HELLO = [{"role": "user", "content": "the sky?"}]
JSON = {"Content-Type": "application/json"}


@contextmanager
def serving(log: Path, *arguments: str, end: signal.Signals) -> Iterator[str]:
    """Yield the address of a server; it must end without an error and without a traceback."""
    command = [sys.executable, "-m", "loopwright", "serve", *arguments, "--port", "0"]
    with (
        log.open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            found = re.search(r"http://\S+", process.stdout.readline())
            assert found, log.read_text()
            yield found[0].removesuffix("/v1")
            process.send_signal(end)
            assert process.wait(30) == 0
            assert "Traceback" not in log.read_text()
        finally:
            process.kill()


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[httpx.Client]:
    """A language model with a short line in front of it."""
    place = tmp_path_factory.mktemp("served")
    folder = make_folder(place / "tiny")
    settings = ["--waiting", "2", "--together", "2"]
    with (
        serving(place / "log", str(folder), *settings, end=signal.SIGTERM) as url,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        yield client


@pytest.fixture
def client(running) -> httpx.Client:
    return running


def chat(client: httpx.Client, **more) -> httpx.Response:
    ask = {"model": "tiny", "messages": HELLO, "max_tokens": 8, "seed": 3, **more}
    return client.post("/v1/chat/completions", json=ask)


def metric(client: httpx.Client, name: str) -> float:
    return float(re.search(rf"^loopwright_{name} (\S+)$", client.get("/metrics").text, re.M)[1])


def chunks_of(lines: Iterator[str]) -> list[dict]:
    events = [line for line in lines if line]
    assert all(event.startswith("data: ") for event in events)
    assert events[-1] == "data: [DONE]"
    return [json.loads(event.removeprefix("data: ")) for event in events[:-1]]


class TestText:
    def test_the_model_is_listed(self, client):
        listed = client.get("/v1/models").json()
        assert [model["id"] for model in listed["data"]] == ["tiny"]
        assert client.get("/v1/models/tiny").json() == listed["data"][0]
        assert client.get("/health").json()["status"] == "ok"

    def test_a_chat_has_the_shape_that_openai_clients_parse(self, client):
        found = chat(client, n=2).json()
        assert found["object"] == "chat.completion"
        assert found["id"].startswith("chatcmpl-")
        assert [choice["index"] for choice in found["choices"]] == [0, 1]
        for choice in found["choices"]:
            assert choice["message"]["role"] == "assistant"
            assert choice["finish_reason"] in ("stop", "length")
        usage = found["usage"]
        assert 2 <= usage["completion_tokens"] <= 16
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]

    def test_the_seed_fixes_the_answer_and_every_choice_has_its_own(self, client):
        both = chat(client, n=2, max_tokens=12).json()["choices"]
        again = chat(client, max_tokens=12).json()["choices"][0]
        assert again["message"] == both[0]["message"]
        assert both[0]["message"] != both[1]["message"]

    @pytest.mark.parametrize("n", [1, 2])
    def test_a_stream_adds_up_to_the_whole_answer(self, client, n):
        whole = chat(client, n=n).json()
        ask = {"model": "tiny", "messages": HELLO, "max_tokens": 8, "seed": 3, "n": n}
        ask |= {"stream": True, "stream_options": {"include_usage": True}}
        with client.stream("POST", "/v1/chat/completions", json=ask) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            chunks = chunks_of(answer.iter_lines())
        assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
        assert len({chunk["id"] for chunk in chunks}) == 1
        *said, counted = chunks
        assert counted["choices"] == []
        assert counted["usage"] == whole["usage"]
        for choice in whole["choices"]:
            mine = [c["choices"][0] for c in said if c["choices"][0]["index"] == choice["index"]]
            assert mine[0]["delta"] == {"role": "assistant", "content": ""}
            text = "".join(c["delta"].get("content", "") for c in mine)
            assert text == choice["message"]["content"]
            ends = [c["finish_reason"] for c in mine]
            assert ends == [None] * (len(mine) - 1) + [choice["finish_reason"]]

    def test_completions_take_texts_and_tokens(self, client):
        ask = {"model": "tiny", "prompt": ["the sky", [70, 71]], "max_tokens": 4, "seed": 1}
        found = client.post("/v1/completions", json=ask).json()
        assert found["object"] == "text_completion"
        assert len(found["choices"]) == 2
        with client.stream("POST", "/v1/completions", json=ask | {"stream": True}) as answer:
            chunks = chunks_of(answer.iter_lines())
        for index, choice in enumerate(found["choices"]):
            mine = [c["choices"][0] for c in chunks if c["choices"][0]["index"] == index]
            assert "".join(c["text"] for c in mine) == choice["text"]

    def test_greedy_needs_no_seed(self, client):
        texts = {
            chat(client, temperature=0, seed=seed).json()["choices"][0]["message"]["content"]
            for seed in (None, 1, -2)
        }
        assert len(texts) == 1

    def test_a_stop_text_ends_the_answer(self, client):
        whole = chat(client, max_tokens=20).json()["choices"][0]["message"]["content"]
        cut = chat(client, max_tokens=20, stop=[whole[4:7]]).json()["choices"][0]
        assert cut["message"]["content"] == whole[: whole.index(whole[4:7])]
        assert cut["finish_reason"] == "stop"

    def test_what_openai_clients_send_along_does_no_harm(self, client):
        parts = [{"type": "text", "text": "the "}, {"type": "text", "text": "sky?"}]
        answer = chat(
            client,
            messages=[{"role": "user", "content": parts, "name": "me"}],
            max_tokens=None,
            max_completion_tokens=8,
            stop=None,
            stream=False,
            user="u",
            metadata={"a": "b"},
            presence_penalty=0,
            frequency_penalty=0.0,
            logit_bias={},
            response_format={"type": "text"},
            parallel_tool_calls=True,
            store=False,
        )
        assert answer.status_code == 200
        assert answer.json()["choices"] == chat(client).json()["choices"]


class TestBadRequests:
    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"temperature": "hot"}, "temperature"),
            ({"temperature": -0.1}, "temperature"),
            ({"temperature": True}, "temperature"),
            ({"top_p": 1.1}, "top_p"),
            ({"max_tokens": 0}, "max_tokens"),
            ({"max_tokens": 1.5}, "max_tokens"),
            ({"max_tokens": 10**30}, "max_tokens"),
            ({"n": 1000}, "n"),
            ({"seed": "x"}, "seed"),
            ({"seed": 10**40}, "seed"),
            ({"stop": ["a"] * 5}, "stop"),
            ({"stop": [""]}, "stop"),
            ({"stop": {"a": 1}}, "stop"),
            ({"stream": "yes"}, "stream"),
            ({"stream_options": 3}, "stream_options"),
            ({"messages": []}, "messages"),
            ({"messages": "hi"}, "messages"),
            ({"messages": [3]}, "messages[0]"),
            ({"messages": [{"role": "king", "content": "x"}]}, "messages[0]"),
            ({"messages": [{"role": ["user"], "content": "x"}]}, "messages[0]"),
            ({"messages": [{"role": "user"}]}, "messages[0].content"),
            ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
            ({"logprobs": True}, "logprobs"),
            ({"tools": [{"type": "function"}]}, "tools"),
            ({"presence_penalty": 0.5}, "presence_penalty"),
            ({"response_format": {"type": "json_object"}}, "response_format"),
            ({"model": None}, "model"),
            ({"model": 5}, "model"),
        ],
    )
    def test_a_wrong_field_is_named(self, client, changes, field):
        answer = chat(client, **changes)
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert error["param"] == field
        assert error["type"] == "invalid_request_error"

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"[]",
            b"null",
            b'"x"',
            b"\xff\xfe",
            b"[" * 100_000,
            b'{"model": "tiny", "messages": [{"role": "user", "content": "\\ud800"}]}',
            b'{"model": "tiny", "temperature": NaN, "messages": []}',
            b'{"model": "tiny", "temperature": 1e999, '
            b'"messages": [{"role": "user", "content": "x"}]}',
            b'{"model": "tiny", "max_tokens": ' + b"9" * 5000 + b"}",
        ],
    )
    def test_a_body_that_is_no_request_gets_an_error_of_openais_form(self, client, body):
        answer = client.post("/v1/chat/completions", content=body, headers=JSON)
        assert answer.status_code == 400
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}

    def test_an_unknown_model_is_not_found(self, client):
        answer = chat(client, model="gpt-9")
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "model_not_found"
        assert client.get("/v1/models/gpt-9").status_code == 404

    def test_huge_bodies_are_refused_said_or_not(self, client):
        huge = b'{"a": "' + b"x" * (9 << 20)
        for content in (huge, iter([huge])):
            try:
                answer = client.post("/v1/chat/completions", content=content, headers=JSON)
            except httpx.WriteError:
                continue  # The server does not wait for the rest.
            assert answer.status_code == 413

    def test_prompts_that_do_not_fit_are_refused_before_a_stream_begins(self, client):
        long = [{"role": "user", "content": "the sky " * 600}]
        answer = chat(client, messages=long, stream=True)
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "context_length_exceeded"

    @pytest.mark.parametrize("prompt", [None, [], 7, [7, "x"], [[1.5]], [[-1]], [[9999]], {}, ""])
    def test_wrong_prompts_are_refused(self, client, prompt):
        answer = client.post("/v1/completions", json={"model": "tiny", "prompt": prompt})
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "prompt"

    def test_other_ways_in_are_closed(self, client):
        assert client.get("/v1/chat/completions").status_code == 405
        nowhere = client.get("/v2/what")
        assert (nowhere.status_code, set(nowhere.json())) == (404, {"error"})
        # A form of another site's page reaches this machine without being asked.
        form = client.post(
            "/v1/chat/completions", content=b"{}", headers={"Content-Type": "text/plain"}
        )
        assert form.status_code == 415
        # And another site's name can be made to point here.
        assert client.get("/v1/models", headers={"Host": "evil.example"}).status_code == 421
        paint = client.post("/v1/images/generations", json={"prompt": "x"})
        assert "none that paints" in paint.json()["error"]["message"]


LONG = {"model": "tiny", "messages": HELLO, "max_tokens": 490, "seed": 5, "stream": True, "n": 16}


class TestLine:
    def test_a_short_answer_overtakes_a_long_one(self, client):
        with client.stream("POST", "/v1/chat/completions", json=LONG) as long:
            lines = long.iter_lines()
            next(lines)
            alone = chat(client, max_tokens=2)
            assert alone.status_code == 200
            until(lambda: metric(client, "sharing") == 1)
            # What is answered does not depend on who else asks.
        assert alone.json()["choices"] == chat(client, max_tokens=2).json()["choices"]

    def test_a_full_line_sends_away_with_a_time_and_gone_clients_free_it(self, client):
        gone = metric(client, "cancelled_total")
        held = [client.build_request("POST", "/v1/chat/completions", json=LONG) for _ in range(2)]
        streams = [client.send(request, stream=True) for request in held]
        assert [stream.status_code for stream in streams] == [200, 200]
        impatient = threading.Thread(target=self.wait_in_line, args=(str(client.base_url), 2))
        impatient.start()
        until(lambda: metric(client, "waiting") == 2)
        refused = chat(client)
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) >= 1
        assert refused.json()["error"]["type"] == "server_error"
        impatient.join()
        for stream in streams:
            stream.close()
        until(lambda: metric(client, "cancelled_total") == gone + 4)
        until(lambda: metric(client, "sharing") == 0)
        assert chat(client).status_code == 200

    @staticmethod
    def wait_in_line(url: str, count: int) -> None:
        """Ask without streaming, and go away before there is an answer."""
        body = json.dumps({**LONG, "stream": False}).encode()
        host, port = url.removeprefix("http://").split(":")
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}"
        asked = []
        for _ in range(count):
            connection = socket.create_connection((host, int(port.strip("/"))))
            connection.sendall(f"{head}\r\nContent-Type: application/json\r\n\r\n".encode() + body)
            asked.append(connection)
        time.sleep(1.5)
        for connection in asked:
            connection.close()


def until(holds) -> None:
    began_s = time.monotonic()
    while not holds():
        assert time.monotonic() - began_s < 30
        time.sleep(0.02)


@pytest.fixture(scope="module")
def painter(tmp_path_factory) -> Iterator[httpx.Client]:
    place = tmp_path_factory.mktemp("served")
    make_text_picture_folder(place / "painter" / "candidate")
    (place / "token").write_text(TOKEN + "\n")
    arguments = [str(place / "painter/candidate"), "--token-file", str(place / "token")]
    with serving(place / "log", *arguments, end=signal.SIGINT) as url:
        key = {"Authorization": f"Bearer {TOKEN}"}
        with httpx.Client(base_url=url, timeout=60, headers=key) as client:
            yield client


class TestPictures:
    @pytest.fixture
    def client(self, painter) -> httpx.Client:
        return painter

    def test_a_token_is_asked_for(self, client):
        for key in ("", "Bearer", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \xe9"):
            answer = client.get("/v1/models", headers={"Authorization": key.encode("latin-1")})
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert client.get("/health", headers={"Authorization": ""}).status_code == 200
        assert client.get("/v1/models").json()["data"][0]["id"] == "painter"

    def paint(self, client, **more) -> httpx.Response:
        ask = {"model": "painter", "prompt": "red heart", "seed": 4, **more}
        return client.post("/v1/images/generations", json=ask)

    def test_pictures_are_pngs_and_each_has_its_own_seed(self, client):
        found = self.paint(client, n=2, size="64x64", response_format="b64_json").json()
        files = [base64.b64decode(each["b64_json"]) for each in found["data"]]
        assert [Image.open(io.BytesIO(file)).size for file in files] == [(64, 64)] * 2
        others = [self.paint(client, seed=seed).json()["data"] for seed in range(8)]
        assert any(other != others[0] for other in others)
        second = self.paint(client, seed=5, size="64x64").json()["data"][0]["b64_json"]
        assert base64.b64decode(second) == files[1]

    @pytest.mark.parametrize(
        "changes",
        [
            {"size": "65x65"},
            {"size": "64x32"},
            {"size": "0x0"},
            {"size": "99999x99999"},
            {"size": 64},
            {"prompt": ""},
            {"prompt": None},
            {"n": 11},
            {"style": "vivid"},
            {"language": "xx"},
            {"response_format": "url"},
            {"tries": 0},
        ],
    )
    def test_wrong_asks_are_refused(self, client, changes):
        answer = self.paint(client, **changes)
        assert answer.status_code == 400
        assert answer.json()["error"]["message"]

    def caption(self, client, url, **more) -> httpx.Response:
        part = {"type": "image_url", "image_url": {"url": url}}
        text = {"type": "text", "text": "What is this?"}
        messages = [{"role": "user", "content": [text, part]}]
        ask = {"model": "painter", "messages": messages, **more}
        return client.post("/v1/chat/completions", json=ask)

    @staticmethod
    def data_url(size=(40, 20), kind="PNG") -> str:
        pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, format=kind)
        return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"

    def test_a_picture_gets_a_caption(self, client):
        found = self.caption(client, self.data_url()).json()
        text = found["choices"][0]["message"]["content"]
        assert found["usage"]["prompt_tokens"] == 16
        streamed = self.caption(client, self.data_url(), stream=True)
        chunks = chunks_of(iter(streamed.text.splitlines()))
        assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks) == text

    @pytest.mark.parametrize(
        "url",
        [
            "https://example.com/x.png",
            "file:///etc/passwd",
            "data:image/png;base64,%%%",
            "data:image/png;base64,AAAA",
            data_url()[:-40],
            data_url(size=(4100, 2)),
            data_url(kind="GIF"),
            7,
            None,
        ],
    )
    def test_what_is_no_picture_is_refused(self, client, url):
        assert self.caption(client, url).status_code == 400

    def test_it_does_not_continue_texts(self, client):
        answer = client.post("/v1/completions", json={"model": "painter", "prompt": "x"})
        assert answer.json()["error"]["code"] == "unsupported_endpoint"
