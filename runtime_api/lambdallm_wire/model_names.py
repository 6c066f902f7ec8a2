"""Short names of Bedrock's models, which the sidecar understands behind the user's aliases."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

SHORT_NAMES: Final[dict[str, str]] = {
    "claude-haiku-5-5": "global.anthropic.claude-haiku-5-5",
    "claude-sonnet-5-5": "global.anthropic.claude-sonnet-5-5",
    "claude-opus-5-5": "global.anthropic.claude-opus-5-5",
    "claude-fable-5-1": "global.anthropic.claude-fable-5-1",
    "claude-haiku-4-5": "global.anthropic.claude-haiku-4-5-20251001-v1:0",
    "claude-sonnet-4-6": "global.anthropic.claude-sonnet-4-6",
    "nova-2-lite": "global.amazon.nova-2-lite-v1:0",
    "nova-micro": "us.amazon.nova-micro-v1:0",
    "nova-lite": "us.amazon.nova-lite-v1:0",
    "nova-pro": "us.amazon.nova-pro-v1:0",
    "llama-4-maverick": "us.meta.llama4-maverick-17b-instruct-v1:0",
    "llama-3-3-70b": "us.meta.llama3-3-70b-instruct-v1:0",
    "claude-3-haiku": "anthropic.claude-3-haiku-20240307-v1:0",
    "claude-3-sonnet": "anthropic.claude-3-sonnet-20240229-v1:0",
    "claude-3-5-sonnet": "anthropic.claude-3-5-sonnet-20241022-v2:0",
    "claude-3-opus": "anthropic.claude-3-opus-20240229-v1:0",
    "titan-text-express": "amazon.titan-text-express-v1",
    "titan-text-lite": "amazon.titan-text-lite-v1",
    "llama3-8b": "meta.llama3-8b-instruct-v1:0",
    "llama3-70b": "meta.llama3-70b-instruct-v1:0",
}
"""The members of `lambdallm.Model`, in lower case with dashes. A test compares."""


def bedrock_id(name: str) -> str:
    """Return Bedrock's id of a short name (`claude-3.5-sonnet` too); any other name as it is."""
    return SHORT_NAMES.get(name.replace(".", "-"), name)


def qualified(name: str) -> str:
    """Return a model's name as `provider/model`: Bedrock's where it names no provider."""
    provider, slash, model_id = name.partition("/")
    if not slash or name.startswith("arn:"):
        return f"bedrock/{bedrock_id(name)}"
    return f"bedrock/{bedrock_id(model_id)}" if provider == "bedrock" else name
