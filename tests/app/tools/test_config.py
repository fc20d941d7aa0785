"""The file of the MCP servers: what is taken, and what is said of the rest."""

import json

import pytest

from app.config import ConfigError, make_config
from app.tools.config import ToolsError, servers_in

SECRET = "sk-do-not-print-me"


def servers(environment=None, **named):
    return servers_in(json.dumps({"mcpServers": named}).encode(), environment or {})


def test_a_file_of_another_host_is_taken_as_it_is():
    (time, remote) = servers(
        time={"command": "uvx", "args": ["mcp-server-time"], "env": {"TZ": "UTC"}, "type": "stdio"},
        remote={"type": "http", "url": "https://there/mcp", "headers": {"X": "y"}, "gallery": True},
        off={"command": "x", "disabled": True},
    )
    assert (time.name, time.command, time.args, time.env) == (
        *("time", "uvx", ["mcp-server-time"]),
        {"TZ": "UTC"},
    )
    assert (remote.url, remote.headers) == ("https://there/mcp", {"X": "y"})
    assert time.asks("anything")


def test_approval_is_by_server_and_by_tool():
    (one,) = servers(one={"command": "x", "approval": "allow", "tools": {"remove": "ask"}})
    assert not one.asks("read")
    assert one.asks("remove")


def test_variables_of_the_environment_are_put_in():
    (one,) = servers({"TOKEN": SECRET}, one={"url": "http://x", "headers": {"A": "B ${TOKEN}"}})
    assert one.headers == {"A": f"B {SECRET}"}
    assert SECRET not in repr(one)
    with pytest.raises(ToolsError, match="TOKEN"):
        servers(one={"url": "http://x", "headers": {"A": "${TOKEN}"}})


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"[]", "does not fit"),
        (b"{}", "mcpServers"),
        (b'{"mcpServers": {"a": {}}}', "'a' needs either"),
        (b'{"mcpServers": {"a": {"command": "x", "url": "http://y"}}}', "'a' needs either"),
        (b'{"mcpServers": {"a": {"command": 1}}}', "'a' does not fit"),
        (b'{"mcpServers": {"a": {"url": "ftp://y"}}}', "'a' has a url"),
        (b'{"mcpServers": {"a": {"url": "http://["}}}', "'a' has a url"),
        (b'{"mcpServers": {"a": {"url": "http://y", "type": "sse"}}}', "'sse'"),
        (b'{"mcpServers": {"a": {"command": "x", "approval": "maybe"}}}', "maybe"),
        (b'{"mcpServers": {"a": {"command": "x", "timeout": 0}}}', "timeout"),
        (b'{"mcpServers": {" ": {"command": "x"}}}', "no name"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(data, said, tmp_path):
    with pytest.raises(ToolsError, match=said):
        servers_in(data, {})
    file = tmp_path / "mcp.json"
    file.write_bytes(data)
    with pytest.raises(ConfigError) as refusal:
        make_config(data_dir=tmp_path, base_url="http://x", mcp_config=file, tools_installed=True)
    assert "\n" not in str(refusal.value)
    assert str(file) in str(refusal.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"agent": "demo"}, "need the openai agent"),
        ({"base_url": "http://x", "tools_installed": False}, r"greenroom\[tools\]"),
        ({"base_url": "http://x", "approval_seconds": 0}, "approvals"),
    ],
)
def test_tools_need_an_agent_that_calls_them(settings, said, tmp_path):
    file = tmp_path / "mcp.json"
    file.write_text('{"mcpServers": {"a": {"command": "x"}}}')
    with pytest.raises(ConfigError, match=said):
        make_config(
            **{"data_dir": tmp_path, "mcp_config": file, "tools_installed": True, **settings}
        )


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        make_config(data_dir=tmp_path, base_url="http://x", mcp_config=tmp_path / "no.json")
