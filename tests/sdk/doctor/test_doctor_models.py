"""Models under the doctor's eyes that are none of Bedrock's by name."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.parametrize(
    ("model", "state", "words"),
    [
        ("openai/gpt-5-mini", "ok", "only Bedrock's models are looked at"),
        ("fast", "warn", "lambdallm check examines the aliases"),
        ("claude-haiku-5-5", "fail", "global.anthropic.claude-haiku-5-5"),
    ],
)
def test_another_providers_model_an_alias_and_a_short_name(
    diagnose: Any, environ: dict[str, str], account: Any, model: str, state: str, words: str
) -> None:
    environ["LAMBDALLM_MODEL"] = model

    diagnosis = diagnose()

    assert diagnosis.state("model") == state
    assert words in diagnosis.words("model")
