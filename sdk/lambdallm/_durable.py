"""A chain as part of a Lambda durable function: its engine keeps what is finished, and replays it.

    step, func    context.step                Parallel   context.parallel
    conditions    context.step                Map        context.map over the items of a step
    waits         context.create_callback     Loop       its rounds one after the other

What a durable operation returns is an outcome (`lambdallm._part_outcomes`): an output that is too
large for a checkpoint stays in the run's own store. The run is opened by the first step that is
not replayed: a model's answer whose checkpoint was lost with its function is found there, and its
call is not paid twice.

Source: aws-durable-execution-sdk-python 2.0 and 3.0; its developer guide, 2026-11.
"""

from __future__ import annotations

import hashlib
from _thread import allocate_lock

from lambdallm import (
    _context,
    _engine_tokens,
    _errors,
    _log,
    _part_outcomes,
    _runs,
    _settings,
)
from lambdallm._chain_results import ChainResult
from lambdallm._chain_runner import opening_of
from lambdallm._chain_steps import Doing, items_of
from lambdallm._durable_sdk import Sdk
from lambdallm._part_outcomes import field
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from lambdallm._chain import Chain
    from lambdallm._chain_parts import Loop, Map, Parallel, Part
    from lambdallm._chain_waits import Callback
    from lambdallm._part_outcomes import Outcome
    from lambdallm._runs import Run

    Values = dict[str, Any]

CHECKPOINT_MAX_BYTES = 131_072
"""An output that takes more stays in the run's store.

A checkpoint holds 262,144 bytes (durable functions quotas, 2026-11), and its engine escapes what
it is given once more.
"""

OPERATIONS_MAX = 3_000
"""Of an execution (durable functions quotas, 2026-11), so that it has no more invocations."""

RUN_ID_MAX = 200
TIMEOUT_BUFFER_SECONDS = 5


def run(chain: Chain, durable: Any, name: str | None, inputs: Mapping[str, Any]) -> ChainResult:
    """Do a chain as part of a durable function; see `Chain.run_durable`."""
    sdk = Sdk()
    context = _context.LambdaLLMContext(
        None, "fail-fast", TIMEOUT_BUFFER_SECONDS, 3, None, durable.lambda_context, []
    )
    run_id = _name_run(chain, durable.execution_context.durable_execution_arn, name)
    context.work.begin()
    try:
        result = _Durably(chain, sdk, context, run_id, inputs).run(durable, name or chain.name)
    except BaseException as left:
        # an execution that is suspended goes on later
        outcome = "error" if isinstance(left, Exception) else "ok"
        _told_if_failed(lambda: context.work.end(outcome, "", 0.0))
        raise
    context.work.end("ok", "", 0.0)
    return result


def _told_if_failed(do: Callable[[], object]) -> None:
    """Do something while another exception is on its way, which must not be lost.

    Without it the execution would be told that it has failed, and not that it is suspended.
    """
    try:
        do()
    except _errors.LambdaLLMError as error:
        _log.write("WARNING", f"A durable function was left untidily: {error.detail}")


