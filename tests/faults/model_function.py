"""A function that asks models in every way there is; `faults.model_soak` runs it.

event   {"asks": ["openai stream", …], "decorated": true}     all at once, a thread each
answer  {"answers": [{"ask", "requests", "outcome", "text", "output_tokens"}, …]}

`outcome` is `whole`, `broken off`, or the name of the error's class. `requests` counts what the
client sent, its own retries among them.
"""

from __future__ import annotations

import contextvars
import logging
import os
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import anthropic
import boto3
import openai
from model_asks import BROKEN_OFF, MODELS, WHOLE

from lambdallm import handler

if TYPE_CHECKING:
    from collections.abc import Callable

OPENAI = openai.OpenAI()
ANTHROPIC = anthropic.Anthropic()
BEDROCK = boto3.client("bedrock-runtime")

QUESTION = "Say all you know."
PIECES_READ = 3
"""Of a stream that is broken off."""

TEXTS_OF_MANY = 20

Said = tuple[str, int]
"""A text, and the output tokens that the client was told of."""

_asking: contextvars.ContextVar[Counter[str]] = contextvars.ContextVar("asking")


class _CountRetries(logging.Handler):
    """The clients say in their logs when they ask again."""

    def emit(self, record: logging.LogRecord) -> None:
        if str(record.msg).startswith("Retrying request"):
            _asking.get()["requests"] += 1


for client in ("openai", "anthropic"):
    logger = logging.getLogger(f"{client}._base_client")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(_CountRetries())


def _count_signed(**_: object) -> None:
    _asking.get()["requests"] += 1


BEDROCK.meta.events.register("before-send.bedrock-runtime", _count_signed)


def _chat(model: str, context: Any) -> Said:
    _asking.get()["requests"] += 1
    reply = context.chat(QUESTION, model=model)
    return reply.text, reply.usage["output_tokens"]


def _stream(model: str, context: Any) -> Said:
    _asking.get()["requests"] += 1
    stream = context.stream(QUESTION, model=model)
    text = "".join(stream)
    return text, stream.response.usage["output_tokens"]


def _stream_broken_off(model: str, context: Any) -> None:
    _asking.get()["requests"] += 1
    with context.stream(QUESTION, model=model) as stream:
        for _ in zip(range(PIECES_READ), stream, strict=False):
            pass


def _embed(model: str, context: Any) -> Said:
    _asking.get()["requests"] += 1
    reply = context.embed([os.urandom(8).hex(), "the same"], model=model)
    return f"{len(reply.vectors)} vectors", 0


def _embed_many(model: str, context: Any) -> Said:
    _asking.get()["requests"] += 1
    reply = context.embed([os.urandom(8).hex() for _ in range(TEXTS_OF_MANY)], model=model)
    return f"{len(reply.vectors)} vectors", 0


def _openai_chat(model: str, _: Any) -> Said:
    _asking.get()["requests"] += 1
    reply = OPENAI.chat.completions.create(
        model=model, messages=[{"role": "user", "content": QUESTION}]
    )
    return reply.choices[0].message.content, reply.usage.completion_tokens


def _open_openai(model: str) -> Any:
    _asking.get()["requests"] += 1
    return OPENAI.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": QUESTION}],
        stream=True,
        stream_options={"include_usage": True},
    )


def _openai_stream(model: str, _: Any) -> Said:
    text, tokens = [], 0
    for chunk in _open_openai(model):
        text += [choice.delta.content or "" for choice in chunk.choices]
        tokens = chunk.usage.completion_tokens if chunk.usage else tokens
    return "".join(text), tokens


def _openai_stream_broken_off(model: str, _: Any) -> None:
    with _open_openai(model) as stream:
        for _ in zip(range(PIECES_READ), stream, strict=False):
            pass


