"""What is taken for a secret, and that everything else goes out as it is."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.redaction import redacted

SECRETS = [
    "sk-proj-abcdefghij0123456789ABCDEF",
    "ghp_" + "a1" * 18,
    "github_pat_" + "a_1" * 15,
    "AKIAABCDEFGHIJKLMNOP",
    "AIza" + "x" * 35,
    "xoxb-123456789012-abc",
    "hf_" + "Ab1" * 11,
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_marked_and_the_rest_is_json_as_before(secret):
    said = {"messages": [{"content": f'it is "{secret}", keep it'}, {"content": "and on"}]}
    shown = json.loads(redacted(json.dumps(said).encode()))
    assert shown["messages"][0]["content"] == 'it is "[secret]", keep it'
    assert shown["messages"][1] == said["messages"][1]


@pytest.mark.parametrize(
    "text", ["sk-short", "task-force-of-twenty-people-or-so", "ghp_x", "AKIA", "BEGIN PRIVATE KEY"]
)
def test_what_only_looks_like_one_stays(text):
    assert redacted(text.encode()) == text.encode()


@given(st.lists(st.sampled_from([*SECRETS, '"', "\\", "x", " ", "\n"]), max_size=8))
def test_whatever_is_said_comes_out_as_json(parts):
    text = json.dumps({"content": " ".join(parts)}).encode()
    shown = json.loads(redacted(text))["content"]
    assert not any(secret in shown for secret in SECRETS)
