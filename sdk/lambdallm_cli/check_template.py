"""What a template of SAM or CloudFormation says of its functions, and of what invokes them.

    Resources ──► functions: handler, folder, timeout
              └─► fronts: a URL, a method, a route, a target group ──► of which function? streams?

Source: the properties' reference of SAM and CloudFormation, as aws-sam-translator 1.115 and
cfn-lint 1.58 have it; API Gateway developer guide, "Stream the integration response for your proxy
integrations in API Gateway" (2026-11).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Where = tuple[str | int, ...]

FrontKind = Literal["function-url", "api-gateway", "http-api", "load-balancer", "websocket"]

TIMEOUT_SECONDS = 3
"""Of a function whose template names none. Source: `Timeout` of AWS::Lambda::Function."""

INTEGRATION_MS = 29_000
"""Of an API's integration that names none. Source: `TimeoutInMillis` of AWS::ApiGateway::Method."""

STREAMING_PATH = "/response-streaming-invocations"
"""Ends the URI by which API Gateway has a response streamed."""

_SAM_FUNCTION, _FUNCTION = "AWS::Serverless::Function", "AWS::Lambda::Function"
_FUNCTIONS = (_SAM_FUNCTION, _FUNCTION)
_BY_NAME = ("AWS::Lambda::Alias", "AWS::Lambda::Version")

_VARIABLE = re.compile(r"\$\{([A-Za-z0-9]+)[^}]*\}")
"""Of `Fn::Sub`."""

_INTEGRATION = "x-amazon-apigateway-integration"


class Function(NamedTuple):
    """One function.

    Attributes:
        path: Of its properties in the template.
        handler: As configured, "" where nobody knows.
        folder: Of its code, None where it is not here.
        source: Its code, where the template holds it.
        timeout_seconds: None where it is known at deployment alone.
    """

    path: Where
    handler: str
    folder: Path | None
    source: str | None
    timeout_seconds: int | None


class Front(NamedTuple):
    """One way in which HTTP, or a WebSocket, gets to a function.

    Attributes:
        function: Its name among the resources.
        path: Of what says whether it streams, whether it is there or not.
        streams: None where it is known at deployment alone.
        timeout_ms: Of the integration, None where there is none, or nobody knows.
        edge: Whether the API's endpoint is optimised for the edge.
        fault: What it contradicts itself in, and what may have been meant; ("", "") in nothing.
    """

    function: str
    kind: FrontKind
    path: Where
    streams: bool | None = False
    timeout_ms: int | None = None
    edge: bool = False
    fault: tuple[str, str] = ("", "")