def _anthropic_chat(model: str, _: Any) -> Said:
    _asking.get()["requests"] += 1
    reply = ANTHROPIC.messages.create(
        model=model, max_tokens=500, messages=[{"role": "user", "content": QUESTION}]
    )
    return reply.content[0].text, reply.usage.output_tokens


def _open_anthropic(model: str) -> Any:
    _asking.get()["requests"] += 1
    return ANTHROPIC.messages.create(
        model=model,
        max_tokens=500,
        messages=[{"role": "user", "content": QUESTION}],
        stream=True,
    )


def _anthropic_stream(model: str, _: Any) -> Said:
    text, tokens = [], 0
    for event in _open_anthropic(model):
        if event.type == "content_block_delta":
            text.append(event.delta.text)
        if event.type == "message_delta":
            tokens = event.usage.output_tokens
    return "".join(text), tokens


def _anthropic_stream_broken_off(model: str, _: Any) -> None:
    with _open_anthropic(model) as stream:
        for _ in zip(range(PIECES_READ), stream, strict=False):
            pass


def _messages() -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"text": QUESTION}]}]


def _converse(model: str, _: Any) -> Said:
    reply = BEDROCK.converse(modelId=model, messages=_messages())
    return reply["output"]["message"]["content"][0]["text"], reply["usage"]["outputTokens"]


def _converse_stream(model: str, _: Any) -> Said:
    text, tokens = [], 0
    for event in BEDROCK.converse_stream(modelId=model, messages=_messages())["stream"]:
        if "contentBlockDelta" in event:
            text.append(event["contentBlockDelta"]["delta"]["text"])
        if "metadata" in event:
            tokens = event["metadata"]["usage"]["outputTokens"]
    return "".join(text), tokens


def _converse_stream_broken_off(model: str, _: Any) -> None:
    stream = BEDROCK.converse_stream(modelId=model, messages=_messages())["stream"]
    try:
        for _ in zip(range(PIECES_READ), stream, strict=False):
            pass
    finally:
        stream.close()


RUNS: dict[str, Callable[[str, Any], Said | None]] = {
    "context.chat": _chat,
    "context.stream": _stream,
    "context.stream, broken off": _stream_broken_off,
    "context.stream of Bedrock": _stream,
    "context.embed": _embed,
    "context.embed of many": _embed_many,
    "openai": _openai_chat,
    "openai stream": _openai_stream,
    "openai stream, broken off": _openai_stream_broken_off,
    "anthropic": _anthropic_chat,
    "anthropic stream": _anthropic_stream,
    "anthropic stream, broken off": _anthropic_stream_broken_off,
    "boto3": _converse,
    "boto3 stream": _converse_stream,
    "boto3 stream, broken off": _converse_stream_broken_off,
}


def _ask(ask: str, context: Any) -> dict[str, Any]:
    counted: Counter[str] = Counter()
    _asking.set(counted)
    text, tokens = "", 0
    try:
        said = RUNS[ask](MODELS[ask], context)
    except Exception as error:  # noqa: BLE001 - whoever invoked knows which are to be expected
        outcome = f"{type(error).__module__.partition('.')[0]}.{type(error).__name__}"
        text = str(error)[:300]
    else:
        outcome = WHOLE if said else BROKEN_OFF
        text, tokens = said or ("", 0)
    return {
        "ask": ask,
        "requests": counted["requests"],
        "outcome": outcome,
        "text": text,
        "output_tokens": tokens,
    }


def _ask_all(event: dict[str, Any], context: Any) -> dict[str, Any]:
    answers: list[dict[str, Any]] = []
    threads = [
        threading.Thread(target=lambda each=each: answers.append(_ask(each, context)))
        for each in event["asks"]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"answers": answers}


_decorated = handler(_ask_all)


def function(event: dict[str, Any], context: Any) -> Any:
    """Ask, as a function that uses lambdallm's SDK or as one that has never heard of it."""
    return _decorated(event, context) if event["decorated"] else _ask_all(event, context)
