"""A function as its SAM template deploys it, run by our emulator.

    function = read_function(ROOT / "examples/sse_chat/template.yaml", {"Table": dynamodb.table})
    with function.start(layer, AWS_ENDPOINT_URL_DYNAMODB=dynamodb.url) as environment:
        with function.open_url(environment) as front:
            …  # front.url

Handler, code, environment, timeout, memory, layers and the URL's mode are the template's own. What
only an account knows is given: a parameter by its name, a resource by its logical id, one of its
attributes as `Table.Arn`. What is neither given nor has a default stands there as its own name.
"""

from __future__ import annotations

import re
import threading
from pathlib import Path
from queue import LifoQueue
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import yaml

from lambda_runtime_api.emulator import Environment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambda_runtime_api.emulator.function_url import FunctionUrl
    from lambda_runtime_api.emulator.streams import InvocationStream

SAM_FUNCTION = "AWS::Serverless::Function"

LAMBDA_DEFAULTS = {"Timeout": 3, "MemorySize": 128, "CodeUri": "."}
"""Source: SAM developer guide, "AWS::Serverless::Function", 2026-11."""

PSEUDO_PARAMETERS = {
    "AWS::Region": "us-east-1",
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::StackName": "stack",
    "AWS::URLSuffix": "amazonaws.com",
}

_NOTHING: Mapping[str, str] = MappingProxyType({})


class Deployed(NamedTuple):
    """One function of a template.

    Attributes:
        name: Its logical id.
        task_root: The folder of its code.
        handler: `module.function`.
        variables: Its environment, resolved.
        timeout_seconds: Its timeout.
        memory_mb: Its memory.
        has_layer: Whether the template attaches any; then the layer given to `start` is there.
        invoke_mode: Of its Function URL, None without one.
    """

    name: str
    task_root: Path
    handler: str
    variables: dict[str, str]
    timeout_seconds: float
    memory_mb: int
    has_layer: bool
    invoke_mode: str | None

    def start(
        self, layer: Path, *, options: Mapping[str, Any] = _NOTHING, **variables: str
    ) -> Environment:
        """Prepare its execution environment.

        Args:
            layer: The built layer, unpacked.
            options: Further keywords of `Environment`.
            **variables: What a test adds to the template's, or puts in their place: endpoints.
        """
        return Environment(
            self.task_root,
            self.handler,
            opt=layer if self.has_layer else None,
            variables={**self.variables, **variables},
            timeout_seconds=self.timeout_seconds,
            memory_mb=self.memory_mb,
            function_name=self.name,
            **options,
        )

    def open_url(self, environment: Environment | Fleet, **options: Any) -> FunctionUrl:
        """Put its Function URL in front of an environment, in the mode of the template."""
        from lambda_runtime_api.emulator.function_url import FunctionUrl

        assert self.invoke_mode is not None, f"{self.name} has no FunctionUrlConfig"
        one_of_them = cast("Environment", environment)
        return FunctionUrl(one_of_them, invoke_mode=self.invoke_mode, **options)


class Fleet:
    """Environments of one function: each request gets one that is free, as on Lambda.

    Requests wait when all of them are busy.
    """

    def __init__(self, *environments: Environment) -> None:
        self._free: LifoQueue[Environment] = LifoQueue()  # those that are warm come first
        for environment in reversed(environments):
            self._free.put(environment)

    def invoke_stream(
        self, payload: object, *, headers: Mapping[str, str] = _NOTHING
    ) -> InvocationStream:
        """Invoke one of them."""
        environment = self._free.get()
        stream = environment.invoke_stream(payload, headers=headers)
        threading.Thread(target=self._take_back, args=(environment,), daemon=True).start()
        return stream

    def _take_back(self, environment: Environment) -> None:
        environment.wait_until_idle()
        self._free.put(environment)


def load_template(template: Path) -> dict[str, Any]:
    """Read a template as it stands: `!Ref X` is `{"Ref": "X"}`."""
    document: dict[str, Any] = yaml.load(template.read_text(encoding="utf-8"), Loader=_Loader)
    return document


