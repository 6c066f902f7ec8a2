"""Running a chain: what is finished is taken as it is, everything else is done and kept.

open ─► step ─► step ─► … ─► close        its outputs travel with the next step's question
          └── time is up, a wait, a failure ─► close with what there is, to be gone on with
"""

from __future__ import annotations

from lambdallm import _context, _errors, _handled, _log, _resumption, _runs, _settings
from lambdallm._chain_results import ChainResult
from lambdallm._chain_steps import Doing, WaitingError
from lambdallm._messages import PICO_USD
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from lambdallm._chain import Chain
    from lambdallm._chain_parts import Part
    from lambdallm._runs import Run

    Values = dict[str, Any]


STEPS_OF_ONE_LAMBDA = 50
"""With more, a run seldom ends within one invocation."""

_LONG = (
    "lambdallm: Chain {!r} has {} steps, more than one invocation is made for. Step Functions "
    "(chain.to_state_machine()) and durable functions (chain.run_durable()) do the same chain: "
    "docs/chains_elsewhere.md."
)
_told_long: set[str] = set()


def run(
    chain: Chain,
    context: Any,
    run_id: str | None,
    checkpoint: Mapping[str, Any] | None,
    inputs: Mapping[str, Any],
) -> ChainResult:
    """Do all steps of a chain that are not finished yet; see `Chain.run`."""
    return named(chain, context, run_id, checkpoint, inputs)()


def named(
    chain: Chain,
    context: Any,
    run_id: str | None,
    checkpoint: Mapping[str, Any] | None,
    inputs: Mapping[str, Any],
) -> Callable[[], ChainResult]:
    """Name a run, and return what does it, in whatever thread.

    Two of one chain in one event are told apart by who was named first.
    """
    _tell_if_long(chain)
    if context is None:
        handled = _handled.here()
        if len(handled) != 1:
            return lambda: _run_by_hand(chain, run_id, checkpoint, inputs)
        context = handled[0].context
    name = _name_run(chain, context, run_id, checkpoint)
    refuses = bool(inputs) and (run_id is not None or bool(checkpoint))

    def do() -> ChainResult:
        return _Running(chain, context, name, inputs).run(refuses_other_input=refuses)

    return do


def _tell_if_long(chain: Chain) -> None:
    """Say once in a process that another engine would do a chain better."""
    if chain.step_count <= STEPS_OF_ONE_LAMBDA or chain.name in _told_long:
        return
    _told_long.add(chain.name)
    _log.write("WARNING", _LONG.format(chain.name, chain.step_count))


def _run_by_hand(
    chain: Chain,
    run_id: str | None,
    checkpoint: Mapping[str, Any] | None,
    inputs: Mapping[str, Any],
) -> ChainResult:
    """Run a chain for a script, as a unit of work of its own."""
    context, outcome = _context.for_script(), "error"
    try:
        result = run(chain, context, run_id, checkpoint, inputs)
        outcome = "ok"
    finally:
        context.work.end(outcome, "", 0.0)
    return result


def _name_run(
    chain: Chain, context: Any, run_id: str | None, checkpoint: Mapping[str, Any] | None
) -> str:
    """Return what the run is found by: what is said, else what the event is known by.

    Raises:
        InvalidRequestError: The checkpoint is not one of this package's.
    """
    said = run_id or (checkpoint or {}).get("run_id")
    if checkpoint and said is None:
        raise _errors.InvalidRequestError(_NO_CHECKPOINT.format(chain.name))
    if said is not None:
        return str(said)
    return str(context.name_run(chain.name))


def opening_of(chain: Chain, run_id: str, owner: str) -> dict[str, Any]:
    """Return what a chain says of its run, whichever engine goes on with it.

    Shape: `lambdallm_wire.runs.OpenRun`
    """
    opening: dict[str, Any] = {
        "run_id": run_id,
        "name": chain.name,
        "version": chain.version,
        "declared": chain.declared(),
        "ttl_seconds": kept_seconds(chain),
    }
    if chain.max_total_cost is not None:
        opening["max_cost_pico_usd"] = pico_usd(chain.max_total_cost)
    if owner:
        opening["owner"] = owner
    return opening


