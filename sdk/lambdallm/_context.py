"""What a handler gets beside its event: the model, the session, the time and the money.

It is the Lambda context too: what is not ours is looked up there.
"""

from __future__ import annotations

import sys

from lambdallm import _errors, _messages, _raw_clients, _settings
from lambdallm._messages import PICO_USD, ChatResponse
from lambdallm._models import ModelConfig, resolve
from lambdallm._work import Work

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from lambdallm._session import Session
    from lambdallm_wire.chat import Usage

USEFUL_MS = 250
"""With less than this left a model is not asked: no answer comes in that time."""

WITHOUT_LIMIT_MS = 900_000
"""Time left where the Lambda context does not say: as long as the longest invocation."""

_CHAT_PARAMETERS = frozenset(
    (
        "model",
        "system",
        "max_tokens",
        "temperature",
        "top_p",
        "stop_sequences",
        "region",
        "max_retries",
        "fallback_model",
    )
)


class Metrics:
    """Numbers of this invocation, for the handler's own use."""

    def __init__(self) -> None:
        self._values: dict[str, float] = {}

    def record(self, name: str, value: float) -> None:
        """Set a number."""
        self._values[name] = value

    def get(self, name: str) -> float | None:
        """Return a number, None if it was not recorded."""
        return self._values.get(name)

    def all(self) -> dict[str, float]:
        """Return a copy of all of them."""
        return dict(self._values)


