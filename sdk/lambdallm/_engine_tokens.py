"""Tokens of steps that another engine waits with, and how it is told that they are finished.

    states:TOKEN     a task of Step Functions (`waitForTaskToken`)
    durable:ID       a callback of Lambda's durable functions

AWS is asked by boto3, which Lambda's Python runtimes have.
"""

from __future__ import annotations

from lambdallm import _errors, _raw_clients, _settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

STATES, DURABLE = "states", "durable"

_GONE = ("TaskDoesNotExist", "TaskTimedOut", "CallbackTimeoutException")
_WRONG = ("InvalidToken", "InvalidParameterValueException", "ResourceNotFoundException")


def encode(engine: str, token: str) -> str:
    """Return a token as `lambdallm.complete_callback` takes it."""
    return f"{engine}:{token}"


def is_one(token: object) -> bool:
    """Whether a token is another engine's."""
    return isinstance(token, str) and token.partition(":")[0] in _SENDERS and ":" in token


def finish(token: str, output: str) -> None:
    """Tell the engine what its step has come to.

    Args:
        token: As `encode` has made it.
        output: JSON.

    Raises:
        InvalidRequestError: It is no token of the engine's.
        StateError: The step waits no more, or AWS refused.
        ConfigurationError: There is no boto3, or no region.
    """
    engine, _, own = token.partition(":")
    service, send = _SENDERS[engine]
    client = _raw_clients.client(service, _settings.Settings.from_environ().region)
    refused, not_asked = _raw_clients.failures()
    try:
        send(client, own, output)
    except refused as error:
        raise _refusal(error.response["Error"]) from error
    except not_asked as error:
        message = f"AWS was not told that the step is finished: {error}"
        raise _errors.StateError(message, retryable=True) from error


def _refusal(said: dict[str, Any]) -> _errors.LambdaLLMError:
    code, message = said.get("Code", ""), said.get("Message", "")
    if code in _WRONG:
        return _errors.InvalidRequestError(f"Nothing waits under this token: {message}")
    if code in _GONE:
        detail = f"The step waits no more: it is finished, or its time is over ({code})."
        return _errors.StateError(detail)
    return _errors.StateError(f"AWS refused to finish the step: {code}: {message}")


def _send_to_states(client: Any, token: str, output: str) -> None:
    client.send_task_success(taskToken=token, output=output)


def _send_to_durable(client: Any, token: str, output: str) -> None:
    client.send_durable_execution_callback_success(CallbackId=token, Result=output.encode())


_SENDERS: dict[str, tuple[str, Callable[[Any, str, str], None]]] = {
    STATES: ("stepfunctions", _send_to_states),
    DURABLE: ("lambda", _send_to_durable),
}
"""Engines to the service that is told, and how."""
