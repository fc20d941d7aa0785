"""What a person meets who types the command."""

import logging
import os
import signal
import socket

import httpx
import pytest

import app
from actors.stores import own_directory
from app import cli
from app.cli import main
from app.logs import log_to_stderr
from tests.app.process import running_server, started

KEY = "sk-secret-123"


@pytest.fixture(autouse=True)
def _nobodys_environment(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith("GREENROOM_") or name == "OPENAI_API_KEY":
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))


@pytest.fixture
def configured(monkeypatch):
    """Run the command as far as its settings, and give them."""

    def configure(*arguments):
        configs = []

        def take(config):
            configs.append(config)
            return 0

        monkeypatch.setattr(cli, "_run", take)
        assert main(list(arguments)) == 0
        return configs[0]

    return configure


@pytest.fixture
def complaint(capsys):
    """Run the command, which must refuse in one line, and give that line."""

    def complain(*arguments):
        assert main(list(arguments)) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("greenroom: error: ")
        assert err.endswith("\n")
        assert err.count("\n") == 1
        return err.removeprefix("greenroom: error: ").rstrip("\n")

    return complain


# Options


def test_help_names_every_option_and_how_to_give_the_key(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for option in ("host", "port", "data-dir", "agent", "base-url", "model", "log-level"):
        assert f"--{option}" in text
    assert "GREENROOM_API_KEY" in text
    assert "--api-key" not in text


def test_the_version_is_told(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"greenroom {app.__version__}\n"


def test_without_options_it_serves_this_machine_and_keeps_sessions_in_the_users_data(
    configured, tmp_path, monkeypatch
):
    monkeypatch.setattr(cli, "local_extra_installed", lambda: False)
    config = configured()
    assert (config.host, config.port, config.agent) == ("127.0.0.1", 8700, "demo")
    assert config.data_dir == tmp_path / "home" / "greenroom"


SETTINGS = {
    "--host": "::1",
    "--port": "8123",
    "--data-dir": "/some/where",
    "--agent": "openai",
    "--base-url": "http://there/v1",
    "--model": "some-model",
    "--read-seconds": "7.5",
    "--log-level": "debug",
}


def expected_values(config):
    return {
        "--host": config.host,
        "--port": str(config.port),
        "--data-dir": str(config.data_dir),
        "--agent": config.agent,
        "--base-url": config.base_url,
        "--model": config.model,
        "--read-seconds": str(config.read_seconds),
        "--log-level": config.log_level,
    }


def test_every_option_can_be_given(configured):
    arguments = [word for pair in SETTINGS.items() for word in pair]
    assert expected_values(configured(*arguments)) == SETTINGS


def test_every_option_can_be_set_in_the_environment(configured, monkeypatch):
    for option, value in SETTINGS.items():
        name = "GREENROOM_" + option.removeprefix("--").replace("-", "_").upper()
        monkeypatch.setenv(name, value)
    assert expected_values(configured()) == SETTINGS


def test_an_option_beats_the_environment_and_an_empty_variable_is_none(configured, monkeypatch):
    monkeypatch.setenv("GREENROOM_PORT", "1")
    monkeypatch.setenv("GREENROOM_HOST", "")
    config = configured("--port", "2", "--agent", "demo")
    assert (config.host, config.port) == ("127.0.0.1", 2)


def test_the_key_is_taken_from_the_environment(configured, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    config = configured()
    assert (config.agent, config.api_key) == ("openai", KEY)


# Refusals


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--no-such-option"], "--no-such-option"),
        (["more"], "No such command 'more'"),
        (["--port", "70000"], "port 70000 is not between 0 and 65535"),
        (["--port", "many"], "'many' is not a valid integer"),
        (["--port"], "'--port' requires an argument"),
        (["--agent", "other"], "'other' is not one of 'auto', 'openai', 'local', 'demo'"),
        (["--base-url", "there"], "must be http:// or https://"),
        (["--log-level", "loud"], "'loud' is not one of"),
        (["--read-seconds", "soon"], "'soon' is not a valid float"),
        (["--read-seconds", "0"], "may say nothing for 0 s: choose between 0.1 and 86400"),
        (["--host", "no.such.host.invalid"], "cannot listen on no.such.host.invalid:"),
        (["--host", "192.0.2.1"], "cannot listen on 192.0.2.1:8700: "),
    ],
)
def test_what_cannot_be_used_is_refused_with_one_line(complaint, tmp_path, arguments, said):
    assert said in complaint("--data-dir", str(tmp_path), "--agent", "demo", *arguments)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PORT", "many", "'many' is not a valid integer"),
        ("AGENT", "other", "'other' is not one of"),
        ("BASE_URL", "there", "must be http:// or https://"),
    ],
)
def test_the_environment_is_checked_too(complaint, monkeypatch, name, value, said):
    monkeypatch.setenv(f"GREENROOM_{name}", value)
    assert said in complaint()


def test_the_local_agent_says_how_to_install_it(complaint, monkeypatch):
    monkeypatch.setattr(cli, "local_extra_installed", lambda: False)
    assert "pip install 'greenroom[local]'" in complaint("--agent", "local")


def test_a_model_file_that_is_not_there_is_named(complaint, monkeypatch, tmp_path):
    monkeypatch.setattr(cli, "local_extra_installed", lambda: True)
    assert str(tmp_path / "no.gguf") in complaint("--model", str(tmp_path / "no.gguf"))


@pytest.mark.parametrize("argument", [f"--api-key={KEY}", f"--base-url=http://:{KEY}@there"])
def test_a_key_on_the_command_line_is_refused_and_not_repeated(complaint, argument):
    assert KEY not in complaint(argument)


