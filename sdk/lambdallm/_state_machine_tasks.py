"""A task of a state machine, done by the function: one step of a chain, once.

    open RUN report/EXECUTION/draft ─► do the step ─► close ─► its outcome, to be carried on
          └── it is completed: Step Functions asks again ─► the same outcome, and nothing is done

Each task has a run of its own, since tasks of one execution are done at the same time by different
environments, and a run belongs to one at a time.
"""

from __future__ import annotations

import hashlib

from lambdallm import (
    _chain_templates,
    _engine_tokens,
    _errors,
    _part_outcomes,
    _runs,
    _state_machine_values,
)
from lambdallm._chain_runner import kept_seconds, pico_usd
from lambdallm._chain_steps import Doing, items_of
from lambdallm._state_machine import MESSAGE
from lambdallm_wire import plain_json, routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from lambdallm._chain import Chain
    from lambdallm._chain_parts import Part
    from lambdallm._part_outcomes import Outcome
    from lambdallm._runs import Run
    from lambdallm._state_machine_values import Place

CARRIED_MAX_BYTES = 98_304
"""Of all outputs of an execution together, about; what is too large for its part is kept apart.

A state's input and output hold 262,144 bytes (Step Functions service quotas, 2026-11), with the
execution's own input in them.
"""

OUTPUT_MAX_BYTES = 200_000
"""Of the chain's own output, which stands alone in the last state's."""

ITEMS_MAX = 1_000
"""Of one map, those of maps within it counted: an execution's history holds 25,000 events."""

RUN_ID_MAX = 200


class RetryableTaskError(_errors.LambdaLLMError):
    """The task was not done, and may be when it is asked for again: states retry this name."""

    code = "state"
    status = 503


def do(chain: Chain, context: Any, event: Any) -> dict[str, Any]:
    """Do a task; see `Chain.run_task`."""
    message = event.get(MESSAGE) if isinstance(event, dict) else None
    if not isinstance(message, dict):
        message = f"This event is no task of a state machine: it has no {MESSAGE!r}."
        raise _errors.InvalidRequestError(message)
    _refuse_other(chain, message)
    task = _Task(chain, context, message)
    try:
        return task.do()
    except _errors.LambdaLLMError as error:
        if error.retryable or isinstance(error, _errors.DeadlineExceededError):
            message = f"{type(error).__name__}: {error.detail}"
            raise RetryableTaskError(message) from error
        raise


