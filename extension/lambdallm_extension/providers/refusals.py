"""What APIs that are asked with a key refuse with, as an error that says what to do about it.

    status                          again?          may it be billed?
    400, 401, 403, 404, 413, 422    no              no
    429                             yes             no     (no, when a quota is used up)
    529, overloaded                 yes             no
    408, 500, 502, 503, 504, 52x    yes             yes

`x-should-retry`, which OpenAI and Anthropic send, wins over the table.
Source: "Error codes" of platform.openai.com/docs and "Errors" of platform.claude.com/docs; retries
of the packages openai 3.52 and anthropic 2.11 (`_should_retry`); 2026-11.
"""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension.errors import ProviderError
from lambdallm_extension.providers.retry_after import retry_after_seconds
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lambda_runtime_api.http1 import Headers

    Advise = Callable[[str, int, str], str]
    """Kind, status and the API's own sentence, to what can be done about it."""

MESSAGE_MAX_CHARACTERS = 600
"""Of the API's own sentence; a server in between may send a whole page."""

_OK = 200
_REQUEST_TIMEOUT = 408
_TOO_MANY = 429
_SERVER_ERROR = 500
_NOT_IMPLEMENTED = 501
_OVERLOADED = 529
_STATUS_MAX = 599
_DIGITS = 3

_STATUS_OF: Mapping[str, int] = {
    "invalid_request_error": 400,
    "context_length_exceeded": 400,
    "content_policy_violation": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "model_not_found": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "api_error": 500,
    "server_error": 500,
    "internal_server_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
    "server_is_overloaded": 529,
    "slow_down": 529,
}
"""What a kind would have had for a status, had it not come inside a 200."""

USED_UP = (
    "insufficient_quota",
    "billing_error",
    "billing_hard_limit_reached",
    "billing_not_active",
)
"""A quota or a balance that time alone does not fill again."""


class Said(NamedTuple):
    """What an API says about its failure."""

    kind: str
    message: str
    status: int = 0


def refusal(
    source: str, model_id: str, status: int, headers: Headers, body: bytes, advise: Advise
) -> ProviderError:
    """Make the error of a reply whose status is no 200."""
    try:
        answer: object = plain_json.loads(body)
    except (ValueError, RecursionError):
        answer = {}
    said = read(answer)
    return _error(source, model_id, said._replace(status=status), headers, advise)


def in_band(
    source: str, model_id: str, answer: object, advise: Advise, *, generated: bool = False
) -> ProviderError:
    """Make the error that came inside a 200: in a stream, or instead of an answer.

    Args:
        source: Who answers.
        model_id: As the API knows it.
        answer: What it says.
        advise: What to do about it.
        generated: Whether a part of the answer had come, which may be billed.
    """
    said = read(answer)
    status = _STATUS_OF.get(said.kind) or (said.status if said.status > _OK else _SERVER_ERROR)
    error = _error(source, model_id, said._replace(status=status), [], advise)
    error.sent = error.sent or generated
    return error


def read(answer: object) -> Said:
    """Find kind and sentence in any of the forms that errors have.

    Shape:
        {"error": {"message": "…", "type": "…", "code": "…" | 429 | null}}     OpenAI
        {"type": "error", "error": {"type": "overloaded_error", "message": "…"}}   Anthropic
        {"error": "…"}, {"message": "…", "code": 400}, {"detail": "…"}         other servers
    """
    found: object = answer
    if isinstance(answer, dict):
        found = answer.get("error") or answer
    if not isinstance(found, dict):
        return Said("", _sentence(found))
    code, kind = found.get("code"), found.get("type")
    if isinstance(code, str) and code and not code.isdigit():
        kind = code  # of OpenAI's two words the one that tells more
    digits = str(code)
    status = int(digits) if len(digits) == _DIGITS and digits.isdecimal() else 0
    message = found.get("message") or found.get("detail") or ""
    return Said(
        str(kind) if isinstance(kind, str) and kind != "error" else "",
        _sentence(message),
        status if _OK < status <= _STATUS_MAX else 0,
    )


def _error(
    source: str, model_id: str, said: Said, headers: Headers, advise: Advise
) -> ProviderError:
    kind, message, status = said
    named = f" ({kind}, HTTP {status})" if kind else f" (HTTP {status})"
    detail = f"{source} refused {model_id}: {message or 'no reason given'}{named}."
    return ProviderError(
        f"{detail} {advise(kind, status, message)}".rstrip(),
        status=status,
        kind=kind,
        retryable=_is_retryable(kind, status, headers),
        retry_after_seconds=retry_after_seconds(status, headers),
        sent=status == _REQUEST_TIMEOUT or (status >= _SERVER_ERROR and status != _OVERLOADED),
        source=source,
    )


def _is_retryable(kind: str, status: int, headers: Headers) -> bool:
    if kind in USED_UP:
        return False
    asked = next((value.lower() for name, value in headers if name == "x-should-retry"), "")
    if asked in ("true", "false"):
        return asked == "true"
    return status in (_REQUEST_TIMEOUT, _TOO_MANY) or (
        status >= _SERVER_ERROR and status != _NOT_IMPLEMENTED
    )


def _sentence(said: object) -> str:
    """Return an API's own words in one line, without what looks like a key."""
    text = said if isinstance(said, str) else plain_json.dumps(said) if said else ""
    words = [_hidden(word) for word in text[: 2 * MESSAGE_MAX_CHARACTERS].split()]
    return " ".join(words)[:MESSAGE_MAX_CHARACTERS].strip().rstrip(".")


def _hidden(word: str) -> str:
    """Return a word; of one that holds a key nothing from there on. Servers repeat keys."""
    before, mark, _ = word.partition("sk-")
    return f"{before}sk-…" if mark and not before[-1:].isalnum() else word
