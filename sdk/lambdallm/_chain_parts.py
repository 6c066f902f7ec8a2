"""What chains are made of: questions, functions, and what repeats them or does them at once.

A declaration does nothing. What makes a step's output what it is goes into its fingerprint, so that
a run is never gone on with by a chain that would have done something else.
"""

from __future__ import annotations

import hashlib

from lambdallm import _chain_templates, _errors
from lambdallm._models import resolve
from lambdallm_wire import plain_json, runs as wire_runs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

ITERATIONS_MAX = 100
CONCURRENCY_MAX = 32


class Part:
    """What a chain is made of. Its name stands in keys, and in templates as `{name.output}`."""

    kind = "part"

    def __init__(self, name: str, condition: Callable[[dict[str, Any]], Any] | None) -> None:
        """Keep the name.

        Raises:
            ConfigurationError: It cannot be part of a key.
        """
        _chain_templates.check_name(name)
        self.name = name
        self.condition = condition

    def definition(self) -> dict[str, Any]:
        """Return what makes its output what it is, as JSON."""
        definition: dict[str, Any] = {"kind": self.kind, "name": self.name}
        if self.condition is not None:
            definition["condition"] = named(self.condition)
        return definition

    def parts(self) -> Sequence[Part]:
        """Return the parts that it is made of itself."""
        return ()

    @property
    def fingerprint(self) -> str:
        """A hash of its definition."""
        text = plain_json.dumps(self.definition(), ensure_ascii=True)
        return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


class Step(Part):
    """One question to a model, or one call of a function.

    Args:
        name: Of letters, digits, `_` and `-`.
        prompt: Text with `{input}`, `{other.output}`, `{other.output.field}` in it.
        func: Called with a dict of what there is so far: `input`, every other input, the output
            of each step under its name and under `name.output`. What it returns has to be JSON.
        model, max_tokens, temperature, system: Of this question; else the handler's.
        output_schema: What the answer has to be, as `context.invoke_structured` takes it. The
            output is the JSON object then, also of a class: a run keeps JSON.
        condition: Called as `func`; the step is left out where it returns nothing true.
        retry_count: Further attempts after a failure that may pass.
        metadata: For the user's own use.
        version: Of `func`: say another one when its results would be others.
        on_kill: `restart` asks again after a kill in the middle of an answer; `continue` streams
            it, keeps what has come, and lets models that can go on with that. Either way an
            answer that was whole is never asked for again.
    """

    kind = "step"

    def __init__(  # noqa: PLR0913, PLR0917 - the earlier package's signature
        self,
        name: str,
        prompt: str | None = None,
        func: Callable[[dict[str, Any]], Any] | None = None,
        model: Any = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        output_schema: Any = None,
        condition: Callable[[dict[str, Any]], Any] | None = None,
        retry_count: int = 2,
        metadata: dict[str, Any] | None = None,
        *,
        system: str | None = None,
        version: str = "",
        on_kill: str = "restart",
    ) -> None:
        """Declare it.

        Raises:
            ConfigurationError: It has neither prompt nor func, or both, or a wrong argument.
        """
        super().__init__(name, condition)
        if (prompt is None) == (func is None):
            message = f"Step {name!r} needs a prompt or a func, and not both."
            raise fault(message)
        if on_kill not in ("restart", "continue"):
            message = f"Step {name!r}: on_kill={on_kill!r} is 'restart' or 'continue'."
            raise fault(message)
        if type(retry_count) is not int or retry_count < 0:  # done no time it would come to None
            message = f"Step {name!r}: retry_count={retry_count!r} is no whole number from 0 on."
            raise fault(message)
        if output_schema is not None:
            _chain_templates.to_json_schema(output_schema)
        self.prompt = prompt
        self.func = func
        self.model = None if model is None else resolve(model)
        self.max_tokens = max_tokens
        self.temperature = temperature
        self.output_schema = output_schema
        self.retry_count = retry_count
        self.metadata = {} if metadata is None else metadata
        self.system = system
        self.version = version
        self.on_kill = on_kill

    @property
    def is_llm_step(self) -> bool:
        """Whether it asks a model."""
        return self.prompt is not None

    @property
    def is_transform_step(self) -> bool:
        """Whether it calls a function."""
        return self.func is not None

    def definition(self) -> dict[str, Any]:
        """Return what makes its output what it is, as JSON."""
        definition = super().definition()
        model = None if self.model is None else self.model.wire_name
        schema = self.output_schema
        given = {
            "prompt": self.prompt,
            "func": None if self.func is None else named(self.func),
            "model": model,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "schema": None if schema is None else _chain_templates.to_json_schema(schema),
            "system": self.system,
            "version": self.version or None,
        }
        return definition | {name: value for name, value in given.items() if value is not None}


