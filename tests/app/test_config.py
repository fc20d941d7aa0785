"""What settings are accepted, which agent they choose, and what is said of the others."""

from pathlib import Path

import pytest

from app.config import ConfigError, api_key_from, make_config

KEY = "sk-secret-123"


def config(**settings):
    return make_config(**{"data_dir": Path("/data"), **settings})


@pytest.fixture
def model_file(tmp_path):
    path = tmp_path / "some.gguf"
    path.write_bytes(b"GGUF" + bytes(20))
    return path


# Which agent


@pytest.mark.parametrize(
    ("settings", "agent"),
    [
        ({}, "demo"),
        ({"local_installed": True}, "local"),
        ({"api_key": KEY}, "openai"),
        ({"base_url": "http://there/v1"}, "openai"),
        ({"api_key": KEY, "local_installed": True}, "openai"),
        ({"api_key": KEY, "agent": "demo"}, "demo"),
        ({"api_key": KEY, "agent": "local", "local_installed": True}, "local"),
        ({"base_url": "http://there", "model": "served.gguf"}, "openai"),
        ({"agent": "openai", "base_url": "http://there"}, "openai"),
    ],
)
def test_the_agent_is_chosen_by_what_is_there(settings, agent):
    assert config(**settings).agent == agent


def test_a_model_file_chooses_the_local_agent_whatever_key_lies_around(model_file):
    chosen = config(model=str(model_file), api_key=KEY, local_installed=True)
    assert (chosen.agent, chosen.model) == ("local", str(model_file))


def test_a_model_file_is_made_absolute(model_file, monkeypatch):
    monkeypatch.chdir(model_file.parent)
    assert config(model=model_file.name, local_installed=True).model == str(model_file)


def test_blank_settings_are_no_settings():
    blank = config(base_url=" ", model="", api_key="")
    assert (blank.agent, blank.base_url, blank.model, blank.api_key) == ("demo", None, None, None)


# What is refused


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"port": -1}, "port -1 is not between 0 and 65535"),
        ({"port": 65536}, "port 65536 is not between 0 and 65535"),
        ({"host": " "}, "the host is empty"),
        ({"agent": "other"}, "unknown agent 'other': choose one of auto, openai, local, demo"),
        ({"agent": "openai"}, "needs GREENROOM_API_KEY, or --base-url"),
        ({"log_level": "loud"}, "unknown log level 'loud'"),
        ({"agent": "local"}, "pip install 'greenroom\\[local\\]'"),
        ({"model": "/some.gguf"}, "pip install 'greenroom\\[local\\]'"),
        ({"model": "/no/such.gguf", "local_installed": True}, "no model file '/no/such.gguf'"),
        (
            {"model": "~nosuchuser/x.gguf", "local_installed": True},
            "no model file '~nosuchuser/x.gguf'",
        ),
        ({"model": "gpt", "local_installed": True}, "must be a .gguf file, not 'gpt'"),
        ({"base_url": "there/v1"}, "must be http:// or https:// and a host"),
        ({"base_url": "ftp://there"}, "must be http:// or https:// and a host"),
        ({"base_url": "http://"}, "must be http:// or https:// and a host"),
        ({"base_url": "http://there:0/"}, "must be http:// or https:// and a host"),
        ({"base_url": "http://there:99999"}, "not a valid URL"),
        ({"base_url": "http://[there"}, "not a valid URL"),
        ({"base_url": "http://there/v1?key=1"}, "must not have a query"),
        ({"read_seconds": 0.0}, "for 0 s: choose between 0.1 and 86400"),
        ({"read_seconds": 86_401.0}, "for 86401 s: choose between"),
        ({"read_seconds": float("nan")}, "for nan s: choose between"),
        ({"read_seconds": float("inf")}, "for inf s: choose between"),
        ({"api_key": "two\nlines"}, "holds characters that no key has"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(settings, complaint):
    with pytest.raises(ConfigError, match=complaint) as refused:
        config(**settings)
    assert "\n" not in str(refused.value)


def test_a_directory_is_no_model_file(tmp_path):
    directory = tmp_path / "dir.gguf"
    directory.mkdir()
    with pytest.raises(ConfigError, match="no model file"):
        config(model=str(directory), local_installed=True)


# What is made of the rest


@pytest.mark.parametrize("host", ["::1", "[::1]", " ::1 "])
def test_an_ipv6_host_may_come_in_brackets(host):
    assert config(host=host).host == "::1"


@pytest.mark.parametrize("url", ["https://there/v1", "https://there/v1/", " https://there/v1 "])
def test_a_base_url_ends_without_a_slash(url):
    assert config(base_url=url).base_url == "https://there/v1"


def test_the_data_directory_is_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    assert config(data_dir=Path("here")).data_dir == tmp_path / "here"
    assert config(data_dir=Path("~/there")).data_dir == Path("/home/someone/there")


# The key


def test_the_key_comes_from_the_environment_our_own_name_first():
    assert api_key_from({}) is None
    assert api_key_from({"OPENAI_API_KEY": " theirs\n"}) == "theirs"
    assert api_key_from({"OPENAI_API_KEY": "theirs", "GREENROOM_API_KEY": "ours"}) == "ours"
    assert api_key_from({"OPENAI_API_KEY": "theirs", "GREENROOM_API_KEY": " "}) == "theirs"


def test_the_key_is_in_no_repr():
    assert config(api_key=KEY).api_key == KEY
    assert KEY not in repr(config(api_key=KEY))
    assert KEY not in str(config(api_key=KEY))


@pytest.mark.parametrize(
    "settings",
    [
        {"api_key": KEY + "\x00"},
        {"api_key": KEY + "é"},
        {"base_url": f"http://me:{KEY}@there/v1"},
        {"base_url": f"http://{KEY}@there/v1"},
        {"base_url": f"http://there/v1?key={KEY}"},
    ],
)
def test_no_refusal_shows_a_key_or_password(settings):
    with pytest.raises(ConfigError) as refused:
        config(**settings)
    assert KEY not in str(refused.value)
    assert refused.value.__cause__ is None