class LambdaLLMContext:
    """One invocation, for its handler.

    Attributes:
        checkpoint: Set it to what is needed to go on; with `timeout_strategy="checkpoint"` it is
            answered when the time runs out.
        raw_body: The request's body as it came, None for events without one.
        metrics: Numbers for the handler's own use.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the earlier package's signature
        self,
        model: ModelConfig | None,
        timeout_strategy: str,
        timeout_buffer: float,
        max_retries: int,
        fallback_model: ModelConfig | None,
        lambda_context: Any,
        middleware: list[Any],
        session_config: Any = None,
        router: Any = None,
        *,
        defaults: Mapping[str, Any] | None = None,
        raw_body: str | None = None,
    ) -> None:
        """Describe the invocation; nothing is sent yet.

        The last two are the decorator's: `system`, `max_tokens` and `temperature` of every
        call, None for what was not given, and the request's body as it came.
        """
        settings = _settings.Settings.from_environ()
        self.model = model or ModelConfig(settings.model)
        self.timeout_strategy = timeout_strategy
        self.timeout_buffer = timeout_buffer
        self.max_retries = max_retries
        self.fallback_model = fallback_model
        self.lambda_context = lambda_context
        self.middleware = middleware
        self.session_config = session_config
        self.router = router
        self.metrics = Metrics()
        self.checkpoint: Any = None
        self.raw_body = raw_body
        self._defaults = defaults or {}
        self._settings = settings
        self._session: Session | None = None
        self._total_pico_usd = 0
        self._own_providers_pico_usd = 0
        self._unpriced_calls = 0
        self._calls = 0
        start_ms = self.remaining_time_ms
        self._reserve_ms = _reserve_ms(timeout_buffer, start_ms, in_lambda=settings.in_lambda)
        self.work = self._describe_work(start_ms)

    # Time

    @property
    def remaining_time_ms(self) -> int:
        """Milliseconds until Lambda ends the invocation."""
        ask = getattr(self.lambda_context, "get_remaining_time_in_millis", None)
        left = ask() if callable(ask) else None
        return int(left) if isinstance(left, (int, float)) else WITHOUT_LIMIT_MS

    @property
    def should_checkpoint(self) -> bool:
        """Whether no more than `timeout_buffer` is left, so that no model is asked any more."""
        return self.remaining_time_ms < self._reserve_ms

    # Money

    @property
    def total_cost(self) -> float:
        """What this invocation's calls cost so far, in dollars."""
        return self.total_cost_pico_usd / PICO_USD

    @property
    def total_cost_pico_usd(self) -> int:
        """The same, exact, in 1e-12 dollars. Calls without a known price are not in it."""
        return self._total_pico_usd + self._own_providers_pico_usd

    @property
    def unpriced_calls(self) -> int:
        """Calls to models without a known price: the cost above is not all while this is not 0."""
        return self._unpriced_calls

    # State

    @property
    def session(self) -> Session | None:
        """The conversation, read from the store; None when the handler declares none."""
        return self._session

    def open_session(self, declared: Session, session_id: str) -> None:
        """Bind the declared session to this invocation, whose unit of work has its rule."""
        self._session = declared.open(self.work, session_id)

    # Models

    def invoke(self, prompt: Any, **variables: Any) -> str:
        """Ask the model and return its text.

        Args:
            prompt: Text, `session.format_history()`, or a list of messages.
            **variables: For `{name}` in a text; other braces stay as they are.

        Raises:
            DeadlineExceededError: Too little time is left. Nothing was asked.
            ModelInvocationError: The model, and the fallback if there is one, failed.
            TypeError: A variable is called as a parameter of `chat`, and the prompt has no place
                for it.
        """
        if variables:
            _refuse_parameters(prompt, variables)
            if isinstance(prompt, str) and not isinstance(prompt, _messages.History):
                prompt = _messages.substitute(prompt, variables)
        return self._ask(prompt, {}).text

    def chat(self, messages: Any, **parameters: Any) -> ChatResponse:
        """Ask the model with a conversation and return all that is known of the answer.

        Args:
            messages: A list of `{"role": …, "content": …}`, or what `invoke` takes.
            **parameters: For this call: `model`, `system`, `max_tokens`, `temperature`,
                `top_p`, `stop_sequences`, `region`, `max_retries`, `fallback_model`.

        Raises:
            DeadlineExceededError, ModelInvocationError: As `invoke`.
        """
        unknown = parameters.keys() - _CHAT_PARAMETERS
        if unknown:
            message = f"chat() has no parameter {min(unknown)!r}."
            raise TypeError(message)
        return self._ask(messages, parameters)

    async def ainvoke(self, prompt: Any, **variables: Any) -> str:
        """Do as `invoke`, while other coroutines run; 64 at once, the others wait."""
        from lambdallm import _async

        text: str = await _async.in_thread(lambda: self.invoke(prompt, **variables))
        return text

    async def achat(self, messages: Any, **parameters: Any) -> ChatResponse:
        """Do as `chat`, while other coroutines run; 64 at once, the others wait."""
        from lambdallm import _async

        response: ChatResponse = await _async.in_thread(lambda: self.chat(messages, **parameters))
        return response

    def get_raw_client(self, service: str = "bedrock-runtime") -> Any:
        """Return a boto3 client, made once per process. Its calls are not metered.

        Raises:
            ConfigurationError: boto3 is not installed, or no region is set.
        """
        return _raw_clients.client(service, self.model.region or self._settings.region)

    def _ask(self, prompt: Any, parameters: Mapping[str, Any]) -> ChatResponse:
        messages = _messages.to_messages(prompt)
        deadline = _settings.epoch_ms() + self.remaining_time_ms - self._reserve_ms
        if deadline - _settings.epoch_ms() < USEFUL_MS:
            message = (
                f"{self.remaining_time_ms} ms are left, and timeout_buffer keeps "
                f"{self._reserve_ms} ms of them free. The model was not asked."
            )
            raise _errors.DeadlineExceededError(message)
        text = prompt if isinstance(prompt, str) else _messages.flatten(messages)
        config = self._pick(text, parameters)
        request = self._request(messages, config, parameters)
        replaced = _replaced_get_provider()
        if replaced is None:
            request["deadline_epoch_ms"] = deadline
            response = self._ask_engine(request, deadline)
        else:
            response = self._ask_replaced(replaced, text, config, request)
        self._book(response)
        return response

    def _pick(self, text: str, parameters: Mapping[str, Any]) -> ModelConfig:
        if parameters.get("model") is not None:
            return resolve(parameters["model"])
        if self.router is not None:
            return resolve(self.router.select(text, self))
        return self.model

    def _request(
        self,
        messages: list[dict[str, Any]],
        config: ModelConfig,
        parameters: Mapping[str, Any],
    ) -> dict[str, Any]:
        request: dict[str, Any] = {
            "call_id": _settings.random_id(),
            "model": config.qualified_id,
            "messages": messages,
            "max_retries": self.max_retries,
            **config.parameters(),
        }
        given = {**self._defaults, **parameters, "model": None, "fallback_model": None}
        request |= {name: value for name, value in given.items() if value is not None}
        fallback = parameters.get("fallback_model") or self.fallback_model
        if fallback is not None:
            request["fallback_model"] = resolve(fallback).qualified_id
        return request

    def _ask_engine(self, request: dict[str, Any], deadline: int) -> ChatResponse:
        reply = self.work.chat(request, deadline)  # type: ignore[arg-type]  # built key by key
        self._total_pico_usd = reply["total_cost_pico_usd"]
        self._unpriced_calls = reply["total_unpriced_calls"]
        return ChatResponse(reply)

    def _ask_replaced(
        self, get_provider: Any, text: str, config: ModelConfig, request: Mapping[str, Any]
    ) -> ChatResponse:
        """Ask the provider that a test put in place of `lambdallm.providers.get_provider`."""
        attempts = 1 + max(0, request["max_retries"])
        try:
            answer = _try(get_provider(config), text, config, attempts)
        except _errors.ModelInvocationError:
            if "fallback_model" not in request:
                raise
            config = resolve(request["fallback_model"])
            answer = get_provider(config).invoke(text, config)
        cost = round(float(answer.cost_usd) * PICO_USD)
        self._own_providers_pico_usd += cost
        usage: Usage = {
            "uncached_input_tokens": answer.tokens_in,
            "cache_read_tokens": 0,
            "cache_write_5m_tokens": 0,
            "cache_write_1h_tokens": 0,
            "output_tokens": answer.tokens_out,
        }
        return ChatResponse(
            {
                "text": answer.content,
                "model": answer.model_id,
                "usage": usage,
                "cost_pico_usd": cost,
                "finish_reason": "stop",
                "latency_ms": answer.latency_ms,
                "content": [{"text": answer.content}],
                "attempts": 1,
                "call_id": request["call_id"],
            }
        )

    def _book(self, response: ChatResponse) -> None:
        self._calls += 1
        self.metrics.record("model.invocations", self._calls)
        self.metrics.record("model.total_cost_usd", self.total_cost)
        self.metrics.record("model.tokens_in", response.input_tokens)
        self.metrics.record("model.tokens_out", response.output_tokens)
        self.metrics.record("model.latency_ms", response.latency_ms)

    def _describe_work(self, remaining_ms: int) -> Work:
        """Name the unit of work after the request.

        Outside Lambda nobody promises that request ids differ, and one that comes twice would
        be taken for a redelivery; so they are made unique there.
        """
        given = getattr(self.lambda_context, "aws_request_id", None)
        request_id = given if isinstance(given, str) and given else _settings.random_id()
        work_id = request_id
        if not self._settings.in_lambda:
            work_id = f"{request_id}.{_settings.random_id()[:12]}"
        deadline = _settings.epoch_ms() + remaining_ms
        return Work(work_id, request_id, deadline, lambda_context=self._innermost_context())

    def _innermost_context(self) -> Any:
        """Return Lambda's own: a handler that calls another one may hand on ours."""
        found = self.lambda_context
        while isinstance(found, LambdaLLMContext):
            found = found.lambda_context
        return found

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "lambda_context":
            raise AttributeError(name)
        return getattr(self.lambda_context, name)


