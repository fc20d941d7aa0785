"""What a provider's refusal means to the person who waits for the answer. Pure."""

from collections.abc import Mapping
from typing import Any

from actors.session.agent import AgentError

__all__ = ["agent_error", "cut_off", "endless", "malformed", "timed_out", "unreachable"]

DETAILS = 500

HINTS = {
    "auth_mismatch": "Check the key in GREENROOM_API_KEY, and that it belongs to this endpoint.",
    "rate_limit": "Wait a moment, then try again.",
    "quota_exhausted": "Check the plan and the billing of the provider's account.",
    "model_not_found": "Choose a model that the endpoint has, with --model or in the session.",
    "context_length": "Start a new chat, or undo some turns, so that less has to be sent.",
    "connection": "Check that the endpoint runs and can be reached, then try again.",
    "timeout": "Try again; if it happens often, the endpoint may need more --read-seconds.",
    "error": "Try again; if it happens again, the details say what the provider reported.",
}

# Quota is tested before the rate limit: providers answer 429 for both.
_BY_WORDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("quota_exhausted", ("insufficient_quota", "quota", "billing", "insufficient credit")),
    (
        "context_length",
        (
            "context_length_exceeded",
            "maximum context length",
            "exceeds the available context size",
            "exceed_context_size",
        ),
    ),
    ("model_not_found", ("model_not_found", "model not found", "does not exist")),
    ("rate_limit", ("rate_limit_error", "rate_limit_exceeded")),
    ("auth_mismatch", ("authentication_error", "invalid_api_key")),
)
_BY_STATUS = {
    401: "auth_mismatch",
    403: "auth_mismatch",
    404: "model_not_found",
    408: "timeout",
    429: "rate_limit",
    504: "timeout",
}
_MESSAGES = {
    "auth_mismatch": "The provider did not accept the key.",
    "rate_limit": "The provider takes no more requests for now.",
    "quota_exhausted": "The provider's quota is used up.",
    "model_not_found": "The provider does not have this model.",
    "context_length": "The conversation is longer than the model can read.",
    "timeout": "The provider did not answer in time.",
}


def _error(type: str, message: str, details: str | None = None) -> AgentError:
    return AgentError(type, message, hint=HINTS[type], details=details)


def agent_error(status: int | None, body: object, secret: str | None = None) -> AgentError:
    """From an answer that is an error, or an error in the midst of a stream (no status)."""
    said = _redacted(_text_of(body), secret)
    type = _type_of(status or _code_of(body), said.lower())
    if type == "error":
        what = f"answered with status {status}" if status else "reported an error"
        return _error(type, f"The provider {what}.", said or None)
    return _error(type, _MESSAGES[type], said or None)


def _type_of(status: int | None, said: str) -> str:
    for type, words in _BY_WORDS:
        if status not in (401, 403) and any(word in said for word in words):
            return type
    return _BY_STATUS.get(status or 0, "error")


def _code_of(body: object) -> int | None:
    """Where there is no status any more, some providers give it as the error's code."""
    error: Any = body.get("error", body) if isinstance(body, Mapping) else body
    code = error.get("code") if isinstance(error, Mapping) else None
    return code if isinstance(code, int) else None


def _text_of(body: object) -> str:
    """The message in any of the forms that providers give it."""
    error: Any = body.get("error", body) if isinstance(body, Mapping) else body
    if isinstance(error, Mapping):
        parts = (error.get("code"), error.get("type"), error.get("message"))
        error = ": ".join(str(part) for part in parts if part)
    return str(error)[:DETAILS] if error else ""


def _redacted(text: str, secret: str | None) -> str:
    return text.replace(secret, "[key]") if secret else text


def unreachable(reason: str) -> AgentError:
    return _error("connection", "The provider cannot be reached.", reason[:DETAILS] or None)


def cut_off() -> AgentError:
    return _error("connection", "The provider closed the connection in mid-answer.")


def timed_out() -> AgentError:
    return _error("timeout", _MESSAGES["timeout"])


def endless(what: str) -> AgentError:
    return _error("error", f"The provider sent too much, {what}, and was stopped.")


def malformed(what: str) -> AgentError:
    return _error("error", f"The provider sent something that is no chat completion: {what}.")
