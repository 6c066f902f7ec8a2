"""Limits that nobody can read, however they are written: nothing is spent."""

from __future__ import annotations

from pathlib import Path

import pytest

from extension.test_configuration_file import compiled, folder, is_closed, read
from lambdallm_extension.budget_settings import LIMIT_MAX_PICO_USD

__all__ = ["folder"]

DAILY = "cost:\n  budget: {daily: '1'}\n"


@pytest.mark.parametrize(
    "content",
    [
        "cost: {budget: {daily: '1'}",  # no end
        "cost:\n\tbudget: {daily: '1'}\n",
        f"{DAILY}models: {{a: openai/x}}\n{DAILY}",
        "limits: &l {daily: '1'}\ncost: {budget: *l}\n",
        "cost: {budget: {daily: 1e30}}\n",
        DAILY.encode("utf-16"),
        f"{DAILY}# \xff\n".encode("latin-1"),
        "cost: {budgett: {daily: '1'}}\n",
        "cost: {buget: {daily: '1'}}\n",
        "cost: {Budgets: {users: {limit: '1'}}}\n",
        "costs: {budget: {daily: '1'}}\n",
        "budget: {daily: '1'}\n",
        "environments: {prod: {costs: {budget: {daily: '1'}}}}\n",
        "cost: {on_budget_exceded: block, budget: {daily: '1'}}\n",
        # What no call belongs to, or another budget is called, would hold nothing.
        "cost: {budget: {daily: '1'}, budgets: {daily: {scope: user, limit: '9'}}}\n",
        "cost: {budgets: {opus: {id: bedrock/opus, limit: '1'}}}\n",
        "cost: {budgets: {opus: {scope: model, id: us.anthropic.opus-v1, limit: '1'}}}\n",
        "cost: {budgets: {opus: {scope: model, id: 'arn:aws:bedrock:::m/x', limit: '1'}}}\n",
    ],
)
def test_a_limit_that_cannot_be_read_however_it_is_written_lets_nothing_be_spent(
    folder: Path, content: str | bytes
) -> None:
    (folder / "lambdallm.yaml").write_bytes(
        content.encode() if isinstance(content, str) else content
    )

    settings = read()
    assert settings.problems
    assert is_closed(settings)


@pytest.mark.parametrize(
    "content",
    [
        "models: {fast: openai/x",
        "modells: {fast: openai/x}\n",
        "models: {budget: {model: 5}}\n",
        "defaults: {model: [budget]}\n",
        "cost: {prices: {'openai/x': {input: many}}}\n",
    ],
)
def test_a_mistake_elsewhere_stops_no_spending(folder: Path, content: str) -> None:
    (folder / "lambdallm.yaml").write_text(content)

    settings = read()
    assert settings.problems
    assert not is_closed(settings)


def test_a_limit_of_more_digits_than_a_store_can_count_is_one_that_it_can(folder: Path) -> None:
    (folder / "lambdallm.yaml").write_text(f"cost: {{budget: {{daily: '{'9' * 38}'}}}}\n")

    (daily,) = read().configuration.budgets
    assert daily.limit_pico_usd == LIMIT_MAX_PICO_USD


def test_a_compiled_file_alone_that_somebody_has_changed_lets_nothing_be_spent(
    folder: Path,
) -> None:
    held = {"": {"cost": {"budget": {"daily": "1"}}}}
    (folder / "lambdallm.json").write_text(compiled("", held).replace('"1"', '"100"'))

    assert is_closed(read(LAMBDALLM_CONFIG="lambdallm.json"))
