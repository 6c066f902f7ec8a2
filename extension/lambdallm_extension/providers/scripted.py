"""A model that answers from a script: for tests, and for developing without an AWS account.

The setting `LAMBDALLM_SCRIPT` holds the script, or the path of a JSON file with it. A model is
named `scripted/anything`; the name after the slash may select a script of its own.

Shape:
    ["Hello!", "You said: {last}"]                          answers, one after the other, around
    {"answers": ["Hello!"], "repeat": false}                …and an error when they are used up
    {"answers": [{"text": "Hm.", "finish_reason": "length", "output_tokens": 7},
                 {"error": "ThrottlingException", "status": 429, "retryable": true}]}
    {"answers": [{"chunks": ["He", "llo"], "delay_ms": 5},   pieces, each after 5 ms
                 {"text": "one two three", "cut_after": 2},  the stream breaks after two pieces
                 {"chunks": ["He"], "error": "modelStreamErrorException"}]}  …or fails after one
    {"answers": [{"content": [{"toolUse": {"toolUseId": "1", "name": "add", "input": {"a": 1}}}]}]}
    {"models": {"router": ["chat"], "chat": ["Hi {last}"]}, "answers": ["for all others"]}

`{last}` is the last user message, `{count}` the number of user messages, `{system}` the system
prompt; any other brace is itself. Usage follows one rule where an answer does not say its own: a
token is four characters, or what is left of them, of everything read and of everything answered,
and at least one of each. An answer is streamed word by word where it does not say its pieces. A
vector is made of its text's hash: equal texts have equal ones, and no others mean anything.
"""

from __future__ import annotations

import json
from threading import Lock

from lambdallm_extension.domain.answers import AnswerSoFar, EmbedAnswer
from lambdallm_extension.errors import InvalidRequestError, ProviderError, SettingError
from lambdallm_extension.providers.scripted_answers import (
    CHARACTERS_PER_TOKEN,
    Conversation,
    End,
    ScriptedStream,
    count_tokens,
    pieces_of,
    shortened,
)
from lambdallm_extension.providers.streams import cut
from lambdallm_wire.tokens import NO_USAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm_extension.domain.answers import ChatAnswer
    from lambdallm_extension.model_ports import RawReply, RawRequest
    from lambdallm_wire.chat import ChatRequest, EmbedRequest, Usage

VARIABLE = "LAMBDALLM_SCRIPT"

DIMENSIONS = 16
"""Of a vector that nobody gave another length."""

DIMENSIONS_MAX = 4_096

_ENTRIES = frozenset(("text", "chunks", "content", "error"))
_BLOCKS = frozenset(("text", "toolUse", "reasoningContent"))

_DEFAULT_SCRIPT = ["You said: {last}"]


