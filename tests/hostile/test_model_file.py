"""Model files that hold anything: refused at the start, or, if only llama.cpp can tell, its turns
end with a word on the file. The server goes on.
"""

import os
import struct

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from actors.session.agent import AgentError, AgentTurn
from app.agents import local
from app.agents.local import open_local_agent
from app.config import ConfigError, make_config
from tests.app.client import open_client
from tests.app.process import running_server, started

TURN = AgentTurn("s", "t", [{"role": "user", "content": "hello"}])


def head(tensors, values, version=3):
    return b"GGUF" + struct.pack("<IQQ", version, tensors, values)


def text(words):
    return struct.pack("<Q", len(words)) + words


# With the words of the refusal.
REFUSED = {
    "nothing": (b"", "is no GGUF file"),
    "text": (b"hello, world\n" * 100, "is no GGUF file"),
    "a program": (b"\x7fELF" + bytes(1000), "is no GGUF file"),
    "zeros": (bytes(1 << 20), "is no GGUF file"),
    "of another byte order": (b"GGUF" + struct.pack(">IQQ", 3, 1, 1) + bytes(100), "damaged"),
    "the magic alone": (b"GGUF", "damaged"),
    "half a header": (head(0, 0)[:20], "damaged"),
    "all its tensors gone": (head(30, 30), "damaged"),
    "more tensors than atoms": (head(2**64 - 1, 0) + bytes(100), "damaged"),
    "more values than atoms": (head(0, 2**63) + bytes(100), "damaged"),
}
# Of these only the beginning is right.
NOT_LOADED = {
    "nothing described": head(0, 0) + bytes(100),
    "a list without end": head(0, 1) + text(b"a") + struct.pack("<IIQ", 9, 4, 2**60) + bytes(100),
    "a tensor without end": head(1, 0)
    + text(b"t")
    + struct.pack("<IQQIQ", 2, 2**40, 2**40, 0, 0)
    + bytes(1000),
}


def settings(path):
    return make_config(data_dir=path.parent, model=str(path), local_installed=True)


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_model_is_refused_at_the_start(tmp_path, kind):
    data, words = REFUSED[kind]
    path = tmp_path / "m.gguf"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=words) as refused:
        settings(path)
    assert repr(str(path)) in str(refused.value)


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.gguf")
    (tmp_path / "directory.gguf").mkdir()
    (tmp_path / "zero.gguf").symlink_to("/dev/zero")
    (tmp_path / "loop.gguf").symlink_to("loop.gguf")
    for path in tmp_path.iterdir():
        with pytest.raises(ConfigError, match="no model file"):
            settings(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(head(0, 0))
    path.chmod(0)
    with pytest.raises(ConfigError, match="Permission denied"):
        settings(path)


@given(data=st.binary(max_size=64) | st.binary(max_size=64).map(b"GGUF".__add__))
def test_any_bytes_are_taken_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.gguf"
    path.write_bytes(data)
    try:
        assert settings(path).model == str(path)
    except ConfigError:
        assert len(data) < 24 or data[:4] != b"GGUF" or any(data[8:24])


@pytest.mark.parametrize("kind", NOT_LOADED)
async def test_what_cannot_be_loaded_ends_a_turn_with_its_name_and_the_next_tries_again(
    tmp_path, kind, monkeypatch
):
    pytest.importorskip("xllamacpp")
    path = tmp_path / "mine.gguf"
    path.write_bytes(NOT_LOADED[kind])
    config = settings(path)
    opened = []
    open_process = trio.lowlevel.open_process

    async def counted(*arguments, **options):
        opened.append(arguments)
        return await open_process(*arguments, **options)

    monkeypatch.setattr(local.trio.lowlevel, "open_process", counted)
    async with open_local_agent(tmp_path, config.model, read_seconds=60) as agent:
        for tried in (1, 2):
            with pytest.raises(AgentError, match="The model mine cannot be loaded") as failure:
                await agent(TURN, None)
            assert "mine.gguf" in failure.value.hint
            assert len(opened) == tried
        assert agent.status()["state"] == "failed"


@pytest.mark.process
async def test_a_server_says_so_and_goes_on(tmp_path):
    pytest.importorskip("xllamacpp")
    path = tmp_path / "mine.gguf"
    path.write_bytes(REFUSED["zeros"][0])
    arguments = ("--agent", "local", "--model", str(path))
    async with started(tmp_path / "data", *arguments) as server:
        assert await server.wait() == 2
        assert server.stderr == f"greenroom: error: {str(path)!r} is no GGUF file\n"
    path.write_bytes(NOT_LOADED["a list without end"])
    async with (
        running_server(tmp_path / "data", *arguments) as server,
        open_client(server.url) as client,
    ):
        events = await client.events(await client.start(await client.new(), "hello"))
        assert events[-1].data["message"] == "The model mine cannot be loaded."
        ready = await client.http.get("/ready")
        assert ready.status_code == 503
        assert "mine cannot be loaded" in ready.json()["reason"]
        assert (await client.http.get("/api/sessions")).status_code == 200
        assert await server.stop() == 0
        assert "The model mine cannot be loaded. Is mine.gguf whole, " in server.stderr
        assert "Traceback" not in server.stderr
