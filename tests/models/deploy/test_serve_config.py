"""Who may listen where, and folders that are never served."""

from __future__ import annotations

import socket

import pytest

from loopwright.cli import main
from loopwright.core.errors import InvalidConfig
from loopwright.models.deploy.serve.config import ServeConfig, read_token
from tiny_text_picture import make_text_picture_folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return make_text_picture_folder(tmp_path_factory.mktemp("models") / "whole")


def test_a_door_open_to_others_needs_a_key():
    with pytest.raises(InvalidConfig, match="--token-file"):
        ServeConfig(host="0.0.0.0")
    assert ServeConfig(host="0.0.0.0", token="k").names is None
    assert "key" not in repr(ServeConfig(token="key"))


def test_an_empty_token_is_refused(tmp_path):
    (tmp_path / "token").write_text("\n")
    with pytest.raises(InvalidConfig, match="empty"):
        read_token(tmp_path / "token")


def test_a_taken_port_is_named(whole, capsys):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert main(["serve", str(whole), "--port", str(port)]) == 2
    assert f"127.0.0.1:{port}" in capsys.readouterr().err