class Template:
    """The functions and the fronts of one template."""

    def __init__(self, document: dict[str, Any], folder: Path) -> None:
        """Read them.

        Args:
            document: The template, short forms written out.
            folder: In which it lies.
        """
        self._document = document
        self._folder = folder
        self._resources = {
            name: resource
            for name, resource in _mapping(document.get("Resources")).items()
            if isinstance(resource, dict)
        }
        self.functions = {
            name: self._function(name, resource)
            for name, resource in self._resources.items()
            if resource.get("Type") in _FUNCTIONS and _is_python(self._properties(name))
        }
        self.fronts = [
            front
            for name in self._resources
            for front in self._fronts(name)
            if front.function in self.functions
        ]

    def faults(self) -> Iterator[tuple[Where, str]]:
        """Find what no deployment takes, and what is not read any further therefore."""
        yield from _misnamed(self._resources, ("Resources",))
        for name in self._resources:
            if self._is_circle(name):
                yield ("Resources", name), "It leads back to itself, and to no function."
        for name, function in self.functions.items():
            timeout = self._literal(self._properties(name).get("Timeout", TIMEOUT_SECONDS))
            if timeout is not None and _number(timeout) is None:
                yield (*function.path, "Timeout"), "It is no number of seconds."

    def _is_circle(self, name: str) -> bool:
        seen: list[str] = []
        while self._type(name) in _BY_NAME:
            if name in seen:
                return name == seen[0]
            seen.append(name)
            name = next(_names(self._properties(name).get("FunctionName")), "")
        return False

    def _type(self, name: str) -> str:
        return str(self._resources.get(name, {}).get("Type", ""))

    def _properties(self, name: str) -> dict[str, Any]:
        """Return a resource's properties, over what `Globals` says of all of its kind."""
        kind = self._type(name)
        own = _mapping(self._resources.get(name, {}).get("Properties"))
        if not kind.startswith("AWS::Serverless::"):
            return own
        every = _mapping(_mapping(self._document.get("Globals")).get(kind.rpartition(":")[2]))
        merged = {**every, **own}
        for key, value in own.items():
            if isinstance(value, dict) and isinstance(every.get(key), dict):
                merged[key] = {**every[key], **value}
        return merged

    def _literal(self, value: Any) -> Any:
        """Return a value, of a parameter its default; None where the deployment decides."""
        if isinstance(value, dict) and list(value) == ["Ref"] and isinstance(value["Ref"], str):
            parameter = _mapping(self._document.get("Parameters")).get(value["Ref"])
            value = _mapping(parameter).get("Default")
        return None if isinstance(value, (dict, list)) else value

    def _function(self, name: str, resource: dict[str, Any]) -> Function:
        properties = self._properties(name)
        code = properties.get("CodeUri" if self._type(name) == _SAM_FUNCTION else "Code", ".")
        source = properties.get("InlineCode") or _mapping(code).get("ZipFile")
        asset = _mapping(resource.get("Metadata")).get("aws:asset:path")  # as the CDK writes it
        place = code if isinstance(code, str) else asset
        folder = self._folder / place if isinstance(place, str) and "://" not in place else None
        timeout = self._literal(properties.get("Timeout", TIMEOUT_SECONDS))
        return Function(
            ("Resources", name, "Properties"),
            str(self._literal(properties.get("Handler")) or ""),
            folder if folder is not None and folder.is_dir() else None,
            source if isinstance(source, str) else None,
            _number(timeout),
        )

    def _fronts(self, name: str) -> Iterator[Front]:
        readers: dict[str, Callable[..., Iterator[Front]]] = {
            _SAM_FUNCTION: self._of_sam_function,
            "AWS::Lambda::Url": self._of_url,
            "AWS::ApiGateway::Method": self._of_method,
            "AWS::ApiGateway::RestApi": self._of_rest_api,
            "AWS::Serverless::Api": self._of_rest_api,
            "AWS::ApiGatewayV2::Api": self._of_http_api,
            "AWS::Serverless::HttpApi": self._of_http_api,
            "AWS::ApiGatewayV2::Integration": self._of_newer_integration,
            "AWS::Serverless::WebSocketApi": self._of_routes,
            "AWS::ElasticLoadBalancingV2::TargetGroup": self._of_targets,
        }
        reader = readers.get(self._type(name))
        if reader is not None:
            yield from reader(name, self._properties(name), ("Resources", name, "Properties"))

    def _of_sam_function(
        self, name: str, properties: dict[str, Any], path: Where
    ) -> Iterator[Front]:
        if isinstance(properties.get("FunctionUrlConfig"), dict):
            place = (*path, "FunctionUrlConfig")
            yield self._url(name, properties["FunctionUrlConfig"], place)
        for event, each in _mapping(properties.get("Events")).items():
            place = (*path, "Events", event, "Properties")
            kind, said = _mapping(each).get("Type"), _mapping(_mapping(each).get("Properties"))
            if kind == "HttpApi":
                yield Front(name, "http-api", place)
            elif kind == "Api":
                yield self._of_api_event(name, said, place)

    def _of_api_event(self, name: str, said: dict[str, Any], place: Where) -> Front:
        mode = self._literal(said.get("ResponseTransferMode", "BUFFERED"))
        fault = ("", "")
        if mode == "STREAM":
            fault = ("SAM takes this word for BUFFERED.", "RESPONSE_STREAM")
        api = said.get("RestApiId")
        named = self._properties(self._target(api, functions=False)) if api else None
        if named is None:
            named = _mapping(_mapping(self._document.get("Globals")).get("Api"))
        return Front(
            name,
            "api-gateway",
            (*place, "ResponseTransferMode"),
            None if mode is None else mode == "RESPONSE_STREAM",
            _number(self._literal(said.get("TimeoutInMillis", INTEGRATION_MS))),
            self._is_edge(named),
            fault,
        )

    def _of_url(self, _: str, said: dict[str, Any], path: Where) -> Iterator[Front]:
        yield self._url(self._target(said.get("TargetFunctionArn")), said, path)

    def _url(self, function: str, said: dict[str, Any], path: Where) -> Front:
        default = None if "Fn::If" in said else "BUFFERED"
        mode = self._literal(said.get("InvokeMode", default))
        streams = None if mode is None else mode == "RESPONSE_STREAM"
        return Front(function, "function-url", (*path, "InvokeMode"), streams)

    def _of_method(self, _: str, properties: dict[str, Any], path: Where) -> Iterator[Front]:
        said = _mapping(properties.get("Integration"))
        api = self._properties(self._target(properties.get("RestApiId"), functions=False))
        yield self._integration(
            {key[:1].lower() + key[1:]: value for key, value in said.items()},
            (*path, "Integration", "ResponseTransferMode"),
            edge=self._is_edge(api),
        )

    def _of_rest_api(self, _: str, properties: dict[str, Any], path: Where) -> Iterator[Front]:
        for key in ("Body", "DefinitionBody"):
            edge = self._is_edge(properties)
            yield from self._of_openapi(properties.get(key), (*path, key), edge=edge)

    def _of_http_api(self, _: str, properties: dict[str, Any], path: Where) -> Iterator[Front]:
        for key in ("Body", "DefinitionBody"):
            for front in self._of_openapi(properties.get(key), (*path, key), edge=False):
                yield Front(front.function, "http-api", front.path)

    def _of_newer_integration(
        self, _: str, properties: dict[str, Any], path: Where
    ) -> Iterator[Front]:
        api = self._properties(self._target(properties.get("ApiId"), functions=False))
        kind: FrontKind = "websocket" if api.get("ProtocolType") == "WEBSOCKET" else "http-api"
        yield Front(self._target(properties.get("IntegrationUri")), kind, path)

    def _of_routes(self, _: str, properties: dict[str, Any], path: Where) -> Iterator[Front]:
        for route, each in _mapping(properties.get("Routes")).items():
            target = self._target(_mapping(each).get("FunctionArn"))
            yield Front(target, "websocket", (*path, "Routes", route))

    def _of_targets(self, _: str, properties: dict[str, Any], path: Where) -> Iterator[Front]:
        for number, each in enumerate(_list(properties.get("Targets"))):
            target = self._target(_mapping(each).get("Id"))
            yield Front(target, "load-balancer", (*path, "Targets", number))

    def _of_openapi(self, body: Any, path: Where, *, edge: bool) -> Iterator[Front]:
        for route, methods in _mapping(_mapping(body).get("paths")).items():
            for method, operation in _mapping(methods).items():
                said = _mapping(operation).get(_INTEGRATION)
                if isinstance(said, dict):
                    place = (*path, "paths", route, method, _INTEGRATION, "responseTransferMode")
                    yield self._integration(said, place, edge=edge)

    def _integration(self, said: dict[str, Any], path: Where, *, edge: bool) -> Front:
        """Return what an integration of a REST API says, in OpenAPI's spelling."""
        mode = self._literal(said.get("responseTransferMode", "BUFFERED"))
        streams = None if mode is None else str(mode).upper() == "STREAM"
        by_stream = any(text.endswith(STREAMING_PATH) for text in _texts(said.get("uri")))
        fault = ("", "")
        if streams and not by_stream:
            fault = (
                "The integration streams, and its URI does not have the response streamed.",
                f"…:lambda:path/2021-11-15/functions/…{STREAMING_PATH}",
            )
        elif by_stream and streams is False:
            fault = ("Its URI has the response streamed, and the integration does not.", "STREAM")
        return Front(
            self._target(said.get("uri")),
            "api-gateway",
            path,
            streams,
            _number(self._literal(said.get("timeoutInMillis", INTEGRATION_MS))),
            edge,
            fault,
        )

    def _is_edge(self, api: dict[str, Any]) -> bool:
        """Say whether a REST API is optimised for the edge, which it is by default."""
        said = api.get("EndpointConfiguration", "EDGE")
        if isinstance(said, dict):
            said = said.get("Type") or (_list(said.get("Types")) or ["EDGE"])[0]
        return bool(self._literal(said) == "EDGE")

    def _target(
        self, value: Any, *, functions: bool = True, seen: frozenset[str] = frozenset()
    ) -> str:
        """Return the resource that a value leads to, "" where it leads to none that is known."""
        for name in _names(value):
            if name in seen:
                continue  # an alias of itself
            if not functions and name in self._resources:
                return name
            if self._type(name) in _FUNCTIONS:
                return name
            if self._type(name) in _BY_NAME:
                behind = self._properties(name).get("FunctionName")
                return self._target(behind, seen=seen | {name})
        return ""


