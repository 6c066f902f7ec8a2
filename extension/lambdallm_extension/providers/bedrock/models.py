"""What Bedrock's models differ in, as far as a request or its usage must know it.

arn:aws:bedrock:eu-west-1:1:inference-profile/eu.anthropic.claude-haiku-4-5-20251001-v1:0
└─ dropped ─────────────────────────────────┘│  └─ family ────────────┘
└─ geography, dropped
"""

from __future__ import annotations

from lambdallm_extension.providers.models import claude_sampling, claude_takes_schema

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm_extension.providers.models import Sampling

_MAKER = "anthropic."
_CLAUDE = f"{_MAKER}claude-"

GEOGRAPHIES = ("us", "us-gov", "eu", "apac", "jp", "au", "ca", "in", "global")
"""First words of cross-region inference profile ids."""

_NO_SAMPLING_FAMILIES = ("openai.gpt-5", "openai.gpt-6", "xai.grok")
"""Converse refuses `temperature` and `topP` for these.

Source: litellm 1.109 (`supports_sampling_params`), NousResearch/hermes-agent #111438; 2026-11.
"""

_INCLUSIVE_FAMILIES = ("openai.gpt-5.6",)
"""Whose `inputTokens` already count what was read from and written to the cache.

Source: opencode #47296 (309 turns measured), maximhq/bifrost #6942; 2026-10.
"""

_GRAMMAR_FAMILIES = (
    "deepseek.v3",
    "google.gemma-3",
    "minimax.",
    "mistral.magistral",
    "mistral.ministral",
    "mistral.mistral-large-3",
    "mistral.voxtral",
    "moonshot",
    "nvidia.",
    "openai.gpt-oss",
    "qwen.",
    "zai.",
)
"""Whose answers Converse can make follow a schema, beside Claude's. Nova, Llama, Pixtral, Cohere
and older Mistrals refuse the field.

Source: recorded replies of pydantic-ai (`test_bedrock_native_output_*`), models.dev
(`structured_output`), refusals quoted in graniet/llm #126 and BerriAI/litellm #27846; 2026-11.
"""

_OPAQUE_RESOURCES = ("application-inference-profile", "prompt-router", "default-prompt-router")
"""ARNs that do not say which model is behind them."""


def family(model_id: str) -> str:
    """Return the id without ARN and geography, "" when it does not say which model it is."""
    if model_id.startswith("arn:"):
        resource = model_id.split(":", 5)[-1]
        kind, _, model_id = resource.partition("/")
        if kind in _OPAQUE_RESOURCES or kind not in ("foundation-model", "inference-profile"):
            return ""
    geography, _, rest = model_id.partition(".")
    return rest if geography in GEOGRAPHIES else model_id


def sampling(model_id: str) -> Sampling:
    """Say which sampling parameters a model takes.

    A model that cannot be told takes one: every model takes one that takes both.
    """
    name = family(model_id)
    if name.startswith(_NO_SAMPLING_FAMILIES):
        return "none"
    if not name:
        return "one"
    if not name.startswith(_CLAUDE):
        return "both"
    return claude_sampling(name.removeprefix(_MAKER))


def takes_schema(model_id: str) -> bool:
    """Say whether a model's answers can be made to follow a schema; one that is not told cannot."""
    claude = claude_name(model_id)
    return claude_takes_schema(claude) if claude else family(model_id).startswith(_GRAMMAR_FAMILIES)


def claude_name(model_id: str) -> str:
    """Return a Claude's name as its maker says it, "" for any other model."""
    name = family(model_id)
    return name.removeprefix(_MAKER) if name.startswith(_CLAUDE) else ""


def counts_cache_in_input(model_id: str) -> bool:
    """Say whether the model's `inputTokens` already contain its cached tokens."""
    return family(model_id).startswith(_INCLUSIVE_FAMILIES)
