"""What to do about OpenAI's refusals.

Source: platform.openai.com/docs, "Error codes", 2026-11.
"""

from __future__ import annotations

_BAD_REQUEST, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND = 400, 401, 403, 404
_TOO_MANY, _SERVER_ERROR, _OVERLOADED = 429, 500, 529


def advise(kind: str, status: int, message: str) -> str:
    """Return the sentence that says what to do, "" where the API's own says enough."""
    if kind in _BY_KIND:
        return _BY_KIND[kind]
    if status == _BAD_REQUEST and "nsupported parameter" in message:
        return "The model does not take it: leave it out, also of additional_fields."
    if status >= _SERVER_ERROR and status not in _BY_STATUS:
        return _BY_STATUS[_SERVER_ERROR]
    return _BY_STATUS.get(status, "")


_KEY = (
    "The key is not accepted: check OPENAI_API_KEY, or the provider's api_key in lambdallm.yaml, "
    "and the organization and project it belongs to."
)

_BY_KIND = {
    "invalid_api_key": _KEY,
    "insufficient_quota": (
        "The account's credit is used up, or its monthly limit reached: asking again does not help "
        "before somebody pays."
    ),
    "model_not_found": "Check the model's name, and that the key's project may use it.",
    "context_length_exceeded": (
        "The conversation is longer than the model reads: send fewer turns "
        "(Session(window=…)), or ask a model with a larger window."
    ),
    "content_policy_violation": "OpenAI refuses this content; asking again does not help.",
}

_BY_STATUS = {
    _UNAUTHORIZED: _KEY,
    _FORBIDDEN: "The key may not do this, or OpenAI does not serve this region.",
    _NOT_FOUND: ("Check the model's name and the base URL, which ends in /v1 with most servers."),
    _TOO_MANY: "The account's rate limit is reached: ask again a little later.",
    _SERVER_ERROR: "The API itself failed.",
    _OVERLOADED: "The API is short of capacity: ask again a little later.",
}
