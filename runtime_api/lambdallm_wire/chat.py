"""One model call: what is asked, what comes back, what it used.

Token counts are disjoint: a request's whole input is the sum of `uncached_input_tokens`,
`cache_read_tokens` and both `cache_write_*` counts. Money is whole pico-USD (1e-12 USD).
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from lambdallm_wire.problems import Problem  # noqa: TC001 - read by get_type_hints
from lambdallm_wire.runs import RunCall  # noqa: TC001 - read by get_type_hints

Role = Literal["user", "assistant"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "other"]


class ChatMessage(TypedDict):
    """One message: text, or blocks in the form of Bedrock's Converse content blocks.

    Shape:
        {"role": "user", "content": "text"}
        {"role": "user", "content": [{"text": "text"}, {"image": {…}}]}

    A role `system` is allowed here too; the sidecar moves such messages into the system prompt.
    """

    role: str
    content: str | list[dict[str, Any]]


class Usage(TypedDict):
    """Tokens of one call, in disjoint counts."""

    uncached_input_tokens: int
    cache_read_tokens: int
    cache_write_5m_tokens: int
    cache_write_1h_tokens: int
    output_tokens: int


class Tool(TypedDict, total=False):
    """A tool that the model may call. `input_schema` is a JSON schema of an object.

    Shape:
        {"name": "weather", "description": "…", "input_schema": {"type": "object", …}}
        {"cachePoint": {"type": "default"}}    what stands before it is cached
    """

    name: str
    description: str
    input_schema: dict[str, Any]
    cachePoint: dict[str, Any]


class Reasoning(TypedDict, total=False):
    """How much a model may think before it answers: one of the two; a model takes what it knows."""

    effort: str
    max_tokens: int


class ChatRequest(TypedDict, total=False):
    """What to ask. `work_id`, `call_id`, `model` and `messages` are always there.

    Args:
        work_id: The unit of work that pays for it.
        call_id: Made by the caller before the first attempt; the key of the call's record.
        model: `provider/model`, for example `bedrock/us.amazon.nova-micro-v1:0`, or an alias.
        messages: The conversation, oldest first.
        system: System prompt: text, or blocks (`{"text": …}`, `{"cachePoint": …}`), or absent.
        max_tokens, temperature, top_p, stop_sequences: Sent only when present.
        tools: What the model may call.
        tool_choice: `auto`, `any` (it must call one), `none`, or a tool's name.
        output_schema: A JSON schema that the answer's text is to follow.
        reasoning: How much it may think.
        service_tier: In the provider's own words, such as `flex`.
        additional_fields: Put into the provider's request as they are, for what has no name here.
        region: Where to ask, when not in the environment's own region.
        max_retries: Further attempts after the first one failed retryably.
        fallback_model: Asked once after `model` has failed for good.
        fallback_models: The same, one after the other; they take the place of the alias's own.
        own_providers: Providers that the caller itself answers for; see `Perform`.
        deadline_epoch_ms: The caller has no use for an answer after this instant.
        run: The run that asks, if one does.
        reader_gone: `cancel`: a streamed answer that is let go of early is not wanted any more. The
            model is told so where that ends what it costs; else it is read on for its usage.
    """

    work_id: str
    call_id: str
    model: str
    messages: list[ChatMessage]
    system: str | list[dict[str, Any]]
    max_tokens: int
    temperature: float
    top_p: float
    stop_sequences: list[str]
    tools: list[Tool]
    tool_choice: str
    output_schema: dict[str, Any]
    reasoning: Reasoning
    service_tier: str
    additional_fields: dict[str, Any]
    region: str
    max_retries: int
    fallback_model: str
    fallback_models: list[str]
    own_providers: list[str]
    deadline_epoch_ms: int
    run: RunCall
    reader_gone: str


class _Replayed(TypedDict, total=False):
    """Only of an answer that an earlier attempt of a run has paid for: nobody was asked."""

    replayed: bool


class ChatResponse(_Replayed):
    """What came back.

    `cost_pico_usd` is None when the price book has no price for the model: unknown, never 0.
    `total_*` count the whole unit of work up to and including this call.
    """

    call_id: str
    model: str
    text: str
    content: list[dict[str, Any]]
    finish_reason: FinishReason
    usage: Usage
    cost_pico_usd: int | None
    latency_ms: int
    attempts: int
    total_cost_pico_usd: int
    total_unpriced_calls: int


class ChatDelta(TypedDict, total=False):
    """What comes next of a streamed answer: one of these, a line of its own in the reply's body.

    The last line holds `response`, or the `problem` that ended the stream; what came before it
    has been generated all the same.

    Shape:
        {"text": "Hel"}
        {"reasoning": "The user greets"}
        {"tool_use": {"index": 1, "id": "tooluse_1", "name": "weather"}}
        {"tool_input": {"index": 1, "json": "{ …"}}
        {"response": {…}}       a `ChatResponse`
        {"problem": {…}}
    """

    text: str
    reasoning: str
    tool_use: dict[str, Any]
    tool_input: dict[str, Any]
    response: ChatResponse
    problem: Problem


class Perform(TypedDict, total=False):
    """Instead of an answer: the caller asks its own provider, and says what came of it.

    It posts a `Performed` with the same ids, and gets what it has asked for first (a `ChatResponse`
    or an `EmbedResponse`), or the next `Perform`. `class_name` (`package.module:Class`) is there
    where the configuration names one. `text_indexes` are there where vectors are wanted: which of
    the request's texts to embed, each once.
    """

    call_id: str
    provider: str
    class_name: str
    model_id: str
    deadline_epoch_ms: int
    text_indexes: list[int]


class Performed(TypedDict, total=False):
    """What the caller's own provider has answered, or the problem that it failed with.

    Without a cost it is unknown; without usage it is zero. `vectors` stand in the order of the
    texts that were to be embedded, in the place of all that a chat answers.
    """

    work_id: str
    call_id: str
    text: str
    content: list[dict[str, Any]]
    finish_reason: str
    vectors: list[list[float]]
    usage: Usage
    cost_pico_usd: int
    model: str
    provider_request_id: str
    problem: Problem


class EmbedRequest(TypedDict, total=False):
    """Texts to embed. `work_id`, `call_id`, `model` and `texts` are always there.

    Args:
        own_providers: Providers that the caller itself answers for; see `Perform`. A caller that
            leaves it out, even when it is empty, is not asked to perform.
    """

    work_id: str
    call_id: str
    model: str
    texts: list[str]
    dimensions: int
    region: str
    max_retries: int
    additional_fields: dict[str, Any]
    own_providers: list[str]
    deadline_epoch_ms: int


class EmbedResponse(TypedDict):
    """Vectors in the order of the texts; `cached_texts` of them cost nothing."""

    call_id: str
    model: str
    vectors: list[list[float]]
    usage: Usage
    cost_pico_usd: int | None
    cached_texts: int
    latency_ms: int
    total_cost_pico_usd: int
    total_unpriced_calls: int
