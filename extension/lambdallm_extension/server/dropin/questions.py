"""What a client asks for at a drop-in endpoint, as far as the books have to know it.

    /openai/v1/chat/completions | responses | embeddings
    /anthropic/v1/messages
    /bedrock/model/ID/converse | converse-stream | invoke | invoke-with-response-stream

Everything else is passed on unread.
"""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension.server.dropin.hidden_usage import ask_for_usage
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Literal

    Service = Literal["openai", "anthropic", "bedrock"]

PREFIXES: dict[Service, str] = {
    "openai": "/openai/v1",
    "anthropic": "/anthropic",
    "bedrock": "/bedrock",
}
"""Of the paths of each endpoint; what follows is below the API's own base."""

_OPENAI = {
    "/chat/completions": ("openai.chat", "chat"),
    "/responses": ("openai.responses", "chat"),
    "/embeddings": ("openai.embeddings", "embeddings"),
}

_BEDROCK = {
    "converse": ("bedrock.converse", False),
    "converse-stream": ("bedrock.converse", True),
    "invoke": ("bedrock.invoke", False),
    "invoke-with-response-stream": ("bedrock.invoke", True),
}


_READS = ("GET", "HEAD", "DELETE")
"""What a response in the background costs was reserved when it was asked for."""

_COUNTS = ("/messages/count_tokens", "/count-tokens", "/responses/input_tokens")


class Question(NamedTuple):
    """A request whose answer is read.

    Attributes:
        dialect: The name of its form.
        model_id: As the API knows the model, "" where the request does not say.
        streamed: Whether the answer comes as a stream.
        operation: `chat` or `embeddings`.
        body: To be sent: the client's own, but for what is asked for in its place.
        hide: Takes the answer to that out of the stream again; None: nothing was asked for.
    """

    dialect: str
    model_id: str
    streamed: bool
    operation: str
    body: bytes
    hide: Callable[[bytes], bytes] | None = None


def find_service(path: str) -> Service | None:
    """Return whose endpoint a path belongs to."""
    for service, prefix in PREFIXES.items():
        if path == prefix or path.startswith(f"{prefix}/"):
            return service
    return None


def leaves_base(path: str) -> bool:
    """Say whether a path has dot segments, however they are written; its API would resolve them."""
    return any(_unquote(segment) in (".", "..") for segment in path.split("/"))


def read_question(service: Service, method: str, path: str, body: bytes) -> Question | None:
    """Return what is asked, None where the answer is passed on unread.

    Args:
        service: Whose endpoint it came to.
        method: Of the request.
        path: Below the endpoint's prefix, without a query.
        body: As it came.
    """
    if method != "POST":
        return None
    if service == "openai":
        return _read_openai(path, body)
    if service == "anthropic":
        return _read_anthropic(path, body)
    return _read_bedrock(path, body)


def generates_nothing(method: str, path: str) -> bool:
    """Say whether an API gives an answer of this kind for nothing: it lists, reads, or counts."""
    return method in _READS or path.endswith(_COUNTS)


def _read_openai(path: str, body: bytes) -> Question | None:
    found = _OPENAI.get(path)
    if found is None:
        return None
    dialect, operation = found
    asked = _json_object(body)
    streamed = asked.get("stream") is True and operation == "chat"
    hide = None
    if streamed and dialect == "openai.chat":
        body, hide = ask_for_usage(body, asked)
    return Question(dialect, _model_of(asked), streamed, operation, body, hide)


def _read_anthropic(path: str, body: bytes) -> Question | None:
    if path != "/v1/messages":
        return None
    asked = _json_object(body)
    streamed = asked.get("stream") is True
    return Question("anthropic.messages", _model_of(asked), streamed, "chat", body)


def _read_bedrock(path: str, body: bytes) -> Question | None:
    empty, model, rest = (*path.split("/", 2), "", "")[:3]
    if empty or model != "model":
        # Bedrock speaks other APIs too, under their own paths: /openai/v1/…, /anthropic/v1/….
        other = find_service(path)
        if other in ("openai", "anthropic"):
            return read_question(other, "POST", path[len(PREFIXES[other]) :], body)
        return None
    model_id, _, action = rest.rpartition("/")
    found = _BEDROCK.get(action)
    if found is None or not model_id:
        return None
    dialect, streamed = found
    model_id = _unquote(model_id)
    operation = "embeddings" if "embed" in model_id else "chat"
    return Question(dialect, model_id, streamed, operation, body)


def _model_of(asked: dict[str, Any]) -> str:
    model = asked.get("model")
    return model if isinstance(model, str) else ""


def _json_object(body: bytes) -> dict[str, Any]:
    """Return the body's object; of one that is none the API says so itself."""
    try:
        asked = plain_json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return asked if isinstance(asked, dict) else {}


def _unquote(text: str) -> str:
    """Undo percent-encoding, twice where a client has encoded an ARN's slashes twice."""
    for _ in range(2):
        first, *parts = text.split("%")
        try:
            decoded = [bytes.fromhex(part[:2]) + part[2:].encode() for part in parts]
        except ValueError:
            return text
        text = b"".join([first.encode(), *decoded]).decode("utf-8", "replace")
    return text