class _Durably:
    """One invocation of a durable function that does a chain.

    What is outside of a durable operation is done again in each invocation, so that it only puts
    outcomes together; values are made of them where an operation needs them.
    """

    def __init__(
        self, chain: Chain, sdk: Sdk, context: Any, run_id: str, inputs: Mapping[str, Any]
    ) -> None:
        self._chain = chain
        self._sdk = sdk
        self._context = context
        self._owner: str = context.owner_by(chain.owner)
        self._inputs = _runs.encode(dict(inputs), "The input of a chain")
        self._began = _settings.monotonic()
        self._run = self._describe(run_id)
        self._doing = Doing(self._run, context, self._owner)
        self._is_open = False
        self._lock = allocate_lock()
        self._result = ChainResult(chain.name)
        self._result.run_id = run_id

    def _describe(self, run_id: str) -> Run:
        opening = opening_of(self._chain, run_id, self._owner)
        own = {"attempts_max": OPERATIONS_MAX, "input": self._inputs}
        return _runs.make(self._context.work, opening | own)

    def run(self, durable: Any, name: str) -> ChainResult:
        """Do what is not finished, and say what came of it."""
        known = {"input": "", **plain_json.loads(self._inputs)}
        try:
            done = durable.run_in_child_context(
                lambda child: self._steps(child, self._chain, "", lambda: dict(known)), name=name
            )
            return self._complete(done["scopes"][0]["steps"])
        except self._sdk.exceptions.DurableOperationError as error:
            return self._fail(error)
        except _errors.LambdaLLMError as error:
            if not error.retryable:
                return self._fail(error)
            again = f"The run of {name!r} cannot be read or closed now: {error}"
            raise self._sdk.exceptions.InvocationError(again) from error
        finally:
            if self._is_open and self._run.status == "running":
                _told_if_failed(lambda: self._run.close("waiting"))

    def _opened(self) -> Run:
        """Return the run; the first operation that is not replayed opens it.

        Raises:
            StateError: It was begun with another input or definition, was stopped, or another
                invocation is at it.
        """
        with self._lock:
            if self._is_open:
                return self._run
            self._run.open()
            self._is_open = True
        run_id, opened = self._run.run_id, self._run.opened
        if self._run.status not in ("running", "completed"):
            message = f"Run {run_id!r} has {self._run.status}: {opened['error']}"
            raise _errors.StateError(message)
        if plain_json.loads(opened["input"]) != plain_json.loads(self._inputs):
            message = (
                f"Run {run_id!r} was begun with another input: give the second run of a chain in "
                "one execution a name."
            )
            raise _errors.StateError(message)
        return self._run

    def _read(self, key: str) -> Any:
        return plain_json.loads(self._opened().steps[key]["output"])

    def _steps(
        self, durable: Any, chain: Chain, prefix: str, outer: Callable[[], Values]
    ) -> Outcome:
        steps: dict[str, Outcome] = {}

        def values() -> Values:
            known = outer()
            for part in chain.steps:
                if field(part.name) in steps:
                    output = _part_outcomes.output_of(part, steps[field(part.name)], self._read)
                    known[part.name] = known[f"{part.name}.output"] = output
            return known

        for part in chain.steps:
            steps[field(part.name)] = self._do(durable, part, f"{prefix}{part.name}", values)
        return {"scopes": [{"steps": {**steps}}]}

    def _do(self, durable: Any, part: Part, key: str, values: Callable[[], Values]) -> Outcome:
        condition = part.condition
        if condition is not None and part.kind != "step":
            holds = self._once(durable, f"{key}?", lambda: bool(condition(values())))
            if not holds:
                return {"skipped": True}
        do: Callable[[Any, Any, str, Any], Outcome] = getattr(self, _DOERS[part.kind])
        return do(durable, part, key, values)

    def _once(self, durable: Any, name: str, do: Callable[[], Any]) -> Any:
        return durable.step(lambda _: do(), name=name, config=self._sdk.once)

    def _step(self, durable: Any, part: Part, key: str, values: Callable[[], Values]) -> Outcome:
        def do() -> Outcome:
            self._opened()
            self._doing.do(part, key, values())
            return self._outcome(key)

        return self._once(durable, key, do)  # type: ignore[no-any-return]  # as it is checkpointed

    def _outcome(self, key: str) -> Outcome:
        """Return what is checkpointed of a finished step: its output, or that it is in the run."""
        step = self._run.steps[key]
        if step.get("skipped"):
            return {"skipped": True}
        room = CHECKPOINT_MAX_BYTES
        outcome = _part_outcomes.of_output(step["output"], key=key, room_bytes=room)
        if "kept" in outcome:
            if isinstance(self._run, _runs.UnkeptRun):
                message = f"The output of {key!r}, too large for a checkpoint,"
                raise _runs.needs_store(message)
            self._run.flush()
        return {**outcome, "cost": step.get("cost_pico_usd", 0)}

    def _parallel(
        self, durable: Any, part: Parallel, key: str, values: Callable[[], Values]
    ) -> Outcome:
        def branch(inner: Part) -> Callable[[Any], Outcome]:
            own = f"{key}/{inner.name}"
            return lambda child: {"steps": {field(inner.name): self._do(child, inner, own, values)}}

        config = self._sdk.at_once(part.concurrency, "ParallelConfig")
        branches = [branch(inner) for inner in part.branches]
        batch = durable.parallel(branches, name=key, config=config)
        batch.throw_if_error()
        return {"scopes": batch.get_results()}

    def _map(self, durable: Any, part: Map, key: str, values: Callable[[], Values]) -> Outcome:
        listed = f"{key}/items"

        def list_items() -> Outcome:
            run = self._opened()
            items = _runs.do(run, listed, lambda: items_of(part, values()), asks=True)
            return {**self._outcome(listed), "count": len(items)}

        found = self._once(durable, listed, list_items)

        def one(child: Any, index: int, *_: Any) -> Outcome:
            def own() -> Values:
                items = self._read(listed) if "kept" in found else found["value"]
                return {**values(), "item": items[index], "index": index}

            name = f"{key}/{index:04d}/{part.step.name}"
            return {"steps": {field(part.step.name): self._do(child, part.step, name, own)}}

        config = self._sdk.at_once(part.concurrency, "MapConfig")
        batch = durable.map([*range(found["count"])], one, name=key, config=config)
        batch.throw_if_error()
        return {"scopes": batch.get_results(), "cost": found.get("cost", 0)}

    def _loop(self, durable: Any, part: Loop, key: str, values: Callable[[], Values]) -> Outcome:
        last: Outcome = {"value": ""}
        cost = 0
        for iteration in range(1, part.max_iterations + 1):
            own = self._of_round(part, values, last, iteration)
            name = f"{key}/{iteration:04d}/{part.step.name}"
            last = self._do(durable, part.step, name, own)
            cost += _part_outcomes.total(last, "cost")
            if self._once(durable, f"{name}?", self._asks_until(part, last)):
                break
        before = cost - _part_outcomes.total(last, "cost")
        return {"scopes": [{"last": last, "cost": before}]}

    def _of_round(
        self, part: Loop, values: Callable[[], Values], last: Outcome, iteration: int
    ) -> Callable[[], Values]:
        def own() -> Values:
            before = last["value"] if iteration == 1 else self._output_of(part.step, last)
            return {**values(), "last": before, "iteration": iteration}

        return own

    def _asks_until(self, part: Loop, last: Outcome) -> Callable[[], bool]:
        return lambda: bool(part.until(self._output_of(part.step, last)))

    def _output_of(self, part: Part, outcome: Outcome) -> Any:
        return _part_outcomes.output_of(part, outcome, self._read)

    def _chained(
        self, durable: Any, part: Chain, key: str, values: Callable[[], Values]
    ) -> Outcome:
        return self._steps(durable, part, f"{key}/", values)

    def _wait(
        self, durable: Any, part: Callback, key: str, values: Callable[[], Values]
    ) -> Outcome:
        seconds = self._sdk.config.Duration.from_seconds(max(1, round(part.expires_in)))
        config = self._sdk.config.CallbackConfig(timeout=seconds)
        callback = durable.create_callback(name=key, config=config)
        notify = part.notify
        if notify is not None:
            token = _engine_tokens.encode(_engine_tokens.DURABLE, callback.callback_id)
            self._once(durable, f"{key}/told", lambda: [notify(token, values()), True][1])
        answered = callback.result()
        answer = plain_json.loads(answered) if isinstance(answered, str) else answered
        part.check(answer)
        return {"value": answer}

    def _complete(self, steps: Mapping[str, Outcome]) -> ChainResult:
        """Close the run with the chain's output."""
        result, chain = self._result, self._chain
        run = self._opened()
        result.attempt = run.attempt
        result.final_output = _part_outcomes.last_output(chain, steps, self._read)
        for part in chain.steps:
            output = self._output_of(part, steps[field(part.name)])
            self._doing.take_result(part.name, output, result.steps)
        costs: Mapping[str, Any] = run.opened
        if run.status == "running":
            output = _runs.encode(result.final_output, "The output")
            costs = run.close("completed", output=output)
        if isinstance(run, _runs.UnkeptRun):
            costs = {**costs, "cost_pico_usd": _part_outcomes.total({"steps": {**steps}}, "cost")}
        result.take_costs(costs)
        return self._told()

    def _fail(self, error: Exception) -> ChainResult:
        """Keep what is finished, and say why there is no more."""
        self._result.status = "failed"
        self._result.error = error
        if self._is_open:
            self._result.attempt = self._run.attempt
            if self._run.status == "running":
                self._result.take_costs(self._run.close("failed", error=str(error)[:1_000]))
        return self._told()

    def _told(self) -> ChainResult:
        self._result.total_latency_ms = (_settings.monotonic() - self._began) * 1_000
        return self._result


_DOERS = {
    "step": "_step",
    "callback": "_wait",
    "approval": "_wait",
    "parallel": "_parallel",
    "map": "_map",
    "loop": "_loop",
    "chain": "_chained",
}
"""Kinds of parts to the methods that do them."""


def _name_run(chain: Chain, arn: str, name: str | None) -> str:
    """Return what the run is found by: the same in all invocations of an execution.

    ARN: `…:function:NAME:VERSION/durable-execution/EXECUTION/ID`.
    """
    execution = arn.rpartition("/durable-execution/")[2]
    run_id = f"{chain.name}/{execution}" if name is None else f"{chain.name}/{execution}/{name}"
    if len(run_id) <= RUN_ID_MAX and run_id.isascii() and "#" not in run_id:
        return run_id
    return f"{chain.name}/{hashlib.blake2b(run_id.encode(), digest_size=16).hexdigest()}"
