"""What the API cannot do it says, in the API's own form, and then nothing has changed."""

import httpx
import pytest

from tests.app.process import running_server

pytestmark = pytest.mark.process

CHAT = {"messages": [{"role": "user", "content": "A?"}]}
RESPONSE = {"input": "A?"}
TOOL = {"type": "function", "name": "f", "parameters": {}}
PICTURE = [{"type": "input_image", "image_url": "https://example.com/a.png"}]

# ruff: noqa: E501 - a table: path, body, status, param, code
REFUSED = [
    ("responses", {**RESPONSE, "tools": [TOOL]}, 400, "tools", "unsupported_parameter"),
    ("responses", {**RESPONSE, "tool_choice": "none"}, 400, "tool_choice", "unsupported_parameter"),
    ("responses", {**RESPONSE, "text": {"format": {"type": "json_object"}}}, 400, "text.format", "unsupported_parameter"),
    ("responses", {**RESPONSE, "top_logprobs": 2}, 400, "top_logprobs", "unsupported_parameter"),
    ("responses", {**RESPONSE, "include": ["message.output_text.logprobs"]}, 400, "include", "unsupported_parameter"),
    ("responses", {**RESPONSE, "prompt": {"id": "p"}}, 400, "prompt", "unsupported_parameter"),
    ("responses", {**RESPONSE, "service_tier": "flex"}, 400, "service_tier", "unsupported_parameter"),
    ("responses", {**RESPONSE, "max_output_tokens": 5}, 400, "max_output_tokens", "unsupported_parameter"),
    ("responses", {**RESPONSE, "temperature": "hot"}, 400, "temperature", "invalid_value"),
    ("responses", {**RESPONSE, "metadata": {"a": 1}}, 400, "metadata", "invalid_value"),
    ("responses", {**RESPONSE, "color": "red"}, 400, "color", "unknown_parameter"),
    ("responses", {**RESPONSE, "background": True, "store": False}, 400, "store", "invalid_value"),
    ("responses", {**RESPONSE, "conversation": "conv_no", "previous_response_id": "resp_no"}, 400, "previous_response_id", "invalid_value"),
    ("responses", {**RESPONSE, "conversation": "conv_no"}, 404, "conversation", None),
    ("responses", {**RESPONSE, "conversation": "conv_../no"}, 404, "conversation", None),
    ("responses", {**RESPONSE, "previous_response_id": "resp_no"}, 400, "previous_response_id", "previous_response_not_found"),
    ("responses", {**RESPONSE, "model": "gpt-9"}, 404, "model", "model_not_found"),
    ("responses", {}, 400, "input", "missing_parameter"),
    ("responses", {"input": " "}, 400, "input", "invalid_value"),
    ("responses", {"input": [{"role": "user", "content": PICTURE}]}, 400, "input[0].content[0]", "unsupported_value"),
    ("responses", {"input": [{"type": "item_reference", "id": "x"}]}, 400, "input[0].type", "unsupported_value"),
    ("responses", {"input": [{"role": "assistant", "content": "a"}]}, 400, "input", "unsupported_parameter"),
    ("chat/completions", {**CHAT, "n": 2}, 400, "n", "unsupported_parameter"),
    ("chat/completions", {**CHAT, "logprobs": True}, 400, "logprobs", "unsupported_parameter"),
    ("chat/completions", {**CHAT, "functions": [TOOL]}, 400, "functions", "unsupported_parameter"),
    ("chat/completions", {**CHAT, "modalities": ["text", "audio"]}, 400, "modalities", "unsupported_parameter"),
    ("chat/completions", {**CHAT, "response_format": {"type": "json_schema"}}, 400, "response_format", "unsupported_parameter"),
    ("chat/completions", {**CHAT, "stop": "."}, 400, "stop", "unsupported_parameter"),
    ("chat/completions", {"messages": []}, 400, "messages", "unsupported_parameter"),
    ("chat/completions", {"messages": [{"role": "judge", "content": "A?"}]}, 400, "messages[0].role", "invalid_value"),
    ("conversations/conv_no", {"metadata": {}}, 404, "conversation", None),
    ("conversations/conv_no/items", {"items": [{}] * 21}, 400, "items", "invalid_value"),
]  # fmt: skip

HARMLESS = {
    "user": "me",
    "metadata": {"a": "b"},
    "service_tier": "auto",
    "seed": 1,
    "temperature": 0.2,
    "parallel_tool_calls": True,
    "tools": [],
    "n": 1,
    "prompt_cache_key": "k",
}


async def test_what_is_refused_is_named_and_nothing_has_changed(tmp_path):
    async with running_server(tmp_path) as server:
        base = f"{server.url}/v1"
        async with httpx.AsyncClient(base_url=base, timeout=60) as http:
            for path, body, status, param, code in REFUSED:
                answer = await http.post(path, json=body)
                error = answer.json()["error"]
                case = (path, body, error)
                assert answer.status_code == status, case
                assert (error["param"], error["code"]) == (param, code), case
                assert error["message"], case
                assert error["type"] == (
                    "not_found_error" if status == 404 else "invalid_request_error"
                )
            assert not list((tmp_path / "sessions").glob("[!_]*.json"))
            answer = await http.post("chat/completions", json={**CHAT, **HARMLESS})
            assert answer.status_code == 200, answer.text


async def test_what_goes_wrong_before_an_endpoint_has_the_same_form(tmp_path):
    async with running_server(tmp_path) as server:
        base = f"{server.url}/v1"
        async with httpx.AsyncClient(base_url=base, timeout=60) as http:
            evil = {"Origin": "https://example.com"}
            for answer, status in (
                (await http.get("nothing/here"), 404),
                (await http.put("responses"), 405),
                (await http.post("responses", content=b"{"), 400),
                (await http.post("responses", json=RESPONSE, headers=evil), 403),
                (await http.post("responses", content=b" " * (21 << 20)), 413),
                (await http.get("responses/resp_no"), 404),
                (await http.get("models/no"), 404),
            ):
                assert answer.status_code == status
                assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
            outside = await http.get(f"{server.url}/api/session?session_id=no")
            assert outside.json() == {"error": "Session not found"}