def read_function(
    template: Path, given: Mapping[str, str] = _NOTHING, *, name: str = ""
) -> Deployed:
    """Read one function of a template.

    Args:
        template: The file.
        given: Parameters, resources and attributes of resources, by their names.
        name: The logical id, where the template has several functions.
    """
    document = load_template(template)
    found = {
        logical_id: resource
        for logical_id, resource in document["Resources"].items()
        if resource["Type"] == SAM_FUNCTION and name in ("", logical_id)
    }
    assert len(found) == 1, f"functions of {template}: {sorted(found)}"
    ((logical_id, resource),) = found.items()
    stated = document.get("Globals", {}).get("Function", {})
    resolve = _Resolver(document, given).resolve
    properties = {**LAMBDA_DEFAULTS, **resolve(stated), **resolve(resource["Properties"])}
    environments = [
        each.get("Environment", {}).get("Variables", {})
        for each in (resolve(stated), resolve(resource["Properties"]))
    ]
    url = properties.get("FunctionUrlConfig")
    return Deployed(
        name=logical_id,
        task_root=template.parent / properties["CodeUri"],
        handler=properties["Handler"],
        variables={key: str(text) for each in environments for key, text in each.items()},
        timeout_seconds=float(properties["Timeout"]),
        memory_mb=int(properties["MemorySize"]),
        has_layer=bool(properties.get("Layers")),
        invoke_mode=None if url is None else url.get("InvokeMode", "BUFFERED"),
    )


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's short functions as its long ones."""


def _function(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        return {name: loader.construct_scalar(node)}
    assert isinstance(node, yaml.SequenceNode)
    return {name: loader.construct_sequence(node, deep=True)}


_Loader.add_multi_constructor("!", _function)

_NO_VALUE = object()
"""What `AWS::NoValue` is: the property is left out."""


class _Resolver:
    """Replaces the functions of a template by what they give."""

    def __init__(self, document: Mapping[str, Any], given: Mapping[str, str]) -> None:
        parameters = document.get("Parameters", {})
        unknown = {name.partition(".")[0] for name in given} - {
            *parameters,
            *document["Resources"],
            *PSEUDO_PARAMETERS,
        }
        assert not unknown, f"the template has no {sorted(unknown)}"
        defaults = {name: each["Default"] for name, each in parameters.items() if "Default" in each}
        self._values: dict[str, Any] = {**PSEUDO_PARAMETERS, **defaults, **given}
        self._conditions = document.get("Conditions", {})

    def resolve(self, value: Any) -> Any:
        if isinstance(value, list):
            resolved = [self.resolve(each) for each in value]
            return [each for each in resolved if each is not _NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            if name == "Ref" or name.startswith("Fn::"):
                return self._call(name, argument)
        pairs = [(name, self.resolve(each)) for name, each in value.items()]
        return {name: each for name, each in pairs if each is not _NO_VALUE}

    def _call(self, name: str, argument: Any) -> Any:
        if name == "Ref":
            return _NO_VALUE if argument == "AWS::NoValue" else self._values.get(argument, argument)
        if name == "Fn::GetAtt":
            attribute = argument if isinstance(argument, str) else ".".join(argument)
            return self._values.get(attribute, attribute)
        if name == "Fn::Sub":
            return self._substitute(argument)
        if name == "Fn::If":
            condition, yes, no = argument
            return self.resolve(yes if self._holds({"Condition": condition}) else no)
        assert name == "Fn::Join", f"{name} is not known here"
        separator, parts = argument
        return separator.join(str(self.resolve(part)) for part in parts)

    def _substitute(self, argument: str | list[Any]) -> str:
        text, own = (argument, {}) if isinstance(argument, str) else argument
        values = {**self._values, **{name: self.resolve(each) for name, each in own.items()}}
        return re.sub(
            r"\$\{([^!][^}]*)\}", lambda found: str(values.get(found[1], found[1])), text
        ).replace("${!", "${")

    def _holds(self, condition: Mapping[str, Any]) -> bool:
        ((name, argument),) = condition.items()
        if name == "Condition":
            return self._holds(self._conditions[argument])
        if name == "Fn::Equals":
            first, second = (self.resolve(each) for each in argument)
            return bool(first == second)
        holding = [self._holds(each) for each in argument]
        return {"Fn::Not": not holding[0], "Fn::And": all(holding), "Fn::Or": any(holding)}[name]
