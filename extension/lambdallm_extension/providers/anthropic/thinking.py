"""How much a Claude may think, in the words that its version takes.

    version        asked for an effort                   asked for a number of tokens
    before 4.6     a budget, see `_BUDGETS`              that budget
    4.6            adaptive, and the effort              that budget
    from 4.7 on    adaptive, and the effort              adaptive

Models before 3.7 do not think: what is asked for is left out. So it is where a tool must be called,
which cannot be combined, and where no budget of the least size fits below `max_tokens`.

Source: platform.claude.com/docs, "Extended thinking", "Adaptive thinking", "Effort" and "Migration
guide"; AAswordman/Operit #568, kaitranntt/ccs #1069 (which versions refuse which); 2026-11.
"""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension.providers.models import claude_version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm_wire.chat import Reasoning

BUDGET_MIN = 1_024
"""Source: API reference, `thinking.budget_tokens`."""

_BUDGETS = {"minimal": 1_024, "low": 1_024, "medium": 4_096, "high": 16_384}
_BUDGET_MOST = 32_768
"""Of efforts above `high`."""

_THINKS_SINCE = (3, 7)
_ADAPTIVE_SINCE = (4, 6)
_NO_BUDGET_SINCE = (4, 7)

_ADAPTIVE = {"type": "adaptive", "display": "summarized"}
"""Without the second word newer models keep what they think to themselves."""


_ADAPTIVE_ROOM = 16_384
"""For thoughts whose number the model decides itself."""


class Thinking(NamedTuple):
    """What to send: the parameter `thinking`, and the effort.

    Attributes:
        room_tokens: What thoughts may take of the answer, to be added to what is to be said.
    """

    config: dict[str, Any] | None = None
    effort: str = ""
    room_tokens: int = 0


def thinking(
    model_id: str, reasoning: Reasoning | None, max_tokens: int | None, *, forced: bool
) -> Thinking:
    """Say what a model is to be sent.

    Args:
        model_id: The maker's own name; one without a version counts as the newest.
        reasoning: What was asked for.
        max_tokens: Of the whole answer, thoughts included; None where nobody said.
        forced: Whether a tool must be called.
    """
    effort = (reasoning or {}).get("effort") or ""
    budget = (reasoning or {}).get("max_tokens") or 0
    if effort == "none" or not (effort or budget):
        return Thinking()
    version = claude_version(model_id) or _NO_BUDGET_SINCE
    if version >= _NO_BUDGET_SINCE or (version >= _ADAPTIVE_SINCE and effort):
        effort = "low" if effort == "minimal" else effort
        if forced:
            return Thinking(None, effort)
        return Thinking(dict(_ADAPTIVE), effort, budget or _ADAPTIVE_ROOM)
    if version < _THINKS_SINCE or forced:
        return Thinking()
    budget = budget or _BUDGETS.get(effort, _BUDGET_MOST)
    if max_tokens is not None:
        budget = min(budget, max_tokens - 1)
    if budget < BUDGET_MIN:
        return Thinking()
    return Thinking({"type": "enabled", "budget_tokens": budget}, "", budget)
