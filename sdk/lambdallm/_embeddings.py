"""Vectors of texts."""

from __future__ import annotations

from lambdallm._messages import PICO_USD
from lambdallm_wire.tokens import input_tokens

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from lambdallm_wire.chat import Usage


class Embeddings:
    """What came of `context.embed`.

    Attributes:
        vectors: One for each text, in the order of the texts.
        usage: Tokens in disjoint counts.
        cost_pico_usd: Exact; None when no price is known for the model.
        cached_texts: So many of them were known already, and cost nothing.
        call_id: Key of the call's record.
        totals: Of the unit of work, after this: pico-USD, and calls without a known price.
    """

    __slots__ = (
        "cached_texts",
        "call_id",
        "cost_pico_usd",
        "latency_ms",
        "model",
        "totals",
        "usage",
        "vectors",
    )

    def __init__(self, reply: Mapping[str, Any]) -> None:
        """Keep what came back (`lambdallm_wire.chat.EmbedResponse`)."""
        self.vectors: list[list[float]] = reply["vectors"]
        self.model: str = reply["model"]
        self.usage: Usage = reply["usage"]
        self.cost_pico_usd: int | None = reply["cost_pico_usd"]
        self.cached_texts: int = reply["cached_texts"]
        self.latency_ms: float = reply["latency_ms"]
        self.call_id: str = reply["call_id"]
        self.totals: tuple[int, int] = (
            reply["total_cost_pico_usd"],
            reply["total_unpriced_calls"],
        )

    @property
    def cost_usd(self) -> float | None:
        """The cost in dollars; None when it is not known."""
        return None if self.cost_pico_usd is None else self.cost_pico_usd / PICO_USD

    @property
    def cost(self) -> float | None:
        """The same."""
        return self.cost_usd

    @property
    def input_tokens(self) -> int:
        """Tokens read, cached ones included."""
        return input_tokens(self.usage)

    def __len__(self) -> int:
        return len(self.vectors)