class Parallel(Part):
    """Branches that are done at once; its output has each branch's under the branch's name."""

    kind = "parallel"

    def __init__(
        self,
        name: str,
        branches: Sequence[Part],
        condition: Callable[[dict[str, Any]], Any] | None = None,
        *,
        concurrency: int = 8,
    ) -> None:
        """Declare it.

        Args:
            name: As of a `Step`.
            branches: Steps, or chains of several.
            condition: As of a `Step`.
            concurrency: So many at once.
        """
        super().__init__(name, condition)
        self.branches = checked(branches, f"Parallel {name!r}")
        self.concurrency = _bounded(concurrency, CONCURRENCY_MAX, f"Parallel {name!r}")

    def definition(self) -> dict[str, Any]:
        """Return what makes its output what it is, as JSON."""
        return {**super().definition(), "branches": [each.definition() for each in self.branches]}

    def parts(self) -> Sequence[Part]:
        """Return its branches."""
        return self.branches


class Map(Part):
    """The same step for each item of a list; its output is the list of their outputs.

    Within the step `{item}` is the item and `{index}` its place, from 0 on.
    """

    kind = "map"

    def __init__(
        self,
        name: str,
        over: str | Callable[[dict[str, Any]], Any],
        step: Part,
        condition: Callable[[dict[str, Any]], Any] | None = None,
        *,
        concurrency: int = 8,
    ) -> None:
        """Declare it.

        Args:
            name: As of a `Step`.
            over: `{other.output}`, whose value is a list; or a function as a step's `func`,
                called once a run.
            step: Done for each.
            condition: As of a `Step`.
            concurrency: So many at once.
        """
        super().__init__(name, condition)
        self.over = over
        self.step = checked([step], f"Map {name!r}")[0]
        self.concurrency = _bounded(concurrency, CONCURRENCY_MAX, f"Map {name!r}")

    def definition(self) -> dict[str, Any]:
        """Return what makes its output what it is, as JSON."""
        over = self.over if isinstance(self.over, str) else named(self.over)
        return {**super().definition(), "over": over, "step": self.step.definition()}

    def parts(self) -> Sequence[Part]:
        """Return its step."""
        return (self.step,)


class Loop(Part):
    """A step that is repeated until its output is good enough; its output is the last one.

    Within the step `{last}` is the output before, "" at first, and `{iteration}` counts from 1.
    """

    kind = "loop"

    def __init__(
        self,
        name: str,
        step: Part,
        until: Callable[[Any], Any],
        max_iterations: int = 10,
        condition: Callable[[dict[str, Any]], Any] | None = None,
    ) -> None:
        """Declare it.

        Args:
            name: As of a `Step`.
            step: Repeated.
            until: Called with its output; true ends the loop.
            max_iterations: So often at most; the last output stands then.
            condition: As of a `Step`.
        """
        super().__init__(name, condition)
        self.step = checked([step], f"Loop {name!r}")[0]
        self.until = until
        self.max_iterations = _bounded(max_iterations, ITERATIONS_MAX, f"Loop {name!r}")

    def definition(self) -> dict[str, Any]:
        """Return what makes its output what it is, as JSON."""
        return {
            **super().definition(),
            "step": self.step.definition(),
            "until": named(self.until),
            "max_iterations": self.max_iterations,
        }

    def parts(self) -> Sequence[Part]:
        """Return its step."""
        return (self.step,)


def named(function: Callable[..., Any]) -> str:
    """Return what a function is called by: its code may change, and say so by a version."""
    module = getattr(function, "__module__", "")
    return f"{module}.{getattr(function, '__qualname__', type(function).__qualname__)}"


def checked(parts: Sequence[Part], what: str) -> list[Part]:
    """Refuse what is no list of parts, or names one twice."""
    listed: list[Any] = [*parts]
    if not listed or not all(isinstance(each, Part) for each in listed):
        message = f"{what} needs a list of steps, with at least one in it."
        raise fault(message)
    if len(listed) > wire_runs.STEPS_MAX:
        message = f"{what} has more than {wire_runs.STEPS_MAX:,} steps."
        raise fault(message)
    seen: set[str] = set()
    for each in listed:
        if each.name in seen:
            message = f"{what} has two steps that are called {each.name!r}."
            raise fault(message)
        seen.add(each.name)
    return listed


def _bounded(number: int, most: int, what: str) -> int:
    if type(number) is int and 1 <= number <= most:
        return number
    message = f"{what}: {number!r} is not a whole number from 1 to {most}."
    raise fault(message)


def fault(message: str) -> _errors.ConfigurationError:
    """Make the error of a chain that is declared wrongly."""
    return _errors.ConfigurationError(message)
