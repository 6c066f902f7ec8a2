"""What Bedrock's models differ in, as far as a request or its usage must know it.

arn:aws:bedrock:eu-west-1:1:inference-profile/eu.anthropic.claude-haiku-4-5-20251001-v1:0
└─ dropped ─────────────────────────────────┘│  └─ family ────────────┘
└─ geography, dropped
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    Sampling = Literal["both", "one", "none"]
    """Which of `temperature` and `top_p` a model takes."""

GEOGRAPHIES = ("us", "us-gov", "eu", "apac", "jp", "au", "ca", "in", "global")
"""First words of cross-region inference profile ids."""

_NO_SAMPLING_FAMILIES = ("openai.gpt-5", "openai.gpt-6", "xai.grok")
"""Converse refuses `temperature` and `topP` for these.

Source: litellm 1.109 (`supports_sampling_params`), NousResearch/hermes-agent #111438; 2026-11.
"""

_ONE_SINCE = (4, 1)
"""From this Claude on, `temperature` beside `top_p` is a ValidationException.

Source: aws-samples/bedrock-access-gateway #191, mem0ai/mem0 #4004, BoltAI #399 (Opus 4.1); 2026-11.
"""

_NO_SAMPLING_SINCE = (4, 7)
"""From this Claude on, any sampling parameter is a ValidationException.

Source: UKGovernmentBEIS/inspect_ai #3855, litellm 1.109 (`supports_sampling_params`); 2026-11.
"""

_INCLUSIVE_FAMILIES = ("openai.gpt-5.6",)
"""Whose `inputTokens` already count what was read from and written to the cache.

Source: opencode #47296 (309 turns measured), maximhq/bifrost #6942; 2026-10.
"""

_OPAQUE_RESOURCES = ("application-inference-profile", "prompt-router", "default-prompt-router")
"""ARNs that do not say which model is behind them."""


_DIGITS = 2
"""Of a version's number; more digits are a date."""


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
    if not name.startswith("anthropic.claude-"):
        return "both"
    version = _claude_version(name)
    if version is None or version >= _NO_SAMPLING_SINCE:
        return "none"
    return "one" if version >= _ONE_SINCE else "both"


def counts_cache_in_input(model_id: str) -> bool:
    """Say whether the model's `inputTokens` already contain its cached tokens."""
    return family(model_id).startswith(_INCLUSIVE_FAMILIES)


def _claude_version(name: str) -> tuple[int, int] | None:
    """Return major and minor; None for a Claude of a name without a version (a preview)."""
    parts = name[len("anthropic.claude-") :].replace(":", "-").replace("@", "-").split("-")
    if parts[0] == "instant" or parts[0].startswith("v"):  # claude-instant-v1, claude-v2:1
        return (1, 0)
    if not parts[0].isdigit():  # claude-haiku-4-5-20251001-v1:0; before it: claude-3-5-haiku-…
        parts = parts[1:]
    numbers = [int(part) if part.isdigit() and len(part) <= _DIGITS else -1 for part in parts[:2]]
    if not numbers or numbers[0] < 0:
        return None
    return (numbers[0], max(0, numbers[1]) if len(numbers) > 1 else 0)
