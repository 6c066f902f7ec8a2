"""A Lambda context and a model without a network."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING

from lambdallm import _settings, providers
from lambdallm._models import ModelConfig, ModelResponse
from lambdallm.providers.base import BaseProvider

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MOCK_COST_USD = 0.0001
"""What every answer of a `MockProvider` costs."""

CHARACTERS_PER_TOKEN = 4
"""By which a `MockProvider` counts, so that counts are plausible and the same every time."""

_COROUTINE = 0x80
"""`inspect.CO_COROUTINE`: the flag of an `async def`'s code."""


class MockLambdaContext:
    """What Lambda hands to a handler beside the event, each with a request id of its own."""

    function_name = "test-function"
    function_version = "$LATEST"
    memory_limit_in_mb = 256
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:test-function"
    log_group_name = "/aws/lambda/test-function"
    log_stream_name = "2026/01/01/[$LATEST]0123456789abcdef"

    def __init__(self, timeout_ms: int = 30_000) -> None:
        """Make one whose time left is always `timeout_ms`."""
        self.aws_request_id = _settings.random_id()
        self._timeout_ms = timeout_ms

    def get_remaining_time_in_millis(self) -> int:
        """Return the time left, which does not run."""
        return self._timeout_ms


class MockProvider(BaseProvider):
    """A model that answers from a list, over and over."""

    def __init__(self, responses: list[str] | None = None, raises: Exception | None = None) -> None:
        """Tell it what to say.

        Args:
            responses: Its answers in order; after the last one the first comes again.
            raises: Raised by every call instead.
        """
        super().__init__(ModelConfig("mock"))
        self.responses = list(responses or ["Mock response"])
        self.raises = raises
        self.prompts: list[str] = []

    def invoke(self, prompt: str, config: Any) -> ModelResponse:
        """Give the next answer."""
        answer = self.responses[len(self.prompts) % len(self.responses)]
        self.prompts.append(prompt)
        if self.raises is not None:
            raise self.raises
        return ModelResponse(
            content=answer,
            model_id=getattr(config, "model_id", "mock"),
            tokens_in=len(prompt) // CHARACTERS_PER_TOKEN,
            tokens_out=len(answer) // CHARACTERS_PER_TOKEN,
            latency_ms=1.0,
            cost_usd=MOCK_COST_USD,
        )

    def say(self, *responses: str) -> None:
        """Give it new answers, from the first one on."""
        self.responses, self.raises = list(responses), None
        self.prompts = []

    def fail(self, error: Exception) -> None:
        """Let every further call raise."""
        self.raises = error

    @property
    def call_count(self) -> int:
        """How often it was asked."""
        return len(self.prompts)

    @property
    def last_prompt(self) -> str | None:
        """What it was asked last."""
        return self.prompts[-1] if self.prompts else None


class mock_model:  # noqa: N801 - the earlier package's name
    """Lets a `MockProvider` answer instead of a model: around a test, or in a `with`."""

    def __init__(self, responses: list[str] | None = None, raises: Exception | None = None) -> None:
        """Say what `MockProvider` is told."""
        self._responses = responses
        self._raises = raises
        self._before: list[Any] = []

    def __enter__(self) -> MockProvider:
        provider = MockProvider(self._responses, self._raises)
        self._before.append(providers.get_provider)
        providers.get_provider = lambda _config: provider  # type: ignore[assignment]
        return provider

    def __exit__(self, *_error: object) -> None:
        providers.get_provider = self._before.pop()

    def __call__(self, test: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a test; each run gets a fresh `MockProvider`."""
        code = getattr(test, "__code__", None)
        if code is not None and code.co_flags & _COROUTINE:

            @wraps(test)
            async def asynchronous(*args: Any, **kwargs: Any) -> Any:
                with self:
                    return await test(*args, **kwargs)

            return asynchronous

        @wraps(test)
        def synchronous(*args: Any, **kwargs: Any) -> Any:
            with self:
                return test(*args, **kwargs)

        return synchronous