def test_a_taken_port_is_named(complaint, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = complaint("--data-dir", str(tmp_path), "--agent", "demo", "--port", str(port))
    assert said == (
        f"cannot listen on 127.0.0.1:{port}: port {port} is taken; choose another one with --port"
    )


def test_a_data_directory_that_cannot_be_made_is_named(complaint, tmp_path):
    (tmp_path / "file").touch()
    said = complaint("--data-dir", str(tmp_path / "file" / "data"), "--agent", "demo")
    assert said == (f"cannot write to the data directory '{tmp_path}/file/data': Not a directory")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_data_directory_that_cannot_be_written_is_named(complaint, tmp_path):
    tmp_path.chmod(0o500)
    said = complaint("--data-dir", str(tmp_path), "--agent", "demo")
    assert said == f"cannot write to the data directory '{tmp_path}': Permission denied"


def test_a_data_directory_that_is_used_names_its_owner_even_if_the_port_is_taken_too(
    complaint, tmp_path
):
    with socket.create_server(("127.0.0.1", 0)) as taken, own_directory(tmp_path):
        port = taken.getsockname()[1]
        said = complaint("--data-dir", str(tmp_path), "--agent", "demo", "--port", str(port))
    assert said == (
        f"the data directory '{tmp_path}' is in use by the server with process id {os.getpid()}"
    )


def test_a_data_directory_that_somebody_takes_in_the_last_moment_is_told_as_well(
    complaint, tmp_path, monkeypatch
):
    monkeypatch.setattr("app.run.check_data_dir", lambda data_dir: None)
    with own_directory(tmp_path):
        said = complaint("--data-dir", str(tmp_path), "--agent", "demo", "--port", "0")
    assert said.endswith(f"is in use by the server with process id {os.getpid()}")


def test_headers_are_in_no_log_at_any_level(monkeypatch):
    for name in ("httpcore", "hpack"):
        monkeypatch.setattr(logging.getLogger(name), "level", logging.NOTSET)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr(logging.getLogger(), "level", logging.NOTSET)
    log_to_stderr("debug", "text")
    assert logging.getLogger().level == logging.DEBUG
    assert not logging.getLogger("httpcore.http11").isEnabledFor(logging.DEBUG)
    assert not logging.getLogger("hpack.hpack").isEnabledFor(logging.DEBUG)


# Processes


async def get(url):
    async with httpx.AsyncClient() as client:
        return await client.get(url)


@pytest.mark.process
async def test_a_new_data_directory_is_made_and_served_at_the_address_told(tmp_path):
    async with running_server(tmp_path / "new" / "data") as server:
        assert server.url == f"http://127.0.0.1:{server.port}"
        assert (await get(f"{server.url}/health")).status_code == 200
        assert await server.stop() == 0
        assert server.stdout == f"Greenroom is ready at {server.url}\n"
        assert server.stderr == ""
    assert (tmp_path / "new" / "data").stat().st_mode & 0o777 == 0o700


@pytest.mark.process
async def test_a_second_server_on_the_directory_is_refused_until_the_first_is_gone(tmp_path):
    async with running_server(tmp_path) as first:
        async with started(tmp_path) as second:
            assert await second.wait() == 2
            assert second.stdout == ""
            assert second.stderr == (
                f"greenroom: error: the data directory '{tmp_path}' is in use by the server"
                f" with process id {first.pid}\n"
            )
        assert (await get(f"{first.url}/health")).status_code == 200
        await first.kill()
    async with running_server(tmp_path) as third:
        assert await third.stop() == 0


@pytest.mark.process
async def test_an_ipv6_address_is_told_in_brackets(tmp_path):
    async with running_server(tmp_path, "--host", "::1") as server:
        assert server.url == f"http://[::1]:{server.port}"
        assert (await get(f"{server.url}/health")).status_code == 200
        assert await server.stop() == 0
        assert server.stderr == ""


@pytest.mark.process
async def test_the_key_is_in_no_output_at_any_level(tmp_path):
    env = {"GREENROOM_API_KEY": KEY, "GREENROOM_AGENT": "openai"}
    async with running_server(tmp_path, "--log-level", "debug", env=env) as server:
        assert (await get(f"{server.url}/health")).status_code == 200
        assert await server.stop() == 0
        assert KEY not in server.stdout + server.stderr


@pytest.mark.process
async def test_a_turn_that_runs_is_settled_and_its_reader_told_before_the_end(tmp_path):
    async with running_server(tmp_path) as server, httpx.AsyncClient(base_url=server.url) as client:
        made = (await client.post("/api/session/new", json={})).json()
        session_id = made["session"]["session_id"]
        prompt = {"session_id": session_id, "message": "Count to a thousand"}
        stream_id = (await client.post("/api/chat/start", json=prompt)).json()["stream_id"]
        query = {"stream_id": stream_id}
        names = []
        async with client.stream("GET", "/api/chat/stream", params=query, timeout=30) as stream:
            server.process.send_signal(signal.SIGTERM)
            async for line in stream.aiter_lines():  # Would raise if it were cut.
                if line.startswith("event: "):
                    names.append(line.removeprefix("event: "))
        assert await server.wait() == 0
        assert server.stderr == ""
    assert names[-1] in {"done", "apperror", "cancel"}
    async with running_server(tmp_path) as server:
        url = f"{server.url}/api/session?session_id={session_id}"
        messages = (await get(url)).json()["session"]["messages"]
        assert [m["content"] for m in messages if m["role"] == "user"] == [prompt["message"]]
