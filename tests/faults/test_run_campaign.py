"""Runs of a chain reach their output whatever is killed, and nothing finished is paid again."""

from __future__ import annotations

import json
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from e2e import chain_function
from e2e.chain_function import FUNCTION, expected, read
from fakes.chain_model import ChainModel
from faults.run_campaign import Campaign
from faults.run_verdict import Kept, call_records, done_again, faults_of, without_witness

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2e.conftest import Service, Start

ENVIRONMENTS = 5

SLOW_SECONDS, PIECE_SECONDS = 0.08, 0.02
"""Of an answer, at most; of a piece of a streamed one."""


@pytest.mark.parametrize(
    "runs", [20, pytest.param(500, marks=pytest.mark.slow)], ids=["once", "for long"]
)
def test_every_run_is_completed_and_nothing_finished_is_paid_again(
    emulator: Start,
    layer: Path,
    dynamodb: Service,
    record_property: Callable[[str, object], None],
    runs: int,
) -> None:
    """SIGKILL of the runtime, of the sidecar, of both, or a timeout, at any moment of a delivery.

    While its sidecar lived, a run knows what the model has billed to the last token, and each step
    was asked for once. Where that was killed, each generation has an intent, and is listed.
    """
    names = [f"{runs}-{number}" for number in range(runs)]
    with ExitStack() as stack:
        model = stack.enter_context(
            ChainModel(slow_seconds=SLOW_SECONDS, piece_seconds=PIECE_SECONDS)
        )
        told = chain_function.variables(dynamodb, model)
        start = partial(emulator, {"app.py": FUNCTION}, "app.serve", opt=layer)
        environments = [
            stack.enter_context(start(variables=told, timeout_seconds=2))
            for _ in range(ENVIRONMENTS)
        ]
        campaign = Campaign(environments, dynamodb, seed=runs).deliver(names)
        assert not campaign.faults, campaign.faults
        kept = {name: Kept(read(environments[0], name), []) for name in names}
    call_records(dynamodb, kept)
    lost = without_witness(campaign, model)
    record_property("figures", json.dumps(figures(campaign, model, kept, lost)))

    assert [name for name in names if campaign.answers[name] != expected(name)] == []
    assert done_again(campaign, model) == []
    faults = {name: faults_of(kept[name], model.of(name), name in lost) for name in names}
    assert {name: found for name, found in faults.items() if found} == {}


def figures(
    campaign: Campaign, model: ChainModel, kept: dict[str, Kept], lost: set[str]
) -> dict[str, Any]:
    """Count what a campaign came to."""
    return campaign.figures() | {
        "runs without a witness": len(lost),
        "deliveries served by the embedded engine": model.count_told("embedded"),
        "generations": len(model.ledger),
        "of them beyond one for a step": len(model.ledger)
        - len({(each.run, each.step) for each in model.ledger}),
        "of them gone on with": sum(bool(each.beginning) for each in model.ledger),
        "regenerated, as told": sum(each.run["regenerated"] for each in kept.values()),
        "unknown, as told": sum(each.run["unknown_calls"] for each in kept.values()),
        "calls of the function step": model.count_told("count"),
    }