class Scripted:
    """Answers from a script, in order, each model its own place in it."""

    name = "scripted"

    def __init__(self, script: object) -> None:
        """Start at the beginning.

        Args:
            script: Answers, or an object as the module shows it.

        Raises:
            SettingError: It is neither.
        """
        self._repeat = True
        self._models: dict[str, list[Any]] = {}
        self._answers = _DEFAULT_SCRIPT
        if isinstance(script, dict):
            self._repeat = bool(script.get("repeat", True))
            models = script.get("models", {})
            if not isinstance(models, dict):
                message = f'{VARIABLE}: "models" is an object of a name and its answers each.'
                raise SettingError(message)
            self._models = {name: _checked(answers) for name, answers in models.items()}
            if "answers" in script:
                self._answers = _checked(script["answers"])
        else:
            self._answers = _checked(script)
        self._asked: dict[str, int] = {}
        self._lock = Lock()

    @classmethod
    def from_setting(cls, text: str) -> Scripted:
        """Read the script that a setting holds or names; "" repeats what the user says.

        Raises:
            SettingError: There is no such file, or it is not a script.
        """
        text = text.strip()
        if not text:
            return cls(_DEFAULT_SCRIPT)
        if not text.startswith(("[", "{")):
            text = _read_file(text)
        try:
            return cls(json.loads(text))
        except ValueError as error:
            message = f"{VARIABLE} is not JSON: {error}"
            raise SettingError(message) from error

    def chat(self, model_id: str, request: ChatRequest, *, deadline_ms: int) -> ChatAnswer:
        """Give the next answer.

        Raises:
            InvalidRequestError: There is no user message.
            ProviderError: The script says so, or has ended.
        """
        stream = self._begin(model_id, request, deadline_ms)
        stream.wait()
        if stream.failure is not None:
            raise stream.failure
        stream.delay_ms = 0
        while stream.read() is not None:
            pass
        return stream.answer.to_answer()

    def stream(self, model_id: str, request: ChatRequest, *, deadline_ms: int) -> ScriptedStream:
        """Begin the next answer.

        Raises:
            InvalidRequestError: There is no user message.
            ProviderError: The script says so before any piece, or has ended.
        """
        stream = self._begin(model_id, request, deadline_ms)
        if stream.failure is not None and not stream.pieces_left:
            stream.wait()
            raise stream.failure
        return stream

    def embed(self, model_id: str, request: EmbedRequest, *, deadline_ms: int) -> EmbedAnswer:
        """Make a vector of each text, of `dimensions` numbers or 16, of length 1.

        Raises:
            InvalidRequestError: So many dimensions are none that a vector has.
        """
        del deadline_ms
        dimensions = request.get("dimensions", DIMENSIONS)
        if not 0 < dimensions <= DIMENSIONS_MAX:
            message = f"A scripted vector has 1 to {DIMENSIONS_MAX:,} dimensions."
            raise InvalidRequestError(message)
        texts = request.get("texts") or []
        usage: Usage = dict(NO_USAGE)  # type: ignore[assignment]  # the same keys
        usage["uncached_input_tokens"] = sum(map(count_tokens, texts))
        return EmbedAnswer(
            [_vector(text, dimensions) for text in texts],
            usage,
            f"scripted/{model_id}",
            f"scripted-{model_id}-embed",
        )

    def forward(self, request: RawRequest, *, deadline_ms: int) -> RawReply:
        """Refuse: there is no API behind a script."""
        del deadline_ms
        message = f"A script answers no {request.method} {request.path}: it is no API."
        raise InvalidRequestError(message)

    def reopen(self) -> None:
        """Do nothing: there is no connection."""

    def close(self) -> None:
        """Do nothing: there is no connection."""

    def _begin(self, model_id: str, request: ChatRequest, deadline_ms: int) -> ScriptedStream:
        spoken = Conversation(request)
        number, answer = self._next(model_id)
        pieces = [] if "error" in answer and "chunks" not in answer else pieces_of(answer, spoken)
        text = "".join(piece.text for piece in pieces)
        output = answer.get("output_tokens", count_tokens(text))
        limit = request.get("max_tokens")
        calls = any(piece.kind == "tool" for piece in pieces)
        finish_reason = answer.get("finish_reason", "tool_calls" if calls else "stop")
        if limit is not None and output > limit:
            pieces = shortened(pieces, limit * CHARACTERS_PER_TOKEN)
            output, finish_reason = limit, "length"
        usage: Usage = {
            "uncached_input_tokens": answer.get("input_tokens", spoken.tokens),
            "cache_read_tokens": answer.get("cache_read_tokens", 0),
            "cache_write_5m_tokens": answer.get("cache_write_5m_tokens", 0),
            "cache_write_1h_tokens": answer.get("cache_write_1h_tokens", 0),
            "output_tokens": output,
        }
        failure = _failure(answer) if "error" in answer else None
        if "cut_after" in answer:
            pieces, failure = pieces[: answer["cut_after"]], cut("scripted")
        so_far = AnswerSoFar(
            model=f"scripted/{model_id}", provider_request_id=f"scripted-{model_id}-{number}"
        )
        stream = ScriptedStream(so_far, pieces, End(finish_reason, usage, failure))
        stream.delay_ms = answer.get("delay_ms", 0)
        stream.extend(deadline_ms, 0)
        return stream

    def _next(self, model_id: str) -> tuple[int, dict[str, Any]]:
        """Return the answer's number and the answer. Models without a script share one."""
        key = model_id if model_id in self._models else ""
        answers = self._models.get(model_id, self._answers)
        with self._lock:
            number = self._asked.get(key, 0)
            self._asked[key] = number + 1
        if number >= len(answers) and not self._repeat:
            detail = f"The script of {model_id!r} has {len(answers)} answers; all were given."
            raise ProviderError(detail, kind="ScriptEnded", sent=False, source="scripted")
        answer = answers[number % len(answers)]
        return number, {"text": answer} if isinstance(answer, str) else answer


def _vector(text: str, dimensions: int) -> list[float]:
    from hashlib import shake_256

    drawn = shake_256(text.encode("utf-8", "surrogatepass")).digest(2 * dimensions)
    pairs = zip(drawn[::2], drawn[1::2], strict=True)
    numbers = [(high * 256 + low) / 32_767.5 - 1 for high, low in pairs]
    length = sum(number * number for number in numbers) ** 0.5
    return [number / length for number in numbers]


def _failure(answer: dict[str, Any]) -> ProviderError:
    return ProviderError(
        str(answer.get("message", f"The script answers with {answer['error']}.")),
        status=int(answer.get("status", 500)),
        kind=str(answer["error"]),
        retryable=bool(answer.get("retryable", False)),
        retry_after_seconds=answer.get("retry_after_seconds"),
        sent=bool(answer.get("sent", False)),
        source="scripted",
    )


def _checked(answers: object) -> list[Any]:
    if not isinstance(answers, list) or not answers:
        message = f"{VARIABLE} needs a list of answers with at least one in it."
        raise SettingError(message)
    for number, answer in enumerate(answers):
        if not isinstance(answer, str) and not _is_answer(answer):
            message = (
                f"{VARIABLE}: answer {number} is neither a text nor an object with `text`, "
                "`chunks` (texts), `content` (blocks) or `error` in it."
            )
            raise SettingError(message)
    return answers


def _is_answer(answer: object) -> bool:
    if not isinstance(answer, dict) or _ENTRIES.isdisjoint(answer):
        return False
    chunks, content = answer.get("chunks", []), answer.get("content", [])
    return (
        isinstance(chunks, list)
        and all(isinstance(chunk, str) for chunk in chunks)
        and isinstance(content, list)
        and all(isinstance(block, dict) and not _BLOCKS.isdisjoint(block) for block in content)
    )


def _read_file(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - pathlib costs 8 ms of a cold start
            return file.read()
    except (OSError, ValueError) as error:
        message = f"{VARIABLE}={path!r} cannot be read: {error}"
        raise SettingError(message) from error
