"""Whether functions are invoked as their handlers declare: `@stream_handler(via=…)` and a template.

    template ──► functions, fronts ──┐
                                     ├──► findings, at the template's lines
    code ──────► declarations ───────┘

A function cannot see at run time whether its caller reads a stream. What does not fit is seen by
its users alone: a prelude of JSON and NULs before the text, or an answer's envelope as text.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from lambdallm_cli import check_declared
from lambdallm_cli.check import Finding, Result, unreadable
from lambdallm_cli.check_document import Document
from lambdallm_cli.check_template import INTEGRATION_MS, TIMEOUT_SECONDS, Front, Template
from lambdallm_wire.configuration_faults import dotted, line_of, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lambdallm_cli.check import Severity
    from lambdallm_cli.check_declared import Declared
    from lambdallm_cli.check_template import FrontKind, Function

    Where = tuple[str | int, ...]
    Said = tuple[Severity, Where, str, str]

NAMES = ("template.yaml", "template.yml", "template.json")
"""Of a template in the current folder, the first that is there."""

NODES_MAX = 200_000
"""Of a template: CloudFormation takes 1 MB of it."""

SHORT_SECONDS = 10
"""A model's whole answer commonly takes longer: 1,000 tokens at 100 a second."""

VIAS = ("function-url", "api-gateway", "invoke", "websocket")
"""As `stream_handler` takes them."""

STREAM_MS_MAX = 900_000
"""Of an integration that streams. Source: API Gateway developer guide, "Stream the integration
response for your proxy integrations in API Gateway" (2026-11): up to 15 minutes.
"""

_KINDS: dict[FrontKind, str] = {
    "function-url": "a function URL",
    "api-gateway": "a method of a REST API",
    "http-api": "an HTTP API",
    "load-balancer": "a load balancer",
    "websocket": "a WebSocket API",
}

_MODES: dict[FrontKind, tuple[str, str]] = {
    "function-url": ("InvokeMode", "RESPONSE_STREAM"),
    "api-gateway": ("ResponseTransferMode", "STREAM"),
}

_SEEN = (
    "Its users get one piece at the end, behind its head (JSON and eight NUL bytes), or an error."
)


def find_template() -> Path | None:
    """Return the template of the current folder, None where there is none."""
    for name in NAMES:
        path = Path(name)
        if path.is_file() and "AWS::" in path.read_text(encoding="utf-8", errors="replace"):
            return path
    return None


def examine(path: Path) -> Result:
    """Read a template and the code of its functions, and find what does not fit.

    Args:
        path: Of the template; the code is looked for from where it lies.

    Raises:
        OSError: The template cannot be read.
    """
    source = path.read_bytes()
    text = source.decode(errors="replace")
    if path.suffix == ".json":
        text = text.replace("\t", " ")  # JSON may be indented by tabs, YAML may not
    try:
        document, lines, twice = Document(text, nodes_max=NODES_MAX, short_forms=True).read()
    except yaml.MarkedYAMLError as error:
        return Result([unreadable(error)], None, source)
    except (yaml.YAMLError, ValueError) as error:
        said = f"This is no YAML: {' '.join(str(error).split())}."
        return Result([Finding("error", "", 0, said)], None, source)
    if not isinstance(document, dict) or not isinstance(document.get("Resources"), dict):
        return Result([Finding("error", "", 0, "This is no template: it has no Resources.")], None, source)  # fmt: skip # noqa: E501
    findings = [Finding("error", *each) for each in twice]
    for severity, where, said, meant in _compare(Template(document, path.parent)):
        findings.append(Finding(severity, dotted(where), line_of(where, lines), said, meant))
    findings.sort(key=lambda finding: finding.line)
    return Result(findings, None, source)


def _compare(template: Template) -> Iterator[Said]:
    for where, said in template.faults():
        yield "error", where, said, ""
    for front in template.fronts:
        if front.fault[0]:
            yield "error", front.path, *front.fault
    for name, function in template.functions.items():
        fronts = [front for front in template.fronts if front.function == name]
        declared = check_declared.read(function.handler, function.folder, function.source)
        yield from _of_function(function, declared, fronts)


def _of_function(function: Function, declared: Declared, fronts: list[Front]) -> Iterator[Said]:
    place = (*function.path, "Handler")
    streaming = any(front.streams for front in fronts)
    match declared.kind:
        case "unknown" if streaming or declared.doubtful:
            said = f"Whether its handler streams is not known. {declared.why}"
            yield "note", place, f"{said} ({declared.where})", ""
        case "handler" | "plain":
            yield from _of_plain(declared, fronts)
        case "stream" if declared.via is None:
            said = f"What `via` is at {declared.where} is no literal: the modes are not compared."
            yield "note", place, said, ""
        case "stream" if declared.via not in VIAS:
            said = f"There is no via={declared.via!r} ({declared.where})."
            yield "error", place, said, nearest(declared.via or "", VIAS)
        case "stream":
            yield from _of_stream(function, declared, fronts)
        case "unknown":
            return


