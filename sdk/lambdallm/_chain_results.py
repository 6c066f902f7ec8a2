"""What came of a chain, and of each of its steps."""

from __future__ import annotations

from lambdallm._messages import PICO_USD
from lambdallm_wire.tokens import input_tokens

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from lambdallm_wire.runs import RunCosts

STATUSES = ("completed", "checkpointed", "failed", "truncated")


class StepResult:
    """What came of one step.

    Attributes:
        name: The step's; of one within another, with the other's before it.
        output: As JSON gives it back.
        tokens_in, tokens_out: Of its model calls, in all attempts.
        cost_usd: Of them, as far as it is known.
        latency_ms: Of the attempt that finished it.
        skipped: Its condition did not hold.
        error: Why it failed, None where it did not.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the earlier package's signature
        self,
        name: str,
        output: Any,
        tokens_in: int = 0,
        tokens_out: int = 0,
        cost_usd: float = 0.0,
        latency_ms: float = 0.0,
        skipped: bool = False,
        error: str | None = None,
    ) -> None:
        """Keep what came of it."""
        self.name = name
        self.output = output
        self.tokens_in = tokens_in
        self.tokens_out = tokens_out
        self.cost_usd = cost_usd
        self.latency_ms = latency_ms
        self.skipped = skipped
        self.error = error

    @classmethod
    def of(cls, name: str, output: Any, steps: list[dict[str, Any]]) -> StepResult:
        """Make one of a step's own parts, itself included (`lambdallm_wire.runs.FinishedStep`)."""
        return cls(
            name,
            output,
            sum([input_tokens(step["usage"]) for step in steps if step.get("usage")]),
            sum([step.get("usage", {}).get("output_tokens", 0) for step in steps]),
            sum([step.get("cost_pico_usd", 0) for step in steps]) / PICO_USD,
            sum([step.get("latency_ms", 0) for step in steps]),
            any(step.get("skipped") for step in steps if step["key"] == name),
        )

    def __repr__(self) -> str:
        return f"StepResult(name={self.name!r}, output={self.output!r}, error={self.error!r})"


class ChainResult:
    """What came of a chain.

    A handler may return it as it is: `completed` is a 200 with the final output, `checkpointed` a
    202 that says where to ask again, `truncated` a 200 that says so, `failed` its error's status;
    to who calls for no HTTP answer, what is not finished is raised, so that it comes again.

    Attributes:
        chain_name: The chain's.
        steps: What came of its steps, in their order, as far as they came.
        status: `completed`, `checkpointed`, `failed` or `truncated`.
        checkpoint: What `Chain.run(checkpoint=…)` takes to go on; None where nothing is left.
        total_cost_usd: Of all attempts, with what came to nothing.
        total_latency_ms: Of this attempt.
        final_output: Of the last step that was done.
        run_id: What the run is found by.
        attempt: Which one this was.
        error: Why it failed, or is not finished; None where it is.
        waits: Tokens of the steps that wait for somebody, by their names.
        unknown_calls: Calls that may have been billed, and of which nothing is known: their
            environment was killed. The most that they can have cost is in the total.
        resumes: Whether somebody goes on with it, as `Chain(resume=…)` says.
        regenerated: How often a model was asked again what an earlier attempt had asked.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the earlier package's signature
        self,
        chain_name: str,
        steps: list[StepResult] | None = None,
        status: str = "completed",
        checkpoint: dict[str, Any] | None = None,
        total_cost_usd: float = 0.0,
        total_latency_ms: float = 0.0,
        final_output: Any = None,
    ) -> None:
        """Keep what came of it."""
        self.chain_name = chain_name
        self.steps = [] if steps is None else steps
        self.status = status
        self.checkpoint = checkpoint
        self.total_cost_usd = total_cost_usd
        self.total_latency_ms = total_latency_ms
        self.final_output = final_output
        self.run_id = ""
        self.attempt = 1
        self.error: Exception | None = None
        self.waits: dict[str, str] = {}
        self.total_cost_pico_usd = 0
        self.unknown_calls = 0
        self.regenerated = 0
        self.resumes = False

    @property
    def completed_steps(self) -> int:
        """How many were done."""
        return sum([not (step.skipped or step.error) for step in self.steps])

    @property
    def outputs(self) -> dict[str, Any]:
        """What each step came to, by its name."""
        return {step.name: step.output for step in self.steps if step.output is not None}

    def take_costs(self, costs: RunCosts | Mapping[str, Any]) -> None:
        """Keep what the run has come to, over all of its attempts."""
        self.total_cost_pico_usd = costs["cost_pico_usd"]
        self.total_cost_usd = self.total_cost_pico_usd / PICO_USD
        self.unknown_calls = costs["unknown_calls"]
        self.regenerated = costs["regenerated"]

    def __repr__(self) -> str:
        return (
            f"ChainResult(chain_name={self.chain_name!r}, status={self.status!r}, "
            f"completed_steps={self.completed_steps}, final_output={self.final_output!r})"
        )