class _Task:
    """One task."""

    def __init__(self, chain: Chain, context: Any, message: dict[str, Any]) -> None:
        self._chain = chain
        self._context = context
        self._message = message
        self._state: dict[str, Any] = message["state"]
        self._owner: str = context.owner_by(chain.owner)

    def do(self) -> dict[str, Any]:
        doers: dict[str, Callable[[], dict[str, Any]]] = {
            "step": self._step,
            "decide": self._decide,
            "items": self._items,
            "until": self._until,
            "ask": self._ask,
            "finish": self._finish,
        }
        do = doers.get(self._message["do"])
        if do is None:
            message = (
                f"This package knows no task {self._message['do']!r}: export the state machine "
                "with the version that the function has."
            )
            raise _errors.InvalidRequestError(message)
        return do()

    def _place(self) -> Place:
        return _state_machine_values.find(
            self._chain, self._message["part"], self._state, self._read
        )

    def _read(self, key: str) -> Any:
        """Return the output of a step that is not carried."""
        asked = {"run_id": self._run_id(key), "owner": self._owner}
        found = self._context.work.control(routes.READ_RUN, asked)
        for step in found.get("steps", ()):
            if step["key"] == key:
                return plain_json.loads(step["output"])
        message = (
            f"The output of {key!r} is not in the store: was it kept for too short a time? See "
            f"retention_days of chain {self._chain.name!r}."
        )
        raise _errors.StateError(message)

    def _step(self) -> Outcome:
        place = self._place()
        part = place.part
        return self._once(
            place.key,
            lambda run: Doing(run, self._context, self._owner).do(part, place.key, place.values),
        )

    def _items(self) -> Outcome:
        place = self._place()
        part: Any = place.part
        key = f"{place.key}/items"
        outcome = self._once(
            key, lambda run: _runs.do(run, key, lambda: items_of(part, place.values), asks=True)
        )
        kept = "kept" in outcome
        items = self._read(key) if kept else outcome.pop("value")
        count = len(items) * place.items
        if count > ITEMS_MAX:
            message = (
                f"Map {part.name!r} goes over {count:,} items; a state machine takes "
                f"{ITEMS_MAX:,} of them. Map over slices, each of which a func goes through."
            )
            raise _errors.ConfigurationError(message)
        outcome.pop("kept", None)
        listed = [{"number": number, "of": len(items)} for number in range(len(items))]
        if not kept:
            listed = [{**each, "item": item} for each, item in zip(listed, items, strict=True)]
        return {**outcome, "list": listed}

    def _decide(self) -> Outcome:
        place = self._place()
        condition = place.part.condition
        return {"skipped": condition is not None and not condition(place.values)}

    def _until(self) -> Outcome:
        """Say whether a loop has another round, and what that one begins with."""
        place = self._place()
        loop: Any = place.part
        each: Any = place.each
        steps = place.steps
        last = steps[_part_outcomes.field(loop.step.name)]
        output = _part_outcomes.output_of(loop.step, last, self._read)
        again = each["number"] < loop.max_iterations and not loop.until(output)
        cost = each["cost"] + _part_outcomes.total(last, "cost")
        return {
            "again": again,
            "each": {"number": each["number"] + 1, "last": last, "cost": cost},
        }

    def _ask(self) -> Outcome:
        """Tell whom it concerns that somebody is waited for, once for each of its tokens."""
        place = self._place()
        part: Any = place.part
        token = self._message["task_token"]
        mark = hashlib.blake2b(token.encode(), digest_size=8).hexdigest()
        key = f"{place.key}/told/{mark}"

        def tell() -> str:
            if part.notify is not None:
                part.notify(_engine_tokens.encode(_engine_tokens.STATES, token), place.values)
            return _chain_templates.fill(part.message, place.values)

        return self._once(key, lambda run: _runs.do(run, key, tell))

    def _finish(self) -> dict[str, Any]:
        """Keep the chain's output as that of a run of its own, and return it."""
        steps = self._state["outputs"]
        output = _part_outcomes.last_output(self._chain, steps, self._read)
        encoded = _runs.encode(output, "The output")
        run_id = self._run_id("")
        run = self._open(run_id, self._chain.declared())
        if run.status == "running":
            run.close("completed", output=encoded)
        everything = {"steps": steps}
        answer = {
            "run_id": run_id,
            "status": "completed",
            "cost_pico_usd": _part_outcomes.total(everything, "cost"),
            "unknown_calls": _part_outcomes.total(everything, "unknown"),
        }
        kept = _part_outcomes.of_output(encoded, key=run_id, room_bytes=OUTPUT_MAX_BYTES)
        return {**answer, "kept": True} if "kept" in kept else {**answer, "output": output}

    def _once(self, key: str, do: Callable[[Run], Any]) -> Outcome:
        """Do something as the run of this task, unless that is completed.

        Args:
            key: Of the step that is finished then.
            do: Does it.
        """
        run = self._open(
            self._run_id(key), [{"key": key, "fingerprint": self._message["fingerprint"]}]
        )
        costs: Any = run.opened
        if run.status == "running":
            try:
                do(run)
            except Exception as error:
                out_of_time = isinstance(error, _errors.DeadlineExceededError)
                run.close("interrupted" if out_of_time else "failed", error=str(error)[:1_000])
                raise
            except BaseException:
                run.close("interrupted", error="The process was interrupted.")
                raise
            costs = run.close("completed", output="null")
        step = run.steps[key]
        outcome: Outcome = {"skipped": True}
        if not step.get("skipped"):
            outcome = _part_outcomes.of_output(step["output"], key=key, room_bytes=self._room())
        if "kept" in outcome and isinstance(run, _runs.UnkeptRun):
            message = f"The output of {key!r}, which is too large for a state,"
            raise _runs.needs_store(message)
        numbers = {"cost": costs.get("cost_pico_usd", 0), "unknown": costs.get("unknown_calls", 0)}
        return {**outcome, **{name: number for name, number in numbers.items() if number}}

    def _open(self, run_id: str, declared: list[dict[str, str]]) -> Run:
        """Open the run of this task.

        Raises:
            StateError: It has ended without an output, or was begun with other outputs.
        """
        chain = self._chain
        given = hashlib.blake2b(plain_json.dumps(self._state).encode(), digest_size=16).hexdigest()
        opening: dict[str, Any] = {
            "run_id": run_id,
            "name": chain.name,
            "version": chain.version,
            "declared": declared,
            "attempts_max": chain.attempts_max,
            "ttl_seconds": kept_seconds(chain),
            "input": plain_json.dumps({"state": given}),
        }
        if chain.max_total_cost is not None:
            most = pico_usd(chain.max_total_cost)
            opening["max_cost_pico_usd"] = max(0, most - _spent(self._state))
        if self._owner:
            opening["owner"] = self._owner
        run = _runs.make(self._context.work, opening)
        run.open()
        if run.status not in ("running", "completed"):
            why = run.opened.get("error", "")
            message = f"Run {run_id!r} has {run.status}: {why}"
            raise _errors.StateError(message)
        if run.opened["input"] != opening["input"]:
            if run.status == "running":
                run.close("interrupted")
            message = (
                f"Run {run_id!r} was begun with other inputs: another state machine of chain "
                f"{chain.name!r} has had an execution of this name. Give this one another name."
            )
            raise _errors.StateError(message)
        return run

    def _run_id(self, key: str) -> str:
        name = f"{self._state['run_id']}/{key}" if key else str(self._state["run_id"])
        if len(name) <= RUN_ID_MAX:
            return name
        mark = hashlib.blake2b(name.encode(), digest_size=16).hexdigest()
        return f"{name[: RUN_ID_MAX - 33]}~{mark}"

    def _room(self) -> int:
        """Return how many bytes of an output are carried."""
        together = _count(self._chain) * _state_machine_values.items(self._state)
        return CARRIED_MAX_BYTES // together


