"""An answer in a shape: read out of the text, asked for once more where it is wrong.

    refused (`content_filter`)         OutputError: it would refuse again
    whole, and right                   the value
    cut (`length`)                     OutputError: within the same bound it would be cut again
    a tool is called                   OutputError: there is no answer yet
    wrong                              repair: the model sees its answer and what is wrong with it

A repair is a question as any other: it is metered, stops at deadline and budget, and is the same
again where a run is replayed, as it follows from the answer alone.
"""

from __future__ import annotations

from lambdallm import _errors, _found_json, _messages, _output_schema, _requests
from lambdallm._schema_faults import in_full, in_sentence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from lambdallm._messages import ChatResponse
    from lambdallm._output_schema import OutputSchema
    from lambdallm._schema_faults import Faults

REPAIRS_MAX = 3
"""Rounds. What a model has not mended by then it does not mend."""

SHOWN_MAX = 5
"""Faults in an error's sentence; all of them are in its `errors`."""

_NO_JSON = "holds no JSON"


class Reading:
    """What came of one answer: a value and what it was made of, or faults.

    Attributes:
        plain: The JSON value.
        value: What was asked for, made of it.
        faults: What is wrong with it.
    """

    def __init__(self, text: str, shape: OutputSchema) -> None:
        """Read an answer's text."""
        self.plain: Any = None
        self.value: Any = None
        self.faults: Faults = []
        try:
            found = _found_json.find(text, lambda value: self._fits(value, shape))
        except ValueError:
            self.faults = [{"field": "answer", "detail": _NO_JSON}]
        else:
            if self.faults:  # which may be those of another value
                self._fits(found, shape)

    def _fits(self, plain: Any, shape: OutputSchema) -> bool:
        self.plain = plain
        self.value, self.faults = shape.read(plain)
        return not self.faults


def read(response: ChatResponse, shape: OutputSchema) -> Reading:
    """Return what an answer holds, right or wrong.

    Raises:
        OutputError: To ask again would not help: it was refused, or cut, or a tool is called.
    """
    if response.finish_reason == "content_filter":
        raise _fault("The model, or a filter before it, has refused to answer", response, [])
    reading = Reading(response.text, shape)
    if not reading.faults:
        return reading
    if response.finish_reason == "length":
        message = (
            f"The model's answer was cut after {response.output_tokens} tokens: raise max_tokens, "
            "or ask for less"
        )
        raise _fault(message, response, reading.faults)
    if response.tool_calls and not response.text.strip():
        raise _fault("The model has called a tool in the place of an answer", response, [])
    return reading


def wrong(response: ChatResponse, reading: Reading, why_not_again: str = "") -> Exception:
    """Make the error of an answer that is wrong in the end."""
    listed = _in_sentence(reading.faults)
    message = f"The model's answer is not what output_schema asks for: {listed}"
    if why_not_again:
        message = f"{message}. It was not asked again: {why_not_again.rstrip('.')}"
    return _fault(message, response, reading.faults, retryable=True)


def _fault(
    message: str, response: ChatResponse, faults: Faults, *, retryable: bool = False
) -> _errors.OutputError:
    return _errors.OutputError(
        f"{message}.",
        raw_text=response.text,
        errors=in_full(faults),
        finish_reason=response.finish_reason,
        retryable=retryable,
        source=response.model,
    )


def _in_sentence(faults: Faults) -> str:
    """Return faults for a sentence that may be logged: what the model has named stays out of it."""
    more = len(faults) - SHOWN_MAX
    return in_sentence(faults[:SHOWN_MAX]) + (f"; {more} more" if more > 0 else "")


class Question:
    """A question whose answer has to have a shape.

    Attributes:
        prompt: What `chat` is asked with.
        parameters: Of `chat`; the schema is among them.
    """

    def __init__(
        self, context: Any, prompt: Any, output_schema: Any, repair: Any, given: Mapping[str, Any]
    ) -> None:
        """Make sense of what was given; nothing is asked yet.

        Args:
            context: Who asks.
            prompt: A text, a history, or messages.
            output_schema: See `_output_schema`.
            repair: So often an answer that is wrong is asked for again.
            given: Variables of the prompt; and parameters of `chat`, which are those that the
                prompt has no place for.

        Raises:
            ConfigurationError: Nothing can be made of the schema.
            TypeError: It is given tools, or what is neither a variable nor a parameter.
            ValueError: It is to be repaired too often.
        """
        if type(repair) is not int or not 0 <= repair <= REPAIRS_MAX:
            message = f"repair={repair!r} is no whole number from 0 to {REPAIRS_MAX}."
            raise ValueError(message)
        self._ask = context.chat
        self._shape = _output_schema.of(output_schema)
        self._repairs = repair
        variables = {name: given[name] for name in given.keys() & _messages.names_in(prompt)}
        parameters = {name: given[name] for name in given if name not in variables}
        _requests.check_names("invoke_structured", parameters)
        if refused := parameters.keys() & _NOT_GIVEN:
            message = f"An answer in a shape takes no {min(refused)!r}: it is an answer, no call."
            raise TypeError(message)
        self.prompt = _messages.substitute(prompt, variables) if variables else prompt
        self.parameters = {**parameters, "output_schema": self._shape.json_schema}

    @property
    def beginnings(self) -> str:
        """What the JSON of an answer may begin with."""
        return self._shape.beginnings

    def settle(self, response: ChatResponse) -> Reading:
        """Return what an answer holds, mended where that is needed and allowed.

        Raises:
            OutputError: It was not right in the end; with the last answer.
        """
        reading = read(response, self._shape)
        messages = _messages.to_messages(self.prompt) if reading.faults else []
        for _ in range(self._repairs):
            if not reading.faults:
                break
            messages = [*messages, *_repair(response.text, reading.faults)]
            try:
                response = self._ask(messages, **self.parameters)
            except (_errors.DeadlineExceededError, _errors.BudgetExceededError) as error:
                raise wrong(response, reading, error.detail) from error
            reading = read(response, self._shape)
        if reading.faults:
            raise wrong(response, reading)
        return reading


_NOT_GIVEN = frozenset(("tools", "tool_choice", "output_schema"))


def ask(
    context: Any, text: str, output_schema: Any, repair: int, parameters: Mapping[str, Any]
) -> Reading:
    """Ask with a text that is filled in, whatever braces it has; see `Question`."""
    question = Question(
        context, [{"role": "user", "content": text}], output_schema, repair, parameters
    )
    return question.settle(context.chat(text, **question.parameters))


def _repair(text: str, faults: Faults) -> list[dict[str, Any]]:
    """Return the model's own answer, and what is wrong with it."""
    listed = "\n".join(
        f"- {fault['field']} {fault['detail']}" + (f": {fault['said']}" if "said" in fault else "")
        for fault in faults
    )
    question = (
        f"That is not what was asked for:\n{listed}\n"
        "Answer again with the whole JSON, and with nothing else."
    )
    return [{"role": "assistant", "content": text}, {"role": "user", "content": question}]
