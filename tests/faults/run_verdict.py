"""What the model has billed, held against what is kept of each run."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from boto3.dynamodb.conditions import Attr

from e2e.chain_function import ASKING, run_id, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from e2e.conftest import Service
    from fakes.chain_model import Billed, ChainModel
    from faults.run_campaign import Campaign


class Kept(NamedTuple):
    """A run as whoever looks after runs reads it, and the records of its calls."""

    run: dict[str, Any]
    records: list[dict[str, Any]]


def call_records(dynamodb: Service, kept: dict[str, Kept]) -> None:
    """Read the records of all calls, and give each to its run."""
    by_id = {run_id(name): each.records for name, each in kept.items()}
    pages = (
        table(dynamodb)
        .meta.client.get_paginator("scan")
        .paginate(
            TableName=dynamodb.table, FilterExpression=Attr("sk").eq("CALL"), ConsistentRead=True
        )
    )
    for page in pages:
        for item in page["Items"]:
            by_id.get(str(item.get("run")), []).append(item)


def without_witness(campaign: Campaign, model: ChainModel) -> set[str]:
    """Return the runs that have lost an engine together with what it knew.

    That is the sidecar, or the engine in a process that was killed itself.
    """
    lost = {kill.run for kill in campaign.kills if kill.kind in ("sidecar", "both")}
    killed = {kill.run for kill in campaign.kills}
    embedded = {each.run for each in model.told if each.step == "embedded"}
    return lost | killed & embedded


def done_again(campaign: Campaign, model: ChainModel) -> list[Billed]:
    """Return what was done although the table held it as finished before."""
    return [
        each
        for seen in campaign.seen
        for each in (*model.of(seen.run), *model.told_of(seen.run, "count"))
        if each.step in seen.steps and each.arrived > seen.at
    ]


def faults_of(kept: Kept, billed: Sequence[Billed], lost: bool) -> list[str]:
    """Say what is kept of a run and is not what was billed.

    Args:
        kept: What is kept.
        billed: What the model has generated for it.
        lost: Whether an engine was killed, so that some calls may be unknown.
    """
    run, records = kept
    cost = sum(each.pico_usd for each in billed)
    made = Counter(each.step for each in billed)
    listed = Counter(call["step"] for call in run["calls"])
    unknown = [call for call in run["calls"] if call["state"] in ("intent", "partial")]
    faults = {
        "a generation is not listed": made - listed,
        "a generation has no record": len(billed) > len(records),
        "a step was never asked for": {*ASKING} - {*made},
        "less than was billed": run["cost_pico_usd"] < cost,
    }
    if not lost:
        told = sum(record.get("cost_pico_usd", 0) for record in records)
        faults |= {
            "another cost than was billed": run["cost_pico_usd"] - cost,
            "the records tell of another cost": told - cost,
            "a call is unknown": run["unknown_calls"] or unknown,
            "a record is not settled": {record["state"] for record in records} - {"settled"},
            "a step was asked for twice": [step for step in made if made[step] > 1],
        }
    return [f"{what}: {found}" for what, found in faults.items() if found]
