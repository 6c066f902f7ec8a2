"""A model that answers from a script: for tests, and for developing without an AWS account.

The setting `LAMBDALLM_SCRIPT` holds the script, or the path of a JSON file with it. A model is
named `scripted/anything`; the name after the slash may select a script of its own.

Shape:
    ["Hello!", "You said: {last}"]                          answers, one after the other, around
    {"answers": ["Hello!"], "repeat": false}                …and an error when they are used up
    {"answers": [{"text": "Hm.", "finish_reason": "length", "output_tokens": 7},
                 {"error": "ThrottlingException", "status": 429, "retryable": true}]}
    {"models": {"router": ["chat"], "chat": ["Hi {last}"]}, "answers": ["for all others"]}

`{last}` is the last user message, `{count}` the number of user messages, `{system}` the system
prompt; any other brace is itself. Usage follows one rule where an answer does not say its own: a
token is four characters, or what is left of them, of everything read and of everything answered,
and at least one of each.
"""

from __future__ import annotations

import json
from threading import Lock

from lambdallm_extension.errors import InvalidRequestError, ProviderError, SettingError
from lambdallm_extension.ports import ChatAnswer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm_wire.chat import ChatRequest, Usage

VARIABLE = "LAMBDALLM_SCRIPT"

CHARACTERS_PER_TOKEN = 4
"""The rule of thumb of every tokenizer for English; declared, so that costs can be asserted."""

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
        del deadline_ms
        spoken = _Conversation(request)
        number, answer = self._next(model_id)
        if "error" in answer:
            raise _failure(answer)
        text = spoken.fill(str(answer.get("text", "")))
        output = answer.get("output_tokens", _tokens(text))
        limit = request.get("max_tokens")
        cut = limit is not None and output > limit
        if cut and limit is not None:
            text, output = text[: limit * CHARACTERS_PER_TOKEN], limit
        usage: Usage = {
            "uncached_input_tokens": answer.get("input_tokens", spoken.tokens),
            "cache_read_tokens": answer.get("cache_read_tokens", 0),
            "cache_write_5m_tokens": answer.get("cache_write_5m_tokens", 0),
            "cache_write_1h_tokens": answer.get("cache_write_1h_tokens", 0),
            "output_tokens": output,
        }
        return ChatAnswer(
            text=text,
            content=[{"text": text}],
            finish_reason="length" if cut else answer.get("finish_reason", "stop"),
            usage=usage,
            model=f"scripted/{model_id}",
            provider_request_id=f"scripted-{model_id}-{number}",
        )

    def reopen(self) -> None:
        """Do nothing: there is no connection."""

    def close(self) -> None:
        """Do nothing: there is no connection."""

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


class _Conversation:
    """What a script may refer to."""

    def __init__(self, request: ChatRequest) -> None:
        messages = request.get("messages") or []
        system = [request.get("system") or ""]
        said: list[str] = []
        read = system[0]
        for message in messages:
            text = _text_of(message["content"])
            read += text
            if message["role"] == "system":
                system.append(text)
            elif message["role"] == "user":
                said.append(text)
        if not said:
            raise InvalidRequestError(
                "There is no message to answer: give at least one of the user."
            )
        self.tokens = _tokens(read)
        self._places = {
            "last": said[-1],
            "count": str(len(said)),
            "system": "\n".join(part for part in system if part),
        }

    def fill(self, template: str) -> str:
        """Replace the places; any other brace stays as it is, so that JSON can be an answer."""
        pieces = []
        rest = template
        while rest:
            before, brace, after = rest.partition("{")
            name, closing, beyond = after.partition("}")
            known = bool(closing) and name in self._places
            pieces += [before, self._places[name] if known else brace]
            rest = beyond if known else after
        return "".join(pieces)


def _text_of(content: str | list[dict[str, Any]]) -> str:
    if isinstance(content, str):
        return content
    return "".join(str(block.get("text", "")) for block in content)


def _tokens(text: str) -> int:
    return max(1, -(-len(text) // CHARACTERS_PER_TOKEN))


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
        if not isinstance(answer, str) and not (
            isinstance(answer, dict) and ("text" in answer or "error" in answer)
        ):
            message = (
                f"{VARIABLE}: answer {number} is neither a text nor an object with `text` or "
                "`error` in it."
            )
            raise SettingError(message)
    return answers


def _read_file(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - pathlib costs 8 ms of a cold start
            return file.read()
    except (OSError, ValueError) as error:
        message = f"{VARIABLE}={path!r} cannot be read: {error}"
        raise SettingError(message) from error