def _reserve_ms(timeout_buffer: float, start_ms: int, *, in_lambda: bool) -> int:
    """Milliseconds kept free before the deadline.

    In Lambda at most a quarter of the time there was: with Lambda's default timeout of 3 s, the
    default buffer of 5 s would let no call through. After a reset a small function has a second
    less of them, and the sidecar, which loads then, needs another one.
    """
    reserve_ms = round(timeout_buffer * 1_000)
    return min(reserve_ms, start_ms // 4) if in_lambda else reserve_ms


def _refuse_parameters(prompt: Any, variables: Mapping[str, Any]) -> None:
    """Refuse what is meant for `chat`: as a variable that stands nowhere it would do nothing."""
    text = prompt if isinstance(prompt, str) and not isinstance(prompt, _messages.History) else ""
    for name in sorted(_CHAT_PARAMETERS & variables.keys()):
        if f"{{{name}" not in text:
            message = (
                f"invoke() puts variables into its prompt, and this one has no {{{name}}}. As a "
                f"setting of one call {name} belongs into chat(…).text, as one of every call into "
                "@handler(…) or its ModelConfig."
            )
            raise TypeError(message)


def _replaced_get_provider() -> Any:
    """Return `lambdallm.providers.get_provider` if a test has replaced it."""
    providers = sys.modules.get("lambdallm.providers")
    if providers is None:
        return None
    found = getattr(providers, "get_provider", None)
    return None if found is providers.OWN_GET_PROVIDER else found


def _try(provider: Any, text: str, config: ModelConfig, attempts: int) -> Any:
    for attempt in range(1, attempts + 1):
        try:
            return provider.invoke(text, config)
        except _errors.ModelInvocationError as error:
            if not error.retryable or attempt == attempts:
                raise
    raise AssertionError  # there is at least one attempt
