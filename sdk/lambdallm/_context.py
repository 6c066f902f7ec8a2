"""What a handler gets beside its event: the model, the session, the time and the money.

It is the Lambda context too: what is not ours is looked up there.
"""

from __future__ import annotations

import sys

from lambdallm import _errors, _messages, _raw_clients, _requests, _settings
from lambdallm._messages import ChatResponse
from lambdallm._metrics import Metrics
from lambdallm._models import DefaultModel, ModelConfig, resolve
from lambdallm._push import Pushes
from lambdallm._response_head import StartsResponse
from lambdallm._spending import Spends
from lambdallm._steps import HasSteps, scope_here
from lambdallm._structured import AsksStructured
from lambdallm._work import Work
from lambdallm_wire import routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from lambdallm._async_streaming import AsyncChatStream
    from lambdallm._embeddings import Embeddings
    from lambdallm._runs import StepScope
    from lambdallm._session import Session
    from lambdallm._streaming import Call, ChatStream, WholeAnswer

USEFUL_MS = 250
"""With less than this left a model is not asked: no answer comes in that time."""

WITHOUT_LIMIT_MS = 900_000
"""Time left where the Lambda context does not say: as long as the longest invocation."""


class LambdaLLMContext(Spends, HasSteps, AsksStructured, Pushes, StartsResponse):
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
        Spends.__init__(self)
        HasSteps.__init__(self)
        settings = _settings.Settings.from_environ()
        self.model = model or DefaultModel(settings.model)
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
    def usable_time_ms(self) -> int:
        """Milliseconds until `timeout_buffer` begins."""
        return max(0, self.remaining_time_ms - self._reserve_ms)

    @property
    def should_checkpoint(self) -> bool:
        """Whether no more than `timeout_buffer` is left, so that no model is asked any more."""
        return self.remaining_time_ms < self._reserve_ms

    # State

    @property
    def session(self) -> Session | None:
        """The conversation, read from the store; None when the handler declares none."""
        return self._session

    def open_session(self, declared: Session, session_id: str, owner: str) -> None:
        """Bind the declared session to this invocation, whose unit of work has its rule."""
        self._session = declared.open(self.work, session_id, owner)

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
            _requests.refuse_parameters(prompt, variables)
            if isinstance(prompt, str) and not isinstance(prompt, _messages.History):
                prompt = _messages.substitute(prompt, variables)
        return self._ask(prompt, {}).text

    def chat(self, messages: Any, **parameters: Any) -> ChatResponse:
        """Ask the model with a conversation and return all that is known of the answer.

        Args:
            messages: A list of `{"role": …, "content": …}`, or what `invoke` takes.
            **parameters: For this call: `model`, `system`, `max_tokens`, `temperature`, `top_p`,
                `stop_sequences`, `tools`, `tool_choice`, `output_schema`, `reasoning`,
                `service_tier`, `additional_fields`, `region`, `max_retries`, `fallback_model`,
                `fallback_models`; see `lambdallm_wire.chat.ChatRequest`.

        Raises:
            DeadlineExceededError, ModelInvocationError: As `invoke`.
        """
        _requests.check_names("chat", parameters)
        return self._ask(messages, parameters)

    def stream(self, messages: Any, **parameters: Any) -> ChatStream:
        """Ask the model, and return its answer piece by piece as soon as it begins.

            for piece in context.stream("Tell me a story."):
                ...

        Args:
            messages: What `chat` takes.
            **parameters: Those of `chat`.

        Raises:
            DeadlineExceededError, ModelInvocationError: As `invoke`; while it is read, too, with
                what has come before in `partial_text`.
        """
        from lambdallm._streaming import ChatStream

        stream = ChatStream(self._open_stream(messages, parameters))
        self.note_stream(stream)
        return stream

    def embed(
        self,
        texts: Any,
        model: Any = None,
        dimensions: int | None = None,
        **parameters: Any,
    ) -> Embeddings:
        """Turn texts into vectors.

        Args:
            texts: A list of them; a single text is a list of one.
            model: `provider/model`; by default what LAMBDALLM_EMBEDDING_MODEL says.
            dimensions: Of a vector, where the model lets one choose.
            **parameters: `region`, `max_retries`, `additional_fields`.

        Raises:
            DeadlineExceededError, ModelInvocationError: As `invoke`.
        """
        from lambdallm import _embeddings

        default = self._settings.embedding_model
        request = _requests.make_embed_request(texts, model or default, dimensions, parameters)
        request.setdefault("max_retries", self.max_retries)
        request["deadline_epoch_ms"] = deadline = self._deadline()
        embeddings = _embeddings.Embeddings(self.work.ask(routes.EMBED, request, deadline))
        self._take_totals(embeddings.totals)
        return embeddings

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

    async def aembed(self, texts: Any, **parameters: Any) -> Embeddings:
        """Do as `embed`, while other coroutines run; 64 at once, the others wait."""
        from lambdallm import _async

        vectors: Embeddings = await _async.in_thread(lambda: self.embed(texts, **parameters))
        return vectors

    def astream(self, messages: Any, **parameters: Any) -> AsyncChatStream:
        """Do as `stream`, for `async for`; the model is asked when the first piece is wanted."""
        from lambdallm._async_streaming import AsyncChatStream

        stream = AsyncChatStream(lambda: self._open_stream(messages, parameters))
        self.note_stream(stream)
        return stream

    def get_raw_client(self, service: str = "bedrock-runtime") -> Any:
        """Return a boto3 client, made once per process.

        That of `bedrock-runtime` asks through the sidecar, which meters it, where one serves
        this process; all others ask AWS.

        Raises:
            ConfigurationError: boto3 is not installed, or no region is set.
        """
        region = self.model.region or self._settings.region
        endpoint = self.work.drop_in_url("bedrock") if service == "bedrock-runtime" else None
        return _raw_clients.client(service, region, endpoint)

    def _deadline(self) -> int:
        """Return until when an answer is of use (epoch milliseconds).

        Raises:
            DeadlineExceededError: Too little time is left.
        """
        now, left = _settings.epoch_ms(), self.remaining_time_ms
        deadline = now + left - self._reserve_ms
        if deadline - now < USEFUL_MS:
            message = (
                f"{left} ms are left, and timeout_buffer keeps {self._reserve_ms} ms of them "
                "free. The model was not asked."
            )
            raise _errors.DeadlineExceededError(message)
        return deadline

    def _ask(self, prompt: Any, parameters: Mapping[str, Any]) -> ChatResponse:
        request, deadline, replaced = self._prepare(prompt, parameters)
        scope = scope_here()
        if replaced is not None:
            return self._book_replaced(replaced, scope)
        if scope is None:
            return self._book(self.work.ask(routes.CHAT, request, deadline))
        return self._book(scope.ask(request, lambda: self.work.ask(routes.CHAT, request, deadline)))

    def _open_stream(self, prompt: Any, parameters: Mapping[str, Any]) -> Call | WholeAnswer:
        from lambdallm import _streaming

        _requests.check_names("stream", parameters)
        request, deadline, replaced = self._prepare(prompt, parameters)
        if self.left_streams:
            request["reader_gone"] = self.left_streams
        scope = scope_here()
        if replaced is not None:
            return _streaming.WholeAnswer(self._book_replaced(replaced, scope))
        if scope is None:
            return _streaming.Call(self.work, request, deadline, self._book)

        def book(reply: dict[str, Any]) -> ChatResponse:
            scope.book(reply)
            return self._book(reply)

        return scope.send(request, lambda: _streaming.Call(self.work, request, deadline, book))

    def _prepare(
        self, prompt: Any, parameters: Mapping[str, Any]
    ) -> tuple[dict[str, Any], int, Callable[[], ChatResponse] | None]:
        """Make a request and its deadline, and what asks a provider that a test has put there."""
        messages = _messages.to_messages(prompt)
        deadline = self._deadline()
        text = prompt if isinstance(prompt, str) else _messages.flatten(messages)
        config = self._pick(text, parameters)
        request = _requests.make_request(
            messages,
            config,
            parameters,
            defaults={"max_retries": self.max_retries, **self._defaults},
            fallback=self.fallback_model,
        )
        replaced = _replaced_get_provider()
        if replaced is None:
            request["deadline_epoch_ms"] = deadline
            return request, deadline, None
        from lambdallm import _replaced

        return request, deadline, lambda: _replaced.ask(replaced, text, config, request)

    def _pick(self, text: str, parameters: Mapping[str, Any]) -> ModelConfig:
        if parameters.get("model") is not None:
            return resolve(parameters["model"])
        if self.router is not None:
            return resolve(self.router.select(text, self))
        return self.model

    def _book(self, reply: dict[str, Any]) -> ChatResponse:
        self._take_totals((reply["total_cost_pico_usd"], reply["total_unpriced_calls"]))
        return self._measure(ChatResponse(reply))

    def _book_replaced(
        self, ask: Callable[[], ChatResponse], scope: StepScope | None
    ) -> ChatResponse:
        response = ask() if scope is None else scope.ask_replaced(ask)
        self._pay(response.cost_pico_usd)
        return self._measure(response)

    def _measure(self, response: ChatResponse) -> ChatResponse:
        self._calls += 1
        self.metrics.record("model.invocations", self._calls)
        self.metrics.record("model.total_cost_usd", self.total_cost)
        self.metrics.record("model.tokens_in", response.input_tokens)
        self.metrics.record("model.tokens_out", response.output_tokens)
        self.metrics.record("model.latency_ms", response.latency_ms)
        return response

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


def _replaced_get_provider() -> Any:
    """Return `lambdallm.providers.get_provider` if a test has replaced it."""
    providers = sys.modules.get("lambdallm.providers")
    if providers is None:
        return None
    found = getattr(providers, "get_provider", None)
    return None if found is providers.OWN_GET_PROVIDER else found


def for_script() -> LambdaLLMContext:
    """Return a context of no invocation, for code that runs outside of one."""
    return LambdaLLMContext(None, "fail-fast", 0, 3, None, None, [])
