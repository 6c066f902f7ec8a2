"""What to do about Anthropic's refusals.

Source: platform.claude.com/docs, "Errors", 2026-11.
"""

from __future__ import annotations

_BAD_REQUEST, _SERVER_ERROR = 400, 500


def advise(kind: str, status: int, message: str) -> str:
    """Return the sentence that says what to do, "" where the API's own says enough."""
    if status == _BAD_REQUEST and "prompt is too long" in message:
        return (
            "The conversation is longer than the model reads: send fewer turns "
            "(Session(window=…)), or ask a model with a larger window."
        )
    if kind in _BY_KIND:
        return _BY_KIND[kind]
    return "The API itself failed." if status >= _SERVER_ERROR else ""


_BY_KIND = {
    "authentication_error": (
        "The key is not accepted: check ANTHROPIC_API_KEY, or the provider's api_key in "
        "lambdallm.yaml."
    ),
    "billing_error": "The account's credit is used up: asking again does not help.",
    "permission_error": "The key may not use this model or this feature.",
    "not_found_error": "Check the model's name, and the base URL, which has no /v1 at its end.",
    "request_too_large": "The request is larger than 32 MB: send smaller images or fewer turns.",
    "rate_limit_error": "The account's rate limit is reached: ask again a little later.",
    "overloaded_error": "The API is short of capacity: ask again a little later.",
    "timeout_error": "The API took too long: ask for fewer tokens (max_tokens), or stream.",
}
