"""Cold and warm, with the layer and without, and against the same turn written with boto3."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, NamedTuple

from deployment import FunctionPlan

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployment import Deployment

MEMORIES_MB = (128, 256, 1_769)
COLD_STARTS = 10
WARM_TURNS = 50


class Kind(NamedTuple):
    """One side of the comparison."""

    name: str
    handler: str
    layers: tuple[str, ...]


KINDS = (
    Kind("bare", "app.ask", ()),
    Kind("layer", "app.ask", ("lambdallm",)),
    Kind("lambdallm", "app.turn", ("lambdallm",)),
    Kind("boto3", "app.twin", ()),
)

PLANS = [
    FunctionPlan(f"{kind.name}-{memory}", kind.handler, memory_mb=memory, layers=kind.layers)
    for memory in MEMORIES_MB
    for kind in KINDS
]


class Row(NamedTuple):
    """Medians in milliseconds, as Lambda's REPORT lines give them."""

    plan: str
    init_ms: float
    first_ms: float
    warm_ms: float
    memory_mb: float


def compare(
    run: Deployment,
    say: Callable[[str], None],
    *,
    cold_starts: int = COLD_STARTS,
    warm_turns: int = WARM_TURNS,
) -> list[Row]:
    """Measure every function, interleaved, so that all see the same hour of the region."""
    cold: dict[str, list[dict[str, float]]] = {plan.name: [] for plan in PLANS}
    warm: dict[str, list[dict[str, float]]] = {plan.name: [] for plan in PLANS}
    for attempt in range(cold_starts):
        say(f"cold start {attempt + 1} of {cold_starts}")
        for plan in PLANS:
            run.renew(plan.name)
            cold[plan.name].append(run.invoke(plan.name, _event(plan, attempt)).report)
    for attempt in range(warm_turns):
        say(f"warm turn {attempt + 1} of {warm_turns}")
        for plan in PLANS:
            warm[plan.name].append(run.invoke(plan.name, _event(plan, 0)).report)
    return [
        Row(
            plan.name,
            _median(cold[plan.name], "Init Duration"),
            _median(cold[plan.name], "Duration"),
            _median(warm[plan.name], "Duration"),
            _median(warm[plan.name], "Max Memory Used"),
        )
        for plan in PLANS
    ]


def _event(plan: FunctionPlan, number: int) -> dict[str, object]:
    return {"session_id": f"{plan.name}-{number}", "message": "Hello", "questions": ["started"]}


def _median(reports: list[dict[str, float]], name: str) -> float:
    values = [report[name] for report in reports if name in report]
    return statistics.median(values) if values else 0.0
