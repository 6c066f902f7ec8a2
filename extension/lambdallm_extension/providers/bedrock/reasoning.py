"""How much a model of Bedrock may think, in the words of its family.

    Claude                 what Anthropic's own API takes; see `anthropic.thinking`
    Nova 2                 {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}
    OpenAI's, open or not  {"reasoning_effort": "high"}

Other models take none of it, and get none.
Sources: Bedrock User Guide, "Adaptive thinking" and "Extended thinking"; Nova 2 User Guide,
"Extended thinking"; UKGovernmentBEIS/inspect_ai, `_providers/bedrock.py`, and its #3765; 2026-11.
"""

from __future__ import annotations

from lambdallm_extension.providers.anthropic.thinking import thinking
from lambdallm_extension.providers.bedrock.models import claude_name, family

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm_wire.chat import ChatRequest

_NOVA = "amazon.nova-2"
_OPENAI = "openai."

_NOVA_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium"}
"""Everything above is `high`."""


def fields(model_id: str, request: ChatRequest) -> dict[str, Any]:
    """Return what goes into a request's model-specific fields."""
    asked = request.get("reasoning")
    if not asked:
        return {}
    effort = asked.get("effort") or ""
    name = claude_name(model_id)
    if name:
        forced = request.get("tool_choice") or "auto"
        thought = thinking(
            name, asked, request.get("max_tokens"), forced=forced not in ("auto", "none")
        )
        given: dict[str, Any] = {"thinking": thought.config} if thought.config else {}
        return given | ({"output_config": {"effort": thought.effort}} if thought.effort else {})
    if effort in ("", "none"):
        return {}
    named = family(model_id)
    if named.startswith(_NOVA):
        word = _NOVA_EFFORTS.get(effort, "high")
        return {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": word}}
    return {"reasoning_effort": effort} if named.startswith(_OPENAI) else {}


def forbids_limits(given: dict[str, Any]) -> bool:
    """Say whether these fields forbid `maxTokens` beside them: Nova's highest effort does."""
    return (given.get("reasoningConfig") or {}).get("maxReasoningEffort") == "high"


def forbids_sampling(given: dict[str, Any]) -> bool:
    """Say whether these fields forbid `temperature` and `topP` beside them."""
    return "thinking" in given or forbids_limits(given)
