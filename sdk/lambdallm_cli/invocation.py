"""One invocation of a handler in this process: its event, its context, its outcome."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lambdallm.testing import MockLambdaContext

if TYPE_CHECKING:
    from collections.abc import Callable

TIMEOUT_MS = 900_000
"""Lambda's longest: on one's own machine nobody waits for a deadline."""

_USUAL_NAMES = ("lambda_handler", "handler", "main")


class UsageError(Exception):
    """The command was used wrongly; the message says how to use it."""


class Outcome(NamedTuple):
    """What a handler returned, or raised."""

    value: Any
    error: Exception | None


def make_event(text: str, *, whole: bool, session_id: str | None) -> dict[str, Any]:
    """Make the event: of an HTTP request with this body, or the text itself.

    Raises:
        UsageError: The text is not JSON, or no event.
    """
    try:
        parsed = json.loads(text)
    except ValueError as error:
        message = f"The data is not JSON: {error}"
        raise UsageError(message) from error
    if whole and not isinstance(parsed, dict):
        message = f"An event is a JSON object, not {type(parsed).__name__}."
        raise UsageError(message)
    event: dict[str, Any] = parsed
    if not whole:
        event = {"httpMethod": "POST", "path": "/", "headers": {}, "body": text}
    if session_id is not None:
        event["headers"] = {**(event.get("headers") or {}), "x-session-id": session_id}
    return event


def load_handler(name: str) -> Callable[..., Any]:
    """Import `MODULE.HANDLER`, or the usual handler of `handlers/NAME.py`.

    Raises:
        UsageError: There is no such module or no such function in it.
    """
    directory = str(Path.cwd())
    if directory not in sys.path:
        sys.path.insert(0, directory)
    module_name, _, attribute = name.replace("/", ".").rpartition(".")
    candidates: tuple[str, ...] = (attribute,)
    if not module_name:
        module_name, candidates = f"handlers.{name}", _USUAL_NAMES
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if not error.name or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        message = f"No module {module_name!r} in {directory}. Name the handler MODULE.HANDLER."
        raise UsageError(message) from error
    for candidate in candidates:
        function = getattr(module, candidate, None)
        if callable(function):
            return function  # type: ignore[no-any-return]  # a module's attribute
    message = f"Module {module_name!r} has no function {candidates[0]!r}."
    raise UsageError(message)


def run(function: Callable[..., Any], event: dict[str, Any]) -> Outcome:
    """Call the handler."""
    try:
        return Outcome(function(event, MockLambdaContext(TIMEOUT_MS)), None)
    except Exception as error:  # noqa: BLE001 - the user's code; told with its type
        return Outcome(None, error)


def exit_code(value: Any) -> int:
    """Return 0, 1 for a status of 4xx, 3 for one of 5xx."""
    status = value.get("statusCode") if isinstance(value, dict) else None
    if not isinstance(status, int) or status < 400:  # noqa: PLR2004 - HTTP
        return 0
    return 1 if status < 500 else 3  # noqa: PLR2004 - HTTP
