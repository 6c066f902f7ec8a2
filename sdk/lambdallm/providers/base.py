"""The shape of a provider, and the one that asks through the sidecar."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from lambdallm import _errors, _requests, _settings
from lambdallm._context import WITHOUT_LIMIT_MS
from lambdallm._messages import PICO_USD
from lambdallm._models import ModelResponse
from lambdallm._work import Work
from lambdallm_wire import routes

if TYPE_CHECKING:
    from typing import Any

    from lambdallm._models import ModelConfig


class BaseProvider(ABC):
    """Asks a model. Subclasses implement `invoke`."""

    def __init__(self, config: ModelConfig) -> None:
        """Keep the model to ask."""
        self.config = config

    @abstractmethod
    def invoke(self, prompt: str, config: ModelConfig) -> ModelResponse:
        """Ask once and return the answer."""

    def supports_streaming(self) -> bool:
        """Say whether `invoke_streaming` works."""
        return False

    def invoke_streaming(self, prompt: str, config: ModelConfig) -> Any:
        """Ask and return the pieces of the answer as they come.

        Raises:
            ProviderError: This provider does not stream.
        """
        message = f"{self.name} does not stream."
        raise _errors.ProviderError(message)

    @property
    def name(self) -> str:
        """The provider's name."""
        return type(self).__name__


class EngineProvider(BaseProvider):
    """Asks through the sidecar, or the embedded engine, in a unit of work of its own."""

    def invoke(self, prompt: str, config: ModelConfig) -> ModelResponse:
        """Ask once and return the answer.

        Raises:
            ModelInvocationError: The model failed.
        """
        work_id = f"provider-{_settings.random_id()}"
        deadline = _settings.epoch_ms() + WITHOUT_LIMIT_MS
        work = Work(work_id, work_id, deadline)
        request: dict[str, Any] = {
            "work_id": work_id,
            "call_id": _settings.random_id(),
            "model": config.wire_name,
            "messages": [{"role": "user", "content": prompt}],
            "deadline_epoch_ms": deadline,
            **config.parameters(),
        }
        _requests.add_own_providers(request)
        started = _settings.monotonic()
        try:
            reply = work.ask(routes.CHAT, request, deadline)
        except _errors.LambdaLLMError as error:
            work.end("error", error.code, (_settings.monotonic() - started) * 1_000)
            raise
        work.end("ok", "", (_settings.monotonic() - started) * 1_000)
        tokens_out = reply["usage"]["output_tokens"]
        return ModelResponse(
            content=reply["text"],
            model_id=reply["model"],
            tokens_in=sum(reply["usage"].values()) - tokens_out,
            tokens_out=tokens_out,
            latency_ms=reply["latency_ms"],
            cost_usd=(reply["cost_pico_usd"] or 0) / PICO_USD,
            raw_response=reply,
        )