def _is_python(properties: dict[str, Any]) -> bool:
    runtime = properties.get("Runtime", "python")  # a parameter, or an image: its handler tells
    is_other = isinstance(runtime, str) and not runtime.startswith("python")
    return not is_other and properties.get("PackageType") != "Image"


def _names(value: Any) -> Iterator[str]:
    """Name the resources that a value speaks of, in their order."""
    if isinstance(value, list):
        for each in value:
            yield from _names(each)
    for key, said in value.items() if isinstance(value, dict) else ():
        if key in ("Ref", "Fn::GetAtt"):
            yield str(said[0] if isinstance(said, list) and said else said).partition(".")[0]
        elif key == "Fn::Sub":
            for text in _texts(said):
                yield from _VARIABLE.findall(text)
            yield from _names(said)
        else:
            yield from _names(said)


def _misnamed(value: Any, path: Where) -> Iterator[tuple[Where, str]]:
    """Find each `Ref` of something that is no name."""
    items = enumerate(value) if isinstance(value, list) else _mapping(value).items()
    for key, said in items:
        if key == "Ref" and len(value) == 1 and not isinstance(said, str):
            yield path, "Its `Ref` is no name."
        else:
            yield from _misnamed(said, (*path, key))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(value: Any) -> int | None:
    try:
        return int(value)
    except (OverflowError, TypeError, ValueError):
        return None
