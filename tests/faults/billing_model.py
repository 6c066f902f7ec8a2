"""A model that bills what it generates, whether or not its answer arrives, and keeps the ledger.

What is asked says in its text what it counts under, and when its environment admitted it at the
earliest: `{"user": "ada", "at": 1790000000000}`. When it was sent at the latest stands in the
signature's date, by the same clock.
"""

from __future__ import annotations

import json
import random
import threading
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from lambdallm.testing.model_server import Answer, Failure, ModelServer

if TYPE_CHECKING:
    from collections.abc import Mapping

MODEL = "bedrock/us.amazon.nova-micro-v1:0"
INPUT_PICO_USD, OUTPUT_PICO_USD = 35_000, 140_000
"""Of one token of `MODEL`, as the price book has it."""

REFUSED, BILLED_AND_CUT = 0.05, 0.03
"""Parts of all requests: refused with a 429 or 500; billed, and the answer lost."""

SECOND_MS = 1_000


class Billed(NamedTuple):
    """One generation.

    Attributes:
        user: Whom it was for.
        pico_usd: What it costs.
        asked_ms: It was not admitted before.
        sent_ms: And not after, both by the clock of its environment.
        cut: Whether its answer was lost.
    """

    user: str
    pico_usd: int
    asked_ms: int
    sent_ms: int
    cut: bool


class BillingModel(ModelServer):
    """Converse over real HTTP; the server closes with the block."""

    def __init__(self, seed: int = 1, *, slow_seconds: float = 0.05) -> None:
        """Let chance, from this seed, decide lengths, failures and delays."""
        super().__init__(self._decide)
        self._chance = random.Random(seed)
        self._chance_lock = threading.Lock()
        self._slow_seconds = slow_seconds
        self.ledger: list[Billed] = []
        self.refused = 0

    def answer(
        self, path: str, body: dict[str, Any], headers: Mapping[str, str]
    ) -> dict[str, Any] | Failure:
        """Answer, and bill it before it is on its way."""
        with self._chance_lock:
            luck = self._chance.random()
            status = self._chance.choice([429, 500])
        if luck < REFUSED:
            self.refused += 1
            return Failure(status, "ThrottlingException" if status == 429 else "Internal")
        reply = super().answer(path, body, headers)
        assert isinstance(reply, dict), reply
        usage = reply["usage"]
        bound = body["inferenceConfig"]["maxTokens"]
        assert usage["outputTokens"] <= bound, "more than was allowed"
        cut = luck < REFUSED + BILLED_AND_CUT
        asked = json.loads(body["messages"][-1]["content"][0]["text"])
        cost = usage["inputTokens"] * INPUT_PICO_USD + usage["outputTokens"] * OUTPUT_PICO_USD
        self.ledger.append(Billed(asked["user"], cost, asked["at"], _date_of(headers), cut))
        return Failure(0) if cut else reply

    def _decide(self, messages: list[dict[str, Any]]) -> Answer:
        asked = json.loads(messages[-1]["content"][0]["text"])
        with self._chance_lock:
            return Answer(
                "Yes.",
                input_tokens=self._chance.randint(20, 60),
                output_tokens=self._chance.randint(1, asked["most"]),
                delay_seconds=self._chance.uniform(0, self._slow_seconds),
            )


def _date_of(headers: Mapping[str, str]) -> int:
    """Return the end of the second in which a request was signed, by its sender's clock."""
    names = {name.lower(): value for name, value in headers.items()}
    signed = datetime.strptime(names["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    return round(signed.timestamp() * 1_000) + SECOND_MS - 1