def _count(part: Part) -> int:
    return 1 + sum([_count(inner) for inner in part.parts()])


def _spent(state: Any) -> int:
    """Return what the steps have cost that this one follows; those beside it are not known."""
    spent, frame = 0, state
    while frame is not None:
        spent += _part_outcomes.total({"steps": frame["outputs"]}, "cost")
        spent += (frame["each"] or {}).get("cost", 0)
        frame = frame["up"]
    return spent


def _refuse_other(chain: Chain, task: dict[str, Any]) -> None:
    """Refuse a task of another chain than the function has.

    Raises:
        ConfigurationError: It is; the difference is named.
    """
    asked = (task.get("chain"), task.get("version"), task.get("fingerprint"))
    if asked == (chain.name, chain.version, chain.fingerprint):
        return
    if asked[0] != chain.name:
        difference = f"it is a task of chain {asked[0]!r}, not of {chain.name!r}"
    elif asked[1] != chain.version:
        difference = (
            f"it was exported from version {asked[1]!r}, the function has {chain.version!r}"
        )
    else:
        difference = "a step of the chain is declared otherwise now, and its version is the same"
    message = (
        f"The state machine does not fit the function: {difference}. Export it again, and let "
        "executions that are under way finish with the function's published version."
    )
    raise _errors.ConfigurationError(message)
