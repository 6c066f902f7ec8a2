"""A chain as a state machine of Step Functions: each step a task that the same function does.

    Begin ─► draft ─► both ─► sections ─► release ─► Finish
               │       │ a scope per branch     │
               └───────┴──── Catch ─────────────┴─► Failed

A scope has the document that its tasks are given and that grows by what they have come to
(`lambdallm._part_outcomes`); `up` is what its outer scope knew when it began:

    {"run_id": "report/EXECUTION", "inputs": {…}, "outputs": {"draft": outcome},
     "up": {"up": …, "each": …, "outputs": {…}} or null,
     "each": {"number": 3, …} or null}      # which item of a map, or which round of a loop

A branch, an item, the rounds of a loop and a chain within a chain have scopes of their own. Written
in JSONPath. Source: Amazon States Language (states-language.net/spec.html) and the Step Functions
developer guide, 2026-11.
"""

from __future__ import annotations

import hashlib

from lambdallm._chain_parts import fault
from lambdallm._part_outcomes import field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from lambdallm._chain import Chain
    from lambdallm._chain_parts import Loop, Map, Parallel, Part
    from lambdallm._chain_waits import Callback

    States = dict[str, dict[str, Any]]

MESSAGE = "lambdallm_task"
"""The key of a task's event, by which `Chain.run_task` knows it."""

STATE_NAME_MAX = 80

TASK_SECONDS = 960
"""A task that has not answered by then is lost: no invocation is longer than 900 s."""

INVOKE = "arn:aws:states:::lambda:invoke"

RETRY = [
    {
        "ErrorEquals": [
            "RetryableTaskError",
            "Lambda.ServiceException",
            "Lambda.AWSLambdaException",
            "Lambda.SdkClientException",
            "Lambda.TooManyRequestsException",
            "Lambda.ClientExecutionTimeoutException",
            "Lambda.Unknown",
            "Runtime.ExitError",
            "Sandbox.Timedout",
        ],
        "IntervalSeconds": 2,
        "MaxAttempts": 12,
        "BackoffRate": 2,
        "MaxDelaySeconds": 300,
        "JitterStrategy": "FULL",
    }
]
"""A task that was killed, throttled or out of time is done again, and finds what it had finished.

Together they wait about a quarter of an hour: so long may a step be leased to an invocation that
was killed together with its sidecar.
"""

_CATCH = [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "Failed"}]
_KNOWN = {"run_id.$": "$.run_id", "inputs.$": "$.inputs"}
_SCOPES = {"scopes.$": "$"}
_UP = {"up.$": "$.up", "each.$": "$.each", "outputs.$": "$.outputs"}


def export(chain: Chain, function_arn: str) -> dict[str, Any]:
    """Return a chain as a definition of a state machine; see `Chain.to_state_machine`."""
    _refuse_script(chain)
    return _Machine(chain, function_arn).definition()


