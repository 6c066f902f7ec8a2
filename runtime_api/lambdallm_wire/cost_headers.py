"""Headers that say what an answer has cost: of drop-in endpoints, and of `@handler`.

x-lambdallm-cost: 1                     a drop-in client asks for them
x-lambdallm-cost-usd: 0.00001475        what it cost, exactly; absent where that is not known
x-lambdallm-cost-status: unpriced       why it is absent, or `estimated`
x-lambdallm-model: openai/gpt-5-mini    who answered
x-lambdallm-service-tier: flex          what is billed, where the API says it
x-lambdallm-request: 8f5…               the request that a handler's answer is of
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

BEGINNING: Final = "x-lambdallm-"
"""Of all of them; a request's own with it go to no API."""

ASK: Final = "x-lambdallm-cost"
COST: Final = "x-lambdallm-cost-usd"
STATUS: Final = "x-lambdallm-cost-status"
MODEL: Final = "x-lambdallm-model"
TIER: Final = "x-lambdallm-service-tier"
REQUEST: Final = "x-lambdallm-request"

UNPRICED: Final = "unpriced"
"""The price book has no price for what was used."""

ESTIMATED: Final = "estimated"
"""The API has said no usage: it cost that at least, by the length of the answer."""

UNKNOWN: Final = "unknown"
"""The answer was lost, or says no usage: it may have been billed."""

STREAMING: Final = "streaming"
"""The answer has only begun."""

UNMETERED: Final = "unmetered"
"""Nobody reads the answer for its usage."""

REFUSALS: Final = ("", "0", "no", "off", "false")
"""Values of `ASK` that ask for nothing."""

CLIENTS: Final = "clients"
RESPONSES: Final = "responses"
BOTH: Final = "both"
CHOICES: Final = (CLIENTS, RESPONSES, BOTH)
"""Values of `cost.headers`: whose answers have them without being asked."""

TO_CLIENTS: Final = (CLIENTS, BOTH)
TO_CALLERS: Final = (RESPONSES, BOTH)
