"""Doing the parts of a chain, in one attempt of a run: what is finished is taken as it is."""

from __future__ import annotations

from functools import partial

from lambdallm import (
    _at_once,
    _callbacks,
    _chain_templates,
    _errors,
    _runs,
    _settings,
)
from lambdallm._chain_results import StepResult
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from lambdallm._chain import Chain
    from lambdallm._chain_parts import Loop, Map, Parallel, Part, Step
    from lambdallm._chain_waits import Callback
    from lambdallm._runs import Run

    Values = dict[str, Any]

BACKOFF_SECONDS = 0.1
"""Before a step's second attempt; twice as long before each further one."""

_PASSING = (_errors.OutputError, _errors.SidecarError)
"""What another attempt of a step may mend although it does not say so."""


_FINAL = ("content_filter", "length")
"""Ends of an answer that another attempt within the same bounds would have, too."""


class WaitingError(Exception):
    """The chain cannot go on before somebody has finished these steps.

    Attributes:
        tokens: By the steps' keys; "" where it was told before.
    """

    def __init__(self, tokens: Mapping[str, str]) -> None:
        super().__init__(f"It waits for {', '.join(tokens)}.")
        self.tokens = dict(tokens)


_DOERS = {
    "step": "_step",
    "callback": "_await",
    "approval": "_await",
    "parallel": "_parallel",
    "map": "_map",
    "loop": "_loop",
    "chain": "_chain",
}
"""Kinds of parts to the methods that do them."""