def _of_plain(declared: Declared, fronts: list[Front]) -> Iterator[Said]:
    """Find what streams in front of a handler that does not."""
    for front in fronts:
        if not front.streams:
            continue
        what = "@handler" if declared.kind == "handler" else "no @stream_handler"
        result = {
            "function-url": "users get its whole answer as JSON text, status and headers in it",
            "api-gateway": "API Gateway finds no head in its answer, and refuses it",
        }[front.kind]
        said = f"This streams, and {declared.where} has {what}: {result}."
        yield "error" if declared.kind == "handler" else "warning", front.path, said, "BUFFERED"


def _of_stream(function: Function, declared: Declared, fronts: list[Front]) -> Iterator[Said]:
    via, where = declared.via or "", declared.where
    if via != "invoke" and not any(front.kind == via for front in fronts):
        said = f"{where} has via={via!r}, and nothing in this template invokes it so."
        yield "note", (*function.path, "Handler"), said, ""
    for front in fronts:
        if via == "websocket" or front.kind == "websocket":
            yield from _of_messages(via, where, front, function)
        elif front.kind not in _MODES:
            said = f"{_KINDS[front.kind]} does not stream, and {where} has via={via!r}. {_SEEN}"
            yield "error", front.path, said[:1].upper() + said[1:], ""
        elif via == "invoke":
            yield from _of_bare(where, front)
        else:
            yield from _of_mode(via, where, front)
    yield from _of_times(function, fronts)


def _of_mode(via: str, where: str, front: Front) -> Iterator[Said]:
    """Compare the mode of what can stream."""
    key, mode = _MODES[front.kind]
    if front.streams is None:
        said = f"{key} is known at deployment alone; {where} has via={via!r}: it must be {mode}."
        yield "note", front.path, said, ""
    elif not front.streams and not front.fault[0]:
        said = f"{where} has via={via!r}, and this is BUFFERED. {_SEEN}"
        yield "error", front.path, said, f"{key}: {_spelt(front)}"
    elif front.kind != via:
        said = f"This is {_KINDS[front.kind]}, and {where} has via={via!r}."
        yield "warning", front.path, said, f'via="{front.kind}"'


def _spelt(front: Front) -> str:
    """Return the word for streaming as it is written in a front's place."""
    in_sam_event = front.kind == "api-gateway" and "Events" in front.path
    return "RESPONSE_STREAM" if in_sam_event else _MODES[front.kind][1]


def _of_bare(where: str, front: Front) -> Iterator[Said]:
    said = f'{where} has via="invoke": it sends no status and no headers to {_KINDS[front.kind]}.'
    severity: Severity = "error"
    if front.kind == "function-url" and front.streams:
        severity = "warning"  # which gives the bytes on, with status 200
    yield severity, front.path, said, f'via="{front.kind}"'


def _of_messages(via: str, where: str, front: Front, function: Function) -> Iterator[Said]:
    """Compare a handler that pushes messages with what invokes it, and the other way round."""
    if front.kind != "websocket":
        said = f"This is {_KINDS[front.kind]}, and {where} has via={via!r}: nobody is pushed to."
        yield "warning", front.path, said, ""
    elif via != "websocket":
        said = f"This is a WebSocket API, and {where} has via={via!r}: nothing is pushed to it."
        yield "error", front.path, said, 'via="websocket"'
    elif (function.timeout_seconds or 0) * 1_000 > INTEGRATION_MS:
        said = (
            "API Gateway tells the connection of a timeout after 29 seconds, while the handler "
            "goes on and pushes: its pages must not take that for the end."
        )
        yield "note", front.path, said, ""


def _of_times(function: Function, fronts: list[Front]) -> Iterator[Said]:
    seconds = function.timeout_seconds
    if seconds is not None and seconds < SHORT_SECONDS:
        default = ", Lambda's default" if seconds == TIMEOUT_SECONDS else ""
        said = f"Answers are cut after {seconds} s{default}: a model's may take longer."
        yield "warning", (*function.path, "Timeout"), said, ""
    for front in fronts:
        if front.kind != "api-gateway" or not front.streams:
            continue
        timeout_ms = front.timeout_ms
        if timeout_ms is not None and seconds is not None and seconds * 1_000 > timeout_ms:
            said = (
                f"The integration ends after {timeout_ms / 1_000:g} s, the function after "
                f"{seconds} s: say TimeoutInMillis, up to {STREAM_MS_MAX}."
            )
            yield "warning", front.path, said, ""
        if front.edge:
            said = (
                "This API is optimised for the edge: it cuts a stream that is silent for 30 "
                "seconds; a REGIONAL one waits for 5 minutes."
            )
            yield "note", front.path, said, ""