class _Running:
    """One attempt of one chain."""

    def __init__(self, chain: Chain, context: Any, run_id: str, inputs: Mapping[str, Any]) -> None:
        self._chain = chain
        self._context = context
        self._inputs = dict(inputs)
        self._began = _settings.monotonic()
        self._run = self._describe(run_id)
        self._doing = Doing(self._run, context, self._owner)
        self._result = ChainResult(chain.name)
        self._result.run_id = run_id

    def _describe(self, run_id: str) -> Run:
        chain = self._chain
        self._owner: str = self._context.owner_by(chain.owner)
        opening = opening_of(chain, run_id, self._owner)
        opening["migrations"] = {old: dict(each) for old, each in chain.migrations.items()}
        opening["attempts_max"] = chain.attempts_max
        if self._inputs:
            opening["input"] = _runs.encode(self._inputs, "The input of a chain")
        if self._context.original_event is not None:
            self._say_event(opening, self._context.original_event)
        return _runs.make(self._context.work, opening)

    def _say_event(self, opening: dict[str, Any], event: Any) -> None:
        """Let the run be gone on with by the event that has begun it."""
        chain, run_id = self._chain, opening["run_id"]
        if chain.resume is None:
            return
        opening["resume"] = _resumption.terms(
            chain.resume, self._context, run_id, event, chain.resume_delay
        )
        opening["event"] = opening["resume"]["event"]

    def run(self, *, refuses_other_input: bool) -> ChainResult:
        """Open it, do its steps, and close it."""
        self._run.open()
        stored: Values = plain_json.loads(self._run.opened["input"]) or {}
        self._result.attempt = self._run.attempt
        if refuses_other_input and stored != _as_json(self._inputs):
            if self._run.status == "running":
                self._run.close("interrupted")
            raise _errors.InvalidRequestError(_other_input(self._run.run_id, stored, self._inputs))
        if self._run.status != "running":
            return self._ended(stored)
        values: Values = {"input": "", **stored}
        try:
            output = self._doing.do_steps(self._chain, "", values, self._result.steps)
        except WaitingError as waiting:
            return self._wait(waiting)
        except Exception as error:  # noqa: BLE001 - told in the result
            return self._fail(error)
        except BaseException:
            self._leave("interrupted", "The process was interrupted.")
            raise
        self._result.final_output = output
        costs = self._run.close("completed", output=_runs.encode(output, "The output"))
        return self._tell(costs)

    def _ended(self, stored: Values) -> ChainResult:
        """Return what is known of a run that has ended before, and do nothing."""
        opened = self._run.opened
        values: Values = {"input": "", **stored}
        for part in self._chain.steps:
            if part.name in self._run.steps or self._run.steps_under(part.name):
                self._doing.take_result(
                    part.name, self._output_of(part, values), self._result.steps
                )
        self._result.final_output = plain_json.loads(opened["output"])
        if self._run.status != "completed":
            self._result.status = "failed"
            self._result.error = _errors.StateError(
                f"Run {self._run.run_id!r} has {self._run.status}: {opened.get('error', '')}"
            )
        return self._tell(opened)

    def _output_of(self, part: Part, values: Values) -> Any:
        """Return a finished part's output, from what is stored of it."""
        done = self._run.steps.get(part.name)
        if done is not None:
            return plain_json.loads(done["output"])
        try:
            return self._doing.do(part, part.name, values)
        except Exception:  # noqa: BLE001 - it was not finished: there is none
            return None

    def _wait(self, waiting: WaitingError) -> ChainResult:
        self._result.status = "checkpointed"
        self._result.error = _errors.StateError(str(waiting), retryable=True)
        self._result.waits = {step: token for step, token in waiting.tokens.items() if token}
        return self._tell(self._run.close("waiting"))

    def _fail(self, error: Exception) -> ChainResult:
        """Keep what is finished, and say how the rest has ended."""
        self._result.error = error
        out_of_time = isinstance(error, _errors.DeadlineExceededError) or (
            isinstance(error, _errors.ModelInvocationError) and self._context.should_checkpoint
        )  # a call is given up where the time to tell of it begins
        out_of_money = isinstance(error, _errors.BudgetExceededError) and error.source == "run"
        if out_of_money or (out_of_time and self._chain.timeout_strategy == "truncate"):
            self._result.status = "truncated"
        elif out_of_time and self._chain.timeout_strategy == "checkpoint":
            self._result.status = "checkpointed"
        else:
            self._result.status = "failed"
        done = [step for step in self._result.steps if not (step.error or step.skipped)]
        if done:
            self._result.final_output = done[-1].output
        return self._leave("interrupted" if out_of_time else "failed", str(error))

    def _leave(self, status: str, why: str) -> ChainResult:
        try:
            return self._tell(self._run.close(status, error=why[:1_000]))
        except _errors.LambdaLLMError as second:
            self._result.error = self._result.error or second
            return self._tell(None)

    def _tell(self, costs: Mapping[str, Any] | None) -> ChainResult:
        result = self._result
        if costs is not None:
            result.take_costs(costs)
            result.resumes = costs.get("resumed", False)
        result.total_latency_ms = (_settings.monotonic() - self._began) * 1_000
        if result.status != "completed":
            result.checkpoint = {
                "run_id": self._run.run_id,
                "chain_name": self._chain.name,
                "version": self._chain.version,
                "completed_steps": [step.name for step in result.steps if not step.error],
            }
        return result


def kept_seconds(chain: Chain) -> int:
    """Return how long a run is kept after an attempt: no token outlives it."""
    return max(1, round(max(chain.retention_days * 86_400, chain.longest_wait_seconds)))


def pico_usd(usd: float | str) -> int:
    """Return an amount in whole pico-USD."""
    try:
        amount = round(float(usd) * PICO_USD)
    except (ValueError, OverflowError):
        amount = -1
    if amount < 0:
        message = f"max_total_cost={usd!r} is no amount of USD."
        raise _errors.ConfigurationError(message)
    return amount


_NO_CHECKPOINT = (
    "The checkpoint for chain {!r} names no run: it is none that ChainResult.checkpoint has held. "
    "Nothing was run."
)


def _as_json(inputs: Mapping[str, Any]) -> Any:
    return plain_json.loads(plain_json.dumps(inputs))


def _other_input(run_id: str, stored: Values, given: Values) -> str:
    names = sorted(stored.keys() | given.keys())
    different = next(
        (name for name in names if stored.get(name) != _as_json(given).get(name)), "input"
    )
    return (
        f"Run {run_id!r} was begun with another {different!r}. Leave the inputs out to go on with "
        "it, or begin anew under another run_id."
    )