class Doing:
    """Does the parts of one chain."""

    def __init__(self, run: Run, context: Any, owner: str) -> None:
        """Stand on these.

        Args:
            run: Open.
            context: The handler's.
            owner: Whose the run is.
        """
        self._run = run
        self._context = context
        self._owner = owner

    def do_steps(
        self, chain: Chain, prefix: str, values: Values, results: list[StepResult] | None = None
    ) -> Any:
        """Do a chain's steps in their order, and return the last output."""
        output = None
        for part in chain.steps:
            key = f"{prefix}{part.name}"
            try:
                done = self.do(part, key, values)
            except Exception as error:
                if results is not None and not isinstance(error, WaitingError):
                    results.append(StepResult(part.name, None, error=str(error)))
                raise
            values[part.name] = values[f"{part.name}.output"] = done
            if results is not None:
                self.take_result(part.name, done, results)
            if not self._skipped(key):
                output = done
        return output

    def do(self, part: Part, key: str, values: Values) -> Any:
        if self._skipped(key):
            return None
        if self._is_left_out(part, key, values):
            step = _runs.StepScope(self._run, key).to_step("null", part.fingerprint)
            self._run.finish({**step, "skipped": True})
            return None
        do: Callable[[Any, str, Values], Any] = getattr(self, _DOERS[part.kind])
        return do(part, key, values)

    def _is_left_out(self, part: Part, key: str, values: Values) -> bool:
        """Ask a part's condition, unless something of the part is done already."""
        if part.condition is None or key in self._run.steps or self._run.steps_under(key):
            return False
        return not part.condition(dict(values))

    def _chain(self, part: Chain, key: str, values: Values) -> Any:
        return self.do_steps(part, f"{key}/", dict(values))

    def _step(self, part: Step, key: str, values: Values) -> Any:
        do = self._asking(part, values) if part.is_llm_step else _calling(part, values)
        return _runs.do(
            self._run,
            key,
            lambda: self._retrying(part, do),
            fingerprint=part.fingerprint,
            goes_on=part.on_kill == "continue",
            asks=part.is_llm_step,
        )

    def _asking(self, part: Step, values: Values) -> Callable[[], Any]:
        parameters: dict[str, Any] = {
            name: value
            for name, value in (
                ("model", part.model),
                ("max_tokens", part.max_tokens),
                ("temperature", part.temperature),
                ("system", part.system),
            )
            if value is not None
        }

        def ask() -> Any:
            prompt = _chain_templates.fill(part.prompt or "", values)
            if part.output_schema is None:
                return self._context.chat(prompt, **parameters).text
            from lambdallm import _structured_answers as answers

            # A step has attempts of its own, which ask the question anew.
            return answers.ask(self._context, prompt, part.output_schema, 0, parameters).plain

        return ask

    def _retrying(self, part: Step, do: Callable[[], Any]) -> Any:
        """Do it, and again after a failure that may pass, while there is time."""
        for attempt in range(part.retry_count + 1):
            self._refuse_without_time(part)
            scope = _runs.here()
            if scope is not None and attempt:
                scope.begin_again()
            try:
                return do()
            except Exception as error:
                if attempt == part.retry_count or not _may_pass(error):
                    raise
                waits = getattr(error, "retry_after_seconds", None) or BACKOFF_SECONDS * 2**attempt
                if waits * 1_000 >= self._context.remaining_time_ms:
                    raise
                _settings.sleep(waits)
        return None

    def _refuse_without_time(self, part: Part) -> None:
        if self._context.should_checkpoint:
            message = (
                f"The time of this invocation is used up before step {part.name!r}; what is done "
                "is kept."
            )
            raise _errors.DeadlineExceededError(message)

    def _parallel(self, part: Parallel, key: str, values: Values) -> Any:
        outputs = self._at_once(
            [partial(self._branch, branch, key, values) for branch in part.branches],
            part.concurrency,
        )
        return {branch.name: done for branch, done in zip(part.branches, outputs, strict=True)}

    def _branch(self, branch: Part, key: str, values: Values) -> Any:
        output = self.do(branch, f"{key}/{branch.name}", dict(values))
        self._run.flush()  # the other branches may take long, and carry nothing
        return output

    def _map(self, part: Map, key: str, values: Values) -> Any:
        items = _runs.do(self._run, f"{key}/items", lambda: items_of(part, values), asks=True)

        def one(index: int) -> Any:
            own = {**values, "item": items[index], "index": index}
            output = self.do(part.step, f"{key}/{index:04d}/{part.step.name}", own)
            self._run.flush()
            return output

        calls = [partial(one, index) for index in range(len(items))]
        return self._at_once(calls, part.concurrency)

    def _loop(self, part: Loop, key: str, values: Values) -> Any:
        last: Any = ""
        for iteration in range(1, part.max_iterations + 1):
            own = {**values, "last": last, "iteration": iteration}
            last = self.do(part.step, f"{key}/{iteration:04d}/{part.step.name}", own)
            if part.until(last):
                break
        return last

    def _at_once(self, calls: Sequence[Callable[[], Any]], concurrency: int) -> list[Any]:
        """Do some of them at once; what waits is told when everything else is done."""
        outcomes = _at_once.run(calls, concurrency)
        waiting: dict[str, str] = {}
        for outcome in outcomes:
            if isinstance(outcome.error, WaitingError):
                waiting |= outcome.error.tokens
            elif outcome.error is not None:
                raise outcome.error
        if waiting:
            raise WaitingError(waiting)
        return [outcome.value for outcome in outcomes]

    def _await(self, part: Callback, key: str, values: Values) -> Any:
        done = self._run.steps.get(key)
        if done is None:
            raise WaitingError({key: self._begin_wait(part, key, values)})
        output = plain_json.loads(done["output"])
        part.check(output)
        return output

    def _begin_wait(self, part: Callback, key: str, values: Values) -> str:
        """Write what is waited for and tell who it concerns, once; return the token then."""
        waits = {wait["step"]: wait for wait in self._run.opened["waits"]}
        told = f"{key}/told"
        if key in waits and told in self._run.steps:
            until_ms = waits[key].get("expires_epoch_ms")
            if until_ms and _settings.epoch_ms() >= until_ms:
                message = f"Nobody has answered {key!r} in time."
                raise _errors.StateError(message)
            return ""
        secret = _settings.random_id()
        wait = {
            "step": key,
            "kind": part.kind,
            "message": _chain_templates.fill(part.message, values)
            .encode("utf-8", "replace")
            .decode(),
            "expires_epoch_ms": _settings.epoch_ms() + round(part.expires_in * 1_000),
            "secret": secret,
        }
        token = _callbacks.encode(self._run.run_id, self._owner, key, secret)
        self._run.flush([wait])
        if part.notify is not None:
            part.notify(token, dict(values))
        self._run.finish(_runs.StepScope(self._run, told).to_step("true", ""))
        return token

    def _skipped(self, key: str) -> bool:
        return self._run.steps.get(key, {}).get("skipped") is True

    def take_result(self, name: str, output: Any, results: list[StepResult]) -> None:
        own = self._run.steps.get(name)
        steps = ([] if own is None else [own]) + self._run.steps_under(name)
        results.append(StepResult.of(name, output, steps))


def _calling(part: Step, values: Values) -> Callable[[], Any]:
    function = part.func
    assert function is not None  # noqa: S101 - a step has a prompt or a func
    return lambda: function(dict(values))


def items_of(part: Map, values: Values) -> list[Any]:
    """Return what a map goes over.

    Raises:
        ConfigurationError: That is no list.
    """
    if isinstance(part.over, str):
        name = _chain_templates.only_variable(part.over) or part.over
        known, found = _chain_templates.look_up(name, values)
        if known and isinstance(found, str):
            found = _list_in(found)
    else:
        found = part.over(dict(values))
    if isinstance(found, (list, tuple)):
        return [*found]
    message = (
        f"Map {part.name!r} goes over {part.over!r}, which is no list. Let the step before answer "
        "with one: output_schema={'items': list} and over='{that.output.items}'."
    )
    raise _errors.ConfigurationError(message)


def _list_in(text: str) -> Any:
    try:
        return plain_json.loads(text)
    except (ValueError, RecursionError):
        return None


def _may_pass(error: Exception) -> bool:
    if isinstance(error, _errors.OutputError) and error.finish_reason in _FINAL:
        return False
    if isinstance(error, _errors.LambdaLLMError):
        return error.retryable or isinstance(error, _PASSING)
    return True
