"""Chains: steps that are declared once, done in order, and kept when the function is killed.

    Chain("report", [
        Step("outline", prompt="Outline a report on {input}."),
        Map("sections", over="{outline.output}", step=Step("draft", prompt="Write: {item}")),
        Approval("release", message="Read {sections.output}"),
        Step("publish", func=publish),
    ], timeout_strategy="checkpoint").run(context, input="tides")

A declaration does nothing; `_chain_runner` runs it.
"""

from __future__ import annotations

from lambdallm._chain_parts import Part, Step, checked, fault
from lambdallm._chain_waits import Callback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from lambdallm._chain_results import ChainResult

TIMEOUT_STRATEGIES = ("fail-fast", "checkpoint", "truncate")
RETENTION_DAYS = 7


class Chain(Part):
    """Steps that are done one after the other. A chain may be a step of another one.

    Args:
        name: As of a `Step`.
        steps: In their order.
        timeout_strategy: What is answered when the time runs out: `checkpoint` a 202 that says
            where to ask again, `fail-fast` a 408, `truncate` a 200 with what there is. What is
            finished is kept in any case.
        description, metadata: For the user's own use.
        version: Say another one when the chain is another one; see `migrations`.
        max_total_cost: In USD, of all attempts together. A question that could exceed it is not
            asked, and the chain ends as `truncated`.
        condition: Of one within another chain, as of a `Step`.
        migrations: By earlier version, what became of each step that is called otherwise or is
            there no more (""): runs of that version are gone on with then. Else they are refused.
        owner: Whose runs are, as `Session(owner=…)`.
        attempts_max: So many invocations may go on with one run.
        retention_days: So long after its last attempt a run is kept.
    """

    kind = "chain"

    def __init__(  # noqa: PLR0913, PLR0917 - the earlier package's signature
        self,
        name: str,
        steps: Sequence[Part],
        timeout_strategy: str = "fail-fast",
        description: str | None = None,
        version: str = "1.0.0",
        max_total_cost: float | str | None = None,
        metadata: dict[str, Any] | None = None,
        *,
        condition: Callable[[dict[str, Any]], Any] | None = None,
        migrations: Mapping[str, Mapping[str, str]] | None = None,
        owner: Any = "authorizer",
        attempts_max: int = 100,
        retention_days: float = RETENTION_DAYS,
    ) -> None:
        """Declare it.

        Raises:
            ConfigurationError: A step is named twice or refers to one that does not come before
                it, or an argument is wrong.
        """
        super().__init__(name, condition)
        if timeout_strategy not in TIMEOUT_STRATEGIES:
            choices = ", ".join(map(repr, TIMEOUT_STRATEGIES))
            message = f"Chain {name!r}: timeout_strategy={timeout_strategy!r}: use {choices}."
            raise fault(message)
        self.steps = checked(steps, f"Chain {name!r}")
        self.timeout_strategy = timeout_strategy
        self.description = description
        self.version = version
        self.max_total_cost = max_total_cost
        self.metadata = {} if metadata is None else metadata
        self.migrations = {} if migrations is None else migrations
        self.owner = owner
        self.attempts_max = attempts_max
        self.retention_days = retention_days
        self._check_migrations()

    @property
    def step_count(self) -> int:
        """How many steps it has, those within others counted."""
        return _count(self, Step) + _count(self, Callback)

    @property
    def llm_step_count(self) -> int:
        """How many of them ask a model."""
        return sum([each.is_llm_step for each in _all(self) if isinstance(each, Step)])

    def get_step(self, name: str) -> Part | None:
        """Return a step by its name, None where there is none."""
        return next((step for step in self.steps if step.name == name), None)

    def definition(self) -> dict[str, Any]:
        """Return what makes its output what it is, as JSON."""
        steps = [each.definition() for each in self.steps]
        return {**super().definition(), "version": self.version, "steps": steps}

    def parts(self) -> Sequence[Part]:
        """Return its steps."""
        return self.steps

    def declared(self) -> list[dict[str, str]]:
        """Return its steps as a run's head keeps them (`lambdallm_wire.runs.DeclaredStep`)."""
        return [{"key": each.name, "fingerprint": each.fingerprint} for each in self.steps]

    def run(
        self,
        context: Any = None,
        *,
        run_id: str | None = None,
        checkpoint: Mapping[str, Any] | None = None,
        **inputs: Any,
    ) -> ChainResult:
        """Do all steps that are not finished yet.

        Args:
            context: The handler's.
            run_id: What the run is found by; else the event's own identity says it, so that the
                same event goes on with the same run.
            checkpoint: That of an earlier `ChainResult`: goes on with its run.
            **inputs: `input`, and other names for templates and functions; JSON. A run keeps
                those that it began with.

        Returns:
            What came of it; a step that failed is told there, and not raised.

        Raises:
            StateError: Another invocation is at this run (it says when to ask again), the chain
                is not the one it began as (it names the difference), or the store failed.
            ConfigurationError: It needs a store, or a context, and there is none.
        """
        from lambdallm import _chain_runner  # what only declares a chain does not run it

        return _chain_runner.run(self, context, run_id, checkpoint, inputs)

    def _check_migrations(self) -> None:
        names = {step.name for step in self.steps}
        for version, renamed in self.migrations.items():
            for before, now in renamed.items():
                if now and now not in names:
                    message = (
                        f"Chain {self.name!r}: migrations[{version!r}] makes {before!r} a step "
                        f"{now!r} that is not there."
                    )
                    raise fault(message)


def _all(part: Part) -> list[Part]:
    return [part, *[each for inner in part.parts() for each in _all(inner)]]


def _count(part: Part, kind: type[Part]) -> int:
    return sum([isinstance(each, kind) for each in _all(part)])
