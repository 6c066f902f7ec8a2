"""A Bedrock that answers by what it is asked, and knows how often it was."""

from __future__ import annotations

from threading import Lock
from typing import Any

from lambdallm.testing import ModelServer
from lambdallm.testing.model_script import Scripted

MODEL = "bedrock/anthropic.claude-3-haiku-20240307-v1:0"

INPUT_PICO_USD, OUTPUT_PICO_USD = 250_000, 1_250_000
"""Of one token. Source: AWS's price list of Bedrock, 2026-11."""


class PromptedModel(ModelServer):
    """Says `<what it was asked>`, or what it was told to say to that; serves until it is closed."""

    def __init__(self) -> None:
        self._said: dict[str, list[Scripted]] = {}
        self._said_lock = Lock()
        super().__init__(self._answer)

    def to(self, prompt: str, *answers: Scripted) -> None:
        """Say these to a prompt, one after the other; the last one again and again."""
        self._said[prompt] = [*answers]

    @property
    def prompts(self) -> list[str]:
        """What it was asked, in order: the last message of each question."""
        return [_last(asked.body["messages"]) for asked in self.requests]

    @property
    def billed_pico_usd(self) -> int:
        """What all answers cost."""
        return sum(
            asked.usage["inputTokens"] * INPUT_PICO_USD
            + asked.usage["outputTokens"] * OUTPUT_PICO_USD
            for asked in self.requests
        )

    def _answer(self, messages: list[dict[str, Any]]) -> Scripted:
        prompt = _last(messages)
        with self._said_lock:
            answers = self._said.get(prompt)
            if answers is None:
                return f"<{prompt}>"
            return answers.pop(0) if len(answers) > 1 else answers[0]


def _last(messages: list[dict[str, Any]]) -> str:
    return "".join(block.get("text", "") for block in messages[-1]["content"])