class _Machine:
    """Writes the states of one chain, each sequence from its end."""

    def __init__(self, chain: Chain, function_arn: str) -> None:
        self._chain = chain
        self._function_arn = function_arn
        self._fingerprint = chain.fingerprint
        self._names = {"Begin", "Finish", "Failed"}
        self._within = 0

    def definition(self) -> dict[str, Any]:
        first, states = self._sequence(self._chain.steps, (), "Finish")
        begin = {
            "Type": "Pass",
            "Parameters": {
                "run_id.$": f"States.Format('{self._chain.name}/{{}}', $$.Execution.Name)",
                "inputs.$": "$",
                "outputs": {},
                "up": None,
                "each": None,
            },
            "Next": first,
        }
        finish = {**self._task("finish", ()), "OutputPath": "$.task", "End": True}
        failed = {"Type": "Fail", "ErrorPath": "$.error.Error", "CausePath": "$.error.Cause"}
        return {
            "Comment": self._chain.description or f"Chain {self._chain.name}",
            "StartAt": "Begin",
            "States": {"Begin": begin, **states, "Finish": finish, "Failed": failed},
        }

    def _sequence(
        self, parts: Sequence[Part], path: tuple[str, ...], then: str
    ) -> tuple[str, States]:
        """Write parts one after the other; return the first state's name, and all of them."""
        fields = [field(part.name) for part in parts]
        if len({*fields}) < len(fields):
            message = (
                f"Chain {self._chain.name!r}: two steps beside each other differ by '-' and '_' "
                "alone, which a state machine cannot tell apart."
            )
            raise fault(message)
        states: States = {}
        for part in reversed(parts):
            then, more = self._part(part, (*path, part.name), then)
            states = {**more, **states}
        return then, states

    def _part(self, part: Part, path: tuple[str, ...], then: str) -> tuple[str, States]:
        name = self._name(path)
        write = getattr(self, _WRITERS[part.kind])
        first, states = write(part, path, name, then)
        if part.condition is None or part.kind == "step":
            return first, states
        decide, choose = self._name(path, "if"), self._name(path, "?")
        into = f"$.outputs.{field(part.name)}"
        asked = {**self._task("decide", path), "ResultPath": into, "Next": choose}
        choice = _choice(f"{into}.task.skipped", True, then, first)
        return decide, {decide: asked, choose: choice, **states}

    def _step(self, part: Part, path: tuple[str, ...], name: str, then: str) -> tuple[str, States]:
        into = f"$.outputs.{field(part.name)}"
        return name, {name: {**self._task("step", path), "ResultPath": into, "Next": then}}

    def _wait(
        self, part: Callback, path: tuple[str, ...], name: str, then: str
    ) -> tuple[str, States]:
        task = self._task("ask", path)
        task["Resource"] += ".waitForTaskToken"
        task["Parameters"]["Payload"][MESSAGE]["task_token.$"] = "$$.Task.Token"
        task["TimeoutSeconds"] = max(1, round(part.expires_in))
        into = f"$.outputs.{field(part.name)}"
        task |= {"ResultSelector": {"value.$": "$"}, "ResultPath": into}
        if getattr(part, "on_rejection", "continue") == "continue":
            return name, {name: {**task, "Next": then}}
        choose, refused = self._name(path, "yes?"), self._name(path, "no")
        no = {"Type": "Fail", "Error": "Rejected", "Cause": f"{part.name} was answered with a no."}
        choice = _choice(f"{into}.value.approved", False, refused, then)
        return name, {name: {**task, "Next": choose}, choose: choice, refused: no}

    def _parallel(
        self, part: Parallel, path: tuple[str, ...], name: str, then: str
    ) -> tuple[str, States]:
        branches = [self._scope([each], path) for each in part.branches]
        return name, {name: self._scopes(path, branches, then)}

    def _chained(
        self, part: Chain, path: tuple[str, ...], name: str, then: str
    ) -> tuple[str, States]:
        scope = self._scope(part.steps, path)
        return name, {name: self._scopes(path, [scope], then)}

    def _map(self, part: Map, path: tuple[str, ...], name: str, then: str) -> tuple[str, States]:
        items = self._name(path, "items")
        listed = {**self._task("items", path), "ResultPath": "$.items", "Next": name}
        each = {
            "Type": "Map",
            "ItemsPath": "$.items.task.list",
            "MaxConcurrency": part.concurrency,
            "ItemSelector": {
                **_KNOWN,
                "up": _UP,
                "each.$": "$$.Map.Item.Value",
                "outputs": {},
            },
            "ItemProcessor": {
                "ProcessorConfig": {"Mode": "INLINE"},
                **self._scope([part.step], path),
            },
            "ResultSelector": _SCOPES,
            "ResultPath": f"$.outputs.{field(part.name)}",
            **self._caught(),
            "Next": then,
        }
        return items, {items: listed, name: each}

    def _loop(self, part: Loop, path: tuple[str, ...], name: str, then: str) -> tuple[str, States]:
        until, choose = self._name(path, "until"), self._name(path, "enough?")
        again, leave = self._name(path, "again"), self._name(path, "done")
        self._within += 1
        body, states = self._sequence([part.step], path, until)
        asked = {**self._task("until", path), "ResultPath": "$.round", "Next": choose}
        self._within -= 1
        known = {**_KNOWN, "up.$": "$.up", "outputs": {}}
        last = f"$.outputs.{field(part.step.name)}"
        states |= {
            until: asked,
            choose: _choice("$.round.task.again", True, again, leave),
            again: {
                "Type": "Pass",
                "Parameters": {**known, "each.$": "$.round.task.each"},
                "Next": body,
            },
            leave: {
                "Type": "Pass",
                "Parameters": {"last.$": last, "cost.$": "$.each.cost"},
                "End": True,
            },
        }
        first = {"number": 1, "last": {"value": ""}, "cost": 0}
        scope = {"StartAt": body, "States": states}
        return name, {name: self._scopes(path, [scope], then, each=first)}

    def _scope(self, parts: Sequence[Part], path: tuple[str, ...]) -> dict[str, Any]:
        """Write states that end with the outcomes of some parts."""
        names = [part.name for part in parts]
        leave = self._name((*path, *names) if len(names) == 1 else path, "done")
        self._within += 1
        first, states = self._sequence(parts, path, leave)
        self._within -= 1
        states[leave] = {"Type": "Pass", "Parameters": {"steps.$": "$.outputs"}, "End": True}
        return {"StartAt": first, "States": states}

    def _scopes(
        self,
        path: tuple[str, ...],
        branches: list[dict[str, Any]],
        then: str,
        each: Any = None,
    ) -> dict[str, Any]:
        """Write a state that does scopes at once, or a single one apart from its outer scope."""
        return {
            "Type": "Parallel",
            "Parameters": {**_KNOWN, "up": _UP, "each": each, "outputs": {}},
            "Branches": branches,
            "ResultSelector": _SCOPES,
            "ResultPath": f"$.outputs.{field(path[-1])}",
            **self._caught(),
            "Next": then,
        }

    def _task(self, do: str, path: tuple[str, ...]) -> dict[str, Any]:
        """Write a task; who puts it into a sequence says where its answer goes."""
        message = {
            "do": do,
            "part": [*path],
            "chain": self._chain.name,
            "version": self._chain.version,
            "fingerprint": self._fingerprint,
            "state.$": "$",
        }
        return {
            "Type": "Task",
            "Resource": INVOKE,
            "Parameters": {"FunctionName": self._function_arn, "Payload": {MESSAGE: message}},
            "TimeoutSeconds": TASK_SECONDS,
            "ResultSelector": {"task.$": "$.Payload"},
            "Retry": RETRY,
            **self._caught(),
        }

    def _caught(self) -> dict[str, Any]:
        """Return where failures go: within a scope, to whoever has it."""
        return {} if self._within else {"Catch": _CATCH}

    def _name(self, path: tuple[str, ...], what: str = "") -> str:
        """Return a state's name, which no other state of the machine has."""
        name = f"{'/'.join(path)} {what}".strip()
        if len(name) > STATE_NAME_MAX or name in self._names:
            mark = hashlib.blake2b(f"{path}{what}".encode(), digest_size=6).hexdigest()
            name = f"{name[: STATE_NAME_MAX - 13]} {mark}"
        self._names.add(name)
        return name


def _refuse_script(part: Part) -> None:
    """Refuse functions of a script: the Lambda function knows them by their module's name.

    Raises:
        ConfigurationError: There is one.
    """
    for name in ("condition", "func", "over", "until"):
        function = getattr(part, name, None)
        if getattr(function, "__module__", None) == "__main__":
            message = (
                f"The {name} of step {part.name!r} is of the script that runs now, which the "
                "function knows as a module: import that, and export its chain from elsewhere."
            )
            raise fault(message)
    for inner in part.parts():
        _refuse_script(inner)


def _choice(variable: str, wanted: object, then: str, otherwise: str) -> dict[str, Any]:
    rule = {"Variable": variable, "BooleanEquals": wanted, "Next": then}
    return {"Type": "Choice", "Choices": [rule], "Default": otherwise}


_WRITERS = {
    "step": "_step",
    "callback": "_wait",
    "approval": "_wait",
    "parallel": "_parallel",
    "map": "_map",
    "loop": "_loop",
    "chain": "_chained",
}
"""Kinds of parts to the methods that write them."""
