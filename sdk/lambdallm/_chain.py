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

from lambdallm import _resumption
from lambdallm._chain_parts import Part, Step, checked, fault
from lambdallm._chain_waits import Callback
from lambdallm_wire.runs import STEP_KEY_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from lambdallm._chain_results import ChainResult

TIMEOUT_STRATEGIES = ("fail-fast", "checkpoint", "truncate")
RETENTION_DAYS = 7

ATTEMPTS_MAX = 20
"""Of one run. Lambda finds loops of functions by a header that this package's requests do not
carry: this bound, and that of attempts without progress, are what ends one."""


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
        resume: Who goes on with a run that an attempt has not finished: None, whoever calls again;
            `self`, an asynchronous invocation of the function; `sqs`, a message in the queue of
            LAMBDALLM_RESUME_QUEUE; `schedule`, EventBridge Scheduler as LAMBDALLM_RESUME_ROLE,
            which goes on too when the whole environment was killed. docs/chains.md compares them.
        resume_delay: Seconds before it, of `sqs` and `schedule`.
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
        attempts_max: int = ATTEMPTS_MAX,
        resume: str | None = None,
        resume_delay: float = 0,
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
        _resumption.check(resume)
        self.resume = resume
        self.resume_delay = resume_delay
        self.retention_days = retention_days
        self._check_migrations()
        self._check_inner_bounds()
        self._check_keys()

    @property
    def longest_wait_seconds(self) -> float:
        """How long somebody may take who is waited for, 0 where nobody is."""
        return max([each.expires_in for each in _all(self) if isinstance(each, Callback)] or [0])

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

    async def arun(
        self,
        context: Any = None,
        *,
        run_id: str | None = None,
        checkpoint: Mapping[str, Any] | None = None,
        **inputs: Any,
    ) -> ChainResult:
        """Do as `run`, while other coroutines run."""
        from lambdallm import _async, _chain_runner

        run = _chain_runner.named(self, context, run_id, checkpoint, inputs)
        return await _async.in_thread(run)

    def to_state_machine(self, function_arn: str = "${FunctionArn}") -> dict[str, Any]:
        """Return it as a definition of a Step Functions state machine (docs/chains_elsewhere.md).

            json.dumps(chain.to_state_machine())

        Each step is a task that the function does with `run_task`. An execution's input are the
        chain's inputs, and its name is what its results are kept by.

        Args:
            function_arn: Of the function, best of a published version; as it is, the placeholder
                of `DefinitionSubstitutions`.

        Raises:
            ConfigurationError: Names of steps differ by `-` and `_` alone.
        """
        from lambdallm import _state_machine

        return _state_machine.export(self, function_arn)

    def run_task(self, event: Any, context: Any) -> dict[str, Any]:
        """Do one task of its state machine, and return what the machine goes on with.

            @handler()
            def work(event, context):
                return chain.run_task(event, context)

        What the task had finished before a kill or a retry is not done again.

        Args:
            event: The handler's: `{"lambdallm_task": …}`.
            context: The handler's.

        Raises:
            InvalidRequestError: The event is no such task.
            ConfigurationError: The machine was exported from another definition of the chain.
            LambdaLLMError: The step failed; `RetryableTaskError` is what the machine retries.
        """
        from lambdallm import _state_machine_tasks

        return _state_machine_tasks.do(self, context, event)

    def run_durable(self, context: Any, *, name: str | None = None, **inputs: Any) -> ChainResult:
        """Do it as part of a Lambda durable function, whose engine keeps what is finished.

            @durable_execution
            def work(event, context):
                return report.run_durable(context, input=event["topic"]).final_output

        Args:
            context: The durable function's.
            name: Needed by the second run of this chain in one execution.
            **inputs: As of `run`.

        Returns:
            What came of it; a step that failed is told there, and not raised.

        Raises:
            ConfigurationError: The package aws-durable-execution-sdk-python is not there.
            StateError: The execution was begun with another definition of the chain.
        """
        from lambdallm import _durable

        return _durable.run(self, context, name, inputs)

    def _check_inner_bounds(self) -> None:
        """Refuse a bound that would not hold: within another chain the whole run has one."""
        for inner in _all(self)[1:]:
            if isinstance(inner, Chain) and inner.max_total_cost is not None:
                message = (
                    f"Chain {inner.name!r} has a max_total_cost and is a step of {self.name!r}: "
                    "give it to the outermost chain."
                )
                raise fault(message)

    def _check_keys(self) -> None:
        """Refuse parts whose keys would be refused when they are done, and paid."""
        longest = max([_key_characters(step) for step in self.steps])
        if longest > STEP_KEY_MAX:
            message = (
                f"Chain {self.name!r}: a step within others is called by all of their names, which "
                f"makes {longest} characters, and {STEP_KEY_MAX} are the most. Shorten names."
            )
            raise fault(message)

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


def _key_characters(part: Part) -> int:
    """Return how long the key of a part can be, or of one within it: `map/0003/step/told`."""
    number = len("/0000") if part.kind in ("map", "loop") else 0
    own = len("/told") if isinstance(part, Callback) else 0
    within = max([1 + number + _key_characters(each) for each in part.parts()] or [own])
    return len(part.name) + within
